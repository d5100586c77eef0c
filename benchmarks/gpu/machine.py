"""What the machine has for these measurements, what it lacks, and how to wait for its GPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess

from benchmarks.records import Skipped

_DISTRIBUTIONS = ("torch", "onnxruntime-gpu", "tensorrt", "pycuda")


def require(device: str, *, torch: bool = False) -> None:
    """Leave a measurement out where its device is not there.

    Raises:
        Skipped: with the reason.
    """
    reason = missing(device)
    if reason is not None:
        raise Skipped(reason)
    if torch and importlib.util.find_spec("torch") is None:
        raise Skipped("needs torch: pip install torch")
    if torch and device == "cuda":
        import torch as library

        if not library.cuda.is_available():
            raise Skipped(f"torch {library.__version__} sees no CUDA device")


def missing(device: str) -> str | None:
    """What ONNX Runtime lacks to run on a device; None where it runs."""
    from flowtrack.errors import FlowtrackError
    from flowtrack.runtime.engines.driver import cuda_driver_version
    from flowtrack.runtime.engines.onnxruntime_session import PROVIDERS, import_onnxruntime

    if device == "cpu":
        return None
    if cuda_driver_version() is None:
        return "no CUDA driver with a device answers on this machine"
    try:
        offered = import_onnxruntime().get_available_providers()
    except FlowtrackError as error:
        return str(error)
    if PROVIDERS["cuda"] not in offered:
        return "this ONNX Runtime has no CUDA provider: pip install 'flowtrack[gpu]'"
    return None


def facts() -> dict[str, str]:
    """The GPU, its driver and memory, and versions of what may use it; `absent` where missing."""
    asked = ("name", "driver_version", "memory.total", "clocks.max.sm")
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        values = [value.strip() for value in done.stdout.splitlines()[0].split(",")]
    except (OSError, subprocess.SubprocessError, IndexError):
        values = ["absent"] * len(asked)
    found = {f"gpu {name}": value for name, value in zip(asked, values, strict=False)}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def memory_mb(device: str) -> float:
    """Memory in use: on a GPU all of it, by whomever; on the CPU that of this process."""
    if device == "cpu":
        import os
        from pathlib import Path

        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return float(done.stdout.splitlines()[0]) * 1.048576
