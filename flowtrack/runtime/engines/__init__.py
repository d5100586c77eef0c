"""Engines: networks ready to run, behind one two-method interface."""

from __future__ import annotations

from pathlib import Path

from flowtrack.errors import OptionError
from flowtrack.runtime.engines.base import Engine, TensorSpec
from flowtrack.runtime.engines.onnxruntime import PROVIDERS, import_onnxruntime, open_onnxruntime

__all__ = ["DEVICES", "Engine", "TensorSpec", "choose_device", "open_engine"]

DEVICES = ("auto", *PROVIDERS)
"""What can be asked for as a device."""


def choose_device(device: str) -> tuple[str, str]:
    """The device to run on, and why.

    `auto` takes CUDA where this ONNX Runtime offers it, otherwise the CPU.

    Raises:
        OptionError: no such device.
    """
    if device not in DEVICES:
        raise OptionError(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    if device != "auto":
        return device, "asked for"
    available = import_onnxruntime().get_available_providers()
    if PROVIDERS["cuda"] in available:
        return "cuda", "ONNX Runtime offers CUDA"
    return "cpu", "ONNX Runtime offers no GPU provider"


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
