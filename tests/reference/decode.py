"""Plain-loop oracles of what networks' outputs mean, in float64, written to be checked by eye."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def _first_maximum(plane: Floats) -> tuple[int, int, float]:
    best = (0, 0)
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            if plane[row, column] > plane[best]:
                best = (row, column)
    return best[1], best[0], float(plane[best])


def _sign(value: float) -> float:
    return 0.0 if value == 0 else math.copysign(1.0, value)


def heatmap(plane: npt.ArrayLike, stride: float, offset: str) -> tuple[Floats, float]:
    """Position in input pixels and score of one joint from its (h, w) map without holes."""
    grid = np.asarray(plane, np.float64)
    height, width = grid.shape
    x, y, score = _first_maximum(grid)
    if not score > 0:
        return np.zeros(2), score
    place = np.array([x, y], float)
    if offset == "quarter" and 1 < x < width - 1 and 1 < y < height - 1:
        place[0] += 0.25 * _sign(grid[y, x + 1] - grid[y, x - 1])
        place[1] += 0.25 * _sign(grid[y + 1, x] - grid[y - 1, x])
    if offset == "second":
        rest = grid.copy()
        rest[y, x] = -np.inf
        x2, y2, _ = _first_maximum(rest)
        place += 0.25 * np.array([x2 - x, y2 - y]) / math.hypot(x2 - x, y2 - y)
    return place * stride, score


def flip_average(
    maps: npt.ArrayLike, mirrored: npt.ArrayLike, pairs: Sequence[tuple[int, int]]
) -> Floats:
    """(N, K, h, w) the mean of maps and the maps of the mirrored picture.

    A cell of the latter is looked up mirrored, at the partner's joint, one column to the left
    because the mirrored grid of a strided network lies one cell off; the first column stays.
    """
    ours, theirs = np.asarray(maps, np.float64), np.asarray(mirrored, np.float64)
    partner = {joint: joint for joint in range(ours.shape[1])}
    for a, b in pairs:
        partner[a], partner[b] = b, a
    out = np.empty_like(ours)
    width = ours.shape[3]
    for n, k, y, x in np.ndindex(ours.shape):
        column = max(x - 1, 0)
        out[n, k, y, x] = (ours[n, k, y, x] + theirs[n, partner[k], y, width - 1 - column]) / 2
    return out


def yolox(
    rows: npt.ArrayLike, size: tuple[int, int], strides: Sequence[int], person: int
) -> tuple[Floats, Floats]:
    """Boxes (A, 4) xyxy in input pixels and scores (A,) of raw YOLOX rows, before any selection."""
    boxes, scores, at = [], [], 0
    raw = np.asarray(rows, np.float64)
    for stride in strides:
        for cell_y in range(size[0] // stride):
            for cell_x in range(size[1] // stride):
                dx, dy, log_w, log_h, objectness = raw[at, :5]
                x, y = (dx + cell_x) * stride, (dy + cell_y) * stride
                w, h = math.exp(log_w) * stride, math.exp(log_h) * stride
                boxes.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
                scores.append(objectness * raw[at, 5 + person])
                at += 1
    assert at == len(raw)
    return np.array(boxes), np.array(scores)
