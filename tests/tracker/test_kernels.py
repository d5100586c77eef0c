"""Every kernel against its plain-loop oracle, on random input with holes in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import InputError
from flowtrack.skeleton import COCO_17
from flowtrack.tracker import boxes, matching, motion, oks
from tests.reference import kernels as oracle

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(0, 12)


def _people(rng, count, joints=17, spread=300.0):
    """Joints in clumps, so that some people coincide; some joints are NaN or infinite."""
    centre = rng.uniform(0, spread, (count, 1, 2))
    centre[count // 2 :] = centre[: count - count // 2] + rng.normal(0, 5, (1, 1, 2))
    xy = (centre + rng.normal(0, 30, (count, joints, 2))).astype(np.float32)
    holes = rng.random((count, joints)) < 0.1
    xy[holes] = rng.choice([np.nan, np.inf, -np.inf], (int(holes.sum()), 1))
    return xy


def _boxes(rng, count):
    corner = rng.uniform(0, 100, (count, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(-5, 60, (count, 2))], axis=1)
    xyxy[rng.random(count) < 0.1] = np.nan
    return xyxy.astype(np.float32)


@given(SEEDS, COUNTS, st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None)
def test_propagate_equals_loops(seed, count, height, width):
    rng = np.random.default_rng(seed)
    uv = rng.normal(0, 10, (2, height, width)).astype(np.float32)
    uv[:, rng.random((height, width)) < 0.1] = rng.choice([np.nan, np.inf])
    scale = (width / 64.0, height / 48.0)
    xy = _people(rng, count, spread=64.0)
    got = motion.propagate(uv, scale, xy)
    want = oracle.propagate(uv, scale, xy)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-3)


def test_propagate_reads_the_cell_under_a_joint():
    """Grid of 2x3 cells of 4 pixels: the centre of cell (1, 2) is source pixel (9.5, 5.5)."""
    uv = np.zeros((2, 2, 3), np.float32)
    uv[:, 1, 2] = (3.0, -2.0)
    moved = motion.propagate(uv, (0.25, 0.25), [[[9.5, 5.5], [1.5, 1.5], [1e6, 1e6]]])
    np.testing.assert_allclose(moved[0], [[12.5, 3.5], [1.5, 1.5], [1e6 + 3, 1e6 - 2]])


@given(SEEDS, COUNTS, st.floats(0, 1))
@settings(deadline=None)
def test_joint_boxes_equal_loops(seed, count, growth):
    rng = np.random.default_rng(seed)
    xy = _people(rng, count)
    score = rng.random((count, 17)).astype(np.float32)
    got = motion.joint_boxes(xy, score >= np.float32(0.4), growth)
    np.testing.assert_allclose(
        got, oracle.joint_boxes(xy, score, np.float32(0.4), growth), rtol=1e-5, atol=1e-3
    )


@given(SEEDS, COUNTS, COUNTS)
@settings(deadline=None)
def test_iou_matrix_equals_loops(seed, count, others):
    rng = np.random.default_rng(seed)
    a, b = _boxes(rng, count), _boxes(rng, others)
    np.testing.assert_allclose(boxes.iou_matrix(a, b), oracle.iou_matrix(a, b), atol=1e-5)


@given(SEEDS, COUNTS, st.floats(0, 1))
@settings(deadline=None)
def test_nms_equals_loops(seed, count, iou):
    rng = np.random.default_rng(seed)
    xyxy = _boxes(rng, count)
    score = (rng.integers(0, 5, count) / 4).astype(np.float32)
    score[rng.random(count) < 0.1] = np.nan
    np.testing.assert_array_equal(boxes.nms(xyxy, score, iou), oracle.nms(xyxy, score, iou))


@given(SEEDS, COUNTS, COUNTS)
@settings(deadline=None)
def test_oks_matrix_equals_loops(seed, count, others):
    rng = np.random.default_rng(seed)
    everyone = _people(rng, count + others)
    a, b = everyone[:count], everyone[count:]
    area = rng.choice([0.0, 50.0, 3000.0, 1e5], count).astype(np.float32)
    a_ok, b_ok = rng.random(a.shape[:2]) < 0.7, rng.random(b.shape[:2]) < 0.7
    got = oks.oks_matrix(a, a_ok, area, b, b_ok, COCO_17.sigmas)
    a_there, b_there = a_ok & np.isfinite(a).all(-1), b_ok & np.isfinite(b).all(-1)
    want = oracle.oks_matrix(a, a_there, area, b, b_there, COCO_17.sigmas)
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_oks_of_a_pose_with_itself_is_one_and_far_away_exactly_zero():
    xy = np.zeros((1, 17, 2), np.float32)
    ok = np.ones((1, 17), bool)
    area = np.full(1, 100.0, np.float32)
    assert oks.oks_matrix(xy, ok, area, xy, ok, COCO_17.sigmas)[0, 0] == 1.0
    assert oks.oks_matrix(xy, ok, area, xy + 1e4, ok, COCO_17.sigmas)[0, 0] == 0.0
    assert oks.oks_matrix(xy, ~ok, area, xy, ok, COCO_17.sigmas)[0, 0] == 0.0


def test_an_area_that_is_not_finite_makes_nobody_similar():
    xy = np.zeros((1, 17, 2), np.float32)
    ok = np.ones((1, 17), bool)
    area = np.full(1, np.nan, np.float32)
    assert oks.oks_matrix(xy, ok, area, xy + 50, ok, COCO_17.sigmas)[0, 0] == 0.0


@given(SEEDS, COUNTS)
@settings(deadline=None)
def test_joint_area_is_that_of_the_extent(seed, count):
    rng = np.random.default_rng(seed)
    xy = _people(rng, count)
    usable = rng.random((count, 17)) < 0.8
    extent = motion.joint_boxes(xy, usable, 0.0)
    want = np.nan_to_num((extent[:, 2] - extent[:, 0]) * (extent[:, 3] - extent[:, 1]))
    np.testing.assert_allclose(oks.joint_area(xy, usable), want, rtol=1e-5)


@given(SEEDS, COUNTS, st.floats(0.01, 1))
@settings(deadline=None)
def test_pose_nms_equals_loops(seed, count, threshold):
    rng = np.random.default_rng(seed)
    xy = _people(rng, count)
    ok = (rng.random((count, 17)) < 0.6) & np.isfinite(xy).all(-1)
    area = oks.joint_area(xy, ok)
    score = (rng.integers(0, 4, count) / 3).astype(np.float32)
    score[rng.random(count) < 0.1] = np.nan
    got = oks.pose_nms(xy, ok, area, score, COCO_17.sigmas, threshold)
    want = oracle.pose_nms(xy, ok, area, score, COCO_17.sigmas, threshold)
    np.testing.assert_array_equal(got, want)


def test_pose_nms_takes_a_fragment_for_part_of_the_person_it_lies_on():
    """Head and shoulders of somebody, a few pixels off: small extent, few joints."""
    rng = np.random.default_rng(3)
    whole = np.stack([rng.uniform(100, 200, 17), rng.uniform(100, 400, 17)], axis=1)
    fragment = np.full((17, 2), np.nan)
    fragment[:5] = whole[:5] * [1, 0.3] + [2, 80]
    whole[:5] = fragment[:5] + 3
    xy = np.stack([whole, fragment]).astype(np.float32)
    ok = np.isfinite(xy).all(-1)
    keep = oks.pose_nms(xy, ok, oks.joint_area(xy, ok), [0.9, 0.3], COCO_17.sigmas, 0.6)
    np.testing.assert_array_equal(keep, [True, False])


@given(SEEDS, st.integers(0, 14), COUNTS, st.floats(0, 1))
@settings(deadline=None)
def test_greedy_match_equals_loops(seed, rows, columns, minimum):
    rng = np.random.default_rng(seed)
    table = (rng.integers(0, 6, (rows, columns)) / 5).astype(np.float32)
    table[rng.random(table.shape) < 0.1] = np.nan
    track = rng.integers(0, max(1, rows // 2), rows)
    got = matching.greedy_match(table, track, np.float32(minimum))
    np.testing.assert_array_equal(got, oracle.greedy_match(table, track, np.float32(minimum)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boxes.iou_matrix(np.zeros((2, 3)), np.zeros((1, 4))), r"\(2, 3\)"),
        (lambda: motion.propagate(np.zeros((3, 4, 4)), (1, 1), np.zeros((1, 1, 2))), r"uv"),
        (lambda: motion.propagate(np.zeros((2, 0, 4)), (1, 1), np.zeros((1, 1, 2))), r"cell"),
        (lambda: matching.greedy_match(np.zeros((2, 2)), [1], 0.5), r"track"),
    ],
)
def test_a_wrong_shape_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
