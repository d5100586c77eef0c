"""How far a network on the device is from the CPU, and how long a run of it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.gpu import NAME, GpuEffort
from benchmarks.gpu.subjects import Array, Subject, feeds
from benchmarks.measure import Work, no_collection
from benchmarks.records import Record
from flowtrack.runtime.engines import Engine, open_engine
from flowtrack.runtime.engines.onnxruntime import open_onnxruntime

CLEAR = 0.3
"""Joints and boxes scored below this share of the best are left out of the comparison."""

_KEPT = 1000  # flow vectors of a comparison

LIMITS_PX = {"fp32": 0.05, "fp16": 0.5}
"""Largest median difference of places, by precision. CUDA multiplies float32 with ten bits."""


def opened(content: bytes, device: str, graphs: bool = True) -> Engine:
    """A network on the device, with or without CUDA graphs (which the CPU has not)."""
    if device == "cpu":
        return open_engine(content, "cpu", 1)
    return open_onnxruntime(content, device, graphs=graphs)


def network(subject: Subject, device: str, effort: GpuEffort) -> Iterator[Record]:
    """Differences to the CPU and milliseconds from arrays to arrays, per batch size.

    With CUDA graphs and without; where the network reads frames, also with the frame on the device
    already. One engine serves all batches, as in tracking.
    """
    reference = open_engine(subject.content, "cpu")
    expected: dict[int, dict[str, Array]] = {}
    for graphs in (False,) if device == "cpu" else (True, False):
        engine = opened(subject.content, device, graphs)
        for batch in subject.batches(effort.buckets):
            given = feeds(engine, subject, batch, effort.size)
            if batch not in expected:
                expected[batch] = reference.infer(given)
            place = {**subject.parameters, "batch": batch, "graphs": graphs}
            apart = differences(expected[batch], engine.infer(given))
            yield Record(NAME, "difference to the CPU", place, "px", apart.tolist(),
                         LIMITS_PX[subject.precision], subject.networks)  # fmt: skip
            yield _timed(engine, given, "run", place, subject, effort)
            if subject.form == "frame":
                placed = {name: engine.place(value) if value.ndim == 3 and value.dtype == np.uint8
                          else value for name, value in given.items()}  # fmt: skip
                yield _timed(engine, placed, "run, frame placed", place, subject, effort)


def _timed(
    engine: Engine,
    given: Mapping[str, Any],
    name: str,
    place: dict[str, Any],
    subject: Subject,
    effort: GpuEffort,
) -> Record:
    samples = timed(lambda: engine.infer(given), effort)
    return Record(NAME, name, place, "ms", samples, None, subject.networks)


def differences(expected: Mapping[str, Array], found: Mapping[str, Array]) -> Array:
    """How far each place of `expected` is from its counterpart, in pixels.

    Boxes, which come in order of their scores, pair off with the nearest; places that hardly score
    are left out, for where they lie is chance.
    """
    if "keypoints" in expected:
        one, other = expected["keypoints"], found["keypoints"]
        score = one[..., 2]
        distance = np.linalg.norm(one[..., :2] - other[..., :2], axis=-1)
        clear: Array = distance[score >= CLEAR * score.max()]
        return clear
    if "boxes" in expected:
        score = expected["scores"]
        pairs = np.abs(expected["boxes"][:, :, None] - found["boxes"][:, None]).max(axis=3)
        nearest: Array = pairs.min(axis=2)[score >= CLEAR * score.max()]
        return nearest
    ((name, one),) = expected.items()
    length: Array = np.linalg.norm(one - found[name], axis=1).ravel()
    return length[:: -(-length.size // _KEPT)]


def timed(work: Work, effort: GpuEffort) -> list[float]:
    """Milliseconds of single calls; each returns when its result is in host memory."""
    for _ in range(effort.warmup):
        work()
    samples = []
    with no_collection():
        for _ in range(effort.calls):
            start = time.perf_counter()
            work()
            samples.append((time.perf_counter() - start) * 1e3)
    return samples
