"""What counts, and at what distance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import InputError
from flowtrack.evaluation.comparison import compare, inside
from tests.evaluation.samples import COUNT, frame, person, sequence
from tests.reference.poseval import strictly_inside

SQUARE = [(-10, -10), (10, -10), (10, 10), (-10, 10)]
CORNERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=7)


@settings(max_examples=100, deadline=None)
@given(CORNERS)
def test_inside_agrees_with_the_oracle_at_every_lattice_point(corners):
    polygon = np.array(corners, float)
    grid = np.stack(np.meshgrid(np.arange(-1, 8), np.arange(-1, 8)), axis=-1).astype(float)
    want = [[strictly_inside(x, y, polygon) for x, y in row] for row in grid]
    assert inside(grid, polygon).tolist() == want


def test_nothing_unknown_is_inside():
    unknown = np.array([[math.nan, 0.0], [0.0, math.nan], [math.nan, math.nan]])
    assert not inside(unknown, np.array(SQUARE, float)).any()


def test_distance_is_in_head_units_and_ends_at_the_threshold():
    truth = sequence([frame(person(1))])
    results = sequence([frame(person(7, 6), person(8, 15), person(9, 15.01), person(5, 0, 9))])
    (compared,) = compare(truth, results)
    assert compared.distance.shape == (1, 4, COUNT)
    assert compared.distance[0, :, 0].tolist() == [0.2, 0.5, math.inf, 0.3]


def test_ignored_joints_go_on_both_sides_and_empty_people_with_them():
    truth = [frame(person(1), person(2, 100), ignore=[SQUARE])]
    straddling = person(8, 0)
    straddling.xy[3] = 100, 0
    (compared,) = compare(sequence(truth), sequence([frame(person(7), straddling)]))
    assert compared.truth_id.tolist() == [2]
    assert compared.result_id.tolist() == [8]
    assert np.flatnonzero(compared.result_has[0]).tolist() == [3]


def test_a_pose_without_joints_goes_only_where_something_is_ignored():
    nobody = person(7, joints=[])
    for ignore, ids in (((), [7]), ((SQUARE,), [])):
        (compared,) = compare(
            sequence([frame(person(1, 50), ignore=ignore)]), sequence([frame(nobody)])
        )
        assert compared.result_id.tolist() == ids


def test_frames_without_truth_go_with_their_predictions():
    truth = [frame(person(1)), frame(), frame(rects=1)]
    compared = compare(sequence(truth), sequence([frame(person(7))] * 3))
    assert [len(one.truth_id) for one in compared] == [1, 0]


def test_a_head_without_extent_finds_nothing():
    truth = sequence([frame(person(1, head=(3, 3, 3, 3)))])
    (compared,) = compare(truth, sequence([frame(person(7))]))
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
