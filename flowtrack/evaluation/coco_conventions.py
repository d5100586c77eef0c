"""How poses become COCO results, as in the paper's official code (Simple Baselines).

Sources: microsoft/human-pose-estimation.pytorch, lib/dataset/coco.py and lib/nms/nms.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowtrack.evaluation.sequences import Float64Array
from flowtrack.skeleton import COCO_17
from flowtrack.structs import IntArray, checked

JOINT_SCORE = 0.2
"""Joints scored above enter the score of the person (TEST.IN_VIS_THRE)."""

NMS_OKS = 0.9
"""OKS above which two poses are one person (TEST.OKS_THRE)."""


def person_scores(box_score: npt.ArrayLike, joint_score: npt.ArrayLike) -> Float64Array:
    """Box score x mean of the joint scores above 0.2; 0 where there are none.

    Args:
        box_score: (N,).
        joint_score: (N, K).

    Returns:
        (N,) float64.
    """
    joints = checked("joint_score", joint_score, ("N", "K"), np.float64)
    boxes = checked("box_score", box_score, (len(joints),), np.float64)
    sure = joints > JOINT_SCORE
    total = np.where(sure, joints, 0.0).sum(axis=1)
    score: Float64Array = boxes * total / np.maximum(sure.sum(axis=1), 1)
    return score


def oks_nms(
    xy: npt.ArrayLike, score: npt.ArrayLike, area: npt.ArrayLike, threshold: float = NMS_OKS
) -> IntArray:
    """Greedy suppression of poses of one picture by their similarity.

    The best pose stays, those more like it than `threshold` go, and so on; ties to the lowest
    index. Similarity is OKS over all 17 joints at the mean of both areas.

    Args:
        xy: (N, 17, 2) pixels, all finite.
        score: (N,) of the person.
        area: (N,) squared pixels: of the padded box that was cropped.
        threshold: OKS above which two poses are one person.

    Returns:
        Indices of the poses that stay, best first.
    """
    points = checked("xy", xy, ("N", len(COCO_17), 2), np.float64)
    scores = checked("score", score, (len(points),), np.float64)
    areas = checked("area", area, (len(points),), np.float64)
    variance = (2.0 * COCO_17.sigmas.astype(np.float64)) ** 2
    left = np.argsort(-scores, kind="stable")
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        distance = np.square(points[left] - points[best]).sum(axis=-1)
        mean_area = (areas[left] + areas[best]) / 2.0 + np.spacing(1.0)
        oks = np.exp(-distance / variance / mean_area[:, None] / 2.0).mean(axis=1)
        left = left[oks <= threshold]
    return np.array(kept, np.int64)
