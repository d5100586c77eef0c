"""Whole pipelines on the device: rate, memory over many frames, threads, two in one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.gpu import NAME, GpuEffort
from benchmarks.gpu.machine import memory_mb
from benchmarks.records import Record
from benchmarks.workload import hashes
from flowtrack.runtime.bundle import Bundle
from flowtrack.runtime.pipeline import Pipeline, open_pipeline
from flowtrack.structs import Frame, TrackedFrame

GROWTH_LIMIT_MB = 16.0
"""By which memory may grow over the frames that are watched; drivers move in steps of 2 MiB."""

_SETTLED = 0.1  # share of the frames in which buffers are made and batches of every size seen
_LOOKS = 20  # times that the memory is looked at

THREADS = 4


def clip(effort: GpuEffort) -> list[Frame]:
    """Rendered people, as large as asked for."""
    from flowtrack.synthetic import ClipOptions, render_clip

    height, width = effort.size
    options = ClipOptions(width=width, height=height, frames=effort.clip, people=5, seed=1)
    return [Frame(frame.index, frame.time_s, frame.image) for frame in render_clip(options)]


def rates(
    bundle: Bundle, name: str, device: str, frames: Sequence[Frame], effort: GpuEffort
) -> Iterator[Record]:
    """Frames a second of frames in memory, one stage at a time and overlapped; stages of a frame.

    Args:
        bundle: to track with.
        name: of the bundle, for the records.
        device: to run on.
        frames: of one clip.
        effort: how often.
    """
    pipeline = open_pipeline(bundle, device=device)
    place = {"bundle": name, "device": device, "size": f"{frames[0].width}x{frames[0].height}"}
    networks = hashes(bundle.manifest)
    stepped(pipeline, frames)
    found: dict[str, list[float]] = {"step": [], "run": []}
    stages: dict[str, list[float]] = {}
    for _ in range(effort.passes):
        start = time.perf_counter()
        for tracked in stepped(pipeline, frames):
            for stage, ms in tracked.timing_ms.items():
                stages.setdefault(stage, []).append(ms)
        found["step"].append(len(frames) / (time.perf_counter() - start))
        start = time.perf_counter()
        count = sum(1 for _ in pipeline.run(frames))
        found["run"].append(count / (time.perf_counter() - start))
    for kind, samples in found.items():
        yield Record(NAME, f"Pipeline.{kind}", place, "frames/s", samples, None, networks)
    for stage, samples in stages.items():
        yield Record(NAME, f"stage {stage}", place, "ms", samples, None, networks)


def stepped(pipeline: Pipeline, frames: Sequence[Frame]) -> list[TrackedFrame]:
    """A clip tracked one frame after the other."""
    stream = pipeline.stream()
    return [pipeline.step(stream, frame) for frame in frames]


def endurance(
    bundle: Bundle, name: str, device: str, frames: Sequence[Frame], effort: GpuEffort
) -> Iterator[Record]:
    """By how much memory in use grows over many frames: the clip, tracked again and again."""
    pipeline = open_pipeline(bundle, device=device)
    looks, done, settled = [], 0, round(effort.frames * _SETTLED)
    step = max(1, (effort.frames - settled) // _LOOKS)
    stream, previous = pipeline.stream(), settled
    while done < effort.frames:
        if done % len(frames) == 0:
            stream = pipeline.stream()
        pipeline.step(stream, frames[done % len(frames)])
        done += 1
        if done >= previous:
            looks.append(memory_mb(device))
            previous += step
    place = {"bundle": name, "device": device, "frames": effort.frames}
    growth = [max(0.0, after - looks[0]) for after in looks[1:]]
    networks = hashes(bundle.manifest)
    yield Record(NAME, "memory", place, "MB", looks, None, networks)
    yield Record(NAME, "memory growth", place, "MB", growth[-1:], GROWTH_LIMIT_MB, networks)


def together(
    bundle: Bundle, name: str, device: str, frames: Sequence[Frame], effort: GpuEffort
) -> Iterator[Record]:
    """Streams in threads of one pipeline, and two pipelines in one process, against one alone.

    Records give the frames a second of all together, and the share of frames whose tracks differ
    from those of a stream alone: none may.
    """
    one, two = (open_pipeline(bundle, device=device) for _ in range(2))
    alone = stepped(one, frames)
    subjects = {f"{THREADS} threads, one pipeline": [one] * THREADS, "two pipelines": [one, two]}
    networks = hashes(bundle.manifest)
    for kind, pipelines in subjects.items():
        seconds, wrong = [], 0
        for _ in range(effort.passes):
            start = time.perf_counter()
            results = in_threads(pipelines, frames)
            seconds.append(time.perf_counter() - start)
            wrong += sum(different(result, alone) for result in results)
        count = len(frames) * len(pipelines)
        place = {"bundle": name, "device": device, "kind": kind}
        share = wrong / (count * effort.passes)
        yield Record(NAME, "together", place, "frames/s", [count / each for each in seconds], None,
                     networks)  # fmt: skip
        yield Record(NAME, "together, other tracks", place, "share", [share], 0.0, networks)


def in_threads(pipelines: Sequence[Pipeline], frames: Sequence[Frame]) -> list[list[TrackedFrame]]:
    """The clip tracked by each pipeline at the same time, each in a thread and with a stream."""
    results: dict[int, list[TrackedFrame]] = {}
    errors: list[Exception] = []

    def work(place: int, pipeline: Pipeline) -> None:
        try:
            results[place] = stepped(pipeline, frames)
        except Exception as error:  # noqa: BLE001 - raised again where it is seen
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(pipelines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(pipelines))]


def different(one: Sequence[TrackedFrame], other: Sequence[TrackedFrame]) -> int:
    """Frames in which ids differ, or joints by more than a pixel."""
    count = 0
    for a, b in zip(one, other, strict=True):
        same = np.array_equal(a.tracks.id, b.tracks.id) and np.allclose(
            a.poses.xy, b.poses.xy, atol=1.0, equal_nan=True
        )
        count += not same
    return count
