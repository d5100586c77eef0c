"""What a machine has for networks on NVIDIA GPUs: driver, GPUs, CUDA, cuDNN and TensorRT."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator

from flowtrack.errors import FlowtrackError
from flowtrack.runtime.engines.driver import cuda_driver_version, gpus
from flowtrack.runtime.engines.libraries import load_library
from flowtrack.runtime.engines.onnxruntime_session import (
    import_onnxruntime,
    installed_distributions,
)
from flowtrack.runtime.findings import Finding

_CUDA = ("libcudart.so", "libcublasLt.so")
_CUDA_MAJORS = range(11, 16)
_CUDNN = "libcudnn.so.9"
_TENSORRT = "libnvinfer.so"
_TENSORRT_MAJOR = 10  # that of ONNX Runtime's TensorRT provider, up to 1.32
_TENSORRT_MAJORS = range(8, 13)

_DRIVER_REMEDY = "install the NVIDIA driver, if this machine has an NVIDIA GPU"


def gpu_findings() -> Iterator[Finding]:
    """Look at everything that networks on a GPU need; without a driver nothing else matters."""
    driver = cuda_driver_version()
    if driver is None:
        detail = "no CUDA driver answers; networks run on the CPU"
        yield Finding("NVIDIA driver", "missing", detail, _DRIVER_REMEDY)
        return
    yield Finding("NVIDIA driver", "ok", f"CUDA {driver}")
    for gpu in gpus():
        memory = f"{gpu.memory_bytes / 2**30:.1f} GiB"
        detail = f"{gpu.name}, compute capability {gpu.compute_capability}, {memory}"
        yield Finding(f"GPU {gpu.index}", "ok", detail)
    if "onnxruntime-gpu" not in installed_distributions():
        yield Finding(
            "onnxruntime-gpu",
            "missing",
            "a CUDA driver is there, but this ONNX Runtime cannot use it",
            "pip uninstall -y onnxruntime && pip install 'flowtrack[gpu]'",
        )
    elif sys.platform == "linux":
        yield from _libraries_of_onnxruntime(driver)
    yield _tensorrt()


def _libraries_of_onnxruntime(driver: str) -> Iterator[Finding]:
    """The libraries that the providers for CUDA and TensorRT load."""
    try:
        ort = import_onnxruntime()
    except (FlowtrackError, ImportError, OSError):
        return  # which is a finding of its own
    major = str(getattr(ort, "cuda_version", "")).partition(".")[0]
    if major.isdigit():
        yield _cuda(ort.__version__, int(major), driver)
    yield _cudnn()
    yield _tensorrt_of_onnxruntime(ort.__version__)


def _cuda(version: str, major: int, driver: str) -> Finding:
    absent = [f"{name}.{major}" for name in _CUDA if not load_library(f"{name}.{major}")]
    if int(driver.partition(".")[0]) < major:
        return Finding(
            "CUDA",
            "missing",
            f"ONNX Runtime {version} is built for CUDA {major}, the driver knows {driver}",
            f"install a driver for CUDA {major}, or an onnxruntime-gpu that is built for the "
            "driver's CUDA",
        )
    if not absent:
        return Finding("CUDA", "ok", f"libraries of CUDA {major}, as ONNX Runtime {version} needs")
    others = [
        str(each) for each in _CUDA_MAJORS if each != major and load_library(f"{_CUDA[0]}.{each}")
    ]
    found = f"; those of CUDA {' and '.join(others)} are there" if others else ""
    return Finding(
        "CUDA",
        "missing",
        f"ONNX Runtime {version} is built for CUDA {major} and needs {' and '.join(absent)}, which "
        f"cannot be loaded{found}",
        "pip install 'onnxruntime-gpu[cuda,cudnn]'",
    )


def _cudnn() -> Finding:
    if load_library(_CUDNN):
        return Finding("cuDNN", "ok", _CUDNN)
    return Finding(
        "cuDNN",
        "missing",
        f"{_CUDNN} cannot be loaded; ONNX Runtime does not start on CUDA without it",
        "pip install 'onnxruntime-gpu[cuda,cudnn]'",
    )


def _tensorrt_of_onnxruntime(version: str) -> Finding:
    """Whether device `ort-tensorrt` can start."""
    subject, wanted = "ort-tensorrt", f"{_TENSORRT}.{_TENSORRT_MAJOR}"
    if load_library(wanted):
        return Finding(subject, "ok", f"{wanted}, as ONNX Runtime {version} needs")
    others = [
        str(each)
        for each in _TENSORRT_MAJORS
        if each != _TENSORRT_MAJOR and load_library(f"{_TENSORRT}.{each}")
    ]
    if others:
        found = f"; TensorRT {' and '.join(others)} is there, which it does not take"
    elif _bindings():
        found = f"; {_bindings()} is installed without TensorRT's libraries"
    else:
        found = ""
    return Finding(
        subject,
        "missing",
        f"ONNX Runtime {version} looks for {wanted}, which cannot be loaded{found}; needed for "
        "device ort-tensorrt only",
        f"pip install 'tensorrt>={_TENSORRT_MAJOR},<{_TENSORRT_MAJOR + 1}'",
    )


def _bindings() -> str | None:
    """The distribution that carries TensorRT's bindings alone, if there is one."""
    for name in ("tensorrt-cu13-bindings", "tensorrt-cu12-bindings"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _tensorrt() -> Finding:
    """Whether device `tensorrt` can run plans."""
    from flowtrack.runtime.engines.tensorrt import tensorrt_missing

    missing = tensorrt_missing()
    if missing is None:
        return Finding("tensorrt", "ok", "TensorRT, pycuda and cuda-bindings can be loaded")
    detail, _, remedy = missing.partition(";")
    return Finding(
        "tensorrt", "missing", f"{detail}; needed for device tensorrt only", remedy.strip()
    )
