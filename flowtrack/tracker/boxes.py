"""Intersection over union, and the non-maximum suppression that unifies boxes (line 9)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flowtrack.jit import jit
from flowtrack.structs import BoolArray, FloatArray, IntArray, checked


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
    # One column per corner and the area, in float64, so that the inner loop is vector code.
    columns = np.zeros((5, b.shape[0]), np.float64)
    for j in range(b.shape[0]):
        if _is_finite(b[j]):
            for corner in range(4):
                columns[corner, j] = b[j, corner]
            columns[4, j] = (columns[2, j] - columns[0, j]) * (columns[3, j] - columns[1, j])
    for i in range(a.shape[0]):
        if not _is_finite(a[i]):
            continue
        left, top, right, bottom = float(a[i, 0]), float(a[i, 1]), float(a[i, 2]), float(a[i, 3])
        area = (right - left) * (bottom - top)
        for j in range(b.shape[0]):
            width = min(right, columns[2, j]) - max(left, columns[0, j])
            height = min(bottom, columns[3, j]) - max(top, columns[1, j])
            shared = max(width, 0.0) * max(height, 0.0)
            out[i, j] = shared / (area + columns[4, j] - shared) if shared > 0.0 else 0.0


@jit
def _is_finite(box: FloatArray) -> bool:
    return (
        math.isfinite(box[0])
        and math.isfinite(box[1])
        and math.isfinite(box[2])
        and math.isfinite(box[3])
    )


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
