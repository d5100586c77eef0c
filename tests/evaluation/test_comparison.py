"""What counts, and at what distance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import InputError
from flowtrack.evaluation.comparison import compare, strictly_inside
from tests.evaluation.samples import COUNT, frame, person, sequence
from tests.reference import poseval

SQUARE = [(-10, -10), (10, -10), (10, 10), (-10, 10)]
CORNERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=7)


@settings(max_examples=100, deadline=None)
@given(CORNERS)
def test_inside_agrees_with_the_oracle_at_every_lattice_point(corners):
    polygon = np.array(corners, float)
    lattice = [(float(x), float(y)) for x in range(-1, 8) for y in range(-1, 8)]
    want = [poseval.strictly_inside(x, y, polygon) for x, y in lattice]
    assert [strictly_inside(x, y, polygon) for x, y in lattice] == want


@pytest.mark.parametrize("unknown", [(math.nan, 0.0), (0.0, math.nan), (math.nan, math.nan)])
def test_nothing_unknown_is_inside(unknown):
    assert not strictly_inside(*unknown, np.array(SQUARE, float))


def test_distance_is_in_head_units_and_ends_at_the_threshold():
    truth = sequence([frame(person(1))])
    results = sequence([frame(person(7, 6), person(8, 15), person(9, 15.01), person(5, 0, 9))])
    compared = compare(truth, results)
    assert compared.distance.shape == (4, COUNT)
    assert compared.distance[:, 0].tolist() == [0.2, 0.5, math.inf, 0.3]
    assert (compared.limit, compared.reach) == (0.5, 0.5)


def test_frames_lie_in_a_row_with_their_pairs():
    truth = [frame(person(1), person(2, 100)), frame(rects=1), frame(person(2))]
    results = [frame(person(7), person(8, 103)), frame(person(7)), frame()]
    compared = compare(sequence(truth), sequence(results))
    assert compared.truth_start.tolist() == [0, 2, 2, 3]
    assert compared.result_start.tolist() == [0, 2, 3, 3]
    assert compared.pair_start.tolist() == [0, 4, 4, 4]
    assert compared.truth_id.tolist() == [1, 2, 2]
    assert compared.distance[:, 3].tolist() == [0, math.inf, math.inf, 0.1]
    shorter = compared.without_last()
    assert (len(compared), len(shorter), len(shorter.without_last())) == (3, 2, 1)
    assert shorter.truth_id.tolist() == [1, 2]
    assert shorter.result_id.tolist() == [7, 8, 7]
    assert shorter.without_last().distance.shape == (4, COUNT)
    assert len(compare(sequence([]), sequence([])).without_last()) == 0


def test_ignored_joints_go_on_both_sides_and_empty_people_with_them():
    truth = [frame(person(1), person(2, 100), ignore=[SQUARE])]
    straddling = person(8, 0)
    straddling.xy[3] = 100, 0
    compared = compare(sequence(truth), sequence([frame(person(7), straddling)]))
    assert compared.truth_id.tolist() == [2]
    assert compared.result_id.tolist() == [8]
    assert np.flatnonzero(compared.result_has[0]).tolist() == [3]


def test_a_pose_without_joints_goes_only_where_something_is_ignored():
    nobody = person(7, joints=[])
    for ignore, ids in (((), [7]), ((SQUARE,), [])):
        compared = compare(
            sequence([frame(person(1, 50), ignore=ignore)]), sequence([frame(nobody)])
        )
        assert compared.result_id.tolist() == ids


def test_frames_without_truth_go_with_their_predictions():
    truth = [frame(person(1)), frame(), frame(rects=1)]
    compared = compare(sequence(truth), sequence([frame(person(7))] * 3))
    assert np.diff(compared.truth_start).tolist() == [1, 0]


def test_a_head_without_extent_finds_nothing():
    truth = sequence([frame(person(1, head=(3, 3, 3, 3)))])
    compared = compare(truth, sequence([frame(person(7))]))
    assert np.isinf(compared.distance).all()


def test_lengths_and_heads_are_checked():
    one, two = sequence([frame(person(1))], "a"), sequence([frame(person(1))] * 2, "b")
    with pytest.raises(InputError, match="a has 1 frames, its truth b 2"):
        compare(two, one)
    headless = sequence([frame(person(1)), frame(person(4, head=None))], "clip")
    with pytest.raises(InputError, match=r"clip: frame 1: person 4 .* no head box"):
        compare(headless, two)
    without_joints = sequence([frame(person(1)), frame(person(4, joints=[], head=None))])
    assert len(compare(without_joints, two)) == 2
