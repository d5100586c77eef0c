"""Average precision of joints: by hand, and pose assignment against the oracle."""

import math

import numpy as np
import pytest

from flowtrack.errors import InputError
from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.mean_ap import (
    JointDetections,
    assign_poses,
    average_precision,
    detections,
)
from tests.evaluation.samples import COUNT, frame, person, poseval, sequence


def judged(truth, results):
    return detections(compare(sequence(truth), sequence(results)))


def assigned(near, labelled):
    """The person of each pose that is somebody's."""
    pose = np.empty(len(near), np.int64)
    assign_poses(near, np.array(labelled, np.int64), pose)
    return {p: i for i, p in enumerate(pose.tolist()) if p >= 0}


@pytest.mark.parametrize(
    ("score", "right", "truths", "want"),
    [
        ([0.9, 0.8, 0.7], [1, 0, 1], 4, 0.25 * 1 + 0.25 * 2 / 3),
        ([3, 2, 1], [0, 1, 1], 2, 2 / 3),  # precision rises again: the envelope counts
        ([1, 1], [1, 0], 1, 0.5),  # among equals the later comes first
        ([1, 1], [0, 1], 1, 1.0),
        ([-9999.0], [1], 1, 1.0),
        ([], [], 3, 0.0),
        ([], [], 0, 0.0),
    ],
)
def test_average_precision_by_hand(score, right, truths, want):
    assert average_precision(score, np.array(right, bool), truths) == pytest.approx(want)


def test_nothing_to_find_has_no_value():
    assert math.isnan(average_precision([1.0], [False], 0))
    with pytest.raises(InputError, match="right"):
        average_precision([1.0], [True, False], 1)


def test_a_pose_is_assigned_to_its_best_person_and_a_person_takes_its_best_pose():
    near = np.zeros((2, 3, COUNT), bool)
    near[0, 0, :5] = near[1, 0, :5] = True  # pose 0: a tie, goes to person 0
    near[0, 1, :9] = True  # pose 1 fits person 0 better
    near[1, 2, :1] = True
    assert assigned(near, [15, 15]) == {1: 0, 2: 1}
    # Five of five labelled joints beat five of fifteen.
    assert assigned(near[:, :1], [15, 5]) == {0: 1}


@pytest.mark.parametrize("seed", range(20))
def test_assignment_of_poses_agrees_with_the_oracle(seed):
    rng = np.random.default_rng(seed)
    near = rng.random((*rng.integers(0, 6, 2), COUNT)) < 0.1
    labelled = rng.integers(0, COUNT + 1, len(near))
    assert assigned(near, labelled) == poseval.assign_poses(near, labelled)


def test_every_joint_of_an_unassigned_pose_is_false():
    found = judged([frame(person(1))], [frame(person(7), person(8, 1, joints=[0, 1]))])
    assert found.right.sum(axis=1).tolist() == [COUNT, 0]
    assert found.there.sum(axis=1).tolist() == [COUNT, 2]
    assert found.truths.tolist() == [1] * COUNT
    assert found.found.tolist() == [1] * COUNT


def test_frames_without_people_give_only_false_joints():
    found = judged([frame(rects=1), frame(person(1))], [frame(person(7)), frame()])
    assert found.right.shape == (1, COUNT)
    assert not found.right.any()
    assert found.average_precision.tolist() == [0] * COUNT


def test_a_joint_predicted_where_none_is_labelled_is_false_and_has_no_precision():
    truth = [frame(person(1, joints=[0, 1]))]
    found = judged(truth, [frame(person(7, joints=[0, 2]))])
    assert found.right[0, [0, 2]].tolist() == [True, False]
    assert found.average_precision[[0, 1]].tolist() == [100, 0]  # nobody predicted joint 1
    assert math.isnan(found.average_precision[2])


def test_curve_takes_joints_together_by_score():
    truth = [frame(person(1), person(2, 100))]
    found = judged(truth, [frame(person(7, score=0.9), person(8, 500, score=0.8))])
    recall, precision = found.curve(np.array([0, 4]))
    assert recall.tolist() == [0.25, 0.5, 0.5, 0.5]
    assert precision.tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])
    for nothing in (judged([frame(rects=1)], [frame(person(7))]), judged(truth, [frame()])):
        assert [part.tolist() for part in nothing.curve(np.array([0]))] == [[], []]


def test_nothing_pooled_is_empty():
    none = JointDetections.pooled([])
    assert none.score.shape == (0, COUNT)
    assert none.truths.tolist() == [0] * COUNT
