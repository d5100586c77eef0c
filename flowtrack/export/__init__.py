"""From PyTorch to verified ONNX graphs."""

from __future__ import annotations

from flowtrack.export.onnx_export import (
    ExportedNetwork,
    export_detector,
    export_flow,
    export_pose,
)
from flowtrack.export.onnx_file import OPSET

__all__ = ["OPSET", "ExportedNetwork", "export_detector", "export_flow", "export_pose"]
