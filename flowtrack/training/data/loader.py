"""Batches for a step, made by worker processes ahead of time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from flowtrack.errors import FlowtrackError
from flowtrack.training.data.mixture import Mixture

Batch = dict[str, torch.Tensor]


class _Batches(Dataset[Batch | FlowtrackError]):
    """The batch of a range of sample numbers.

    An error is handed over as a value: the loader would wrap what a worker raises, and put the
    worker's traceback into the message.
    """

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def __getitem__(self, numbers: range) -> Batch | FlowtrackError:
        try:
            return stack([self._mixture[number] for number in numbers])
        except FlowtrackError as error:
            return error


def stack(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Samples with the same names and shapes as one batch of tensors."""
    return {
        name: torch.from_numpy(np.stack([np.asarray(sample[name]) for sample in samples]))
        for name in samples[0]
    }


def first_batches(mixture: Mixture, count: int = 8, batch: int = 32) -> Iterator[Batch]:
    """The first `count` batches of a mixture, made in this process."""
    for start in range(0, count * batch, batch):
        yield stack([mixture[number] for number in range(start, start + batch)])


def batches(
    mixture: Mixture,
    batch: int,
    start: int,
    stop: int,
    *,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
) -> Iterator[Batch]:
    """Batches number `start` to `stop` of a mixture, this process's share of each.

    Args:
        mixture: where samples come from.
        batch: samples of a batch over all processes; `world` divides it.
        start, stop: numbers of batches; batch b holds samples b * batch and following.
        workers: processes that make samples; 0 makes them here.
        rank, world: of this process among those that train together.
        pin: page-locked memory, for copies to a GPU.

    Raises:
        FlowtrackError: whatever a sample's source raises, e.g. SourceError for a damaged picture.
    """
    share = batch // world
    first = rank * share
    loader = DataLoader(
        _Batches(mixture),
        batch_size=None,  # the data set makes whole batches
        sampler=(range(b * batch + first, b * batch + first + share) for b in range(start, stop)),
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
        worker_init_fn=_one_thread if workers else None,
        multiprocessing_context=_forked() if workers else None,
        generator=torch.Generator(),  # or starting a loader would draw from the common one
    )
    for made in loader:
        if isinstance(made, FlowtrackError):
            raise made
        yield made


def _as_it_is(made: Any) -> Any:
    return made


def _forked() -> str | None:
    """How workers start: forked where that is safe, so that they share decoded pictures."""
    return "fork" if sys.platform == "linux" else None


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
