"""IDF1: tiny clips by hand, and random ones against motmetrics."""

import math

import motmetrics
import numpy as np
import pytest

from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.identity import IdentityCounts, count_identities
from tests.evaluation.samples import (
    COUNT,
    frame,
    of_thing,
    person,
    random_comparison,
    sequence,
)

ONE, TWO = frame(person(1)), frame(person(1), person(2, 100))
SEVEN, EIGHT, NOBODY = frame(person(7)), frame(person(8)), frame()

CASES = {
    # truth, results -> right (IDTP), truths, results
    "perfect": ([TWO] * 2, [frame(person(8, 100), person(7))] * 2, (4, 4, 4)),
    "the longer id of two is the right one": ([ONE] * 5, [SEVEN] * 3 + [EIGHT] * 2, (3, 5, 5)),
    "ids exchanged half-way": (
        [TWO] * 4,
        [frame(person(7), person(8, 100))] * 2 + [frame(person(8), person(7, 100))] * 2,
        (4, 8, 8)),
    "an id is nobody else's too": (
        [frame(person(1)), frame(person(2))] , [SEVEN, SEVEN], (1, 2, 2)),
    "too far": ([ONE], [frame(person(7, 15.01))], (0, 1, 1)),
    "at the threshold": ([ONE], [frame(person(7, 15))], (1, 1, 1)),
    "the last frame counts, and all the people": ([TWO, TWO], [TWO, NOBODY], (2, 4, 2)),
    "a joint where none is labelled": (
        [frame(person(1, joints=[1]))], [frame(person(7))], (0, 0, 1)),
    "nobody labelled": ([frame(rects=1)], [SEVEN], (0, 0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_counts_by_hand(case):
    truth, results, want = CASES[case]
    counts = count_identities(compare(sequence(truth), sequence(results)))
    assert (counts.right[0], counts.truths[0], counts.results[0]) == want


def test_shares():
    counts = IdentityCounts(*(np.array([value]) for value in (3, 5, 7)))
    assert counts.idf1 == 100 * 2 * 3 / (5 + 7)
    assert counts.idp == 100 * 3 / 7
    assert counts.idr == 100 * 3 / 5
    twice = counts + counts
    assert (twice.right, twice.truths, twice.results) == (6, 10, 14)


def test_without_truth_there_is_no_value():
    for counts in (IdentityCounts.zero(), IdentityCounts(*(np.array([v]) for v in (0, 0, 4)))):
        assert np.isnan(counts.idf1).all()
        assert np.isnan(counts.idr).all()
    assert len(IdentityCounts.zero().idf1) == COUNT


@pytest.mark.parametrize("seed", range(12))
def test_every_thing_agrees_with_motmetrics(seed):
    compared, frames = random_comparison(np.random.default_rng(seed), 50, things=3)
    counts = count_identities(compared)
    names = ["idtp", "idfp", "idfn", "idf1", "idp", "idr"]
    for thing in range(3):
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        for one in frames:
            truth_ids, ids, distance = of_thing(one, thing)
            accumulator.update(truth_ids, ids, np.where(np.isinf(distance), math.nan, distance))
        want = motmetrics.metrics.create().compute(
            accumulator, metrics=names, return_dataframe=False
        )
        right, truths, results = counts.right[thing], counts.truths[thing], counts.results[thing]
        got = (right, results - right, truths - right)
        assert got == tuple(want[name] for name in names[:3])
        assert 0 < right < truths
        figures = counts.idf1[thing], counts.idp[thing], counts.idr[thing]
        assert figures == pytest.approx([100 * want[name] for name in names[3:]])
