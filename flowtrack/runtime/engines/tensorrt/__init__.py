"""TensorRT plans on NVIDIA GPUs. Nothing here imports TensorRT before a CUDA driver answered."""

from __future__ import annotations

from flowtrack.runtime.engines.tensorrt.library import tensorrt_missing, this_machine
from flowtrack.runtime.engines.tensorrt.runner import TensorRTEngine, open_tensorrt

__all__ = ["TensorRTEngine", "open_tensorrt", "tensorrt_missing", "this_machine"]
