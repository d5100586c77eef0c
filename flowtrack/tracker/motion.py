"""Joint propagation (section 3.1 of the paper): joints carried by flow, and boxes around them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError
from flowtrack.jit import jit
from flowtrack.structs import BoolArray, FloatArray, checked


def propagate(uv: npt.ArrayLike, scale: tuple[float, float], xy: npt.ArrayLike) -> FloatArray:
    """Joints moved by the flow at their positions, sampled bilinearly.

    Outside the grid the border value holds. A joint that is not finite, or whose flow is not,
    becomes missing (NaN).

    Args:
        uv: (2, h, w) displacement (dx, dy) in source pixels.
        scale: (sx, sy) grid cells per source pixel; source x lies at (x + 0.5) * sx - 0.5.
        xy: (N, K, 2) source pixels.

    Returns:
        (N, K, 2) float32, source pixels of the later frame.
    """
    field = checked("uv", uv, (2, "h", "w"), np.float32)
    points = checked("xy", xy, ("N", "K", 2), np.float32)
    if min(field.shape) == 0:
        raise InputError(f"uv has shape {field.shape}, expected at least one cell")
    moved = np.empty_like(points)
    _propagate(field, float(scale[0]), float(scale[1]), points.reshape(-1, 2), moved.reshape(-1, 2))
    return moved


@jit
def _propagate(uv: FloatArray, sx: float, sy: float, xy: FloatArray, out: FloatArray) -> None:
    height, width = uv.shape[1:]
    for i in range(xy.shape[0]):
        x, y = xy[i, 0], xy[i, 1]
        out[i, 0] = np.nan
        out[i, 1] = np.nan
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        gx = min(max((x + 0.5) * sx - 0.5, 0.0), width - 1.0)
        gy = min(max((y + 0.5) * sy - 0.5, 0.0), height - 1.0)
        x0, y0 = int(gx), int(gy)
        fx, fy = gx - x0, gy - y0
        # A neighbour of weight zero is not read, so that its NaN does no harm.
        x1 = x0 + 1 if fx > 0.0 else x0
        y1 = y0 + 1 if fy > 0.0 else y0
        for axis in range(2):
            top = uv[axis, y0, x0] * (1.0 - fx) + uv[axis, y0, x1] * fx
            bottom = uv[axis, y1, x0] * (1.0 - fx) + uv[axis, y1, x1] * fx
            out[i, axis] = xy[i, axis] + top * (1.0 - fy) + bottom * fy
        if not (math.isfinite(out[i, 0]) and math.isfinite(out[i, 1])):
            out[i, 0] = np.nan
            out[i, 1] = np.nan


def joint_boxes(xy: npt.ArrayLike, usable: npt.ArrayLike, growth: float) -> FloatArray:
    """Boxes around joints, each side's length grown by `growth` (0.15: 7.5% on either side).

    Args:
        xy: (N, K, 2) joints.
        usable: (N, K) bool, which of them count; joints that are not finite never do.
        growth: share of the extent that is added to it in total.

    Returns:
        (N, 4) xyxy float32; a row of NaN where no joint is usable.
    """
    points = checked("xy", xy, ("N", "K", 2), np.float32)
    mask = checked("usable", usable, points.shape[:2], np.bool_)
    boxes = np.empty((len(points), 4), np.float32)
    _joint_boxes(points, mask, float(growth), boxes)
    return boxes


@jit
def _joint_boxes(xy: FloatArray, usable: BoolArray, growth: float, out: FloatArray) -> None:
    for i in range(xy.shape[0]):
        left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
        for k in range(xy.shape[1]):
            x, y = xy[i, k, 0], xy[i, k, 1]
            if usable[i, k] and math.isfinite(x) and math.isfinite(y):
                left, right = min(left, x), max(right, x)
                top, bottom = min(top, y), max(bottom, y)
        if right < left:
            out[i, :] = np.nan
            continue
        dx, dy = (right - left) * growth / 2.0, (bottom - top) * growth / 2.0
        out[i, 0], out[i, 1] = left - dx, top - dy
        out[i, 2], out[i, 3] = right + dx, bottom + dy
