"""CLEAR MOT counts of every joint (K. Bernardin and R. Stiefelhagen, 2008), as poseval has them.

A joint of a person is followed for itself: fifteen trackers are judged side by side. What held in
the frame before, or in the last one in which it could be seen, is kept while it is possible; the
rest is matched anew, as many as possible at the least total distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowtrack.evaluation.assignment import assign
from flowtrack.evaluation.comparison import ComparedFrame
from flowtrack.evaluation.sequences import JOINTS, Float64Array
from flowtrack.structs import BoolArray, IntArray

_COUNT = len(JOINTS)


@dataclass(frozen=True, slots=True)
class TrackingCounts:
    """What was counted, per joint.

    Attributes:
        truths: (15,) int64 joints to find.
        misses: (15,) int64 of them, not found.
        false_positives: (15,) int64 predicted joints that are nobody's.
        switches: (15,) int64 finds under another id than the last time.
        distance: (15,) summed normalised distance of what was found.
        people: different people of the truth.
        ids: different ids of the results that have a joint.
    """

    truths: IntArray
    misses: IntArray
    false_positives: IntArray
    switches: IntArray
    distance: Float64Array
    people: int
    ids: int

    def __add__(self, other: TrackingCounts) -> TrackingCounts:
        """Counts of both clips; people and ids of different clips are different."""
        return TrackingCounts(
            self.truths + other.truths,
            self.misses + other.misses,
            self.false_positives + other.false_positives,
            self.switches + other.switches,
            self.distance + other.distance,
            self.people + other.people,
            self.ids + other.ids,
        )

    @classmethod
    def zero(cls) -> TrackingCounts:
        """Nothing counted."""
        none = np.zeros(_COUNT, np.int64)
        return cls(none, none, none, none, np.zeros(_COUNT), people=0, ids=0)

    @property
    def found(self) -> IntArray:
        """(15,) joints found, under whichever id."""
        return self.truths - self.misses

    @property
    def mota(self) -> Float64Array:
        """(15,) multiple-object tracking accuracy in percent; NaN where there is no truth."""
        wrong = self.misses + self.false_positives + self.switches
        return 100 * (1 - _share(wrong, self.truths))

    @property
    def motp(self) -> Float64Array:
        """(15,) 100 (1 - mean distance of what was found), in percent; NaN if nothing was.

        This is what poseval means by MOTP. What it prints with motmetrics since 1.1 is something
        else: the distances of candidate pairs are summed as well.
        """
        return 100 * (1 - _share(self.distance, self.found))

    @property
    def precision(self) -> Float64Array:
        """(15,) share of the predicted joints that are found ones, in percent; NaN without any."""
        return 100 * _share(self.found, self.found + self.false_positives)

    @property
    def recall(self) -> Float64Array:
        """(15,) share of the true joints that were found, in percent; NaN without any."""
        return 100 * _share(self.found, self.truths)


def _share(part: IntArray | Float64Array, whole: IntArray) -> Float64Array:
    out = np.full(_COUNT, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def count_tracking(
    frames: Sequence[ComparedFrame], *, drop_last: bool = True, dummies: bool = True
) -> TrackingCounts:
    """The counts of one clip.

    Args:
        frames: what `compare` gave.
        drop_last: leave out the last labelled frame, as poseval does.
        dummies: count one miss and one false positive for each joint of a frame in which one side
            has nobody, as poseval does, instead of the people who are there.
    """
    counted = frames[:-1] if drop_last else frames
    people = _distinct([frame.truth_id for frame in counted])
    counter = _Counter(len(people))
    for frame in counted:
        if dummies and not (len(frame.truth_id) and len(frame.result_id)):
            counter.add_dummy()
        else:
            counter.add(frame, np.searchsorted(people, frame.truth_id))
    ids = _distinct([frame.result_id[frame.result_has.any(axis=1)] for frame in counted])
    return counter.counts(len(people), len(ids))


def _distinct(ids: Sequence[IntArray]) -> IntArray:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *ids]))


class _Counter:
    """Counts of all joints of one clip, whose people are numbered from 0."""

    def __init__(self, people: int) -> None:
        # Of each person's joint the id that it was last found under, and whether it ever was.
        self._partner = np.zeros((people, _COUNT), np.int64)
        self._met = np.zeros((people, _COUNT), bool)
        self._truths, self._misses, self._false, self._switches = (
            np.zeros(_COUNT, np.int64) for _ in range(4)
        )
        self._distance = np.zeros(_COUNT)

    def add_dummy(self) -> None:
        """A frame in which one side has nobody: one person missed, one wrongly seen."""
        self._truths += 1
        self._misses += 1
        self._false += 1

    def add(self, frame: ComparedFrame, person: IntArray) -> None:
        """Count a frame, of whose truth `person` (M,) gives the people's numbers."""
        pairs = self._kept(frame, person)
        pairs |= _matched_anew(frame.distance, pairs)
        m, n, joint = np.nonzero(pairs)
        who, track = person[m], frame.result_id[n]
        switched = self._met[who, joint] & (self._partner[who, joint] != track)
        self._partner[who, joint] = track
        self._met[who, joint] = True
        found = np.bincount(joint, minlength=_COUNT)
        truths = frame.truth_has.sum(axis=0)
        self._truths += truths
        self._misses += truths - found
        self._false += frame.result_has.sum(axis=0) - found
        self._switches += np.bincount(joint[switched], minlength=_COUNT)
        self._distance += np.bincount(joint, frame.distance[m, n, joint], minlength=_COUNT)

    def _kept(self, frame: ComparedFrame, person: IntArray) -> BoolArray:
        """(M, N, 15) pairs that were partners the last time, and still can be.

        One id may be the last partner of two people, found under it at different times: the first
        of the frame keeps it.
        """
        partners = self._partner[person][:, None, :] == frame.result_id[:, None]
        possible = partners & self._met[person][:, None, :] & np.isfinite(frame.distance)
        kept: BoolArray = possible & (np.cumsum(possible, axis=0) == 1)
        return kept

    def counts(self, people: int, ids: int) -> TrackingCounts:
        """What was counted, with the number of people and ids that took part."""
        return TrackingCounts(
            self._truths,
            self._misses,
            self._false,
            self._switches,
            self._distance,
            people,
            ids,
        )


def _matched_anew(distance: Float64Array, pairs: BoolArray) -> BoolArray:
    """(M, N, 15) pairs among those whom `pairs` leaves free."""
    taken = pairs.any(axis=1, keepdims=True) | pairs.any(axis=0, keepdims=True)
    free: BoolArray = np.isfinite(distance) & ~taken
    # Where nobody has a choice there is nothing to weigh up: nearly always.
    choice = (free.sum(axis=0) > 1).any(axis=0) | (free.sum(axis=1) > 1).any(axis=0)
    for joint in np.flatnonzero(choice):
        rows, columns = assign(np.where(free[:, :, joint], distance[:, :, joint], np.inf))
        free[:, :, joint] = False
        free[rows, columns, joint] = True
    return free
