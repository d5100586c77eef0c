"""From PyTorch to verified ONNX graphs, and from those to TensorRT plans.

Names of PyTorch's side load it when they are first used: plans are built without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowtrack.export.onnx_export import (
        ExportedNetwork,
        export_detector,
        export_flow,
        export_pose,
    )
    from flowtrack.export.onnx_file import OPSET

__all__ = ["OPSET", "ExportedNetwork", "export_detector", "export_flow", "export_pose"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "onnx_file" if name == "OPSET" else "onnx_export"
    return getattr(import_module(f"{__name__}.{module}"), name)
