"""Plain-loop oracles of what frame-in graphs sample, in float64, written to be checked by eye."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tests.reference.preprocess import letterbox

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


def interpolated(image: Bytes, x: float, y: float, black_outside: bool) -> Floats:
    """(3,) between the four pixels around a place; outside lies black, or the nearest pixel."""
    height, width = image.shape[:2]
    left, top = math.floor(x), math.floor(y)
    total = np.zeros(3)
    for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            if black_outside and not (0 <= row < height and 0 <= column < width):
                continue
            nearest = image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            total += share_x * share_y * nearest
    return total


def crops(image: Bytes, matrices: npt.ArrayLike, height: int, width: int) -> Floats:
    """(N, height, width, 3) by maps from source to crop pixels, black outside."""
    out = []
    for matrix in np.asarray(matrices, np.float64):
        back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
        crop = np.zeros((height, width, 3))
        for v in range(height):
            for u in range(width):
                x, y, _ = back @ (u, v, 1)
                crop[v, u] = interpolated(image, x, y, black_outside=True)
        out.append(crop)
    return np.stack(out)


def letterboxed(image: Bytes, height: int, width: int, centred: bool, fill: int) -> Floats:
    """(height, width, 3): the picture, as large as it fits, in the midst of `fill`."""
    top, left, inner_h, inner_w = letterbox(image.shape[:2], (height, width), centred)
    out = np.full((height, width, 3), float(fill))
    for v in range(inner_h):
        for u in range(inner_w):
            x = (u + 0.5) * image.shape[1] / inner_w - 0.5
            y = (v + 0.5) * image.shape[0] / inner_h - 0.5
            out[top + v, left + u] = interpolated(image, x, y, black_outside=False)
    return out
