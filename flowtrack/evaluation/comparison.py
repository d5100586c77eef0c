"""What of a clip counts, and how far the results are from the truth.

`Comparison` is what every measure of tracking counts from, be it poses or boxes. For poses the
rules are poseval's: frames without ground truth go, together with their predictions; joints inside
an ignore region go on both sides, and people who lose all their joints that way. Distances are
measured in units of 0.6 times the diagonal of the person's head box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.sequences import (
    JOINTS,
    Float64Array,
    PoseFrame,
    PoseSequence,
    starts,
)
from flowtrack.jit import exact_jit
from flowtrack.structs import BoolArray, IntArray

HEAD_SHARE = 0.6
"""Distance 1 as a share of the head box's diagonal (getHeadSize in poseval's eval_helpers.py)."""
MATCH_DISTANCE = 0.5
"""Up to this distance, inclusive, a joint is found (distThresh in poseval's evaluateAP.py)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One clip: F frames that count, in all of them T people of the truth and R of the results.

    Of everybody K things are followed, each for itself: 15 joints of a pose, or one box. A frame's
    people lie in a row, and so do its pairs, the truth's first person with all results first.

    Attributes:
        truth_start, result_start, pair_start: (F + 1,) int64, where each frame begins.
        truth_id, result_id: (T,), (R,) int64 track ids.
        truth_has, result_has: (T, K), (R, K) what is there.
        score: (R, K) confidence of the predictions.
        distance: (P, K) of all pairs; +inf where not both are there.
        limit: up to this distance, inclusive, the truth is found.
        reach: distance at which similarity has fallen to 0; it is 1 at no distance.
    """

    truth_start: IntArray
    result_start: IntArray
    pair_start: IntArray
    truth_id: IntArray
    result_id: IntArray
    truth_has: BoolArray
    result_has: BoolArray
    score: Float64Array
    distance: Float64Array
    limit: float
    reach: float

    def __len__(self) -> int:
        return len(self.truth_start) - 1

    def without_last(self) -> Comparison:
        """The same without its last frame, if it has one."""
        end = max(len(self) - 1, 0)
        truths, results = int(self.truth_start[end]), int(self.result_start[end])
        return replace(
            self,
            truth_start=self.truth_start[: end + 1],
            result_start=self.result_start[: end + 1],
            pair_start=self.pair_start[: end + 1],
            truth_id=self.truth_id[:truths],
            result_id=self.result_id[:results],
            truth_has=self.truth_has[:truths],
            result_has=self.result_has[:results],
            score=self.score[:results],
            distance=self.distance[: int(self.pair_start[end])],
        )


def compare(truth: PoseSequence, results: PoseSequence) -> Comparison:
    """The frames of a clip that count, in order, joint by joint.

    A pair beyond `MATCH_DISTANCE` is as far apart as if it were not there.

    Raises:
        InputError: the clips differ in length, or a person of the truth has no head box.
    """
    if len(truth) != len(results):
        raise InputError(
            f"{results} has {len(results)} frames, its truth {truth} {len(truth)}; expected as "
            "many, since frames are matched by position"
        )
    numbers = [index for index, frame in enumerate(truth.frames) if frame.labelled]
    labelled = [truth.frames[index] for index in numbers]
    regions = _Regions.of(labelled)
    there = _People.of(labelled).outside(regions)
    found = _People.of([results.frames[index] for index in numbers]).outside(regions)
    there.check_heads(truth, numbers)
    size = np.sqrt(np.square(there.head[:, 2:] - there.head[:, :2]).sum(axis=1))
    # A head box without extent has no unit: nothing of that person can be found.
    unit = np.where(size > 0, HEAD_SHARE * size, np.nan)
    pair_start = pair_starts(there.start, found.start)
    distance = np.full((int(pair_start[-1]), len(JOINTS)), np.inf)
    _measure(there.start, found.start, there.xy, found.xy, unit, MATCH_DISTANCE, distance)
    return Comparison(
        truth_start=there.start,
        result_start=found.start,
        pair_start=pair_start,
        truth_id=there.track_id,
        result_id=found.track_id,
        truth_has=there.has,
        result_has=found.has,
        score=found.score,
        distance=distance,
        limit=MATCH_DISTANCE,
        reach=MATCH_DISTANCE,
    )


def pair_starts(truth_start: IntArray, result_start: IntArray) -> IntArray:
    """(F + 1,) `Comparison.pair_start` of frames with these starts."""
    return starts(np.diff(truth_start) * np.diff(result_start))


@dataclass(frozen=True, slots=True)
class _Regions:
    """The ignore regions of F frames in a row: `polygon[frame[f]:frame[f + 1]]` begin those of f.

    Attributes:
        frame: (F + 1,) of the first polygon of each frame.
        polygon: (Q + 1,) of the first corner of each polygon.
        corner: (V, 2).
    """

    frame: IntArray
    polygon: IntArray
    corner: Float64Array

    @classmethod
    def of(cls, frames: Sequence[PoseFrame]) -> _Regions:
        polygons = [polygon for frame in frames for polygon in frame.ignore]
        return cls(
            starts([len(frame.ignore) for frame in frames]),
            starts([len(polygon) for polygon in polygons]),
            np.concatenate([np.zeros((0, 2)), *polygons]),
        )


@dataclass(frozen=True, slots=True)
class _People:
    """The people of several frames in a row; arrays as in `PoseFrame`, `start` as elsewhere."""

    start: IntArray
    track_id: IntArray
    xy: Float64Array
    has: BoolArray
    score: Float64Array
    head: Float64Array

    @classmethod
    def of(cls, frames: Sequence[PoseFrame]) -> _People:
        joints = len(JOINTS)
        xy = np.concatenate([np.zeros((0, joints, 2)), *(frame.xy for frame in frames)])
        return cls(
            starts([len(frame) for frame in frames]),
            np.concatenate([np.zeros(0, np.int64), *(frame.track_id for frame in frames)]),
            xy,
            np.isfinite(xy).all(axis=2),
            np.concatenate([np.zeros((0, joints)), *(frame.score for frame in frames)]),
            np.concatenate([np.zeros((0, 4)), *(frame.head for frame in frames)]),
        )

    def outside(self, regions: _Regions) -> _People:
        """The same without joints inside a region, and without people whom that leaves none."""
        if not len(regions.corner):
            return self
        ignored = np.zeros(self.has.shape, bool)
        _mark_ignored(self.start, self.xy, regions.frame, regions.polygon, regions.corner, ignored)
        has = self.has & ~ignored
        # Where nothing is ignored a person without any joints stays.
        somewhere = np.repeat(np.diff(regions.frame) > 0, np.diff(self.start))
        kept = has.any(axis=1) | ~somewhere
        return _People(
            starts(kept)[self.start],
            self.track_id[kept],
            np.where(ignored[..., None], np.nan, self.xy)[kept],
            has[kept],
            self.score[kept],
            self.head[kept],
        )

    def check_heads(self, truth: PoseSequence, numbers: Sequence[int]) -> None:
        """Everybody with joints has a head box.

        Raises:
            InputError: one has not; frame f is number `numbers[f]` of `truth`.
        """
        headless = np.flatnonzero(self.has.any(axis=1) & ~np.isfinite(self.head).all(axis=1))
        if headless.size:
            frame = int(np.searchsorted(self.start, headless[0], side="right")) - 1
            raise InputError(
                f"{truth}: frame {numbers[frame]}: person {self.track_id[headless[0]]} of the "
                "truth has no head box, expected x1, y1, x2, y2 (2017) or bbox_head (2018) for "
                "everybody with joints"
            )


@exact_jit
def strictly_inside(x: float, y: float, polygon: Float64Array) -> bool:
    """Whether a point lies inside a polygon, its outline not included; false for NaN.

    Args:
        x, y: of the point.
        polygon: (V, 2) corners in order; even-odd where the outline crosses itself.
    """
    crossings = 0
    for k in range(polygon.shape[0]):
        x1, y1 = polygon[k]
        x2, y2 = polygon[(k + 1) % polygon.shape[0]]
        # Twice the area between a side and the point: 0 on the side's line.
        cross = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if cross == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return False
        # A side that spans the point's height lies to its right if the point is on that side of it.
        if (y1 > y) != (y2 > y) and cross * (y2 - y1) > 0:
            crossings += 1
    return crossings % 2 == 1


@exact_jit
def _mark_ignored(
    start: IntArray,
    xy: Float64Array,
    frame: IntArray,
    polygon: IntArray,
    corner: Float64Array,
    ignored: BoolArray,
) -> None:
    for f in range(start.shape[0] - 1):
        for q in range(frame[f], frame[f + 1]):
            corners = corner[polygon[q] : polygon[q + 1]]
            for i in range(start[f], start[f + 1]):
                for k in range(xy.shape[1]):
                    if not ignored[i, k]:
                        ignored[i, k] = strictly_inside(xy[i, k, 0], xy[i, k, 1], corners)


@exact_jit
def _measure(
    truth_start: IntArray,
    result_start: IntArray,
    truth: Float64Array,
    result: Float64Array,
    unit: Float64Array,
    limit: float,
    distance: Float64Array,
) -> None:
    """Write the distance of all pairs that are not farther apart than `limit`."""
    pair = 0
    for f in range(truth_start.shape[0] - 1):
        for i in range(truth_start[f], truth_start[f + 1]):
            for j in range(result_start[f], result_start[f + 1]):
                for k in range(distance.shape[1]):
                    dx = truth[i, k, 0] - result[j, k, 0]
                    dy = truth[i, k, 1] - result[j, k, 1]
                    apart = np.sqrt(dx * dx + dy * dy) / unit[i]
                    if apart <= limit:
                        distance[pair, k] = apart
                pair += 1
