"""The tracker's kernels once more, in numpy alone: what numba is measured against.

Arguments and results are those of the functions of the same name in `flowtrack.tracker`.
"""

from __future__ import annotations

import numpy as np

from flowtrack.structs import BoolArray, FloatArray, IntArray
from flowtrack.tracker.oks import MIN_AREA_PX2


def propagate(uv: FloatArray, scale: tuple[float, float], xy: FloatArray) -> FloatArray:
    """Joints moved by the flow at their positions; see `flowtrack.tracker.motion.propagate`."""
    height, width = uv.shape[1:]
    there: BoolArray = np.asarray(np.isfinite(xy).all(axis=-1))
    place = np.where(there[..., None], xy, 0.0)
    grid_x = np.clip((place[..., 0] + 0.5) * scale[0] - 0.5, 0.0, width - 1.0)
    grid_y = np.clip((place[..., 1] + 0.5) * scale[1] - 0.5, 0.0, height - 1.0)
    left, top = grid_x.astype(np.intp), grid_y.astype(np.intp)
    share_x, share_y = grid_x - left, grid_y - top
    # A neighbour of weight zero is the cell itself, so that its NaN does no harm.
    right = np.where(share_x > 0, left + 1, left)
    bottom = np.where(share_y > 0, top + 1, top)
    above = uv[:, top, left] * (1 - share_x) + uv[:, top, right] * share_x
    below = uv[:, bottom, left] * (1 - share_x) + uv[:, bottom, right] * share_x
    shift = above * (1 - share_y) + below * share_y
    moved = (place + np.moveaxis(shift, 0, -1)).astype(np.float32)
    moved[~(there & np.isfinite(moved).all(axis=-1))] = np.nan
    return moved


def joint_boxes(xy: FloatArray, usable: BoolArray, growth: float) -> FloatArray:
    """Boxes around joints; see `flowtrack.tracker.motion.joint_boxes`."""
    counts = (usable & np.isfinite(xy).all(axis=-1))[..., None]
    low = np.where(counts, xy, np.inf).min(axis=1, initial=np.inf)
    high = np.where(counts, xy, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):  # infinity minus infinity: nobody there
        margin = (high - low) * (growth / 2.0)
        boxes = np.concatenate([low - margin, high + margin], axis=1)
    boxes[~counts.any(axis=(1, 2))] = np.nan
    return boxes.astype(np.float32)


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """Pairwise intersection over union; see `flowtrack.tracker.boxes.iou_matrix`."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        low = np.maximum(a[:, None, :2], b[None, :, :2])
        high = np.minimum(a[:, None, 2:], b[None, :, 2:])
        side = np.maximum(high - low, 0.0)
        shared = side[..., 0] * side[..., 1]
        area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
        area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        iou = shared / (area_a[:, None] + area_b[None] - shared)
    finite = np.isfinite(a).all(axis=1, keepdims=True) & np.isfinite(b).all(axis=1)
    overlap: FloatArray = np.where(finite & (shared > 0) & np.isfinite(iou), iou, np.float32(0.0))
    return overlap


def nms(xyxy: FloatArray, score: FloatArray, iou: float) -> IntArray:
    """Greedy suppression of boxes; see `flowtrack.tracker.boxes.nms`."""
    order = np.flatnonzero(np.isfinite(xyxy).all(axis=1) & np.isfinite(score))
    order = order[np.argsort(-score[order], kind="stable")]
    kept = []
    while len(order):
        kept.append(order[0])
        overlap = iou_matrix(xyxy[order[:1]], xyxy[order[1:]])[0]
        order = order[1:][overlap <= iou]
    return np.array(kept, np.int64)


def oks_matrix(
    a_xy: FloatArray,
    a_usable: BoolArray,
    a_area: FloatArray,
    b_xy: FloatArray,
    b_usable: BoolArray,
    sigmas: FloatArray,
) -> FloatArray:
    """Pairwise object keypoint similarity; see `flowtrack.tracker.oks.oks_matrix`."""
    a_there = a_usable & np.isfinite(a_xy).all(axis=-1)
    b_there = b_usable & np.isfinite(b_xy).all(axis=-1)
    first = np.where(a_there[..., None], a_xy, np.float32(0.0))
    second = np.where(b_there[..., None], b_xy, np.float32(0.0))
    area = np.where(np.isfinite(a_area), np.maximum(a_area, MIN_AREA_PX2), MIN_AREA_PX2)
    weight = (-1.0 / (area[:, None] * (8.0 * sigmas * sigmas))).astype(np.float32)
    apart_x = first[:, None, :, 0] - second[None, :, :, 0]
    apart_y = first[:, None, :, 1] - second[None, :, :, 1]
    likeness = np.exp((apart_x * apart_x + apart_y * apart_y) * weight[:, None])
    likeness *= a_there[:, None] & b_there[None]
    total: FloatArray = likeness.sum(axis=2)
    total /= np.maximum(a_there.sum(axis=1), 1).astype(np.float32)[:, None]
    return total


def pose_nms(
    xy: FloatArray,
    usable: BoolArray,
    area: FloatArray,
    score: FloatArray,
    sigmas: FloatArray,
    threshold: float,
) -> BoolArray:
    """Suppression of poses; see `flowtrack.tracker.oks.pose_nms`."""
    there = usable & np.isfinite(xy).all(axis=-1)
    count = np.maximum(there.sum(axis=1), 1).astype(np.float32)
    shared = oks_matrix(xy, there, area, xy, there, sigmas) * count[:, None]
    alike = np.maximum(shared, shared.T) / np.minimum(count[:, None], count[None])
    keep = np.zeros(len(xy), np.bool_)
    order = np.argsort(-np.where(np.isfinite(score), score, -np.inf), kind="stable")
    while len(order):
        keep[order[0]] = True
        order = order[1:][alike[order[0], order[1:]] <= threshold]
    return keep


def greedy_match(similarity: FloatArray, track: IntArray, minimum: float) -> IntArray:
    """Matching of instances to tracks; see `flowtrack.tracker.matching.greedy_match`."""
    match = np.full(similarity.shape[1], -1, np.int64)
    if not similarity.size:
        return match
    table = np.where(similarity >= np.float32(minimum), similarity, np.float32(-np.inf))
    for _ in range(min(table.shape)):
        row, column = divmod(int(table.argmax()), table.shape[1])
        if table[row, column] == -np.inf:
            break
        match[column] = row
        table[track == track[row]] = -np.inf
        table[:, column] = -np.inf
    return match
