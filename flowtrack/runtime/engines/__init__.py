"""Engines: networks ready to run, behind one two-method interface."""

from __future__ import annotations

from pathlib import Path

from flowtrack.errors import EngineError
from flowtrack.runtime.engines.base import DeviceArray, Engine, TensorSpec
from flowtrack.runtime.engines.devices import DEVICES, choose_device, split_device
from flowtrack.runtime.engines.onnxruntime import open_onnxruntime
from flowtrack.runtime.engines.openvino import open_openvino

__all__ = [
    "DEVICES",
    "DeviceArray",
    "Engine",
    "TensorSpec",
    "choose_device",
    "open_engine",
    "split_device",
]


def open_engine(model: Path | bytes, device: str = "auto", threads: int = 0) -> Engine:
    """Load an ONNX graph on a device.

    Args:
        model: path or bytes of the graph.
        device: one of `DEVICES`, those of GPUs with an index if wanted (`cuda:1`).
        threads: CPU threads of one run; 0 lets the backend choose.

    Raises:
        OptionError: no such device.
        DependencyError: what runs the device is missing or damaged.
        EngineError: the graph cannot be loaded there.
    """
    chosen, _ = choose_device(device)
    name, gpu = split_device(chosen)
    if name == "cpu":
        return open_onnxruntime(model, "cpu", threads)
    if name == "openvino":
        return open_openvino(model, "f32", threads)
    if name == "openvino-bf16":
        return open_openvino(model, "bf16", threads)
    if name == "tensorrt":
        raise EngineError(
            "device tensorrt runs the plans of a bundle, not an ONNX graph; make them with "
            "`flowtrack compile BUNDLE`, or take ort-tensorrt"
        )
    return open_onnxruntime(model, name, threads, gpu=gpu)
