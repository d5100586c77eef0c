"""CLEAR MOT counts (K. Bernardin and R. Stiefelhagen, 2008) of every joint, as poseval has them.

A joint of a person is followed for itself: fifteen trackers are judged side by side; of boxes it
is one. What held in the frame before, or in the last one in which it could be seen, is kept while
it is possible; the rest is matched anew, as many as possible at the least total distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowtrack.evaluation.assignment import assign_rows
from flowtrack.evaluation.comparison import Comparison
from flowtrack.evaluation.sequences import JOINTS, Float64Array
from flowtrack.jit import exact_jit
from flowtrack.structs import BoolArray, IntArray


@dataclass(frozen=True, slots=True)
class TrackingCounts:
    """What was counted of each of K things that are followed, which are joints or a box.

    Attributes:
        truths: (K,) int64 joints to find.
        misses: (K,) int64 of them, not found.
        false_positives: (K,) int64 predicted joints that are nobody's.
        switches: (K,) int64 finds under another id than the last time.
        distance: (K,) summed distance of what was found.
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
    def zero(cls, things: int = len(JOINTS)) -> TrackingCounts:
        """Nothing counted."""
        none = np.zeros(things, np.int64)
        return cls(none, none, none, none, np.zeros(things), people=0, ids=0)

    @property
    def found(self) -> IntArray:
        """(K,) joints found, under whichever id."""
        return self.truths - self.misses

    @property
    def mota(self) -> Float64Array:
        """(K,) multiple-object tracking accuracy in percent; NaN where there is no truth."""
        wrong = self.misses + self.false_positives + self.switches
        return 100 * (1 - share(wrong, self.truths))

    @property
    def motp(self) -> Float64Array:
        """(K,) 100 (1 - mean distance of what was found), in percent; NaN if nothing was.

        This is what poseval means by MOTP. What it prints with motmetrics since 1.1 is something
        else: the distances of candidate pairs are summed as well.
        """
        return 100 * (1 - share(self.distance, self.found))

    @property
    def precision(self) -> Float64Array:
        """(K,) share of the predicted joints that are found ones, in percent; NaN without any."""
        return 100 * share(self.found, self.found + self.false_positives)

    @property
    def recall(self) -> Float64Array:
        """(K,) share of the true joints that were found, in percent; NaN without any."""
        return 100 * share(self.found, self.truths)


def share(part: IntArray | Float64Array, whole: IntArray | Float64Array) -> Float64Array:
    """`part` / `whole`, element by element; NaN where there is no whole."""
    out = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def count_tracking(
    compared: Comparison, *, drop_last: bool = True, dummies: bool = True
) -> TrackingCounts:
    """The counts of one clip.

    Args:
        compared: what `compare` gave.
        drop_last: leave out the last labelled frame, as poseval does.
        dummies: count one miss and one false positive for each joint of a frame in which one side
            has nobody, as poseval does, instead of the people who are there.
    """
    counted = compared.without_last() if drop_last else compared
    people, person = np.unique(counted.truth_id, return_inverse=True)
    ids, track = np.unique(counted.result_id, return_inverse=True)
    counts = np.zeros((4, counted.distance.shape[1]), np.int64)
    distance = np.zeros(counts.shape[1])
    _count(
        (counted.truth_start, counted.result_start, counted.pair_start),
        (person, track),
        (counted.truth_has, counted.result_has),
        counted.distance,
        counted.limit,
        dummies,
        (np.full((len(people), counts.shape[1]), -1, np.int64), np.full(len(ids), -1, np.int64)),
        (counts, distance),
    )
    truths, misses, false_positives, switches = counts
    return TrackingCounts(
        truths=truths,
        misses=misses,
        false_positives=false_positives,
        switches=switches,
        distance=distance,
        people=len(people),
        ids=len(np.unique(track[counted.result_has.any(axis=1)])),
    )


@exact_jit
def _count(
    starts: tuple[IntArray, IntArray, IntArray],
    numbers: tuple[IntArray, IntArray],
    has: tuple[BoolArray, BoolArray],
    distance: Float64Array,
    limit: float,
    dummies: bool,
    memory: tuple[IntArray, IntArray],
    out: tuple[IntArray, Float64Array],
) -> None:
    """Count all frames, whose people and ids are numbered from 0.

    `memory` holds of each person's thing the id that it was last found under, -1 for none; and
    room for the place of each id within the frame, -1 for those that are not in it.
    """
    (truth_start, result_start, pair_start), (person, track) = starts, numbers
    (partner, place), (counts, total) = memory, out
    for f in range(truth_start.shape[0] - 1):
        low, first = truth_start[f], result_start[f]
        rows, columns = truth_start[f + 1] - low, result_start[f + 1] - first
        if dummies and (rows == 0 or columns == 0):
            counts[:3] += 1  # one person missed, one wrongly seen
            continue
        for j in range(columns):
            place[track[first + j]] = j
        pairs = distance[pair_start[f] : pair_start[f + 1]]
        column = np.empty(rows, np.int64)
        for k in range(counts.shape[1]):
            for i in range(rows):
                counts[0, k] += has[0][low + i, k]
                counts[1, k] += has[0][low + i, k]
            for j in range(columns):
                counts[2, k] += has[1][first + j, k]
            if rows == 0 or columns == 0:
                continue
            apart = pairs[:, k].copy().reshape(rows, columns)
            keep(apart, limit, person[low : low + rows], partner[:, k], place, column)
            match_rest(apart, limit, column)
            for i in range(rows):
                if column[i] < 0:
                    continue
                who, now = person[low + i], track[first + column[i]]
                counts[1, k] -= 1
                counts[2, k] -= 1
                counts[3, k] += partner[who, k] >= 0 and partner[who, k] != now
                total[k] += apart[i, column[i]]
                partner[who, k] = now
        for j in range(columns):
            place[track[first + j]] = -1


@exact_jit
def keep(
    apart: Float64Array,
    limit: float,
    person: IntArray,
    partner: IntArray,
    place: IntArray,
    column: IntArray,
) -> None:
    """Write to `column` (M,) the partner of the last time where that is still possible, else -1.

    One id may be the last partner of two people, found under it at different times: the first of
    the frame keeps it.
    """
    taken = np.zeros(apart.shape[1], np.bool_)
    for i in range(apart.shape[0]):
        column[i] = -1
        last = partner[person[i]]
        if last < 0 or place[last] < 0:
            continue
        j = place[last]
        if apart[i, j] <= limit and not taken[j]:
            taken[j] = True
            column[i] = j


@exact_jit
def match_rest(apart: Float64Array, limit: float, column: IntArray) -> None:
    """Match those whom `column` (M,) leaves free: most pairs, then the least total distance."""
    rows, columns = apart.shape
    taken = np.zeros(columns, np.bool_)
    for i in range(rows):
        if column[i] >= 0:
            taken[column[i]] = True
    free = np.full((rows, columns), np.inf)
    in_column = np.zeros(columns, np.int64)
    choice = False
    for i in range(rows):
        in_row = 0
        for j in range(columns):
            if column[i] < 0 and not taken[j] and apart[i, j] <= limit:
                free[i, j] = apart[i, j]
                in_row += 1
                in_column[j] += 1
                choice = choice or in_row > 1 or in_column[j] > 1
    if choice:
        matched = np.empty(rows, np.int64)
        assign_rows(free, matched)
        for i in range(rows):
            if column[i] < 0:
                column[i] = matched[i]
        return
    # Where nobody has a choice there is nothing to weigh up: nearly always.
    for i in range(rows):
        for j in range(columns):
            if free[i, j] < np.inf:
                column[i] = j
