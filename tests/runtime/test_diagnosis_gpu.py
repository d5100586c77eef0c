"""What is missing for networks on GPUs, scenario by scenario, each with its remedy."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace

import pytest

from flowtrack.errors import DependencyError
from flowtrack.runtime import diagnosis_gpu as module
from flowtrack.runtime.engines import libraries
from flowtrack.runtime.engines.driver import GpuInfo

CUDA_13 = {"libcudart.so.13", "libcublasLt.so.13"}
CUDA_12 = {"libcudart.so.12", "libcublasLt.so.12"}
CUDNN = {"libcudnn.so.9"}
ALL = CUDA_13 | CUDNN | {"libnvinfer.so.10"}
EXTRAS = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
TENSORRT_10 = "pip install 'tensorrt>=10,<11'"


@pytest.fixture
def look(monkeypatch):
    """Findings by subject of a machine with a GPU, onnxruntime-gpu and certain libraries."""

    def scenario(
        there=frozenset(ALL), driver="13.0, 1 device(s)", cuda="13.0", package="onnxruntime-gpu",
        tensorrt=None, bindings=(),
    ):  # fmt: skip
        def version(name):
            if name in bindings:
                return "10.16.1.11"
            raise importlib.metadata.PackageNotFoundError(name)

        ort = SimpleNamespace(__version__="1.32.0", cuda_version=cuda)
        card = GpuInfo(0, "Card", "9.0", 80 << 30)
        monkeypatch.setattr(module, "cuda_driver_version", lambda: driver)
        monkeypatch.setattr(module, "gpus", lambda: (card,))
        monkeypatch.setattr(module, "installed_distributions", lambda: [package])
        monkeypatch.setattr(module, "import_onnxruntime", lambda: ort)
        monkeypatch.setattr(module, "load_library", lambda name: name in there)
        monkeypatch.setattr(module.sys, "platform", "linux")
        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr("flowtrack.runtime.engines.tensorrt.tensorrt_missing", lambda: tensorrt)
        return {found.subject: found for found in module.gpu_findings()}

    return scenario


def test_all_is_there(look):
    found = look()
    assert {each.state for each in found.values()} == {"ok"}
    assert list(found) == ["NVIDIA driver", "GPU 0", "CUDA", "cuDNN", "ort-tensorrt", "tensorrt"]
    assert found["NVIDIA driver"].detail == "CUDA 13.0, 1 device(s)"
    assert found["GPU 0"].detail == "Card, compute capability 9.0, 80.0 GiB"


def test_without_a_driver_nothing_else_matters(look):
    (found,) = look(driver=None, there=set()).values()
    assert (found.subject, found.state) == ("NVIDIA driver", "missing")
    assert found.remedy.startswith("install the NVIDIA driver")


def test_a_driver_without_the_gpu_package_is_noticed(look):
    found = look(package="onnxruntime", there=set())
    assert found["onnxruntime-gpu"].state == "missing"
    assert found["onnxruntime-gpu"].remedy.startswith("pip uninstall -y onnxruntime && pip install")
    assert not {"CUDA", "cuDNN", "ort-tensorrt"} & set(found)


@pytest.mark.parametrize(
    ("scenario", "subject", "detail", "remedy"),
    [
        ({"there": CUDNN}, "CUDA",
         "built for CUDA 13 and needs libcudart.so.13 and libcublasLt.so.13, which cannot be "
         "loaded", EXTRAS),
        ({"there": CUDNN | CUDA_12}, "CUDA", "loaded; those of CUDA 12 are there", EXTRAS),
        ({"there": CUDNN | {"libcudart.so.13"}}, "CUDA", "needs libcublasLt.so.13, which", EXTRAS),
        ({"there": ALL, "cuda": "12.8"}, "CUDA", "those of CUDA 13 are there", EXTRAS),
        ({"driver": "12.4, 1 device(s)"}, "CUDA",
         "built for CUDA 13, the driver knows 12.4", "install a driver for CUDA 13"),
        ({"there": CUDA_13}, "cuDNN", "does not start on CUDA without it", EXTRAS),
        ({"there": CUDA_13}, "ort-tensorrt", "looks for libnvinfer.so.10", TENSORRT_10),
        ({"there": {"libnvinfer.so.11"}}, "ort-tensorrt",
         "TensorRT 11 is there, which it does not take", TENSORRT_10),
        ({"there": set(), "bindings": ["tensorrt-cu12-bindings"]}, "ort-tensorrt",
         "tensorrt-cu12-bindings 10.16.1.11 is installed without TensorRT's libraries",
         TENSORRT_10),
        ({"tensorrt": "pycuda is not installed; pip install x"}, "tensorrt",
         "pycuda is not installed; needed for device tensorrt only", "pip install x"),
    ],
)  # fmt: skip
def test_each_lack_has_its_remedy(look, scenario, subject, detail, remedy):
    found = look(**scenario)[subject]
    assert found.state == "missing"
    assert detail in found.detail
    assert found.remedy.startswith(remedy)


@pytest.mark.parametrize(("cuda", "there"), [("12.8", CUDA_12), ("13.0", CUDA_13)])
def test_the_major_version_is_that_of_the_build(look, cuda, there):
    assert look(cuda=cuda, there=there)["CUDA"].state == "ok"
    assert "CUDA" not in look(cuda="", there=there)  # a build that does not say


def test_a_broken_onnx_runtime_does_not_end_the_look(look, monkeypatch):
    look()

    def fail():
        raise DependencyError("both are installed; keep one")

    monkeypatch.setattr(module, "import_onnxruntime", fail)
    subjects = [each.subject for each in module.gpu_findings()]
    assert subjects == ["NVIDIA driver", "GPU 0", "tensorrt"]


@pytest.mark.parametrize("place", ["nvidia/cu13/lib", "tensorrt_libs", None])
def test_libraries_are_found_in_wheels(monkeypatch, tmp_path, place):
    name = "libthere.so.13"
    if place is not None:
        library = tmp_path / place / name
        library.parent.mkdir(parents=True)
        library.write_bytes(b"")
        (tmp_path / "tensorrt_libs").mkdir(exist_ok=True)
        (tmp_path / "tensorrt_libs" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    tried = []

    def load(library):
        tried.append(library)
        if library == name:
            raise OSError("not on the path")

    monkeypatch.setattr(libraries.ctypes, "CDLL", load)
    assert libraries.load_library(name) is (place is not None)
    assert tried == [name, *([str(tmp_path / place / name)] if place else [])]
