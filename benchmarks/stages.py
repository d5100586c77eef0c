"""Benchmark `stages`: a 1080p frame with four people, stage by stage, and the pipeline's rate."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.measure import Effort
from benchmarks.records import Record, Unit
from benchmarks.summary import ratios
from benchmarks.workload import PEOPLE, Workload, prepared
from flowtrack.runtime.pipeline import Pipeline, open_pipeline
from flowtrack.runtime.video import open_source
from flowtrack.structs import Frame, TrackedFrame

NAME = "stages"

OVERHEAD_LIMIT = 0.15
"""Share of a frame's time that may go to anything but the networks and the flow."""

SETTLED = 6
"""Frames at the start of a clip that are not counted: the queue fills."""


@dataclass
class _Pass:
    """One way through the clip."""

    stages: dict[str, list[float]] = field(default_factory=dict)
    frame_ms: list[float] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    people: list[int] = field(default_factory=list)

    def add(self, tracked: TrackedFrame, frame_ms: float) -> None:
        for name, ms in tracked.timing_ms.items():
            self.stages.setdefault(name, []).append(ms)
        self.frame_ms.append(frame_ms)
        self.overhead.append(overhead(tracked.timing_ms, frame_ms))
        self.people.append(len(tracked.tracks))


def overhead(timing_ms: dict[str, float], frame_ms: float) -> float:
    """Share of a frame's time that is neither a network (`*.engine`) nor the flow (`flow.*`)."""
    work = sum(
        ms for name, ms in timing_ms.items() if name.endswith(".engine") or name.startswith("flow.")
    )
    return 1.0 - work / frame_ms


def measure(effort: Effort) -> Iterator[Record]:
    """Records of each stage, of the overhead, and of `run` against `step`."""
    with prepared(max(effort.frames, SETTLED + 2)) as workload:
        pipeline = open_pipeline(workload.bundle, device="cpu")
        step_by_step(pipeline, workload.frames)
        yield from _stages(pipeline, workload, effort)
        yield from _rates(pipeline, workload, effort)


def _stages(pipeline: Pipeline, workload: Workload, effort: Effort) -> Iterator[Record]:
    total = _Pass()
    for _ in range(effort.passes):
        step_by_step(pipeline, workload.frames, total)
    people = float(np.mean(total.people))
    place = {"clip": workload.name, "people": round(people, 2)}

    def record(name: str, unit: Unit, samples: list[float], limit: float | None = None) -> Record:
        return Record(NAME, name, place, unit, samples, limit, workload.networks)

    for stage, samples in total.stages.items():
        yield record(stage, "ms", samples)
    yield record("frame", "ms", total.frame_ms)
    # A verdict needs networks that cost something, and the number of people that it is about.
    fair = workload.trained and abs(people - PEOPLE) < 0.5
    yield record("overhead", "share", total.overhead, OVERHEAD_LIMIT if fair else None)


def step_by_step(pipeline: Pipeline, frames: Iterable[Frame], into: _Pass | None = None) -> None:
    """Track a clip of frames in memory, one after the other."""
    stream = pipeline.stream()
    for number, frame in enumerate(frames):
        start = time.perf_counter()
        tracked = pipeline.step(stream, frame)
        frame_ms = (time.perf_counter() - start) * 1e3
        if into is not None and number >= SETTLED:
            into.add(tracked, frame_ms)


def _rates(pipeline: Pipeline, workload: Workload, effort: Effort) -> Iterator[Record]:
    """Frames a second from a file, decoding included: one stage at a time, and overlapped."""

    def serial() -> int:
        stream = pipeline.stream()
        with open_source(workload.clip) as source:
            return len([pipeline.step(stream, frame).index for frame in source])

    def overlapped() -> int:
        with open_source(workload.clip) as source:
            return len([tracked.index for _, tracked in pipeline.run(source)])

    rates: dict[str, list[float]] = {"step": [], "run": []}
    for _ in range(effort.passes):
        for name, work in (("step", serial), ("run", overlapped)):
            start = time.perf_counter()
            frames = work()
            rates[name].append(frames / (time.perf_counter() - start))
    place = {"clip": workload.name, "from": "H.264 file"}
    for name, samples in rates.items():
        yield Record(NAME, f"Pipeline.{name}", place, "frames/s", samples, None, workload.networks)
    faster = ratios(rates["run"], rates["step"])
    yield Record(NAME, "run / step", place, "times", faster, None, workload.networks)
