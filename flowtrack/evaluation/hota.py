"""HOTA (J. Luiten et al., 2020): detection and association weighed alike, at every strictness.

At each of 19 thresholds of similarity, DetA is the share of finds among finds, misses and false
ones; AssA is the mean over finds of the share that the pair (person, id) is found together, among
all frames in which either is there; HOTA is the root of their product, and the figures are means
over the thresholds. The matching is that of JonathonLuiten/TrackEval: one per frame for all
thresholds, of the largest sum of similarity times how well person and id agree over the clip.

Similarity falls linearly with distance. For boxes it is the intersection over union. For joints
it is 1 - d / 0.5 with the distance d of PCKh, so that it is 0 where a joint is not found any more;
every joint is followed for itself. PoseTrack21's kit (anDoer/PoseTrack21) has the same similarity,
but matches by it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowtrack.evaluation.assignment import assign_rows
from flowtrack.evaluation.comparison import Comparison
from flowtrack.evaluation.mota import share
from flowtrack.evaluation.sequences import JOINTS, Float64Array
from flowtrack.jit import exact_jit
from flowtrack.structs import IntArray

ALPHAS = np.arange(1, 20) / 20
"""Thresholds of similarity: 0.05 to 0.95."""

_ROUNDING = 1e-9
"""So much less than a threshold still reaches it."""


@dataclass(frozen=True, slots=True)
class HotaCounts:
    """What was counted at each of A = 19 thresholds of each of K things that are followed.

    Attributes:
        found: (A, K) int64 true positives.
        association: (A, K) sum over them of the association of each.
        similarity: (A, K) sum over them of the similarity of each.
        truths: (K,) int64 that there were to find.
        results: (K,) int64 that were predicted.
    """

    found: IntArray
    association: Float64Array
    similarity: Float64Array
    truths: IntArray
    results: IntArray

    def __add__(self, other: HotaCounts) -> HotaCounts:
        """Counts of both clips, whose people and ids are different."""
        return HotaCounts(
            self.found + other.found,
            self.association + other.association,
            self.similarity + other.similarity,
            self.truths + other.truths,
            self.results + other.results,
        )

    @classmethod
    def zero(cls, things: int = len(JOINTS)) -> HotaCounts:
        """Nothing counted."""
        table, none = np.zeros((len(ALPHAS), things)), np.zeros(things, np.int64)
        return cls(table.astype(np.int64), table, table, none, none)

    @property
    def det_a_by_alpha(self) -> Float64Array:
        """(A, K) detection accuracy; NaN where there is no truth."""
        truths, results = self.truths[..., None, :], self.results[..., None, :]
        return share(self.found, np.where(truths > 0, truths + results - self.found, 0))

    @property
    def ass_a_by_alpha(self) -> Float64Array:
        """(A, K) association accuracy; 0 where nothing is found, NaN where there is no truth."""
        return self._where_truth(self.association / np.maximum(self.found, 1))

    @property
    def hota_by_alpha(self) -> Float64Array:
        """(A, K) root of both's product; NaN where there is no truth."""
        both: Float64Array = np.sqrt(self.det_a_by_alpha * self.ass_a_by_alpha)
        return both

    @property
    def hota(self) -> Float64Array:
        """(K,) higher order tracking accuracy in percent; NaN where there is no truth."""
        return _mean(self.hota_by_alpha)

    @property
    def det_a(self) -> Float64Array:
        """(K,) detection accuracy in percent; NaN where there is no truth."""
        return _mean(self.det_a_by_alpha)

    @property
    def ass_a(self) -> Float64Array:
        """(K,) association accuracy in percent; NaN where there is no truth."""
        return _mean(self.ass_a_by_alpha)

    @property
    def loc_a(self) -> Float64Array:
        """(K,) mean similarity of what is found, in percent; 100 where nothing is (as TrackEval),
        NaN where there is no truth.
        """
        mean = np.where(self.found > 0, self.similarity / np.maximum(self.found, 1), 1.0)
        return _mean(self._where_truth(mean))

    def _where_truth(self, values: Float64Array) -> Float64Array:
        return np.where(self.truths[..., None, :] > 0, values, np.nan)


def _mean(by_alpha: Float64Array) -> Float64Array:
    mean: Float64Array = 100 * by_alpha.mean(axis=-2)
    return mean


def count_hota(compared: Comparison) -> HotaCounts:
    """The counts of one clip, all of its frames."""
    people, person = np.unique(compared.truth_id, return_inverse=True)
    ids, track = np.unique(compared.result_id, return_inverse=True)
    things = compared.distance.shape[1]
    found = np.zeros((len(ALPHAS), things), np.int64)
    association, similarity = np.zeros(found.shape), np.zeros(found.shape)
    starts = compared.truth_start, compared.result_start
    for thing in range(things):
        alike = np.maximum(1 - compared.distance[:, thing] / compared.reach, 0.0)
        there = np.bincount(person[compared.truth_has[:, thing]], minlength=len(people))
        named = np.bincount(track[compared.result_has[:, thing]], minlength=len(ids))
        together = np.zeros((len(people), len(ids)))
        _agree(*starts, person, track, alike, together)
        either = there[:, None] + named[None] - together
        weight = np.divide(together, either, out=np.zeros_like(together), where=either > 0)
        matches = np.zeros((len(ALPHAS), len(people), len(ids)), np.int32)
        _match(starts, (person, track), alike, weight, ALPHAS - _ROUNDING, matches,
               similarity[:, thing])  # fmt: skip
        found[:, thing] = matches.sum(axis=(1, 2))
        alpha, who, name = np.nonzero(matches)
        count = matches[alpha, who, name].astype(np.float64)
        part = count / (there[who] + named[name] - count)
        association[:, thing] = np.bincount(alpha, count * part, minlength=len(ALPHAS))
    return HotaCounts(
        found, association, similarity,
        compared.truth_has.sum(axis=0), compared.result_has.sum(axis=0),
    )  # fmt: skip


@exact_jit
def _agree(
    truth_start: IntArray,
    result_start: IntArray,
    person: IntArray,
    track: IntArray,
    alike: Float64Array,
    together: Float64Array,
) -> None:
    """Of how many frames a person and an id might be a pair, by similarity among their rivals."""
    pair = 0
    for f in range(truth_start.shape[0] - 1):
        low, first = truth_start[f], result_start[f]
        rows, columns = truth_start[f + 1] - low, result_start[f + 1] - first
        pairs = alike[pair : pair + rows * columns].reshape(rows, columns)
        pair += rows * columns
        in_row, in_column = pairs.sum(axis=1), pairs.sum(axis=0)
        for i in range(rows):
            for j in range(columns):
                if pairs[i, j] > 0:
                    share_of_both = pairs[i, j] / (in_row[i] + in_column[j] - pairs[i, j])
                    together[person[low + i], track[first + j]] += share_of_both


@exact_jit
def _match(
    starts: tuple[IntArray, IntArray],
    numbers: tuple[IntArray, IntArray],
    alike: Float64Array,
    weight: Float64Array,
    alphas: Float64Array,
    matches: IntArray,
    similarity: Float64Array,
) -> None:
    """Count the matches of each threshold, person and id, and sum up their similarity."""
    (truth_start, result_start), (person, track) = starts, numbers
    pair = 0
    for f in range(truth_start.shape[0] - 1):
        low, first = truth_start[f], result_start[f]
        rows, columns = truth_start[f + 1] - low, result_start[f + 1] - first
        pairs = alike[pair : pair + rows * columns].reshape(rows, columns)
        pair += rows * columns
        cost, column = np.empty((rows, columns)), np.empty(rows, np.int64)
        for i in range(rows):
            for j in range(columns):
                cost[i, j] = -weight[person[low + i], track[first + j]] * pairs[i, j]
        assign_cheapest(cost, column)
        for i in range(rows):
            if column[i] < 0:
                continue
            value = pairs[i, column[i]]
            for a in range(alphas.shape[0]):
                if value < alphas[a]:
                    break
                matches[a, person[low + i], track[first + column[i]]] += 1
                similarity[a] += value


@exact_jit
def assign_cheapest(cost: Float64Array, column: IntArray) -> None:
    """Write to `column` (M,) the column of each row, -1 for none: the least sum of `cost` (M, N).

    No cost is above 0, and a pair of cost 0 need not be made.
    """
    rows, columns = cost.shape
    column[:] = -1
    in_column = np.zeros(columns, np.int64)
    choice = False
    for i in range(rows):
        in_row = 0
        for j in range(columns):
            if cost[i, j] < 0:
                column[i] = j
                in_row += 1
                in_column[j] += 1
                choice = choice or in_row > 1 or in_column[j] > 1
    if choice:
        assign_rows(cost, column)
