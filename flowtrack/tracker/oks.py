"""Object keypoint similarity (equation 1 rests on it), and pose suppression by it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flowtrack.jit import jit
from flowtrack.structs import BoolArray, FloatArray, IntArray, checked

MIN_AREA_PX2 = 1.0
"""Smallest area that OKS divides by, also taken for one that is not finite."""

# Missing joints are put out of reach instead of being asked about in the inner loop: their squared
# distance to anything in a picture stays finite in float32, and its exponential is exactly zero.
_OUT_OF_REACH = np.float32(1e18)

# exp(-x) beyond this changes no float32 sum of terms up to 1.
_NEGLIGIBLE = np.float32(20.0)


def oks_matrix(
    a_xy: npt.ArrayLike,
    a_usable: npt.ArrayLike,
    a_area: npt.ArrayLike,
    b_xy: npt.ArrayLike,
    b_usable: npt.ArrayLike,
    sigmas: npt.ArrayLike,
) -> FloatArray:
    """Pairwise object keypoint similarity, `a` in the role of the ground truth.

    OKS = sum over joints usable in both of exp(-d^2 / (2 area (2 sigma)^2)), divided by the number
    of joints usable in `a`: a joint that `b` lacks counts as a miss (cocodataset/cocoapi,
    cocoeval.py).

    Args:
        a_xy: (M, K, 2); a_usable: (M, K) bool; a_area: (M,) squared pixels.
        b_xy: (N, K, 2); b_usable: (N, K) bool.
        sigmas: (K,) of the skeleton.

    Returns:
        (M, N) float32 from 0 to 1; 0 where `a` has no usable joint.
    """
    first = checked("a_xy", a_xy, ("M", "K", 2), np.float32)
    count, joints = first.shape[:2]
    second = checked("b_xy", b_xy, ("N", joints, 2), np.float32)
    a_mask = checked("a_usable", a_usable, (count, joints), np.bool_)
    b_mask = checked("b_usable", b_usable, (len(second), joints), np.bool_)
    area = checked("a_area", a_area, (count,), np.float32)
    sigma = checked("sigmas", sigmas, (joints,), np.float32)
    out = np.empty((count, len(second)), np.float32)
    people = np.empty((2, joints, len(second)), np.float32)
    _columns(second, b_mask, people)
    _oks_matrix(first, a_mask, area, people, sigma, out)
    return out


@jit
def _exp_minus(x: np.float32) -> np.float32:
    """exp(-x) for x >= 0 within 1e-6, without a call, so that a loop over it becomes vector code.

    exp(-x) = exp(-x / 32) ** 32: a polynomial on a short interval, then five squarings.
    """
    t = min(x, _NEGLIGIBLE) * np.float32(1 / 32)
    p = np.float32(1 / 720)
    p = p * t - np.float32(1 / 120)
    p = p * t + np.float32(1 / 24)
    p = p * t - np.float32(1 / 6)
    p = p * t + np.float32(1 / 2)
    p = p * t - np.float32(1)
    p = p * t + np.float32(1)
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    return p if x < _NEGLIGIBLE else np.float32(0)


@jit
def _columns(xy: FloatArray, usable: BoolArray, out: FloatArray) -> None:
    """(N, K, 2) as (2, K, N), so that a loop over people is vector code."""
    for j in range(xy.shape[0]):
        for k in range(xy.shape[1]):
            x, y = xy[j, k, 0], xy[j, k, 1]
            there = usable[j, k] and math.isfinite(x) and math.isfinite(y)
            out[0, k, j] = x if there else _OUT_OF_REACH
            out[1, k, j] = y if there else _OUT_OF_REACH


@jit
def _oks_matrix(
    a: FloatArray,
    usable: BoolArray,
    area: FloatArray,
    b: FloatArray,
    sigmas: FloatArray,
    out: FloatArray,
) -> None:
    """Poses `a` (M, K, 2) with `b` (2, K, N) from `_columns`; `out` (M, N) is written."""
    out[:] = 0.0
    for i in range(a.shape[0]):
        scale = area[i] if area[i] > MIN_AREA_PX2 and math.isfinite(area[i]) else MIN_AREA_PX2
        count = 0
        for k in range(a.shape[1]):
            x, y = a[i, k, 0], a[i, k, 1]
            if not (usable[i, k] and math.isfinite(x) and math.isfinite(y)):
                continue
            count += 1
            weight = np.float32(1.0 / (8.0 * sigmas[k] * sigmas[k] * scale))
            for j in range(b.shape[2]):
                dx = x - b[0, k, j]
                dy = y - b[1, k, j]
                out[i, j] += _exp_minus((dx * dx + dy * dy) * weight)
        for j in range(b.shape[2]):
            out[i, j] /= np.float32(max(count, 1))


def joint_area(xy: npt.ArrayLike, usable: npt.ArrayLike) -> FloatArray:
    """(N,) area in squared pixels of the extent of each person's usable joints; 0 without any."""
    points = checked("xy", xy, ("N", "K", 2), np.float32)
    mask = checked("usable", usable, points.shape[:2], np.bool_)
    mask = mask & np.isfinite(points).all(axis=-1)
    low = np.where(mask[..., None], points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(mask[..., None], points, -np.inf).max(axis=1, initial=-np.inf)
    extent = np.where(mask.any(axis=1)[:, None], high - low, 0.0)
    area: FloatArray = (extent[:, 0] * extent[:, 1]).astype(np.float32)
    return area


def pose_nms(
    xy: npt.ArrayLike,
    usable: npt.ArrayLike,
    area: npt.ArrayLike,
    score: npt.ArrayLike,
    sigmas: npt.ArrayLike,
    threshold: float,
) -> BoolArray:
    """Which poses of a frame stay when two that are more alike than `threshold` are one person.

    The better score stays, ties to the lowest index. Two poses are as alike as the pose with fewer
    usable joints is to the other one *at the scale of the larger*: a box around a part of a person
    gives a pose of few joints and little extent, which lies on the whole pose and must not live on
    beside it.

    Args:
        xy: (N, K, 2); usable: (N, K) bool; area: (N,) squared pixels.
        score: (N,); one that is not finite is the worst.
        sigmas: (K,) of the skeleton.
        threshold: likeness (OKS, 0 to 1) above which two poses are one.

    Returns:
        (N,) bool.
    """
    points = checked("xy", xy, ("N", "K", 2), np.float32)
    mask = checked("usable", usable, points.shape[:2], np.bool_)
    mask = mask & np.isfinite(points).all(axis=-1)
    scores = checked("score", score, (len(points),), np.float32)
    count = np.maximum(mask.sum(axis=1), 1).astype(np.float32)
    shared = oks_matrix(points, mask, area, points, mask, sigmas) * count[:, None]
    # The sum over shared joints grows with the area, so the larger of both is at the larger scale.
    alike = np.maximum(shared, shared.T) / np.minimum(count[:, None], count[None])
    order = np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")
    keep = np.empty(len(scores), np.bool_)
    _pose_nms(alike, order, float(threshold), keep)
    return keep


@jit
def _pose_nms(alike: FloatArray, order: IntArray, threshold: float, keep: BoolArray) -> None:
    keep[:] = True
    for a in range(order.shape[0]):
        if not keep[order[a]]:
            continue
        for b in range(a + 1, order.shape[0]):
            if alike[order[a], order[b]] > threshold:
                keep[order[b]] = False
