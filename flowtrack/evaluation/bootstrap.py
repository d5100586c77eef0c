"""How sure a figure is: confidence intervals by drawing clips anew (B. Efron, 1979).

From C clips C are drawn with replacement, again and again, and the figure is taken each time; the
middle 95% are its interval. Clips are drawn, not frames, since what goes wrong in a frame mostly
goes wrong in its neighbours too. Settings that are compared are drawn together, so that what is
hard in a clip is hard for all of them: the interval of a difference is narrower than it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation.hota import HotaCounts
from flowtrack.evaluation.identity import IdentityCounts
from flowtrack.evaluation.mean_ap import best_first
from flowtrack.evaluation.mota import TrackingCounts, share
from flowtrack.evaluation.posetrack import MEASURES, PoseTrackScores, pose_figures
from flowtrack.evaluation.sequences import Float64Array
from flowtrack.jit import exact_jit
from flowtrack.structs import BoolArray, IntArray

_BLOCK = 256
"""Draws that are worked on together, so that what is known of them stays in the nearest cache."""

Counts = TypeVar("Counts", TrackingCounts, IdentityCounts, HotaCounts)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure in percent, or a difference of two, with its interval.

    Attributes:
        value: of the clips as they are.
        low, high: ends of the interval.
    """

    value: float
    low: float
    high: float


class Bootstrap:
    """Clips of one set drawn anew, the same for every setting that is asked about.

    Args:
        clips: how many there are.
        resamples: how often they are drawn.
        seed: of the draw.
        level: share of the draws that an interval holds.

    Raises:
        InputError: there are fewer than two clips.
        OptionError: another argument is out of range.
    """

    def __init__(
        self, clips: int, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
    ) -> None:
        if clips < 2:
            raise InputError(f"{clips} clips are given, expected two or more to draw from")
        if resamples < 1 or not 0 < level < 1:
            raise OptionError(
                f"resamples is {resamples}, level {level}; expected 1 or more, and 0 < level < 1"
            )
        self._level = level
        rng = np.random.default_rng(seed)
        # (R, C) how often each clip is drawn.
        self._weight: IntArray = rng.multinomial(clips, np.full(clips, 1 / clips), resamples)

    def interval(self, scores: PoseTrackScores, measure: str = "MOTA") -> Interval:
        """The interval of one of `MEASURES` of a setting.

        Raises:
            InputError: the setting has another number of clips.
            OptionError: the measure is unknown.
        """
        draws = self.draws(scores, measure)
        return self._interval(scores.total(measure), draws)

    def difference(
        self, scores: PoseTrackScores, base: PoseTrackScores, measure: str = "MOTA"
    ) -> Interval:
        """The interval of what `scores` has more than `base`, drawn together; see `interval`.

        Raises:
            InputError: the two are not of the same clips.
        """
        if [clip.name for clip in scores.clips] != [clip.name for clip in base.clips]:
            raise InputError("two settings are compared on different clips, expected the same ones")
        more = self.draws(scores, measure) - self.draws(base, measure)
        return self._interval(scores.total(measure) - base.total(measure), more)

    def draws(self, scores: PoseTrackScores, measure: str) -> Float64Array:
        """(R,) the measure of each draw in percent; NaN where a draw has no joint to find."""
        if measure not in MEASURES:
            raise OptionError(f"unknown measure {measure!r}; known are {', '.join(MEASURES)}")
        clips, weight = scores.clips, self._weight
        if len(clips) != weight.shape[1]:
            raise InputError(f"the setting has {len(clips)} clips, expected {weight.shape[1]}")
        if measure == "AP":
            values = _average_precision(scores, weight)
        else:
            values = pose_figures(
                _drawn([clip.tracking for clip in clips], weight),
                _drawn([clip.corrected for clip in clips], weight),
                _drawn([clip.identity for clip in clips], weight),
                _drawn([clip.hota for clip in clips], weight),
            )[measure]
        values = values[:, scores.rows]
        there = ~np.isnan(values)
        return share(np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1))

    def _interval(self, value: float, draws: Float64Array) -> Interval:
        edge = 50 * (1 - self._level)
        known = draws[~np.isnan(draws)]
        if not known.size:
            return Interval(value, np.nan, np.nan)
        low, high = np.percentile(known, [edge, 100 - edge])
        return Interval(value, float(low), float(high))


def _drawn(counts: Sequence[Counts], weight: IntArray) -> Counts:
    """The sum of `counts`, each as often as `weight` (R, C) says: arrays with R in front."""
    times = weight.astype(np.float64)  # products of whole numbers are slow, and no more exact
    sums: dict[str, Any] = {}
    for field in fields(counts[0]):
        each = np.stack([getattr(one, field.name) for one in counts]).astype(np.float64)
        sums[field.name] = np.tensordot(times, each, axes=1)
    return type(counts[0])(**sums)


def _average_precision(scores: PoseTrackScores, weight: IntArray) -> Float64Array:
    """(R, 15) in percent, see `JointDetections.average_precision`.

    Predictions are ranked once for all draws; one of a clip that is drawn twice counts twice in a
    row. So equal scores are ranked by the order of the clips as they are, not as they are drawn.
    """
    blocks = range(0, len(weight), _BLOCK)
    return np.concatenate(
        [_block_precision(scores, weight[start : start + _BLOCK]) for start in blocks]
    )


def _block_precision(scores: PoseTrackScores, weight: IntArray) -> Float64Array:
    parts = [clip.detections for clip in scores.clips]
    owner = np.repeat(np.arange(len(parts)), [len(part.score) for part in parts])
    times = np.ascontiguousarray(weight.T, np.float64)
    # (15, R) of each draw: joints to find, predicted ones, and right ones.
    truths, predicted, right = (
        np.stack(each, axis=1) @ times
        for each in (
            [part.truths for part in parts],
            [part.there.sum(axis=0) for part in parts],
            [part.found for part in parts],
        )
    )
    pooled = scores.detections
    out = np.full(truths.shape, np.nan)
    for joint in scores.rows.tolist():
        there = np.flatnonzero(pooled.there[:, joint])
        order = there[best_first(pooled.score[there, joint])]
        area = _weighted_area(
            owner[order], pooled.right[order, joint], times, predicted[joint].copy(), right[joint]
        )
        precision = share(area, truths[joint])
        out[joint] = np.where(predicted[joint] == 0, 0.0, precision)  # as `average_precision`
    return 100 * out.T


@exact_jit
def _weighted_area(
    clip: IntArray, right: BoolArray, times: Float64Array, seen: Float64Array, found: Float64Array
) -> Float64Array:
    """(R,) sum of the best precisions of the finds of R draws, `times` (C, R) each.

    From the last prediction to the first, so that the best precision from there on is known: `seen`
    and `found` (R,) are all of a draw at first, and are used up.
    """
    best, area = np.zeros(seen.shape[0]), np.zeros(seen.shape[0])
    for d in range(clip.shape[0] - 1, -1, -1):
        drawn = times[clip[d]]
        if right[d]:
            for r in range(seen.shape[0]):
                precision = found[r] / max(seen[r], 1.0)
                best[r] = max(best[r], precision)
                area[r] += drawn[r] * best[r]
                found[r] -= drawn[r]
        for r in range(seen.shape[0]):
            seen[r] -= drawn[r]
    return area
