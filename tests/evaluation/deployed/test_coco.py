"""A bundle on COCO pictures: which boxes are taken, what becomes of poses, what is refused."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flowtrack.errors import OptionError
from flowtrack.evaluation.coco_files import read_truth
from flowtrack.evaluation.deployed.coco import (
    annotated_boxes,
    as_results,
    check_joints,
    detect_people,
    estimate_poses,
    open_for_pictures,
)
from flowtrack.evaluation.deployed.coco_set import open_set
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.structs import Boxes, Frame, Poses
from tests.evaluation.coco_samples import person, truth_of, written
from tests.support.graphs import tiny_bundle

PEOPLE = [person(1, 1), person(2, 1, iscrowd=1), person(3, 2, keypoints=[0] * 51, num_keypoints=0),
          person(4, 2, x=60.0), person(5, 2, x=64.0)]  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny.bundle", *tiny_bundle())


@pytest.fixture(scope="module")
def networks(bundle):
    return open_for_pictures(bundle, device="cpu", threads=1)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (96, 128, 3), np.uint8))
    truth = read_truth(written(tmp_path, truth_of(PEOPLE), "t.json"), "keypoints")
    return open_set(truth, tmp_path)


def test_annotated_boxes_are_of_people_to_find(pictures):
    boxes = annotated_boxes(pictures.truth, 2)
    assert boxes.xyxy.tolist() == [[60, 20, 100, 60], [64, 20, 104, 60]]
    assert boxes.score.tolist() == [1, 1]
    assert len(annotated_boxes(pictures.truth, 1)) == 1
    assert len(annotated_boxes(pictures.truth, 3)) == 0
    assert pictures.truth.boxes[0].tolist() == [20, 20, 40, 40]  # still left, top, width, height


def test_poses_in_annotated_boxes(networks, pictures):
    told = []
    found = estimate_poses(networks.pose, pictures, progress=told.append)
    assert told == [1, 2]
    assert found.image_id.tolist() == [1, 2, 2]
    assert found.boxes is None
    frame = pictures.frame(0)
    poses = networks.pose(frame, annotated_boxes(pictures.truth, 1))
    there = ~poses.missing[0]
    assert 5 < there.sum() < 17  # the tiny network misses joints
    assert np.array_equal(found.keypoints[0, there, :2], poses.xy[0, there])
    assert np.array_equal(found.keypoints[0, there, 2], poses.score[0, there])


def test_poses_in_detected_boxes_carry_the_detectors_score(networks, pictures):
    found = estimate_poses(networks.pose, pictures, networks.detector)
    boxes = networks.detector(pictures.frame(0))
    assert len(boxes) == 1
    assert found.image_id.tolist() == [1, 2]
    poses = networks.pose(pictures.frame(0), boxes)
    joints = poses.score[0][poses.score[0] > 0.2]
    assert found.score[0] == pytest.approx(float(boxes.score[0]) * joints.mean(), rel=1e-6)


def test_detected_boxes_in_cocos_form(networks, pictures):
    told = []
    found = detect_people(networks.detector, pictures, told.append)
    assert told == [1, 2]
    boxes = networks.detector(pictures.frame(1))
    x1, y1, x2, y2 = boxes.xyxy[0].tolist()
    assert found.boxes[1].tolist() == pytest.approx([x1, y1, x2 - x1, y2 - y1])
    assert (found.image_id.tolist(), found.keypoints) == ([1, 2], None)


def test_a_missing_joint_lies_in_the_corner_of_its_crop(networks):
    """Crop of 48 x 64; box of 30 x 40 px around (50, 60), padded by 1.25: 37.5 x 50 px."""
    xy = np.full((1, 17, 2), 55, np.float32)
    score = np.full((1, 17), 0.5, np.float32)
    xy[0, 3], score[0, 3] = np.nan, 0.0
    poses = Poses(xy, score, np.array([[35, 40, 65, 80]], np.float32), np.array([0.8], np.float32))
    found = as_results(poses, 9, networks.pose)
    assert found.keypoints[0, 3].tolist() == pytest.approx([50 - 37.5 / 2, 60 - 25, 0])
    assert found.keypoints[0, 4].tolist() == [55, 55, 0.5]
    assert found.score.tolist() == pytest.approx([0.4])
    assert found.image_id.tolist() == [9]


@pytest.mark.parametrize(("shift_px", "kept"), [(1.7, [1]), (2.0, [1, 0])])
def test_the_same_person_twice_counts_once_by_the_area_of_the_padded_box(networks, shift_px, kept):
    """Between the two shifts OKS crosses 0.9 at 1875 px^2; at the bare box it is below for both."""
    xy = np.stack([np.full((17, 2), 50.0), np.full((17, 2), 50.0) + [shift_px, 0]])
    score = np.stack([np.full(17, 0.5), np.full(17, 0.6)])
    boxes = np.tile(np.array([[35, 40, 65, 80]], np.float32), (2, 1))
    poses = Poses(xy.astype(np.float32), score.astype(np.float32), boxes, np.ones(2, np.float32))
    found = as_results(poses, 1, networks.pose)
    assert found.score.tolist() == pytest.approx([[0.5, 0.6][row] for row in kept])


def test_the_flip_test_is_switched_on_and_off(bundle, networks):
    boxes = Boxes.detected([[10, 10, 60, 80]], [1.0])
    image = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)
    straight = networks.pose(Frame(0, 0.0, image), boxes)
    flipped = open_for_pictures(bundle, flip=True, device="cpu", threads=1)
    assert flipped.pose.spec.flip_test
    assert not np.allclose(flipped.pose(Frame(0, 0.0, image), boxes).score, straight.score)
    pose = replace(bundle.manifest.pose, flip_test=True)
    always = Bundle(bundle.path, replace(bundle.manifest, pose=pose))
    assert open_for_pictures(always, device="cpu").pose.spec.flip_test
    assert not open_for_pictures(always, flip=False, device="cpu").pose.spec.flip_test


def test_a_flip_test_that_must_be_in_the_graph_is_refused(bundle):
    pose = replace(bundle.manifest.pose, decode="keypoints")
    other = Bundle(bundle.path, replace(bundle.manifest, pose=pose))
    with pytest.raises(OptionError, match="flip test inside"):
        open_for_pictures(other, flip=True)


@pytest.mark.parametrize(
    ("skeleton", "lacking"),
    [("aic-14", "nose"), ("posetrack17-15", "left_eye"), ("posetrack18-17", "right_eye")],
)
def test_other_joints_cannot_be_compared(bundle, skeleton, lacking):
    check_joints(bundle)
    other = Bundle(bundle.path, replace(bundle.manifest, skeleton=skeleton))
    with pytest.raises(OptionError, match=lacking):
        check_joints(other)


def test_no_flow_is_loaded(bundle):
    """The bundle's manifest names one; these networks come without."""
    assert bundle.manifest.flow is not None
    assert open_for_pictures(bundle, device="cpu").flow is None
