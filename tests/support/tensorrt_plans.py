"""Plans for tests, built through our own builder over the double of TensorRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.export.tensorrt import build_plan
from flowtrack.runtime.engines import Engine
from flowtrack.runtime.engines.tensorrt import this_machine
from flowtrack.runtime.engines.tensorrt.device import open_gpu
from flowtrack.runtime.plans import Fingerprint, Shapes
from tests.support.graphs import pooled_heatmaps

GRAPH = pooled_heatmaps(5, 16, 12, 4)
BUCKETS = (1, 2, 4)
PROFILES: tuple[Shapes, ...] = tuple({"data": ((size, 3, 16, 12),) * 3} for size in BUCKETS)


def plan_of(
    graph: bytes,
    profiles: tuple[Shapes, ...],
    batched: tuple[str, ...],
    gpu: int = 0,
    **options: Any,
) -> tuple[bytes, Fingerprint]:
    """A plan and its fingerprint, as `open_tensorrt` takes them."""
    device = open_gpu(gpu)
    own = Fingerprint("0" * 64, this_machine(device), "fp32", profiles, batched, **options)
    return build_plan(graph, own, device), own


def crops(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """A batch for `GRAPH`."""
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 16, 12)).astype(np.float32)


def maps(engine: Engine, batch: Any) -> npt.NDArray[np.float32]:
    """What an engine of `GRAPH` makes of a batch."""
    return engine.infer({"data": batch})["maps"]
