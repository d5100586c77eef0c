"""What a machine has and lacks is found out without crashing, each lack with its remedy."""

import builtins
import importlib.metadata

import pytest

from flowtrack.errors import DependencyError
from flowtrack.runtime import diagnosis
from flowtrack.runtime.diagnosis import diagnose
from tests.runtime.test_engines import fake_distribution

OPENCV = (
    "opencv-python", "opencv-python-headless",
    "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip


def finding(subject):
    (found,) = [item for item in diagnose() if item.subject == subject]
    return found


@pytest.fixture
def versions(monkeypatch):
    """Installed distributions by name, to be changed; the real ones to begin with."""
    real, changed = importlib.metadata.version, {}

    def version(name):
        found = changed.get(name, ...)
        if found is ...:
            return real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    return changed


def test_this_machine_is_described():
    found = diagnose()
    subjects = [item.subject for item in found]
    assert len(set(subjects)) == len(subjects)
    for subject in ("python", "numpy", "numba", "av", "opencv", "onnxruntime", "kernel cache"):
        assert subject in subjects
    for item in found:
        assert item.detail
        assert bool(item.remedy) == (item.state != "ok"), item
    assert not [item for item in found if item.state == "broken"]


@pytest.mark.parametrize("name", ["numpy", "numba", "av"])
def test_what_tracking_needs_is_broken_without(versions, name):
    versions[name] = None
    found = finding(name)
    assert (found.state, found.remedy) == ("broken", f"pip install {name}")


@pytest.mark.parametrize("name", ["torch", "onnx", "onnxscript"])
def test_what_export_needs_is_only_missing(versions, name):
    versions[name] = None
    found = finding(name)
    assert (found.state, found.remedy) == ("missing", "pip install 'flowtrack[export]'")


@pytest.mark.parametrize("only", OPENCV)
def test_any_one_opencv_is_enough(versions, only):
    versions.update(dict.fromkeys(OPENCV), **{only: "4.12"})
    found = finding("opencv")
    assert (found.state, found.detail) == ("ok", f"{only} 4.12")


def test_no_opencv_is_broken(versions):
    versions.update(dict.fromkeys(OPENCV))
    found = finding("opencv")
    assert (found.state, found.remedy) == ("broken", "pip install opencv-python-headless")


@pytest.mark.parametrize("other", [OPENCV[0], OPENCV[2]])
def test_two_opencv_distributions_are_broken(tmp_path, monkeypatch, versions, other):
    versions.update(dict.fromkeys(OPENCV))
    fake_distribution(tmp_path, other)
    fake_distribution(tmp_path, "opencv-python-headless")
    del versions[other], versions["opencv-python-headless"]
    monkeypatch.syspath_prepend(tmp_path)
    found = finding("opencv")
    assert found.state == "broken"
    assert f"pip uninstall -y {other}" in found.remedy or f" {other} " in found.remedy
    assert found.remedy.endswith("&& pip install opencv-python-headless")


def test_two_onnx_runtimes_are_broken(tmp_path, monkeypatch):
    fake_distribution(tmp_path, "onnxruntime-gpu")
    fake_distribution(tmp_path, "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path)
    found = finding("onnxruntime")
    assert found.state == "broken"
    assert "both installed" in found.detail
    assert found.remedy.startswith("keep one: pip uninstall -y onnxruntime onnxruntime-gpu")


def test_no_onnx_runtime_is_broken(monkeypatch):
    def fail():
        raise DependencyError("onnxruntime is not installed; pip install 'flowtrack[cpu]'")

    monkeypatch.setattr(diagnosis, "import_onnxruntime", fail)
    found = finding("onnxruntime")
    assert (found.state, found.detail) == ("broken", "onnxruntime is not installed")
    assert found.remedy == "pip install 'flowtrack[cpu]'"


def test_a_broken_onnx_runtime_is_a_finding(monkeypatch):
    def fail():
        raise ImportError("libonnxruntime.so: undefined symbol")

    monkeypatch.setattr(diagnosis, "import_onnxruntime", fail)
    monkeypatch.setattr(diagnosis, "choose_device", lambda _: fail())
    found = finding("onnxruntime")
    assert found.state == "broken"
    assert "undefined symbol" in found.detail
    assert found.remedy.startswith("pip install --force-reinstall onnxruntime")
    assert "device auto" not in [item.subject for item in diagnose()]


def test_whatever_breaks_the_rest_is_looked_at(monkeypatch):
    def fail():
        raise KeyError("nobody thought of this")

    for name in ("gpu_findings", "import_openvino", "cache_folder"):
        monkeypatch.setattr(diagnosis, name, fail)
    monkeypatch.setattr(diagnosis, "openvino_installed", lambda: True)
    monkeypatch.setattr(diagnosis.platform, "machine", lambda: "x86_64")
    found = {item.subject: item for item in diagnose()}
    for subject in ("GPU", "openvino", "kernel cache"):
        assert found[subject].state == "broken"
        assert "KeyError: 'nobody thought of this'" in found[subject].detail
        assert found[subject].remedy
    assert found["numpy"].state == "ok"


@pytest.mark.parametrize(
    ("machine", "installed", "failure", "state", "remedy"),
    [
        ("x86_64", False, None, "missing", "pip install 'flowtrack[openvino]'"),
        ("x86_64", True, None, "ok", ""),
        ("AMD64", True, "openvino is installed and cannot be loaded: no libtbb; pip install x",
         "missing", "pip install x"),
        ("aarch64", False, None, None, None),
    ],
)  # fmt: skip
def test_openvino_is_looked_for_on_x86(monkeypatch, machine, installed, failure, state, remedy):
    class Fake:
        @staticmethod
        def get_version():
            return "2026.4.1-20000-abc"

    def load():
        if failure:
            raise DependencyError(failure)
        return Fake

    monkeypatch.setattr(diagnosis.platform, "machine", lambda: machine)
    monkeypatch.setattr(diagnosis, "openvino_installed", lambda: installed)
    monkeypatch.setattr(diagnosis, "import_openvino", load)
    found = [item for item in diagnose() if item.subject == "openvino"]
    assert [(item.state, item.remedy) for item in found] == ([(state, remedy)] if state else [])
    if state == "ok":
        assert found[0].detail == "2026.4.1"


@pytest.mark.parametrize(
    ("flags", "int8", "bfloat16"),
    [
        ("sse avx2", "no instructions for INT8", "no instructions for bfloat16"),
        ("avx512_vnni avx2", "INT8 by avx512_vnni", "no instructions for bfloat16"),
        ("avx_vnni amx_int8 amx_bf16", "INT8 by avx_vnni, amx_int8", "bfloat16 by amx_bf16"),
        ("avx512_bf16", "no instructions for INT8", "bfloat16 by avx512_bf16"),
    ],
)
def test_the_cpu_is_asked_for_fast_instructions(monkeypatch, tmp_path, flags, int8, bfloat16):
    info = tmp_path / "cpuinfo"
    core = f"processor\t: 0\nmodel name\t: Some CPU: 3 GHz\nflags\t\t: {flags}\n"
    info.write_text(core + "\n" + core.replace(flags, "others"))
    monkeypatch.setattr(diagnosis, "_CPU_INFO", info)
    monkeypatch.setattr(diagnosis.platform, "machine", lambda: "x86_64")
    assert finding("CPU").detail == f"Some CPU: 3 GHz; {int8}; {bfloat16}"
    monkeypatch.setattr(diagnosis, "_CPU_INFO", tmp_path / "none")
    assert "CPU" not in [item.subject for item in diagnose()]


def test_a_machine_without_a_cache_folder_is_told_the_variable(monkeypatch):
    monkeypatch.setattr(diagnosis, "cache_folder", lambda: None)
    found = finding("kernel cache")
    assert found.state == "missing"
    assert "NUMBA_CACHE_DIR" in found.remedy


def test_a_pyav_without_an_encoder_is_noticed(monkeypatch):
    import av

    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    found = finding("H.264 encoder")
    assert (found.state, found.remedy) == ("missing", "pip install --force-reinstall av")


def test_a_pyav_that_cannot_be_loaded_does_not_end_the_diagnosis(monkeypatch):
    real = builtins.__import__

    def fail(name, *rest):
        if name == "av":
            raise ImportError("libavcodec.so.61: cannot open shared object file")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)
    found = finding("H.264 encoder")
    assert found.state == "broken"
    assert "libavcodec" in found.detail
