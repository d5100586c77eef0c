"""Imports run one way, heavy packages load where they are used, and kernels start anywhere."""

import ast
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import flowtrack
from flowtrack import jit

PACKAGE = Path(flowtrack.__file__).parent

GROUND = {
    "structs", "skeleton", "errors", "schema", "flo", "jit", "posetrack_json", "report", "cache",
}  # fmt: skip
_RUNTIME = {*GROUND, "tracker", "runtime"}
MAY_IMPORT = {
    "__init__": set(),
    "__main__": {"cli"},
    **dict.fromkeys(GROUND, GROUND),
    "tracker": {*GROUND, "tracker"},
    "runtime": _RUNTIME,
    "synthetic": {*GROUND, "synthetic"},
    "evaluation": {*_RUNTIME, "evaluation"},  # its counting does not, see below
    "training": {*GROUND, "synthetic", "evaluation", "training"},
    "calibration": {*_RUNTIME, "evaluation", "calibration"},
    "export": {*_RUNTIME, "evaluation", "calibration", "training", "export"},
    "zoo": {*_RUNTIME, "zoo"},
    "cli": {
        *_RUNTIME, "synthetic", "training", "evaluation", "calibration", "export", "zoo", "cli",
    },
}  # fmt: skip

MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """`flowtrack.runtime.pose` belongs to `runtime`; names of `flowtrack` itself to `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "__init__"


def imported(source: str) -> set[str]:
    """Full names of everything that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def wrong_imports(own: str, source: str) -> set[str]:
    """What a module of the part `own` of the package imports and may not."""
    allowed = {*MAY_IMPORT[own], "__init__"}
    names = {name for name in imported(source) if name.split(".")[0] == "flowtrack"}
    return {name for name in names if part_of(name) not in allowed}


@pytest.mark.parametrize("path", MODULES, ids=[str(p.relative_to(PACKAGE)) for p in MODULES])
def test_imports_run_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in MAY_IMPORT, f"say in MAY_IMPORT what flowtrack.{own} may import"
    assert not wrong_imports(own, path.read_text(encoding="utf-8"))


COUNTING = sorted((PACKAGE / "evaluation").glob("*.py"))


@pytest.mark.parametrize("path", COUNTING, ids=[path.name for path in COUNTING])
def test_counting_needs_no_runtime(path):
    """Training uses it; only `evaluation/deployed` runs bundles."""
    names = {name for name in imported(path.read_text(encoding="utf-8")) if "flowtrack" in name}
    assert {part_of(name) for name in names} <= {*GROUND, "evaluation", "__init__"}
    assert not any(name.startswith("flowtrack.evaluation.deployed") for name in names)


@pytest.mark.parametrize(
    ("own", "source", "wrong"),
    [
        ("tracker", "import flowtrack.structs", set()),
        ("tracker", "from flowtrack import __version__", set()),
        ("tracker", "from flowtrack import runtime", {"flowtrack.runtime"}),
        ("structs", "import flowtrack.tracker.oks", {"flowtrack.tracker.oks"}),
        ("training", "def f():\n    from flowtrack.runtime.pose import x",
         {"flowtrack.runtime.pose.x"}),
        ("runtime", "if True:\n    import numpy, flowtrack.export", {"flowtrack.export"}),
        ("export", "from flowtrack.training.models import resnet", set()),
    ],
)  # fmt: skip
def test_wrong_imports_are_noticed(own, source, wrong):
    assert wrong_imports(own, source) == wrong


@pytest.mark.parametrize("part", ["runtime", "tracker", "evaluation"])
def test_what_runs_names_no_training_package(part):
    for path in (PACKAGE / part).rglob("*.py"):
        roots = {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
        assert not roots & {"torch", "torchvision", "onnx", "onnxscript"}, path


def python(code: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd or PACKAGE.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


LOADED = "import sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
EVERY_RUNTIME_MODULE = """
import importlib, pkgutil, flowtrack.runtime
for module in pkgutil.walk_packages(flowtrack.runtime.__path__, "flowtrack.runtime."):
    importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import flowtrack.runtime", {"torch", "onnx", "tensorrt", "pycuda", "cuda", "openvino"}),
        (
            EVERY_RUNTIME_MODULE,
            {
                "torch",
                "onnx",
                "onnxscript",
                "torchvision",
                "tensorrt",
                "pycuda",
                "cuda",
                "openvino",
            },
        ),
        (
            "import flowtrack.cli",
            {"numpy", "cv2", "numba", "onnxruntime", "torch", "onnx", "av", "tensorrt"},
        ),
        ("import flowtrack.tracker.tracker", {"cv2", "onnxruntime", "av", "torch"}),
        ("import flowtrack.tracker", {"numba", "cv2"}),
    ],
    ids=["runtime", "every runtime module", "cli", "tracker.tracker", "tracker"],
)
def test_a_fresh_process_loads_no_more_than_needed(code, absent):
    done = python(f"{code}\n{LOADED}")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "flowtrack" in loaded
    assert not loaded & absent


WARMUP = """
import logging, numba
logging.basicConfig()
from flowtrack.skeleton import COCO_17
from flowtrack.tracker import boxes, tracker
tracker.warmup(COCO_17)
stats = boxes._iou_matrix.stats
print(boxes._iou_matrix._cache.cache_path, sum(stats.cache_hits.values()),
      sum(stats.cache_misses.values()), sep="\\n")
"""


@pytest.fixture
def read_only(tmp_path):
    """A copy of the package whose folder, and the user's own, cannot hold a cache; its setting."""
    shutil.copytree(
        PACKAGE, tmp_path / "site" / "flowtrack", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "site" / "flowtrack" / "tracker" / "__pycache__").write_text("in the way")
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "temporary").mkdir()
    nowhere = str(tmp_path / "file" / "home")
    return tmp_path, {
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": nowhere,
        "XDG_CACHE_HOME": nowhere,
        "TMPDIR": str(tmp_path / "temporary"),
        "NUMBA_CACHE_DIR": "",
    }


def test_kernels_are_cached_below_the_temporary_folder_of_a_read_only_install(read_only):
    place, setting = read_only
    first = python(WARMUP, cwd=place, **setting)
    assert first.returncode == 0, first.stderr
    folder, hits, misses = first.stdout.split()
    assert Path(folder).is_relative_to(place / "temporary")
    assert (int(hits), int(misses)) == (0, 1)
    assert list(Path(folder).glob("*.nbi"))
    private = next((place / "temporary").iterdir())
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    second = python(WARMUP, cwd=place, **setting)
    assert second.stdout.split() == [folder, "1", "0"]


def test_without_any_folder_kernels_still_run_and_say_so(read_only):
    place, setting = read_only
    taken = place / "temporary" / f"flowtrack-numba-{os.getuid()}"
    taken.write_text("in the way")
    code = (
        "import logging; logging.basicConfig()\n"
        "from flowtrack.tracker.boxes import iou_matrix\n"
        "print(iou_matrix([[0, 0, 2, 2]], [[0, 0, 2, 2]]))"
    )
    done = python(code, cwd=place, **setting)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[1.]]"
    assert "set NUMBA_CACHE_DIR" in done.stderr


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"flowtrack-numba-{os.getuid()}"


def test_the_fallback_folder_is_private(temporary):
    assert jit.fallback_folder() == temporary
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    assert jit.fallback_folder() == temporary  # and found again


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_is_refused(temporary, mode):
    temporary.mkdir()
    temporary.chmod(mode)
    assert jit.fallback_folder() is None


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    # The folder is made by the real user, whom the patched process takes for somebody else.
    assert jit.fallback_folder() is None
    assert (tmp_path / f"flowtrack-numba-{stranger}").is_dir()


def test_a_link_is_refused(temporary, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    temporary.symlink_to(tmp_path / "elsewhere")
    assert jit.fallback_folder() is None
