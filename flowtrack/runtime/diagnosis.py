"""What this machine has for tracking, what is missing, and the command that would mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from flowtrack.errors import FlowtrackError
from flowtrack.jit import cache_folder
from flowtrack.runtime.engines import choose_device
from flowtrack.runtime.engines.driver import cuda_driver_version
from flowtrack.runtime.engines.onnxruntime import import_onnxruntime, installed_distributions

State = Literal["ok", "missing", "broken"]

# Distributions that install the module `cv2`.
_OPENCV = (
    "opencv-python", "opencv-python-headless",
    "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        state: `ok`; `missing`: a part that some features need; `broken`: tracking cannot work.
        detail: what was found.
        remedy: the command or step that mends it; empty if there is nothing to mend.
    """

    subject: str
    state: State
    detail: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Look at everything that tracking and exporting need."""
    return [*_python(), *_packages(), *_onnxruntime(), *_gpu(), *_encoder(), *_kernel_cache()]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _packages() -> Iterator[Finding]:
    for name in ("numpy", "numba", "av"):
        version = _version(name)
        if version is None:
            yield Finding(name, "broken", "not installed", f"pip install {name}")
        else:
            yield Finding(name, "ok", version)
    opencv = [name for name in _OPENCV if _version(name)]
    if len(opencv) > 1:
        yield Finding(
            "opencv",
            "broken",
            f"{' and '.join(opencv)} are both installed and overwrite each other's files",
            f"pip uninstall -y {' '.join(opencv)} && pip install opencv-python-headless",
        )
    elif opencv:
        yield Finding("opencv", "ok", f"{opencv[0]} {_version(opencv[0])}")
    else:
        yield Finding("opencv", "broken", "not installed", "pip install opencv-python-headless")
    for name in ("torch", "onnx", "onnxscript"):
        version = _version(name)
        if version:
            yield Finding(name, "ok", version)
        else:
            detail = "not installed; needed to export networks, not to track"
            yield Finding(name, "missing", detail, "pip install 'flowtrack[export]'")


def _onnxruntime() -> Iterator[Finding]:
    try:
        ort = import_onnxruntime()
    except FlowtrackError as error:
        detail, _, remedy = str(error).partition(";")
        yield Finding("onnxruntime", "broken", detail, remedy.strip())
        return
    names = ", ".join(installed_distributions())
    yield Finding(
        "onnxruntime",
        "ok",
        f"{names} {ort.__version__}: {', '.join(ort.get_available_providers())}",
    )
    device, why = choose_device("auto")
    yield Finding("device auto", "ok", f"{device} ({why})")


def _gpu() -> Iterator[Finding]:
    driver = cuda_driver_version()
    if driver is None:
        yield Finding(
            "NVIDIA driver",
            "missing",
            "no CUDA driver answers; networks run on the CPU",
            "install the NVIDIA driver, if this machine has an NVIDIA GPU",
        )
        return
    yield Finding("NVIDIA driver", "ok", f"CUDA {driver}")
    if "onnxruntime-gpu" not in installed_distributions():
        yield Finding(
            "onnxruntime-gpu",
            "missing",
            "a CUDA driver is there, but this ONNX Runtime cannot use it",
            "pip uninstall -y onnxruntime && pip install 'flowtrack[gpu]'",
        )


def _encoder() -> Iterator[Finding]:
    if importlib.util.find_spec("av") is None:
        return
    try:
        import av
    except ImportError as error:
        yield Finding(
            "H.264 encoder",
            "broken",
            f"PyAV is installed and cannot be loaded: {error}",
            "pip install --force-reinstall av",
        )
        return
    found = [name for name in ("libx264", "libopenh264") if name in av.codecs_available]
    if found:
        yield Finding("H.264 encoder", "ok", found[0])
    else:
        yield Finding(
            "H.264 encoder",
            "missing",
            "this PyAV has no H.264 encoder; annotated videos cannot be written",
            "pip install --force-reinstall av",
        )


def _kernel_cache() -> Iterator[Finding]:
    folder = cache_folder()
    if folder is None:
        yield Finding(
            "kernel cache",
            "missing",
            "no folder can be written; each start compiles the kernels anew",
            f"set NUMBA_CACHE_DIR to a folder that can be written, such as {tempfile.gettempdir()}",
        )
    else:
        yield Finding("kernel cache", "ok", folder)
