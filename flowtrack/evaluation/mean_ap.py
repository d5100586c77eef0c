"""PoseTrack's mean average precision of joints, as poseval counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flowtrack.evaluation.comparison import ComparedFrame
from flowtrack.evaluation.sequences import JOINTS, Float64Array
from flowtrack.structs import BoolArray, IntArray, checked


@dataclass(frozen=True, slots=True)
class JointDetections:
    """Every predicted pose of some frames, and how many joints there were to find.

    Attributes:
        score: (P, 15) confidence of each joint of P poses, in the order of the frames.
        there: (P, 15) whether the pose has the joint.
        right: (P, 15) whether it is a true positive.
        truths: (15,) int64 joints to find.
    """

    score: Float64Array
    there: BoolArray
    right: BoolArray
    truths: IntArray

    @classmethod
    def pooled(cls, parts: Sequence[JointDetections]) -> JointDetections:
        """Several clips as one."""
        none = np.zeros((0, len(JOINTS)))
        return cls(
            score=np.concatenate([none, *(part.score for part in parts)]),
            there=np.concatenate([none.astype(bool), *(part.there for part in parts)]),
            right=np.concatenate([none.astype(bool), *(part.right for part in parts)]),
            truths=np.sum([np.zeros(len(JOINTS), np.int64), *(p.truths for p in parts)], axis=0),
        )

    @property
    def average_precision(self) -> Float64Array:
        """(15,) in percent; 0 for a joint that nobody predicted, NaN if there was none to find."""
        return 100 * np.array(
            [
                average_precision(self.score[there, j], self.right[there, j], int(self.truths[j]))
                for j, there in enumerate(self.there.T)
            ]
        )

    @property
    def found(self) -> IntArray:
        """(15,) true positives: over `truths` they are the PCKh of the poses as assigned."""
        hits: IntArray = self.right.sum(axis=0)
        return hits


def detections(frames: Sequence[ComparedFrame]) -> JointDetections:
    """The predicted joints of a clip, each judged.

    A joint is a true positive if its pose is assigned to a person and the joint is near that
    person's; every joint of a pose that is not assigned is false.
    """
    parts = [_judged(frame) for frame in frames]
    return JointDetections.pooled(parts)


def _judged(frame: ComparedFrame) -> JointDetections:
    near = np.isfinite(frame.distance)
    right = np.zeros(frame.result_has.shape, bool)
    person, pose = assign_poses(near, frame.truth_has.sum(axis=1))
    right[pose] = near[person, pose]
    return JointDetections(frame.score, frame.result_has, right, frame.truth_has.sum(axis=0))


def assign_poses(near: BoolArray, labelled: IntArray) -> tuple[IntArray, IntArray]:
    """Which pose is taken for which person: assignGTmulti of poseval's eval_helpers.py.

    Each pose looks only at the person of whose labelled joints it finds the largest share, each
    person takes the best of the poses that look at them; the first on ties.

    Args:
        near: (M, N, 15) joints of M people that N poses find.
        labelled: (M,) joints that each person has.

    Returns:
        (P,) rows of people and (P,) the pose of each.
    """
    if 0 in near.shape[:2]:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    share = near.sum(axis=2) / np.maximum(labelled, 1)[:, None]
    favourite = share.argmax(axis=0)
    share = np.where(np.arange(len(share))[:, None] == favourite, share, 0.0)
    person = np.flatnonzero(share.max(axis=1) > 0)
    return person, share.argmax(axis=1)[person]


def average_precision(score: npt.ArrayLike, right: npt.ArrayLike, truths: int) -> float:
    """Area under the precision-recall curve with all points interpolated (VOC 2010).

    Args:
        score: (D,) confidence of the detections; of equal ones the later is taken first, as
            poseval does.
        right: (D,) bool, true positives.
        truths: how many there are to find.

    Returns:
        0 to 1; 0 without detections, NaN with detections where there is nothing to find.
    """
    scores = checked("score", score, ("D",), np.float64)
    hits = checked("right", right, (len(scores),), np.bool_)
    if not len(scores):
        return 0.0
    if truths <= 0:
        return float("nan")
    order = np.argsort(scores, kind="stable")[::-1]
    hit = hits[order]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hit].sum() / truths)
