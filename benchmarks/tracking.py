"""Whole frames of the tracker, step by step, without any network."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from benchmarks.crowds import QUEUE, Crowd, boxes_of, flow_field, poses_of, walk
from benchmarks.measure import Effort, no_collection
from benchmarks.records import Record
from flowtrack.skeleton import COCO_17
from flowtrack.tracker.options import TrackerOptions
from flowtrack.tracker.tracker import FlowTracker, warmup

STEPS = ("advance", "propose", "unify", "assign")


def whole_frames(benchmark: str, people: Sequence[int], effort: Effort) -> Iterator[Record]:
    """Milliseconds of each call on the tracker for one frame, the queue being full.

    Where people are dense, the suppression of poses is off: it would leave one of them.
    """
    warmup(COCO_17)
    for count in people:
        for dense in (False, True):
            options = TrackerOptions(queue=QUEUE, pose_nms=None if dense else 0.6)
            samples = track(walk(count, QUEUE + 6, dense), options, effort.repeats)
            place = {"people": count, "queue": QUEUE, "crowd": "dense" if dense else "spread"}
            for step, times in samples.items():
                named = {**place, "step": step}
                yield Record(benchmark, "FlowTracker frame", named, "ms", times)


def track(frames: list[Crowd], options: TrackerOptions, repeats: int) -> dict[str, list[float]]:
    """Milliseconds by step of frames that find the queue full, over at least `repeats` frames."""
    inputs = [
        (flow_field(index - 1) if index else None, boxes_of(crowd), poses_of(crowd))
        for index, crowd in enumerate(frames)
    ]
    samples: dict[str, list[float]] = {step: [] for step in (*STEPS, "all")}
    with no_collection():
        while len(samples["all"]) < repeats:
            tracker = FlowTracker(COCO_17, options)
            for index, (flow, boxes, poses) in enumerate(inputs):
                marks = [time.perf_counter()]
                if flow is not None:
                    tracker.advance(flow)
                marks.append(time.perf_counter())
                tracker.propose(boxes)
                marks.append(time.perf_counter())
                tracker.unify(poses)
                marks.append(time.perf_counter())
                tracker.assign(poses, index)
                marks.append(time.perf_counter())
                if index >= options.length:
                    for step, start, end in zip(STEPS, marks, marks[1:], strict=False):
                        samples[step].append((end - start) * 1e3)
                    samples["all"].append((marks[-1] - marks[0]) * 1e3)
    return samples
