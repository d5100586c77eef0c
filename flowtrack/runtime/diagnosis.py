"""What this machine has for tracking, what is missing, and the command that would mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from flowtrack.errors import FlowtrackError
from flowtrack.jit import cache_folder
from flowtrack.runtime.diagnosis_gpu import gpu_findings
from flowtrack.runtime.engines import choose_device
from flowtrack.runtime.engines.onnxruntime_session import (
    import_onnxruntime,
    installed_distributions,
)
from flowtrack.runtime.engines.openvino import import_openvino, openvino_installed
from flowtrack.runtime.findings import Finding

# Distributions that install the module `cv2`.
_OPENCV = (
    "opencv-python", "opencv-python-headless",
    "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip


_X86 = ("x86_64", "amd64")
_CPU_INFO = Path("/proc/cpuinfo")
_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")
_BFLOAT16 = ("avx512_bf16", "amx_bf16")


def diagnose() -> list[Finding]:
    """Look at everything that tracking and exporting need, whatever is broken."""
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": _python,
        "CPU": _cpu,
        "packages": _packages,
        "onnxruntime": _onnxruntime,
        "device auto": _device,
        "openvino": _openvino,
        "GPU": gpu_findings,
        "H.264 encoder": _encoder,
        "kernel cache": _kernel_cache,
    }
    return [finding for subject, look in parts.items() for finding in _looked(subject, look)]


def _looked(subject: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Findings of one part; what it stumbles over is a finding too."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - the rest must still be looked at
        detail = f"looking at it failed: {type(error).__name__}: {error}"
        yield Finding(subject, "broken", detail, "reinstall what this names, or report it")


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


def _cpu() -> Iterator[Finding]:
    """Instructions that make INT8 and bfloat16 fast; without, such networks gain little."""
    if not _CPU_INFO.is_file() or platform.machine().lower() not in _X86:
        return
    fields: dict[str, str] = {}
    for line in _CPU_INFO.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    detail = [fields.get("model name", "unknown")]
    for kind, names in (("INT8", _INT8), ("bfloat16", _BFLOAT16)):
        found = [name for name in names if name in flags]
        detail.append(f"{kind} by {', '.join(found)}" if found else f"no instructions for {kind}")
    yield Finding("CPU", "ok", "; ".join(detail))


def _openvino() -> Iterator[Finding]:
    if platform.machine().lower() not in _X86:
        return
    if not openvino_installed():
        yield Finding(
            "openvino",
            "missing",
            "not installed; it runs networks on this CPU faster, in bfloat16 and INT8 too",
            "pip install 'flowtrack[openvino]'",
        )
        return
    try:
        version = import_openvino().get_version().partition("-")[0]
    except FlowtrackError as error:
        detail, _, remedy = str(error).rpartition(";")
        yield Finding("openvino", "missing", detail, remedy.strip())
        return
    yield Finding("openvino", "ok", version)


def _onnxruntime() -> Iterator[Finding]:
    try:
        ort = import_onnxruntime()
    except FlowtrackError as error:
        detail, _, remedy = str(error).partition(";")
        yield Finding("onnxruntime", "broken", detail, remedy.strip())
        return
    except (ImportError, OSError) as error:
        names = " ".join(installed_distributions())
        detail = f"{names} is installed and cannot be loaded: {error}"
        yield Finding("onnxruntime", "broken", detail, f"pip install --force-reinstall {names}")
        return
    names = ", ".join(installed_distributions())
    yield Finding(
        "onnxruntime",
        "ok",
        f"{names} {ort.__version__}: {', '.join(ort.get_available_providers())}",
    )


def _device() -> Iterator[Finding]:
    try:
        device, why = choose_device("auto")
    except (FlowtrackError, ImportError, OSError):
        return  # ONNX Runtime, which is a finding of its own
    yield Finding("device auto", "ok", f"{device} ({why})")


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
