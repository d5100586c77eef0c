"""Options of ONNX Runtime's TensorRT provider: caches, and the shapes that it builds for.

Types are those of the graph: there is no switch for half precision or INT8.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flowtrack.cache import compiled_cache
from flowtrack.errors import EngineError
from flowtrack.runtime.engines.base import TensorSpec
from flowtrack.runtime.engines.libraries import load_library
from flowtrack.runtime.engines.onnxruntime_session import (
    PROVIDERS,
    import_onnxruntime,
    open_session,
    tensor_specs,
)

SIDES = ((64, 64), (1080, 1920), (2160, 3840))
"""Smallest, usual and largest (height, width) that engines are built for, where these are free."""

TUNED_BATCH = 4
"""Batch size that engines are tuned for."""

LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
"""What ONNX Runtime's provider is linked to, up to version 1.32."""

log = logging.getLogger("flowtrack.onnxruntime")


def load_tensorrt() -> None:
    """Load TensorRT out of its wheel, where ONNX Runtime itself does not look.

    What cannot be loaded shows when the provider starts.
    """
    for library in LIBRARIES:
        load_library(library)


def tensorrt_settings(model: Path | bytes, gpu: int, buckets: Sequence[int]) -> dict[str, str]:
    """Options for a graph, as ONNX Runtime names them.

    Built engines are kept below the user's cache folder by the graph's hash and ONNX Runtime's
    version, timings of kernels for all graphs together.

    Args:
        model: path or bytes of the graph.
        gpu: index, as CUDA counts.
        buckets: batch sizes that it will be fed.

    Raises:
        EngineError: the graph cannot be read.
    """
    name = "graph" if isinstance(model, bytes) else str(model)
    try:
        data = model if isinstance(model, bytes) else model.read_bytes()
    except OSError as error:
        raise EngineError(f"{name} cannot be read: {error}") from error
    inputs, _ = tensor_specs(open_session(model, [(PROVIDERS["cpu"], {})], 1))
    settings = {"device_id": str(gpu), **profile_settings(inputs, buckets)}
    version: str = import_onnxruntime().__version__
    engines = compiled_cache(
        "onnxruntime-tensorrt", hashlib.sha256(data).hexdigest()[:32] + "-" + version
    )
    timings = compiled_cache("onnxruntime-tensorrt", f"timings-{version}")
    if engines is None or timings is None:
        log.warning(
            "no cache folder can be written, so TensorRT builds its engine anew at every start, "
            "which takes minutes; set XDG_CACHE_HOME to a folder that can be written"
        )
        return settings
    return {
        **settings,
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(timings),
    }


def profile_settings(inputs: Sequence[TensorSpec], buckets: Sequence[int]) -> dict[str, str]:
    """The least, tuned and largest shape of every input with free axes.

    Nothing where an axis is free that is neither batch, height nor width: TensorRT then builds for
    the shapes that it is fed, and anew when they grow.
    """
    shapes: dict[str, list[str]] = {"min": [], "opt": [], "max": []}
    batches = (min(buckets), TUNED_BATCH, max(buckets))
    for spec in inputs:
        if all(isinstance(size, int) for size in spec.shape):
            continue
        axes = _free_axes(spec)
        if axes is None:
            return {}
        for kind, batch, sides in zip(shapes, batches, SIDES, strict=True):
            free = {"batch": batch, "height": sides[0], "width": sides[1]}
            sizes = [str(free[what] if isinstance(what, str) else what) for what in axes]
            shapes[kind].append(f"{spec.name}:{'x'.join(sizes)}")
    return {f"trt_profile_{kind}_shapes": ",".join(each) for kind, each in shapes.items() if each}


def _free_axes(spec: TensorSpec) -> list[int | str] | None:
    """The shape with `batch`, `height` and `width` where it is free; None if that is not known."""
    if len(spec.shape) == 3 and spec.shape[2] == 3 and spec.dtype == np.uint8:
        names = ["height", "width", ""]  # a frame
    elif len(spec.shape) == 4:
        names = ["batch", "", "height", "width"]
        if spec.shape[3] == 3:
            names = ["batch", "height", "width", ""]
    else:
        names = ["batch", *("" for _ in spec.shape[1:])]
    axes = [
        size if isinstance(size, int) else name
        for size, name in zip(spec.shape, names, strict=True)
    ]
    return None if "" in axes else axes
