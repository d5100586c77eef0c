"""Engines: networks ready to run, behind one two-method interface."""

from __future__ import annotations

from pathlib import Path

from flowtrack.errors import OptionError
from flowtrack.runtime.engines.base import Engine, TensorSpec
from flowtrack.runtime.engines.driver import cuda_driver_version
from flowtrack.runtime.engines.onnxruntime import PROVIDERS, import_onnxruntime, open_onnxruntime

__all__ = ["DEVICES", "Engine", "TensorSpec", "choose_device", "open_engine"]

DEVICES = ("auto", *PROVIDERS)
"""What can be asked for as a device."""


def choose_device(device: str) -> tuple[str, str]:
    """The device to run on, and why.

    `auto` takes CUDA where this ONNX Runtime offers it and a driver answers, otherwise the CPU.

    Raises:
        OptionError: no such device.
    """
    if device not in DEVICES:
        raise OptionError(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    if device != "auto":
        return device, "asked for"
    if PROVIDERS["cuda"] not in import_onnxruntime().get_available_providers():
        return "cpu", "ONNX Runtime offers no GPU provider"
    driver = cuda_driver_version()
    if driver is None:
        return "cpu", "ONNX Runtime offers CUDA, but no CUDA driver with a device answers"
    return "cuda", f"CUDA {driver}"


def open_engine(model: Path | bytes, device: str = "auto", threads: int = 0) -> Engine:
    """Load an ONNX graph on a device.

    Args:
        model: path or bytes of the graph.
        device: one of `DEVICES`.
        threads: CPU threads of one run; 0 lets the backend choose.

    Raises:
        OptionError: no such device.
        EngineError: the graph cannot be loaded there.
    """
    chosen, _ = choose_device(device)
    return open_onnxruntime(model, chosen, threads)
