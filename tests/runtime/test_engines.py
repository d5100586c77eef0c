"""The boundary of inference: inputs are checked, devices are honest, packages do not collide."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from flowtrack.errors import DependencyError, EngineError, InputError
from flowtrack.runtime.engines import onnxruntime_session as sessions
from flowtrack.runtime.engines import open_engine
from tests.support.graphs import assemble, constant, helper, pooled_heatmaps

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture(scope="module")
def engine():
    nodes = [
        helper.make_node("Cast", ["a"], ["a_float"], to=1),
        helper.make_node("Add", ["a_float", "b"], ["sum"]),
        helper.make_node("Sub", ["a_float", "b"], ["difference"]),
    ]
    shape = ("N", 3)
    data = assemble(
        {"a": ("uint8", shape), "b": ("float32", shape)},
        nodes,
        {"sum": ("float32", shape), "difference": ("float32", shape)},
    )
    return open_engine(data, "cpu", threads=1)


def feeds(count=2):
    return {"a": np.full((count, 3), 5, np.uint8), "b": np.full((count, 3), 2, np.float32)}


def test_names_types_and_shapes_are_told(engine):
    assert [(t.name, t.dtype, t.shape) for t in engine.inputs] == [
        ("a", np.uint8, ("N", 3)),
        ("b", np.float32, ("N", 3)),
    ]
    assert [t.name for t in engine.outputs] == ["sum", "difference"]
    assert engine.device.startswith("ONNX Runtime")
    assert engine.fixed_batch is None
    fixed = open_engine(pooled_heatmaps(2, 8, 8, 4, batch=3), "cpu", 1)
    assert fixed.fixed_batch == 3


@pytest.mark.parametrize("count", [1, 4])
def test_outputs_come_by_name(engine, count):
    outputs = engine.infer(feeds(count))
    assert list(outputs) == ["sum", "difference"]
    np.testing.assert_array_equal(outputs["sum"], np.full((count, 3), 7))
    np.testing.assert_array_equal(outputs["difference"], np.full((count, 3), 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": np.zeros((2, 3))}, r"fed \['a', 'b', 'c'\], the graph takes \['a', 'b'\]"),
        ({"a": None}, r"fed \['b'\], the graph takes"),
        ({"a": np.zeros((2, 3), np.float32)}, "input 'a' is float32, the graph takes uint8"),
        ({"b": np.zeros((2, 3), np.float64)}, "input 'b' is float64, the graph takes float32"),
        ({"b": np.zeros((2, 4), np.float32)}, r"'b' has shape \(2, 4\), the graph takes \('N', 3"),
        ({"b": np.zeros(3, np.float32)}, r"input 'b' has shape \(3,\)"),
        ({"b": [[1.0, 2.0, 3.0]]}, "input 'b' is a list, expected a numpy array"),
    ],
)
def test_wrong_feeds_are_refused_before_the_backend(engine, change, message):
    wrong = {name: array for name, array in {**feeds(), **change}.items() if array is not None}
    with pytest.raises(InputError, match=message):
        engine.infer(wrong)


def test_a_failure_inside_is_an_engine_error(engine):
    """Batches of 2 and 3 pass the checks one by one, and cannot be added."""
    with pytest.raises(EngineError, match="ONNX Runtime failed on"):
        engine.infer({**feeds(), "b": np.zeros((3, 3), np.float32)})


def test_inputs_may_lie_in_any_order_of_memory(engine):
    turned = np.arange(6, dtype=np.float32).reshape(3, 2).T
    outputs = engine.infer({**feeds(), "b": turned})
    np.testing.assert_array_equal(outputs["sum"], 5 + turned)


def test_threads_share_an_engine(engine):
    wrong = []

    def work(value):
        for _ in range(50):
            fed = {"a": np.full((2, 3), value, np.uint8), "b": np.zeros((2, 3), np.float32)}
            if not (engine.infer(fed)["sum"] == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("junk", [b"", b"not a graph"])
def test_what_is_no_graph_is_refused(junk, tmp_path):
    with pytest.raises(EngineError, match="ONNX Runtime cannot load graph"):
        open_engine(junk, "cpu")
    path = tmp_path / "junk.onnx"
    path.write_bytes(junk)
    with pytest.raises(EngineError, match=r"cannot load .*junk\.onnx"):
        open_engine(path, "cpu")
    with pytest.raises(EngineError, match=r"cannot load .*missing\.onnx"):
        open_engine(tmp_path / "missing.onnx", "cpu")


def test_a_path_is_as_good_as_bytes(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(constant({"x": ("uint8", (1,))}, {"y": np.ones(2, np.float32)}))
    outputs = open_engine(path, "cpu", 1).infer({"x": np.zeros(1, np.uint8)})
    assert outputs["y"].tolist() == [1, 1]


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA")
@pytest.mark.parametrize("device", ["cuda", "ort-tensorrt"])
def test_a_device_that_is_not_there_is_said_to_be_so(device):
    with pytest.raises(EngineError, match=rf"device '{device}' is not available.*pip install"):
        open_engine(constant({"x": ("uint8", (1,))}, {"y": np.ones(2, np.float32)}), device)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA")
def test_falling_back_in_silence_is_an_error(monkeypatch):
    """ONNX Runtime itself goes on with the CPU when CUDA cannot be started."""
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    with pytest.raises(EngineError, match=r"could not start CUDAExecutionProvider .* fell back to"):
        open_engine(constant({"x": ("uint8", (1,))}, {"y": np.ones(2, np.float32)}), "cuda")


def fake_distribution(folder: Path, name: str, version: str = "1.2.3") -> None:
    """Make it look as if a distribution were installed in a folder of `sys.path`."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(
    "others",
    [["onnxruntime-gpu"], ["onnxruntime-openvino"], ["onnxruntime-gpu", "onnxruntime-directml"]],
    ids=" and ".join,
)
def test_two_distributions_of_onnx_runtime_are_refused(tmp_path, monkeypatch, others):
    found = sessions.installed_distributions()
    assert len(found) == 1  # this machine itself is in order
    for name in others:
        if name not in found:
            fake_distribution(tmp_path, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DependencyError) as caught:
        open_engine(b"", "auto")
    message = str(caught.value)
    for name in {*found, *others}:
        assert name in message.partition(";")[0]
    assert "pip uninstall -y" in message
    assert "pip install 'flowtrack[gpu]'" in message


def test_without_onnx_runtime_the_remedy_is_named(tmp_path):
    """In a process of its own, where the module cannot be found."""
    code = """
import importlib.abc, importlib.metadata, importlib.util, sys

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "onnxruntime" else find(name, *rest)
def version(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
from flowtrack.errors import DependencyError
from flowtrack.runtime.engines import open_engine
try:
    open_engine(b"", "cpu")
except DependencyError as error:
    assert isinstance(error, ImportError)
    print(error)
assert "onnxruntime" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("onnxruntime is not installed; pip install 'flowtrack[cpu]'")


def test_a_type_that_numpy_lacks_is_refused():
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=16)]
    data = assemble({"x": ("float32", (1,))}, nodes, {"y": ("bfloat16", (1,))})
    with pytest.raises(EngineError, match=r"tensor 'y' is tensor\(bfloat16\), expected one of"):
        open_engine(data, "cpu")
