"""Benchmark `kernels`: the tracker's kernels in numba and in numpy, and the tracker as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks import numpy_kernels as plain
from benchmarks.crowds import QUEUE, SIGMAS, Crowd, flow_field, joined, walk
from benchmarks.measure import Effort, Work, one_core, take_turns
from benchmarks.records import Record
from benchmarks.summary import ratios
from benchmarks.tracking import whole_frames
from flowtrack.structs import IntArray
from flowtrack.tracker import boxes, matching, motion, oks

NAME = "kernels"

PEOPLE = (5, 20, 50, 200)

LINK_LIMIT_MS = 1.0
"""Similarity and matching of 50 people with 5 remembered frames may take this on one core."""

MIN_SIMILARITY, NMS_IOU, POSE_NMS, GROWTH = 0.2, 0.5, 0.6, 0.15
"""The tracker's defaults."""

_Versions = tuple[Callable[..., object], Callable[..., object], tuple[Any, ...]]


def measure(effort: Effort) -> Iterator[Record]:
    """Records of every kernel, of similarity with matching, and of whole frames of the tracker."""
    with one_core():
        for people in PEOPLE:
            for name, pair in subjects(people).items():
                yield from _against(name, {"people": people}, pair, effort)
        for people in PEOPLE:
            for dense in (False, True):
                yield from _links(people, dense, effort)
        yield from whole_frames(NAME, PEOPLE, effort)


def subjects(people: int, dense: bool = False) -> dict[str, tuple[Work, Work]]:
    """(numba, numpy) by kernel, on the same people; matrices are against 5 remembered frames."""
    now, queue = _scene(people, dense)
    field = flow_field()
    table = oks.oks_matrix(queue.xy, queue.usable, queue.area, now.xy, now.usable, SIGMAS)
    arguments: dict[str, _Versions] = {
        "propagate": (motion.propagate, plain.propagate, (field.uv, field.scale, now.xy)),
        "joint_boxes": (motion.joint_boxes, plain.joint_boxes, (now.xy, now.usable, GROWTH)),
        "iou_matrix": (boxes.iou_matrix, plain.iou_matrix, (queue.box, now.box)),
        "nms": (boxes.nms, plain.nms, (now.box, now.score, NMS_IOU)),
        "oks_matrix": (
            oks.oks_matrix,
            plain.oks_matrix,
            (queue.xy, queue.usable, queue.area, now.xy, now.usable, SIGMAS),
        ),
        "pose_nms": (
            oks.pose_nms,
            plain.pose_nms,
            (now.xy, now.usable, now.area, now.score, SIGMAS, POSE_NMS),
        ),
        "greedy_match": (
            matching.greedy_match,
            plain.greedy_match,
            (table, queue.track, MIN_SIMILARITY),
        ),
    }
    return {
        name: (partial(fast, *given), partial(slow, *given))
        for name, (fast, slow, given) in arguments.items()
    }


def _scene(people: int, dense: bool) -> tuple[Crowd, Crowd]:
    """People of this frame, and of the remembered ones, newest first."""
    frames = walk(people, QUEUE + 1, dense)
    return frames[-1], joined(frames[-2::-1])


def _against(
    name: str,
    parameters: Mapping[str, object],
    pair: tuple[Work, Work],
    effort: Effort,
    limit_ms: float | None = None,
) -> Iterator[Record]:
    """Both implementations in turns, and how many times faster numba is."""
    samples = take_turns({"numba": pair[0], "numpy": pair[1]}, effort)
    for code, limit in (("numba", limit_ms), ("numpy", None)):
        yield Record(NAME, name, {**parameters, "code": code}, "ms", samples[code], limit)
    faster = ratios(samples["numpy"], samples["numba"])
    yield Record(NAME, name, {**parameters, "code": "numpy / numba"}, "times", faster)


def _links(people: int, dense: bool, effort: Effort) -> Iterator[Record]:
    """Similarity to everybody in the queue and greedy matching: lines 11 and 12 together."""
    now, queue = _scene(people, dense)
    given = queue.xy, queue.usable, queue.area, now.xy, now.usable, SIGMAS

    def fast() -> IntArray:
        return matching.greedy_match(oks.oks_matrix(*given), queue.track, MIN_SIMILARITY)

    def slow() -> IntArray:
        return plain.greedy_match(plain.oks_matrix(*given), queue.track, MIN_SIMILARITY)

    place = {"people": people, "queue": QUEUE, "crowd": "dense" if dense else "spread"}
    limit = LINK_LIMIT_MS if people == 50 else None
    yield from _against("similarity + matching", place, (fast, slow), effort, limit)
