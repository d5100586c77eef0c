"""Hand-computed rows for the oracles."""

import math

import numpy as np
import pytest

from tests.reference import kernels

NAN = math.nan


def test_flow_is_sampled_at_half_pixel_centres():
    # A 1 x 2 grid over a source 4 pixels wide: cell centres lie at source x = 0.5 and 2.5.
    uv = np.array([[[10.0, 20.0]], [[1.0, 3.0]]])
    xy = [[0.5, 0], [2.5, 0], [1.5, 0], [1.0, 0], [-50, 9], [50, -9]]
    got = kernels.sample_flow(uv, (0.5, 1.0), xy)
    want = [[10, 1], [20, 3], [15, 2], [12.5, 1.5], [10, 1], [20, 3]]
    np.testing.assert_allclose(got, want)
    np.testing.assert_allclose(kernels.propagate(uv, (0.5, 1.0), xy), np.add(xy, want))


def test_flow_weights_four_cells():
    uv = np.zeros((2, 2, 2))
    uv[0] = [[0, 8], [16, 32]]
    # 0.75 * (0.75 * 0 + 0.25 * 8) + 0.25 * (0.75 * 16 + 0.25 * 32)
    assert kernels.sample_flow(uv, (1, 1), [0.25, 0.25])[0] == 0.75 * 2 + 0.25 * 20


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_flow_that_is_not_finite_gives_nan_only_where_it_has_weight(bad):
    uv = np.ones((2, 1, 2))
    uv[1, 0, 1] = bad
    got = kernels.sample_flow(uv, (1, 1), [[0, 0], [0.01, 0], [1, 0], [-3, 0], [bad, 0], [0, bad]])
    want = [[1, 1], [NAN, NAN], [NAN, NAN], [1, 1], [NAN, NAN], [NAN, NAN]]
    np.testing.assert_array_equal(got, want)


def test_opposite_infinities_do_not_cancel():
    uv = np.ones((2, 1, 2))
    uv[0, 0] = math.inf, -math.inf
    assert np.isnan(kernels.sample_flow(uv, (1, 1), [0.5, 0])).all()


def test_joint_boxes_use_only_joints_that_count():
    xy = [[[0, 0], [10, 20], [NAN, 5], [99, 99]], [[1, 1], [2, 2], [3, 3], [4, 4]]]
    score = [[0.4, 0.9, 1.0, 0.39], [0, NAN, 0.1, 0.2]]
    got = kernels.joint_boxes(xy, score, 0.4, 0.2)
    np.testing.assert_allclose(got, [[-1, -2, 11, 22], [NAN] * 4])


def test_one_joint_makes_a_point_box():
    np.testing.assert_array_equal(kernels.joint_boxes([[[3, 4]]], [[1]], 0.5, 0.15), [[3, 4, 3, 4]])


def test_iou():
    a = [[0, 0, 2, 2], [0, 0, 0, 0], [2, 0, 0, 2], [0, 0, NAN, 2]]
    b = [[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6]]
    got = kernels.iou_matrix(a, b)
    np.testing.assert_allclose(got, [[1 / 3, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert kernels.iou_matrix(np.zeros((0, 4)), b).shape == (0, 3)


def test_nms_keeps_the_best_and_ties_go_to_the_lower_index():
    boxes = [[0, 0, 2, 2], [0, 0, 2, 2], [1, 0, 3, 2], [9, 9, 10, 10], [0, 0, NAN, 1]]
    assert kernels.nms(boxes, [0.5, 0.5, 0.9, 0.1, 1.0], 0.5).tolist() == [2, 0, 3]
    assert kernels.nms(boxes, [0.5, 0.5, 0.9, NAN, 1.0], 0.3).tolist() == [2]
    assert kernels.nms(boxes, [0.5] * 5, 1.0).tolist() == [0, 1, 2, 3]


def test_nms_suppresses_above_the_threshold_not_at_it():
    boxes = [[0, 0, 2, 1], [0, 0, 1, 1]]  # IoU exactly one half
    assert kernels.nms(boxes, [1, 0.5], 0.5).tolist() == [0, 1]
    assert kernels.nms(boxes, [1, 0.5], 0.499).tolist() == [0]


def test_a_suppressed_box_suppresses_nothing():
    boxes = [[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]]  # neighbours 6/14, ends 2/18
    assert kernels.nms(boxes, [3, 2, 1], 0.4).tolist() == [0, 2]


def test_oks_counts_joints_of_the_first_pose():
    # sigma 0.5 makes (2 sigma)^2 = 1: a joint off by d counts exp(-d^2 / (2 area)).
    a = np.zeros((2, 2, 2))
    b = np.array([[[3.0, 4.0], [0, 0]]])
    half = math.exp(-25 / (2 * 50))
    got = kernels.oks_matrix(a, [[1, 1], [1, 0]], [50, 50], b, [[1, 1]], [0.5, 0.5])
    np.testing.assert_allclose(got, [[(half + 1) / 2], [half]])
    got = kernels.oks_matrix(a, [[1, 1], [0, 0]], [50, 50], b, [[1, 0]], [0.5, 0.5])
    np.testing.assert_allclose(got, [[half / 2], [0]])


def test_oks_area_has_a_floor_of_one_pixel():
    a, b, ok = np.zeros((1, 1, 2)), np.array([[[1.0, 0.0]]]), [[1]]
    got = kernels.oks_matrix(a, ok, [0.0], b, ok, [0.5])
    assert got[0, 0] == pytest.approx(math.exp(-0.5))


def test_oks_ignores_positions_of_missing_joints():
    a, b = np.array([[[0.0, 0], [NAN, NAN]]]), np.zeros((1, 2, 2))
    assert kernels.oks_matrix(a, [[1, 0]], [9], b, [[1, 1]], [0.1, 0.1])[0, 0] == 1


@pytest.mark.parametrize(
    ("similarity", "track", "minimum", "want"),
    [
        ([[0.9, 0.8], [0.7, 0.1]], [1, 2], 0.0, [0, 1]),
        ([[0.9, 0.8], [0.7, 0.1]], [1, 2], 0.2, [0, -1]),
        ([[0.9, 0.8], [0.7, 0.6]], [5, 5], 0.0, [0, -1]),  # two memories of one track
        ([[0.5, 0.5], [0.5, 0.5]], [1, 2], 0.5, [0, 1]),  # all tied, at the minimum
        ([[0.5, 0.5, 0.5]], [1], 0.0, [0, -1, -1]),
        ([[0.5], [0.5]], [1, 2], 0.0, [0]),
        ([[0.1, 0.5], [0.5, 0.1]], [1, 2], 0.0, [1, 0]),
        ([[NAN, NAN], [NAN, 0.3]], [1, 2], -1.0, [-1, 1]),
        ([[0.4, 0.9]], [7], 0.0, [-1, 0]),
    ],
)
def test_greedy_match(similarity, track, minimum, want):
    assert kernels.greedy_match(similarity, track, minimum).tolist() == want


def test_greedy_match_without_rows():
    assert kernels.greedy_match(np.zeros((0, 2)), [], 0.0).tolist() == [-1, -1]


def test_pose_nms_holds_the_pose_of_fewer_joints_against_the_other():
    # Pose 1 has one joint of pose 0's two, at the same place: it is wholly like pose 0.
    xy = np.zeros((3, 2, 2))
    xy[2] = 1000.0
    ok = [[1, 1], [1, 0], [1, 1]]
    args = xy, ok, [4.0] * 3
    sigmas = [0.1, 0.1]
    assert kernels.pose_nms(*args, [0.9, 0.8, 0.1], sigmas, 0.6).tolist() == [True, False, True]
    assert kernels.pose_nms(*args, [0.8, 0.9, 0.1], sigmas, 0.6).tolist() == [False, True, True]
    assert kernels.pose_nms(*args, [0.5, 0.5, 0.5], sigmas, 0.6).tolist() == [True, False, True]
    assert kernels.pose_nms(*args, [0.5, 0.5, 0.5], sigmas, 1.0).tolist() == [True, True, True]
    assert kernels.pose_nms(*args, [NAN, 0.5, 0.5], sigmas, 0.6).tolist() == [False, True, True]


def test_pose_nms_measures_at_the_scale_of_the_larger():
    # 2 px apart: exp(-4 / (2 area 0.04)) is 0.001 for area 7.2 and 0.6 for area 100.
    xy = [[[0.0, 0.0]], [[2.0, 0.0]]]
    args = xy, [[1], [1]]
    assert kernels.pose_nms(*args, [7.2, 7.2], [2.0, 1.0], [0.1], 0.5).tolist() == [True, True]
    assert kernels.pose_nms(*args, [7.2, 100.0], [2.0, 1.0], [0.1], 0.5).tolist() == [True, False]
