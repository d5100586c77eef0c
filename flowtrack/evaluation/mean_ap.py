"""PoseTrack's mean average precision of joints, as poseval counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flowtrack.evaluation.comparison import Comparison
from flowtrack.evaluation.sequences import JOINTS, Float64Array
from flowtrack.jit import exact_jit
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

    def curve(self, rows: IntArray) -> tuple[Float64Array, Float64Array]:
        """Precision against recall of some joints taken together, the surest first.

        Args:
            rows: indices of the joints.

        Returns:
            (D,) recall and (D,) precision after each of D predictions; nothing where no joint is
            predicted, or none is to be found.
        """
        there = self.there[:, rows]
        truths = int(self.truths[rows].sum())
        hit = self.right[:, rows][there][best_first(self.score[:, rows][there])]
        if not truths:
            hit = hit[:0]
        found = np.cumsum(hit)
        return found / max(truths, 1), found / np.arange(1, len(hit) + 1)

    @property
    def found(self) -> IntArray:
        """(15,) true positives: over `truths` they are the PCKh of the poses as assigned."""
        hits: IntArray = self.right.sum(axis=0)
        return hits


def detections(compared: Comparison) -> JointDetections:
    """The predicted joints of a clip, each judged.

    A joint is a true positive if its pose is assigned to a person and the joint is near that
    person's; every joint of a pose that is not assigned is false.
    """
    right = np.zeros(compared.result_has.shape, bool)
    _judge(
        compared.truth_start,
        compared.result_start,
        compared.pair_start,
        compared.distance <= compared.limit,
        compared.truth_has.sum(axis=1),
        right,
    )
    return JointDetections(
        compared.score, compared.result_has, right, compared.truth_has.sum(axis=0)
    )


@exact_jit
def _judge(
    truth_start: IntArray,
    result_start: IntArray,
    pair_start: IntArray,
    near: BoolArray,
    labelled: IntArray,
    right: BoolArray,
) -> None:
    for f in range(truth_start.shape[0] - 1):
        low, first = truth_start[f], result_start[f]
        people, poses = truth_start[f + 1] - low, result_start[f + 1] - first
        if people == 0 or poses == 0:
            continue
        pairs = near[pair_start[f] : pair_start[f + 1]].reshape(people, poses, near.shape[1])
        pose = np.empty(people, np.int64)
        assign_poses(pairs, labelled[low : low + people], pose)
        for i in range(people):
            if pose[i] >= 0:
                right[first + pose[i]] = pairs[i, pose[i]]


@exact_jit
def assign_poses(near: BoolArray, labelled: IntArray, pose: IntArray) -> None:
    """Which pose is taken for which person: assignGTmulti of poseval's eval_helpers.py.

    Each pose looks only at the person of whose labelled joints it finds the largest share, each
    person takes the best of the poses that look at them; the first on ties.

    Args:
        near: (M, N, K) joints of M people that N poses find.
        labelled: (M,) joints that each person has.
        pose: (M,) is written: the pose of each person, -1 for nobody's.
    """
    people, poses, joints = near.shape
    best = np.zeros(people)
    pose[:] = -1
    for j in range(poses):
        favourite, largest = -1, 0.0
        for i in range(people):
            found = 0
            for k in range(joints):
                found += near[i, j, k]
            share = found / max(labelled[i], 1)
            if share > largest:
                favourite, largest = i, share
        if favourite >= 0 and largest > best[favourite]:
            best[favourite], pose[favourite] = largest, j


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
    hit = hits[best_first(scores)]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hit].sum() / truths)


def best_first(score: Float64Array) -> IntArray:
    """(D,) the order from the surest to the least sure; of equal ones the later comes first."""
    order: IntArray = np.argsort(score, kind="stable")[::-1]
    return order
