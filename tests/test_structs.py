"""What crosses the boundaries is checked where it is made."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowtrack.errors import FlowtrackError, InputError
from flowtrack.structs import (
    DETECTED,
    PROPAGATED,
    Boxes,
    FlowField,
    Frame,
    Poses,
    TrackedFrame,
    Tracks,
    checked,
)

GREY = np.full((4, 6, 3), 9, np.uint8)


def poses(count=2, joints=3):
    rng = np.random.default_rng(0)
    return Poses(
        rng.uniform(0, 50, (count, joints, 2)),
        rng.uniform(0.1, 1, (count, joints)),
        rng.uniform(0, 50, (count, 4)),
        rng.uniform(0.1, 1, count),
    )


def tracks(*ids):
    return Tracks(list(ids), [0] * len(ids), [np.nan] * len(ids))


@pytest.mark.parametrize(
    ("value", "shape", "dtype", "message"),
    [
        (np.zeros((2, 3)), ("N", 4), np.float32, r"x has shape \(2, 3\), expected \(N, 4\)"),
        (np.zeros(4), ("N", 4), np.float32, r"x has shape \(4,\), expected \(N, 4\)"),
        (np.zeros((2, 4)), (3, 4), np.float32, r"x has shape \(2, 4\), expected \(3, 4\)"),
        (1.0, (1,), np.float32, r"x has shape \(\), expected \(1\)"),
        ([[1, 2], [3]], ("N", 2), np.float32, "x is not an array of float32"),
        (["a", "b"], ("N",), np.float32, "expected float32"),
        ([None, 1.0], ("N",), np.float32, "x is an array of object, expected float32"),
        ([1j], ("N",), np.float32, "expected float32"),
        ([1.5], ("N",), np.int64, "x is an array of float64, expected int64"),
        ([2], ("N",), np.bool_, "expected bool"),
    ],
)
def test_checked_refuses_and_says_what_it_wanted(value, shape, dtype, message):
    with pytest.raises(InputError, match=message):
        checked("x", value, shape, dtype)


def test_checked_gives_contiguous_arrays_of_the_type():
    turned = np.arange(6.0).reshape(2, 3).T
    array = checked("x", turned, ("N", 2), np.float32)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, turned)
    assert checked("x", [], ("N",), np.int64).dtype == np.int64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": GREY.astype(np.float32)}, r"image is float32, expected a uint8 array"),
        ({"image": GREY.tolist()}, "image is list"),
        ({"image": GREY[:, :, 0]}, r"image has shape \(4, 6\), expected \(H, W, 3\)"),
        ({"image": np.dstack([GREY, GREY[:, :, :1]])}, r"image has shape \(4, 6, 4\)"),
        ({"image": GREY[:0]}, r"image has shape \(0, 6, 3\), expected at least one pixel"),
        ({"index": -1}, "frame index is -1, expected 0 or more"),
        ({"time_s": float("nan")}, "frame time is nan s"),
        ({"time_s": float("inf")}, "frame time is inf s"),
    ],
)
def test_frames_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        Frame(**{"index": 0, "time_s": 0.0, "image": GREY, **change})


def test_frame_has_a_size_and_is_frozen():
    frame = Frame(3, 0.1, GREY[:, ::-1])
    assert (frame.height, frame.width) == (4, 6)
    assert frame.image.flags.c_contiguous
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.index = 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Boxes.detected(np.zeros((2, 3)), [1, 1]), "xyxy has shape"),
        (lambda: Boxes.detected(np.zeros((2, 4)), [1]), r"score has shape \(1,\), expected \(2\)"),
        (lambda: Boxes.propagated(np.zeros((1, 4)), ["x"]), "score is an array of"),
        (lambda: Boxes(np.zeros((1, 4)), [1], [0, 0]), "origin has shape"),
        (lambda: Boxes(np.zeros((1, 4)), [1], [7]), r"origin holds \[7\]"),
        (lambda: FlowField(np.zeros((3, 4, 4)), (1, 1), 0, 1), r"expected \(2, h, w\)"),
        (lambda: FlowField(np.zeros((2, 0, 4)), (1, 1), 0, 1), "expected at least one cell"),
        (lambda: FlowField(np.zeros((2, 4, 4)), (1, 0), 0, 1), "flow scale is"),
        (lambda: FlowField(np.zeros((2, 4, 4)), (np.nan, 1), 0, 1), "flow scale is"),
        (lambda: FlowField(np.zeros((2, 4, 4)), (0.5,), 0, 1), "expected two positive numbers"),
        (lambda: dataclasses.replace(poses(), xy=np.zeros((2, 3, 3))), "xy has shape"),
        (lambda: dataclasses.replace(poses(), score=np.zeros((2, 4))), r"expected \(2, 3\)"),
        (lambda: dataclasses.replace(poses(), box=np.zeros((1, 4))), "box has shape"),
        (lambda: dataclasses.replace(poses(), box_score=np.zeros(3)), "box_score has shape"),
        (lambda: Tracks([1, 2], [0], [0, 0]), "age has shape"),
        (lambda: Tracks([1.5], [0], [0]), "id is an array of float64"),
        (lambda: Tracks([1], [0], [0, 0]), "similarity has shape"),
    ],
)
def test_wrong_arrays_are_refused(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert isinstance(caught.value, FlowtrackError)
    assert isinstance(caught.value, ValueError)


def test_rows_are_chosen_together():
    boxes = Boxes(np.arange(12).reshape(3, 4), [0.1, 0.2, 0.3], [0, 1, 0])
    chosen = boxes[np.array([2, 0])]
    assert chosen.xyxy[:, 0].tolist() == [8, 0]
    np.testing.assert_allclose(chosen.score, [0.3, 0.1])
    assert boxes[np.array([False, True, False])].origin.tolist() == [PROPAGATED]
    assert len(boxes[1:]) == 2
    people = poses(3)
    mixed = people[np.array([1, 2])]
    for name in ("xy", "score", "box", "box_score"):
        np.testing.assert_array_equal(getattr(mixed, name), getattr(people, name)[1:])
    both = Tracks([4, 7], [1, 0], [0.5, np.nan])[np.array([1])]
    assert (both.id.tolist(), both.age.tolist()) == ([7], [0])
    assert np.isnan(both.similarity).all()


def test_origin_and_emptiness():
    one = np.zeros((1, 4))
    assert Boxes.detected(one, [1]).origin.tolist() == [DETECTED]
    assert Boxes.propagated(one, [1]).origin.tolist() == [PROPAGATED]
    assert Boxes.empty().xyxy.shape == (0, 4)
    assert Poses.empty(17).xy.shape == (0, 17, 2)
    assert Poses.empty(17).instance_score.shape == (0,)
    assert len(Tracks.empty()) == 0


def test_missing_joints_have_no_place_or_no_score():
    people = Poses(
        [[[1, 2], [np.nan, 2], [1, np.inf], [3, 4]]],
        [[0.5, 0.9, 0.9, np.nan]],
        [[0, 0, 1, 1]],
        [0.8],
    )
    assert people.missing.tolist() == [[False, True, True, True]]
    np.testing.assert_allclose(people.instance_score, [0.8 * 0.5])


def test_nobody_there_scores_zero():
    people = Poses(np.full((1, 2, 2), np.nan), [[0.9, 0.9]], [[0, 0, 1, 1]], [0.8])
    assert people.instance_score.tolist() == [0.0]


def test_joints_below_the_threshold_go_missing():
    people = Poses(
        [[[1, 1], [2, 2], [3, 3], [4, 4]]], [[0.4, 0.39, np.nan, 0.9]], [[0, 0, 1, 1]], [1]
    )
    kept = people.without_joints_below(0.4)
    assert kept.missing.tolist() == [[False, True, True, False]]
    assert not people.missing[0, 1]  # the original stays as it was
    np.testing.assert_array_equal(kept.score, people.score)
    np.testing.assert_array_equal(kept.xy[0, 3], [4, 4])


@given(
    hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(width=32)),
    hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32)),
    st.floats(0, 1),
)
def test_a_joint_that_stays_has_a_place_and_the_score(xy, score, threshold):
    kept = Poses(xy, score, np.zeros((3, 4)), np.ones(3)).without_joints_below(threshold)
    for person, joint in np.ndindex(3, 4):
        good = score[person, joint] >= np.float32(threshold) and np.isfinite(score[person, joint])
        good = good and np.isfinite(xy[person, joint]).all()
        assert kept.missing[person, joint] == (not good)


def test_joints_beyond_the_edge_of_the_picture_are_missing():
    """The centre of the first pixel is (0, 0), so the picture begins half a pixel before it."""
    xy = [[-0.5, 0], [-0.51, 0], [3.49, 2.49], [3.5, 1], [1, 2.5], [np.nan, 1]]
    people = Poses([xy], np.full((1, 6), 0.9), [[0, 0, 1, 1]], [1])
    kept = people.within(width=4, height=3)
    assert kept.missing.tolist() == [[False, True, False, True, True, True]]
    np.testing.assert_array_equal(kept.xy[0, [0, 2]], np.float32(xy)[[0, 2]])
    np.testing.assert_array_equal(kept.score, people.score)


def test_a_tracked_frame_has_one_id_for_each_pose():
    frame = TrackedFrame(5, 0.2, poses(2), tracks(3, 8))
    assert frame.flow is None
    assert len(frame.boxes) == 0
    with pytest.raises(InputError, match="2 poses come with 1 tracks"):
        TrackedFrame(5, 0.2, poses(2), tracks(3))
    with pytest.raises(InputError, match=r"ids \[3, 3\] repeat within frame 5"):
        TrackedFrame(5, 0.2, poses(2), tracks(3, 3))
