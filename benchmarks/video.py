"""Benchmark `video`: 1080p in and out, without any network but with what one found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from benchmarks.measure import Effort
from benchmarks.records import Record
from benchmarks.summary import ratios
from benchmarks.workload import FPS, Workload, prepared
from flowtrack.runtime.drawing import DrawOptions, Painter
from flowtrack.runtime.output.mp4 import Mp4Writer, Paint
from flowtrack.runtime.pipeline import open_pipeline
from flowtrack.runtime.video import open_source
from flowtrack.structs import TrackedFrame

NAME = "video"


def measure(effort: Effort) -> Iterator[Record]:
    """Records of decoding (OpenCV's reader as the yardstick), drawing, and drawing with H.264."""
    with prepared(effort.frames) as workload:
        pipeline = open_pipeline(workload.bundle, device="cpu")
        stream = pipeline.stream()
        tracked = [pipeline.step(stream, frame) for frame in workload.frames]
        place = {"clip": workload.name, "size": "1920x1080"}
        yield from _decoding(workload, place, effort)
        painter = Painter(pipeline.skeleton)
        drawn = [_drawing(painter, workload, tracked) for _ in range(effort.passes)]
        yield Record(NAME, "draw", place, "ms", [ms for times in drawn for ms in times])
        everything = Painter(pipeline.skeleton, DrawOptions(boxes=True, flow="colors"))
        drawn = [_drawing(everything, workload, tracked) for _ in range(effort.passes)]
        yield Record(NAME, "draw, with boxes and flow", place, "ms",
                     [ms for times in drawn for ms in times])  # fmt: skip
        yield from _encoding(painter, workload, tracked, place, effort)


def _decoding(workload: Workload, place: Mapping[str, str], effort: Effort) -> Iterator[Record]:
    rates: dict[str, list[float]] = {"flowtrack": [], "opencv": []}
    for _ in range(effort.passes):
        start = time.perf_counter()
        with open_source(workload.clip) as source:
            frames = sum(1 for _ in source)
        rates["flowtrack"].append(frames / (time.perf_counter() - start))
        start = time.perf_counter()
        frames = _opencv_frames(workload.clip)
        rates["opencv"].append(frames / (time.perf_counter() - start))
    for code, samples in rates.items():
        yield Record(NAME, "decode", {**place, "code": code}, "frames/s", samples)
    faster = ratios(rates["flowtrack"], rates["opencv"])
    yield Record(NAME, "decode", {**place, "code": "flowtrack / opencv"}, "times", faster)


def _opencv_frames(clip: Path) -> int:
    reader = cv2.VideoCapture(str(clip))
    count = 0
    while reader.read()[0]:
        count += 1
    reader.release()
    return count


def _drawing(painter: Painter, workload: Workload, tracked: list[TrackedFrame]) -> list[float]:
    times = []
    for frame, found in zip(workload.frames, tracked, strict=True):
        start = time.perf_counter()
        painter.paint(frame.image, found)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _encoding(
    painter: Painter,
    workload: Workload,
    tracked: list[TrackedFrame],
    place: Mapping[str, str],
    effort: Effort,
) -> Iterator[Record]:
    """The whole way to a file; drawing and encoding run in a thread of their own."""
    ways: dict[str, Paint] = {"encode": lambda image, _: image, "draw and encode": painter.paint}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with TemporaryDirectory(prefix="flowtrack-bench-") as scratch:
        for _ in range(effort.passes):
            for name, paint in ways.items():
                start = time.perf_counter()
                with Mp4Writer(Path(scratch) / "out.mp4", paint, FPS) as writer:
                    for frame, found in zip(workload.frames, tracked, strict=True):
                        writer.write(found, frame.image)
                rates[name].append(len(tracked) / (time.perf_counter() - start))
    for name, samples in rates.items():
        yield Record(NAME, name, place, "frames/s", samples)
