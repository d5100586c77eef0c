"""IDF1 (E. Ristani et al., 2016): how much of the time everybody goes under the one right id.

Over a whole clip each person is given one id, and each id one person, so that as many finds as
possible are under it; a find under any other id is a miss and a false one at once. A joint of a
person is followed for itself, as in CLEAR MOT, and found within the same distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowtrack.evaluation.assignment import assign
from flowtrack.evaluation.comparison import Comparison
from flowtrack.evaluation.mota import share
from flowtrack.evaluation.sequences import JOINTS, Float64Array
from flowtrack.jit import exact_jit
from flowtrack.structs import IntArray


@dataclass(frozen=True, slots=True)
class IdentityCounts:
    """What was counted of each of K things that are followed, which are joints or a box.

    Attributes:
        right: (K,) int64 finds under the right id (IDTP).
        truths: (K,) int64 that there were to find; `truths - right` are IDFN.
        results: (K,) int64 that were predicted; `results - right` are IDFP.
    """

    right: IntArray
    truths: IntArray
    results: IntArray

    def __add__(self, other: IdentityCounts) -> IdentityCounts:
        """Counts of both clips, in each of which ids are given anew."""
        return IdentityCounts(
            self.right + other.right, self.truths + other.truths, self.results + other.results
        )

    @classmethod
    def zero(cls, things: int = len(JOINTS)) -> IdentityCounts:
        """Nothing counted."""
        none = np.zeros(things, np.int64)
        return cls(none, none, none)

    @property
    def idf1(self) -> Float64Array:
        """(K,) 2 IDTP / (truths + results) in percent; NaN where there is no truth."""
        both = np.where(self.truths > 0, self.truths + self.results, 0)
        return 100 * share(2 * self.right, both)

    @property
    def idp(self) -> Float64Array:
        """(K,) share of what was predicted that is under the right id, in percent; NaN if none."""
        return 100 * share(self.right, self.results)

    @property
    def idr(self) -> Float64Array:
        """(K,) share of the truth found under the right id, in percent; NaN where there is none."""
        return 100 * share(self.right, self.truths)


def count_identities(compared: Comparison) -> IdentityCounts:
    """The counts of one clip, all of its frames."""
    people, person = np.unique(compared.truth_id, return_inverse=True)
    ids, track = np.unique(compared.result_id, return_inverse=True)
    things = compared.distance.shape[1]
    right = np.zeros(things, np.int64)
    for thing in range(things):
        together = np.zeros((len(people), len(ids)), np.int64)
        _count_together(
            compared.truth_start,
            compared.result_start,
            person,
            track,
            np.ascontiguousarray(compared.distance[:, thing]),
            compared.limit,
            together,
        )
        right[thing] = together[assign(-together)].sum()
    return IdentityCounts(right, compared.truth_has.sum(axis=0), compared.result_has.sum(axis=0))


@exact_jit
def _count_together(
    truth_start: IntArray,
    result_start: IntArray,
    person: IntArray,
    track: IntArray,
    distance: Float64Array,
    limit: float,
    together: IntArray,
) -> None:
    """Of how many frames a person and an id could be matched: `together` (people, ids)."""
    pair = 0
    for f in range(truth_start.shape[0] - 1):
        for i in range(truth_start[f], truth_start[f + 1]):
            for j in range(result_start[f], result_start[f + 1]):
                if distance[pair] <= limit:
                    together[person[i], track[j]] += 1
                pair += 1
