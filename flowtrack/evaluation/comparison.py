"""What of a clip counts, and how far the results are from the truth, by poseval's rules.

Frames without ground truth go, together with their predictions; joints inside an ignore region go
on both sides, and people who lose all their joints that way. Distances are measured in units of
0.6 times the diagonal of the person's head box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.sequences import Float64Array, PoseFrame, PoseSequence
from flowtrack.structs import BoolArray, IntArray

HEAD_SHARE = 0.6
"""Distance 1 as a share of the head box's diagonal (getHeadSize in poseval's eval_helpers.py)."""
MATCH_DISTANCE = 0.5
"""Up to this distance, inclusive, a joint is found (distThresh in poseval's evaluateAP.py)."""


@dataclass(frozen=True, slots=True)
class ComparedFrame:
    """One frame that counts: M people of the truth against N of the results.

    Attributes:
        truth_id, result_id: (M,), (N,) int64 track ids.
        truth_has, result_has: (M, 15), (N, 15) the joints that are there.
        score: (N, 15) confidence of the predicted joints.
        distance: (M, N, 15) normalised; +inf where not both joints are there, or beyond
            `MATCH_DISTANCE`: the finite ones are the possible matches.
    """

    truth_id: IntArray
    result_id: IntArray
    truth_has: BoolArray
    result_has: BoolArray
    score: Float64Array
    distance: Float64Array


def compare(truth: PoseSequence, results: PoseSequence) -> list[ComparedFrame]:
    """The frames of a clip that count, in order.

    Raises:
        InputError: the clips differ in length, or a person of the truth has no head box.
    """
    if len(truth) != len(results):
        raise InputError(
            f"{results.name} has {len(results)} frames, its truth {truth.name} {len(truth)}; "
            "expected as many, since frames are matched by position"
        )
    return [
        _compared(t, r, f"{truth.name}: frame {index}")
        for index, (t, r) in enumerate(zip(truth.frames, results.frames, strict=True))
        if t.labelled
    ]


def _compared(truth: PoseFrame, results: PoseFrame, where: str) -> ComparedFrame:
    regions = truth.ignore
    truth, results = without_ignored(truth, regions), without_ignored(results, regions)
    truth_has, result_has = truth.present, results.present
    headless = truth_has.any(axis=1) & ~np.isfinite(truth.head).all(axis=1)
    if headless.any():
        raise InputError(
            f"{where}: person {truth.track_id[headless][0]} of the truth has no head box, expected "
            "x1, y1, x2, y2 (2017) or bbox_head (2018) for everybody with joints"
        )
    return ComparedFrame(
        truth_id=truth.track_id,
        result_id=results.track_id,
        truth_has=truth_has,
        result_has=result_has,
        score=results.score,
        distance=_distances(truth, results),
    )


def _distances(truth: PoseFrame, results: PoseFrame) -> Float64Array:
    unit = HEAD_SHARE * np.sqrt(np.square(truth.head[:, 2:] - truth.head[:, :2]).sum(axis=1))
    # A head box without extent has no unit: nothing of that person can be found.
    unit[~(unit > 0)] = np.nan
    apart = truth.xy[:, None] - results.xy[None]
    distance = np.sqrt(np.square(apart).sum(axis=-1)) / unit[:, None, None]
    near: Float64Array = np.where(distance <= MATCH_DISTANCE, distance, np.inf)
    return near


def without_ignored(frame: PoseFrame, regions: Sequence[Float64Array]) -> PoseFrame:
    """`frame` without the joints strictly inside one of the polygons `regions` (V, 2)."""
    if not regions or not len(frame):
        return frame
    ignored: BoolArray = np.logical_or.reduce([inside(frame.xy, polygon) for polygon in regions])
    xy = np.where(ignored[..., None], np.nan, frame.xy)
    kept = (frame.present & ~ignored).any(axis=1)
    return replace(
        frame,
        track_id=frame.track_id[kept],
        xy=xy[kept],
        score=frame.score[kept],
        head=frame.head[kept],
    )


def inside(xy: Float64Array, polygon: Float64Array) -> BoolArray:
    """Whether points lie inside a polygon, its outline not included; false for NaN.

    Args:
        xy: (..., 2).
        polygon: (V, 2) corners in order; even-odd where the outline crosses itself.

    Returns:
        (...) bool.
    """
    start, end = polygon, np.roll(polygon, -1, axis=0)
    x, y = xy[..., 0, None], xy[..., 1, None]
    side = end - start
    # Twice the area between a side and the point: 0 on the side's line.
    cross = side[:, 0] * (y - start[:, 1]) - side[:, 1] * (x - start[:, 0])
    low, high = np.minimum(start, end), np.maximum(start, end)
    between = (x >= low[:, 0]) & (x <= high[:, 0]) & (y >= low[:, 1]) & (y <= high[:, 1])
    on_outline = ((cross == 0) & between).any(axis=-1)
    # A side that spans the point's height lies to its right if the point is on that side of it.
    spans = (start[:, 1] > y) != (end[:, 1] > y)
    right = spans & (cross * side[:, 1] > 0)
    enclosed: BoolArray = (right.sum(axis=-1) % 2 == 1) & ~on_outline
    return enclosed
