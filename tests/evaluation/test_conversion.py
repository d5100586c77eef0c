"""Poses of other skeletons as the 15 joints that are counted, and back."""

import json
import math

import numpy as np
import pytest

from flowtrack.errors import InputError
from flowtrack.evaluation.conversion import frame_of, joints15, joints_of
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.evaluation.sequences import JOINTS, NO_SCORE
from flowtrack.skeleton import COCO_17, POSETRACK17_15, POSETRACK18_17, convert_joints

EARS = [POSETRACK18_17.index("left_ear"), POSETRACK18_17.index("right_ear")]


def poses(skeleton, seed=1, count=4):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 500, (count, len(skeleton), 2))
    xy[rng.random((count, len(skeleton))) < 0.2] = math.nan
    return xy, rng.random((count, len(skeleton)))


def test_17_slots_to_15_and_back():
    xy, score = poses(POSETRACK18_17)
    xy[:, EARS] = math.nan
    score = np.where(np.isnan(xy[..., 0]), NO_SCORE, score)
    frame = frame_of(range(4), xy, score, POSETRACK18_17)
    back_xy, back_score = joints_of(frame, POSETRACK18_17)
    np.testing.assert_array_equal(back_xy, xy)  # digit by digit
    np.testing.assert_array_equal(back_score, score)
    for name in JOINTS:
        np.testing.assert_array_equal(
            frame.xy[:, JOINTS.index(name)], xy[:, POSETRACK18_17.index(name)]
        )


def test_coco_agrees_with_the_conversion_of_poses():
    xy, score = poses(COCO_17)
    got_xy, got_score = joints15(xy, score, COCO_17)
    want_xy, want_score = convert_joints(xy, score, COCO_17, POSETRACK17_15)
    np.testing.assert_allclose(got_xy, want_xy, atol=1e-3)
    there = np.isfinite(want_xy[..., 0])
    assert there[:, JOINTS.index("head_top")].any()
    np.testing.assert_allclose(got_score[there], want_score[there], atol=1e-6)
    assert (got_score[~there] == NO_SCORE).all()


def test_a_derived_joint_is_missing_without_its_sources():
    xy, score = np.full((1, 17, 2), 10.0), np.ones((1, 17))
    xy[0, COCO_17.index("left_shoulder")] = math.nan
    got, _ = joints15(xy, score, COCO_17)
    assert np.isnan(got[0, [JOINTS.index("head_bottom"), JOINTS.index("head_top")]]).all()


def test_people_without_any_joint_are_left_out():
    xy, score = np.full((2, 17, 2), math.nan), np.ones((2, 17))
    xy[1, COCO_17.index("nose")] = 3, 4
    heads = [[0, 0, 1, 1], [2, 2, 3, 3]]
    frame = frame_of([7, 8], xy, score, COCO_17, head=heads, name="a.jpg")
    assert (frame.track_id.tolist(), frame.name) == ([8], "a.jpg")
    assert frame.head.tolist() == [[2, 2, 3, 3]]
    xy[0, COCO_17.index("left_eye")] = 3, 4  # none of the 15
    assert len(frame_of([7, 8], xy, score, COCO_17)) == 1


def test_shapes_are_checked():
    with pytest.raises(InputError, match="xy"):
        joints15(np.zeros((1, 15, 2)), np.zeros((1, 15)), COCO_17)
    with pytest.raises(InputError, match="track_id"):
        frame_of([1, 2], np.zeros((1, 17, 2)), np.zeros((1, 17)), COCO_17)


def test_a_file_of_2018_with_the_joints_of_coco_is_converted(tmp_path):
    xy, score = poses(COCO_17, count=1)
    points = np.concatenate([xy[0], np.ones((17, 1))], axis=1)
    points[np.isnan(points[:, 0])] = 0
    content = {
        "images": [{"id": 1}],
        "categories": [{"keypoints": list(COCO_17.joints)}],
        "annotations": [
            {"image_id": 1, "track_id": 1, "keypoints": points.reshape(-1).tolist(),
             "scores": score[0].tolist()}
        ],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    (frame,) = read_posetrack(tmp_path / "a.json").frames
    want_xy, want_score = joints15(xy, score, COCO_17)
    np.testing.assert_array_equal(frame.xy, want_xy)
    np.testing.assert_array_equal(frame.score, want_score)
