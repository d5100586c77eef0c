"""Intersection over union, and the non-maximum suppression that unifies boxes (line 9)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flowtrack.structs import BoolArray, FloatArray, IntArray, checked
from flowtrack.tracker.jit import jit


def iou_matrix(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Pairwise intersection over union.

    Boxes without area, and boxes that are not finite, overlap nothing.

    Args:
        a: (M, 4) xyxy.
        b: (N, 4) xyxy.

    Returns:
        (M, N) float32 from 0 to 1.
    """
    first = checked("a", a, ("M", 4), np.float32)
    second = checked("b", b, ("N", 4), np.float32)
    out = np.zeros((len(first), len(second)), np.float32)
    _iou_matrix(first, second, out)
    return out


@jit
def _iou(a: FloatArray, b: FloatArray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if not (width > 0.0 and height > 0.0):
        return 0.0
    shared = float(width) * float(height)
    area_a = float(a[2] - a[0]) * float(a[3] - a[1])
    area_b = float(b[2] - b[0]) * float(b[3] - b[1])
    iou = shared / (area_a + area_b - shared)
    return iou if math.isfinite(iou) else 0.0


@jit
def _iou_matrix(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    for i in range(a.shape[0]):
        if not np.isfinite(a[i]).all():
            continue
        for j in range(b.shape[0]):
            if np.isfinite(b[j]).all():
                out[i, j] = _iou(a[i], b[j])


def nms(xyxy: npt.ArrayLike, score: npt.ArrayLike, iou: float) -> IntArray:
    """Greedy non-maximum suppression.

    The best box stays, boxes that overlap it by more than `iou` go, and so on; ties to the lowest
    index. Boxes and scores that are not finite never stay.

    Args:
        xyxy: (N, 4).
        score: (N,).
        iou: intersection over union above which two boxes are one.

    Returns:
        Indices of the boxes that stay, best first.
    """
    boxes = checked("xyxy", xyxy, ("N", 4), np.float32)
    scores = checked("score", score, (len(boxes),), np.float32)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    order = np.flatnonzero(finite)
    order = order[np.argsort(-scores[order], kind="stable")]
    keep = np.empty(len(order), np.bool_)
    _nms(boxes[order], float(iou), keep)
    kept: IntArray = order[keep]
    return kept


@jit
def _nms(boxes: FloatArray, iou: float, keep: BoolArray) -> None:
    """`boxes` in order of preference; `keep` (N,) is written."""
    keep[:] = True
    for i in range(boxes.shape[0]):
        if not keep[i]:
            continue
        for j in range(i + 1, boxes.shape[0]):
            if keep[j] and _iou(boxes[i], boxes[j]) > iou:
                keep[j] = False
