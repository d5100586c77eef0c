"""Agreement of boxes, joints and flow against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.calibration.agreement import (
    PAIRING_IOU,
    compare_boxes,
    compare_flow,
    compare_poses,
    pair_boxes,
)
from flowtrack.structs import Boxes, FlowField, Poses

SIGMAS = np.array([0.05, 0.1, 0.2], np.float32)


def boxes(*rows):
    return Boxes.detected(np.array(rows, np.float32).reshape(-1, 4), np.ones(len(rows)))


def naive_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def naive_pairs(reference, other):
    """The most alike pair first; both leave."""
    free_a, free_b = set(range(len(reference))), set(range(len(other)))
    pairs = {}
    while True:
        best = max(
            ((naive_iou(reference[a], other[b]), -a, -b) for a in free_a for b in free_b),
            default=(0.0, 0, 0),
        )
        if best[0] < PAIRING_IOU:
            return pairs
        a, b = -best[1], -best[2]
        pairs[b] = (a, best[0])
        free_a.remove(a)
        free_b.remove(b)


corner = st.integers(0, 12)
side = st.integers(1, 9)
some_boxes = st.lists(
    st.tuples(corner, corner, side, side).map(lambda r: (r[0], r[1], r[0] + r[2], r[1] + r[3])),
    max_size=5,
)


@given(some_boxes, some_boxes)
def test_pairs_are_those_of_plain_loops(one, two):
    match, iou = pair_boxes(boxes(*one), boxes(*two))
    expected = naive_pairs(one, two)
    for row in range(len(two)):
        a, overlap = expected.get(row, (-1, 0.0))
        assert iou[row] == pytest.approx(overlap, abs=1e-6)
        assert (match[row] >= 0) == (a >= 0)
        if a >= 0:  # of two as alike, either may be taken
            assert naive_iou(one[match[row]], two[row]) == pytest.approx(overlap, abs=1e-6)


def test_boxes_lost_and_invented_are_counted_by_frame():
    a, b, far = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)
    found = compare_boxes(
        [boxes(a, b), boxes(a), boxes()], [boxes((0, 0, 10, 9)), boxes(a, far), boxes(far)]
    )
    assert found.reference.tolist() == [2, 1, 0]
    assert found.lost.tolist() == [1, 0, 0]
    assert found.invented.tolist() == [0, 1, 1]
    assert found.iou.tolist() == pytest.approx([0.9, 1.0])
    assert found.pair_frame.tolist() == [0, 1]


def poses(xy, score, box=(0, 0, 20, 10)):
    xy, score = np.array(xy, np.float32), np.array(score, np.float32)
    return Poses(xy, score, np.tile(np.float32(box), (len(xy), 1)), np.ones(len(xy)))


def naive_oks(expected, found, usable, area):
    total = 0.0
    for k in range(len(SIGMAS)):
        if usable[k] and not math.isnan(found[k][0]):
            d2 = sum((expected[k][i] - found[k][i]) ** 2 for i in (0, 1))
            total += math.exp(-d2 / (2 * area * (2 * SIGMAS[k]) ** 2))
    return total / sum(usable)


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.integers(1, 7))
def test_oks_and_distances_are_those_of_plain_loops(shift, mask):
    usable = [bool(mask >> k & 1) for k in range(3)]
    before = np.array([[1, 2], [8, 3], [15, 7]], np.float64)
    after = before + np.array(shift).reshape(3, 2)
    found = compare_poses(
        [poses([before], [np.where(usable, 0.9, 0.1)])], [poses([after], [[0.2, 0.2, 0.2]])],
        0.4, SIGMAS,
    )  # fmt: skip
    assert found.oks[0] == pytest.approx(naive_oks(before, after, usable, 200.0), abs=1e-4)
    for k in range(3):
        if usable[k]:
            expected = math.dist(before[k], after[k])
            assert found.px[0, k] == pytest.approx(expected, abs=1e-4)
        else:
            assert math.isnan(found.px[0, k])


NAN = [math.nan, math.nan]


@pytest.mark.parametrize(
    ("before", "score", "after", "oks", "px"),
    [
        ([[1, 1], [2, 2], [3, 3]], [0.9, 0.9, 0.9], [[1, 1], NAN, [3, 3]], 2 / 3, [0, math.inf, 0]),
        ([[1, 1], NAN, NAN], [0.1, 0, 0], [[1, 1], [9, 9], NAN], 1.0, [0, math.nan, math.nan]),
        ([NAN, NAN, NAN], [0, 0, 0], [NAN, NAN, NAN], math.nan, [math.nan] * 3),
        ([NAN, NAN, NAN], [0, 0, 0], [[1, 1], NAN, NAN], 0.0, [math.nan] * 3),
    ],
    ids=["missed", "unsure of all", "nobody", "invented"],
)
def test_missing_joints(before, score, after, oks, px):
    found = compare_poses(
        [poses([before], [score])], [poses([after], [[0.5] * 3])], 0.4, SIGMAS
    )  # fmt: skip
    np.testing.assert_allclose(found.oks, [oks], rtol=1e-6)
    np.testing.assert_allclose(found.px, [px])


def test_end_point_errors_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    fields = rng.normal(0, 3, (2, 3, 2, 4, 5)).astype(np.float32)
    one, two = (
        [FlowField(uv, (1.0, 1.0), i, i + 1) for i, uv in enumerate(side)] for side in fields
    )
    found = compare_flow(one, two)
    for pair in range(3):
        for y in range(4):
            for x in range(5):
                expected = math.dist(fields[0, pair, :, y, x], fields[1, pair, :, y, x])
                assert found.error[pair, y, x] == pytest.approx(expected, rel=1e-5)
        lengths = [math.hypot(*fields[0, pair, :, y, x]) for y in range(4) for x in range(5)]
        assert found.motion[pair] == pytest.approx(sum(lengths) / 20, rel=1e-5)
