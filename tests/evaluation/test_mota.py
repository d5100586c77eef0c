"""CLEAR MOT of joints: tiny clips counted by hand."""

import math

import motmetrics
import numpy as np
import pytest

from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.mota import TrackingCounts, count_tracking
from tests.evaluation.samples import (
    COUNT,
    frame,
    of_thing,
    person,
    random_comparison,
    sequence,
)

SQUARE = [(-10, -10), (10, -10), (10, 10), (-10, 10)]
TWO, NOBODY = frame(person(1), person(2, 100)), frame()
GAP = frame(person(7, 500))


def counted(truth, results, **options):
    return count_tracking(compare(sequence(truth), sequence(results)), **options)


def whole(truth, results):
    return counted(truth, results, drop_last=False, dummies=False)


def row(counts, joint=0):
    arrays = counts.misses, counts.false_positives, counts.switches, counts.truths
    return tuple(int(array[joint]) for array in arrays)


CASES = {
    "perfect": ([TWO] * 2, [frame(person(8, 100), person(7))] * 2, (0, 0, 0, 4)),
    "a miss and a false one": ([TWO], [frame(person(7), person(8, 300))], (1, 1, 0, 2)),
    "a switch": ([frame(person(1))] * 3,
                 [frame(person(7)), frame(person(8)), frame(person(8))], (0, 0, 1, 3)),
    "a switch across a gap": ([frame(person(1))] * 4,
                              [frame(person(7)), GAP, frame(person(8)), frame(person(7))],
                              (1, 1, 2, 4)),
    "kept over a gap against a nearer rival": (
        [frame(person(1))] * 3, [frame(person(7)), GAP, frame(person(8, 1), person(7, 14))],
        (1, 2, 0, 3)),
    "kept at the threshold": ([frame(person(1))] * 2,
                              [frame(person(7)), frame(person(8, 1), person(7, 15))],
                              (0, 1, 0, 2)),
    "given up beyond it": ([frame(person(1))] * 2,
                           [frame(person(7)), frame(person(8, 1), person(7, 15.01))],
                           (0, 1, 1, 2)),
    "one id of two people stays with the first": (
        [frame(person(1)), frame(person(2)), frame(person(2), person(1))],
        [frame(person(7))] * 3, (1, 0, 0, 4)),
    "most people before least distance": (
        [frame(person(1, 0), person(2, 14))], [frame(person(7, 13), person(8, 28))],
        (0, 0, 0, 2)),
    "a tie is one match": ([frame(person(1))], [frame(person(7, 5), person(8, -5))],
                           (0, 1, 0, 1)),
    "ignored": ([frame(person(1), person(2, 100), ignore=[SQUARE])],
                [frame(person(9), person(5, 200), person(6, 100))], (0, 1, 0, 1)),
    "nobody found": ([TWO], [NOBODY], (2, 0, 0, 2)),
    "nobody labelled": ([frame(rects=1)], [TWO], (0, 2, 0, 0)),
    "no truth": ([NOBODY], [TWO], (0, 0, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_counts_by_hand(case):
    truth, results, want = CASES[case]
    counts = whole(truth, results)
    assert row(counts) == want
    assert row(counts, COUNT - 1) == want


def test_two_people_and_one_empty_frame_give_77_8():
    truth, results = [TWO] * 6, [TWO, TWO, NOBODY, TWO, TWO, TWO]
    counts = counted(truth, results)
    assert row(counts) == (1, 1, 0, 9)  # four frames of two, one dummy, the last dropped
    assert np.round(counts.mota, 1).tolist() == [77.8] * COUNT
    assert row(whole(truth, results)) == (2, 0, 0, 12)


def test_the_last_labelled_frame_is_dropped():
    truth = [TWO, TWO, TWO, NOBODY]  # the last *labelled* frame is the third
    results = [TWO, TWO, frame(person(1, 500), person(2, 600)), frame(person(1))]
    assert row(counted(truth, results)) == (0, 0, 0, 4)
    assert row(counted(truth, results, drop_last=False)) == (2, 2, 0, 6)


def test_truth_without_points_or_all_ignored_is_a_dummy_frame():
    assert row(counted([frame(rects=2), TWO], [TWO, TWO])) == (1, 1, 0, 1)
    ignored = frame(person(1), ignore=[SQUARE])
    assert row(counted([ignored, TWO], [TWO, TWO])) == (1, 1, 0, 1)


def test_a_joint_where_none_is_labelled_is_false():
    counts = whole([frame(person(1, joints=[0, 1]))], [frame(person(7, joints=[0, 1, 2]))])
    assert row(counts, 2) == (0, 1, 0, 0)
    assert np.isnan(counts.mota[2])
    assert counts.mota[:2].tolist() == [100, 100]


def test_joints_switch_one_by_one():
    left, right = range(8), range(8, COUNT)
    truth = [frame(person(1))] * 2
    results = [frame(person(7)), frame(person(7, joints=left), person(8, joints=right))]
    counts = whole(truth, results)
    assert counts.switches.tolist() == [0] * 8 + [1] * 7
    assert counts.misses.sum() == counts.false_positives.sum() == 0


def test_shares_of_what_was_found():
    counts = whole([TWO] * 2, [frame(person(7, 6)), frame(person(7, 3), person(9, 500))])
    assert row(counts) == (2, 1, 0, 4)
    assert counts.recall[0] == 50
    assert counts.precision[0] == pytest.approx(100 * 2 / 3)
    assert counts.motp[0] == pytest.approx(100 * (1 - (0.2 + 0.1) / 2))


def test_people_and_ids():
    results = [frame(person(7), person(9, joints=[])), frame(person(8), person(7, 100))]
    counts = whole([TWO] * 2, results)
    assert (counts.people, counts.ids) == (2, 2)
    both = counts + counts
    assert (both.people, both.ids) == (4, 4)
    assert row(both) == tuple(2 * value for value in row(counts))


@pytest.mark.parametrize("seed", range(12))
def test_every_accumulator_agrees_with_motmetrics(seed):
    compared, frames = random_comparison(np.random.default_rng(seed), 60, things=3)
    counts = count_tracking(compared, drop_last=False, dummies=False)
    names = ["num_misses", "num_false_positives", "num_switches", "num_objects"]
    for thing in range(3):
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        for one in frames:
            truth_ids, ids, distance = of_thing(one, thing)
            accumulator.update(truth_ids, ids, np.where(np.isinf(distance), math.nan, distance))
        want = motmetrics.metrics.create().compute(
            accumulator, metrics=[*names, "mota"], return_dataframe=False
        )
        assert row(counts, thing) == tuple(want[name] for name in names)
        assert min(row(counts, thing)) > 0
        assert counts.mota[thing] == pytest.approx(100 * want["mota"])
        matched = accumulator.mot_events.query("Type in ('MATCH', 'SWITCH')")["D"]
        assert counts.distance[thing] == pytest.approx(matched.sum())


def test_nothing_counted_has_no_values():
    for empty in (TrackingCounts.zero(), counted([TWO], [TWO])):
        assert row(empty) == (0, 0, 0, 0)
        for values in (empty.mota, empty.motp, empty.precision, empty.recall):
            assert np.isnan(values).all()
