"""Feeding any number of pictures to a network that takes a certain number at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_BATCH = 32
"""Pictures that go through a network of free batch size at once; bounds the memory of a crowd."""

BUCKETS = (1, 2, 4, 8, 16)
"""Batch sizes that GPUs are tuned for: a batch is filled up to the next, larger ones are split."""


def run_batched(
    run: Callable[[Array], dict[str, Array]], batch: Array, fixed: int | None
) -> dict[str, Array]:
    """Outputs for a whole batch, split into runs of the size that the network takes.

    Args:
        run: one run of the network; every output has the batch as its first axis.
        batch: (N, ...) with N >= 1.
        fixed: the batch size that the network is fixed to; the last run is filled up with zeros
            whose outputs are dropped. None: any size, at most `MAX_BATCH` at once.

    Returns:
        Outputs of all N, joined along the first axis.
    """
    size = fixed or MAX_BATCH
    if len(batch) == size or (fixed is None and len(batch) < size):
        return run(batch)
    parts = []
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        filling = size - len(part) if fixed else 0
        if filling:
            part = np.concatenate([part, np.zeros((filling, *part.shape[1:]), part.dtype)])
        outputs = run(np.ascontiguousarray(part))
        parts.append({name: value[: size - filling] for name, value in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Part:
    """A run's share of a batch: rows `start` to `start + count`, filled up to `bucket`."""

    start: int
    count: int
    bucket: int


def split_batch(count: int, buckets: Sequence[int]) -> list[Part]:
    """The runs for a batch: as many of the largest bucket as there are, the rest in the least
    bucket that holds it.

    Args:
        count: rows of the batch, at least 1.
        buckets: batch sizes that the network is tuned for.
    """
    sizes = sorted(buckets)
    parts = []
    for start in range(0, count, sizes[-1]):
        left = min(count - start, sizes[-1])
        parts.append(Part(start, left, next(size for size in sizes if size >= left)))
    return parts
