"""What our source asks of TensorRT exists in the real bindings of both major versions."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flowtrack.runtime.engines.tensorrt import graphs
from tests.support.bindings import MAJORS, environment, look_at, problems, why_not
from tests.support.tensorrt_uses import sources, uses_in


@pytest.fixture(scope="module", params=MAJORS, ids="TensorRT {}".format)
def api(request, tmp_path_factory):
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    return look_at(request.param, tmp_path_factory.mktemp("libraries"))


def test_everything_that_we_touch_is_there(api):
    uses = [use for path in sources() for use in uses_in(path, api)]
    assert problems(uses, api) == []


def test_what_is_touched_is_found(api):
    """The finder follows imports, annotations, attributes and results; this list may grow."""
    uses = {(use.owner, use.name) for path in sources() for use in uses_in(path, api)}
    assert uses >= {
        ("", "Runtime"),
        ("Runtime", "deserialize_cuda_engine"),
        ("Runtime", "engine_host_code_allowed"),
        ("ICudaEngine", "create_execution_context"),
        ("ICudaEngine", "device_memory_size_v2"),
        ("ICudaEngine", "weight_streaming_budget_v2"),
        ("ICudaEngine", "get_tensor_mode"),
        ("ExecutionContextAllocationStrategy", "USER_MANAGED"),
        ("IExecutionContext", "set_device_memory"),
        ("IExecutionContext", "set_optimization_profile_async"),
        ("IExecutionContext", "execute_async_v3"),
        ("EngineInspector", "get_engine_information"),
        ("Builder", "create_network"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("OnnxParser", "parse"),
        ("ParserError", "node_name"),
        ("IBuilderConfig", "progress_monitor"),
        ("IBuilderConfig", "set_timing_cache"),
        ("ITimingCache", "serialize"),
        ("IOptimizationProfile", "set_shape"),
        ("ILogger", "log"),
        ("ILogger.Severity", "INTERNAL_ERROR"),
        ("IProgressMonitor", "step_complete"),
    }


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        (".execute_async_v3(", ".execute_async_v4(", "no IExecutionContext.execute_async_v4"),
        ("(self._stream.handle)", "()", "execute_async_v3 does not take 0 arguments"),
        (".set_input_shape(name, shape)", ".set_input_shape(name, size=1)", "does not take 1"),
        (".USER_MANAGED", ".USER_OWNED", "no ExecutionContextAllocationStrategy.USER_OWNED"),
        (".set_device_memory(", ".set_memory(", "no IExecutionContext.set_memory"),
        (".device_memory_size_v2", ".device_memory_size_v3", "device_memory_size_v3"),
        ("DataType.HALF", "DataType.FLOAT16", "no DataType.FLOAT16"),
        (".deserialize_cuda_engine(", ".deserialize(", "no Runtime.deserialize"),
        ("engine_host_code_allowed", "host_code", "no Runtime.host_code"),
        (".weight_streaming_budget_v2 =", ".num_layers =", "ICudaEngine.num_layers cannot be set"),
        ("def log(self, severity", "def write(self, severity", "no ILogger.write"),
        ("severity: trt.ILogger.Severity, msg: str", "msg: str", "log has other parameters"),
        (".parse(with_plain_weights(graph))", ".parse(graph, 1, 2)", "parse does not take 3"),
        (".STRONGLY_TYPED", ".WEAKLY_TYPED", "NetworkDefinitionCreationFlag.WEAKLY_TYPED"),
        ("BuilderFlag.REFIT", "BuilderFlag.INT9", "no BuilderFlag.INT9"),
        ("error.node_name()", "error.node_label()", "no ParserError.node_label"),
        (".set_timing_cache(cache, False)", ".set_timing_cache(cache)", "set_timing_cache does"),
        ("config.progress_monitor =", "config.progress =", "no IBuilderConfig.progress"),
        ("def phase_finish(", "def phase_end(", "no IProgressMonitor.phase_end"),
        ("get_engine_information(", "get_layers(", "no EngineInspector.get_layers"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_noticed(api, right, wrong, complaint):
    found, changed = [], 0
    for path in sources():
        text = path.read_text()
        changed += right in text
        found += problems(uses_in(path, api, text.replace(right, wrong)), api)
    assert changed, f"{right} does not occur in our source any more"
    assert any(complaint in problem for problem in found), found


def test_what_only_one_version_has_is_noticed(api):
    """Weak typing and calibrators went in 11; `build_route` came with it."""
    text = """
import tensorrt as trt
def build(config: trt.IBuilderConfig) -> None:
    config.set_flag(trt.BuilderFlag.FP16)
    config.build_route = ""
"""
    assert len(problems(uses_in(Path("x.py"), api, text), api)) == 1


def test_calls_of_cuda_bindings_are_those_of_the_package():
    """Every name that `graphs.py` takes from cuda-bindings, and how many arguments it gives."""
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    tree = ast.parse(Path(graphs.__file__).read_text())
    touched = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = ast.unparse(node).split(".")
            if names[0] == "driver":
                touched += 1
                assert functools.reduce(getattr, names[1:], driver) is not None
        if not isinstance(node, ast.Call):
            continue
        # Most calls go through `_call(driver.function, ...)`.
        called, given = node.func, len(node.args)
        if isinstance(called, ast.Name) and called.id == "_call":
            called, given = node.args[0], given - 1
        name = ast.unparse(called)
        if name.startswith("driver.cu"):
            line = getattr(driver, name.removeprefix("driver.")).__doc__.splitlines()[0]
            taken = line[line.index("(") + 1 : line.rindex(")")]
            assert given == len([part for part in taken.split(",") if part.strip()]), line
    assert touched > 10


@pytest.mark.parametrize("major", MAJORS)
def test_types_agree_with_the_bindings(major, tmp_path):
    """mypy, strictly, over our files that speak to TensorRT."""
    for module in ("pybind11_stubgen", "mypy"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    reason = why_not(major)
    if reason:
        pytest.skip(reason)
    stub = _stub(major, tmp_path)
    assert "class IExecutionContext" in stub
    root = Path(__file__).parents[2]
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs" / "tensorrt.pyi").write_text(stub)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-warn-unused-ignores", "--follow-imports=silent",
         "--cache-dir", tmp_path / "cache", "--config-file", "pyproject.toml",
         *(path.relative_to(root) for path in sources())],
        env={**os.environ, "MYPYPATH": str(tmp_path / "stubs")},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    # The stub itself is as pybind11-stubgen left it; our files must be without fault.
    assert "checked" in done.stdout, done.stdout + done.stderr
    ours = [line for line in done.stdout.splitlines() if line.startswith("flowtrack")]
    assert ours == []


# What the classes can and a stub made from their methods does not tell.
_PROTOCOLS = {
    "Dims": "def __iter__(self) -> typing.Iterator[int]: ...",
    "IHostMemory": "def __buffer__(self, flags: int, /) -> memoryview: ...",
}


def _stub(major: int, folder: Path) -> str:
    """The types of the bindings; what pybind11-stubgen writes and Python cannot read is mended."""
    subprocess.run(
        [sys.executable, "-m", "pybind11_stubgen", "tensorrt", "-o", folder, "--ignore-all-errors"],
        env=environment(major, folder),
        capture_output=True,
        timeout=120,
        check=True,
    )
    text = (folder / "tensorrt.pyi").read_text()
    for name, method in _PROTOCOLS.items():
        text = re.sub(rf"^class {name}:\n", f"class {name}:\n    {method}\n", text, flags=re.M)
    lines = text.split("\n")
    while True:
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:  # a parameter called `in`, or one without default after others
            row = (error.lineno or 1) - 1
            head = re.match(r"(\s*def \w+)\(", lines[row])
            assert head, lines[row]
            lines[row] = f"{head[1]}(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:"
        else:
            return "\n".join([*lines, "__version__: str"])
