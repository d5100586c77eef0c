"""Timing on a machine that others use too: subjects take turns, and repeats are many."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How much time a benchmark may take.

    Attributes:
        repeats: samples of each subject.
        sample_ms: short work is done so often that a sample lasts about as long as this.
        passes: of a whole clip.
        frames: of a clip.
    """

    repeats: int
    sample_ms: float
    passes: int
    frames: int


FULL = Effort(repeats=25, sample_ms=4.0, passes=5, frames=36)
QUICK = Effort(repeats=5, sample_ms=1.0, passes=2, frames=8)


@contextmanager
def one_core() -> Iterator[bool]:
    """Keep this thread on a single core; yields whether the system allows it."""
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector out of a measurement."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def take_turns(subjects: Mapping[str, Work], effort: Effort) -> dict[str, list[float]]:
    """Milliseconds per call of every subject, measured in turns: A B, A B, A B ...

    Sample i of one subject and sample i of another were taken side by side, see `ratios`.

    Returns:
        `effort.repeats` samples of each subject.
    """
    with no_collection():
        calls = {name: calls_per_sample(work, effort.sample_ms) for name, work in subjects.items()}
        samples: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(effort.repeats):
            for name, work in subjects.items():
                samples[name].append(_elapsed_ms(work, calls[name]) / calls[name])
    return samples


def calls_per_sample(work: Work, sample_ms: float) -> int:
    """How many calls last about `sample_ms`; the calls made to find out also warm the work up."""
    work()
    calls = 1
    while True:
        elapsed = _elapsed_ms(work, calls)
        if elapsed >= sample_ms / 2:
            return max(1, round(calls * sample_ms / elapsed))
        calls *= 2


def _elapsed_ms(work: Work, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) * 1e3
