"""What a machine has and lacks is found out without crashing, each lack with its remedy."""

import builtins
import importlib.metadata

import pytest

from flowtrack.errors import DependencyError
from flowtrack.runtime import diagnosis
from flowtrack.runtime.diagnosis import diagnose
from flowtrack.runtime.engines import driver as driver_module
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


def test_a_driver_without_the_gpu_package_is_noticed(monkeypatch):
    monkeypatch.setattr(diagnosis, "cuda_driver_version", lambda: "12.8, 1 device(s)")
    monkeypatch.setattr(diagnosis, "installed_distributions", lambda: ["onnxruntime"])
    assert finding("NVIDIA driver").state == "ok"
    assert finding("onnxruntime-gpu").state == "missing"
    monkeypatch.setattr(diagnosis, "installed_distributions", lambda: ["onnxruntime-gpu"])
    assert "onnxruntime-gpu" not in [item.subject for item in diagnose()]


def test_no_driver_is_no_fault(monkeypatch):
    monkeypatch.setattr(diagnosis, "cuda_driver_version", lambda: None)
    assert finding("NVIDIA driver").state == "missing"


class FakeDriver:
    def __init__(self, fails, devices):
        self.fails, self.devices = fails, devices

    def cuInit(self, _):
        return self.fails

    def cuDriverGetVersion(self, number):
        number._obj.value = 12080
        return 0

    def cuDeviceGetCount(self, number):
        number._obj.value = self.devices
        return 0


@pytest.mark.parametrize(
    ("driver", "want"),
    [
        (FakeDriver(0, 2), "12.8, 2 device(s)"),
        (FakeDriver(100, 2), None),  # no device
        (FakeDriver(0, 0), None),
        (None, None),
    ],
)
def test_the_driver_is_asked_for_its_version(monkeypatch, driver, want):
    def load(_):
        if driver is None:
            raise OSError("no such library")
        return driver

    monkeypatch.setattr(driver_module.ctypes, "CDLL", load)
    assert driver_module.cuda_driver_version() == want


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
