"""Plain-loop oracles of the tracker's kernels, in float64, written to be checked by eye."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def _taps(position: float, size: int) -> list[tuple[int, float]]:
    """The cells around a grid position and their weights; positions outside are clamped."""
    clamped = min(max(position, 0.0), size - 1.0)
    low = math.floor(clamped)
    part = clamped - low
    return [(low, 1.0 - part), (low + 1, part)] if part > 0 else [(low, 1.0)]


def sample_flow(uv: npt.ArrayLike, scale: tuple[float, float], xy: npt.ArrayLike) -> Floats:
    """Displacement at source positions: bilinear, with replicated borders.

    Args:
        uv: (2, h, w) displacement in source pixels.
        scale: (sx, sy) grid cells per source pixel.
        xy: (..., 2) source positions.

    Returns:
        (..., 2); NaN where a position, or a cell that has weight there, is not finite.
    """
    field = np.asarray(uv, np.float64)
    points = np.asarray(xy, np.float64)
    _, rows, columns = field.shape
    out = np.full(points.shape, np.nan)
    for where in np.ndindex(points.shape[:-1]):
        x, y = points[where]
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        total = np.zeros(2)
        for row, row_weight in _taps((y + 0.5) * scale[1] - 0.5, rows):
            for column, column_weight in _taps((x + 0.5) * scale[0] - 0.5, columns):
                with np.errstate(invalid="ignore"):  # opposite infinities
                    total += row_weight * column_weight * field[:, row, column]
        if np.isfinite(total).all():
            out[where] = total
    return out


def propagate(uv: npt.ArrayLike, scale: tuple[float, float], xy: npt.ArrayLike) -> Floats:
    """Positions (..., 2) moved by the flow at them; see `sample_flow`."""
    return np.asarray(xy, np.float64) + sample_flow(uv, scale, xy)


def joint_boxes(xy: npt.ArrayLike, score: npt.ArrayLike, threshold: float, growth: float) -> Floats:
    """(N, 4) extent of the usable joints, each axis longer by the share `growth`.

    A joint is usable if its position is finite and its score reaches `threshold`; a person
    without usable joints gets a row of NaN.
    """
    points, scores = np.asarray(xy, np.float64), np.asarray(score, np.float64)
    boxes = np.full((len(points), 4), np.nan)
    for person in range(len(points)):
        usable = [
            (x, y)
            for (x, y), s in zip(points[person], scores[person], strict=True)
            if math.isfinite(x) and math.isfinite(y) and s >= threshold
        ]
        if usable:
            xs, ys = [x for x, _ in usable], [y for _, y in usable]
            dx = (max(xs) - min(xs)) * growth / 2
            dy = (max(ys) - min(ys)) * growth / 2
            boxes[person] = min(xs) - dx, min(ys) - dy, max(xs) + dx, max(ys) + dy
    return boxes


def _iou(a: Floats, b: Floats) -> float:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return 0.0
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area_a = max(0.0, a[2] - a[0]) * max(0.0, a[3] - a[1])
    area_b = max(0.0, b[2] - b[0]) * max(0.0, b[3] - b[1])
    union = area_a + area_b - width * height
    return width * height / union if union > 0 else 0.0


def iou_matrix(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4), xyxy; 0 where undefined."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    out = np.zeros((len(first), len(second)))
    for i, j in np.ndindex(out.shape):
        out[i, j] = _iou(first[i], second[j])
    return out


def nms(boxes: npt.ArrayLike, scores: npt.ArrayLike, iou: float) -> Ints:
    """Indices of the boxes kept, best score first, equal scores by index.

    A box goes if its IoU with a kept one exceeds `iou`, or if it or its score is not finite.
    """
    xyxy, score = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    order = sorted(
        (i for i in range(len(xyxy)) if np.isfinite(xyxy[i]).all() and math.isfinite(score[i])),
        key=lambda i: (-score[i], i),
    )
    kept: list[int] = []
    for i in order:
        if all(_iou(xyxy[i], xyxy[k]) <= iou for k in kept):
            kept.append(i)
    return np.array(kept, np.int64)


def _oks(
    a_xy: Floats, a_ok: Bools, a_area: float, b_xy: Floats, b_ok: Bools, sigmas: Floats
) -> float:
    if not a_ok.any():
        return 0.0
    total = 0.0
    for k, sigma in enumerate(sigmas):
        if a_ok[k] and b_ok[k]:
            d2 = (a_xy[k, 0] - b_xy[k, 0]) ** 2 + (a_xy[k, 1] - b_xy[k, 1]) ** 2
            total += math.exp(-d2 / (2 * max(a_area, 1.0) * (2 * sigma) ** 2))
    return total / int(a_ok.sum())


def oks_matrix(
    a_xy: npt.ArrayLike,
    a_ok: npt.ArrayLike,
    a_area: npt.ArrayLike,
    b_xy: npt.ArrayLike,
    b_ok: npt.ArrayLike,
    sigmas: npt.ArrayLike,
) -> Floats:
    """(M, N) object keypoint similarity of poses a (M, K, 2) and b (N, K, 2), scaled by a.

    `a_ok`, `b_ok` (., K) mark usable joints. The sum runs over joints usable in both and is
    divided by the number usable in a, so that a joint that b lacks counts as 0; a pose a without
    joints is similar to nothing. `a_area` (M,) px^2 is taken as 1 at least.
    """
    xy, ok, area = np.asarray(a_xy, float), np.asarray(a_ok, bool), np.asarray(a_area, float)
    other, other_ok = np.asarray(b_xy, float), np.asarray(b_ok, bool)
    constants = np.asarray(sigmas, float)
    out = np.zeros((len(xy), len(other)))
    for i, j in np.ndindex(out.shape):
        out[i, j] = _oks(xy[i], ok[i], float(area[i]), other[j], other_ok[j], constants)
    return out


def greedy_match(similarity: npt.ArrayLike, track: npt.ArrayLike, minimum: float) -> Ints:
    """(N,) the row that each column is matched with, or -1.

    Over and over the largest similarity (M, N) of at least `minimum` wins, among columns not yet
    matched and rows whose `track` (M,) is not yet used; equal ones by lowest row, then lowest
    column. NaN never matches.
    """
    table, owner = np.asarray(similarity, np.float64), np.asarray(track)
    out = np.full(table.shape[1], -1, np.int64)
    used: set[int] = set()
    while True:
        best: tuple[float, int, int] | None = None
        for row, column in np.ndindex(table.shape):
            value = float(table[row, column])
            free = out[column] < 0 and int(owner[row]) not in used
            if free and value >= minimum and (best is None or value > best[0]):
                best = value, row, column
        if best is None:
            return out
        out[best[2]] = best[1]
        used.add(int(owner[best[1]]))


def pose_nms(
    xy: npt.ArrayLike,
    ok: npt.ArrayLike,
    area: npt.ArrayLike,
    score: npt.ArrayLike,
    sigmas: npt.ArrayLike,
    threshold: float,
) -> Bools:
    """(N,) the poses kept: best score first, equal scores by index.

    A pose goes if it is too alike to a kept one: the pose with fewer joints in the role of a, both
    at the larger of the two areas. Shapes as in `oks_matrix`; a score that is not finite is worst.
    """
    points, usable = np.asarray(xy, float), np.asarray(ok, bool)
    areas, constants = np.asarray(area, float), np.asarray(sigmas, float)
    scores = np.where(np.isfinite(score), score, -np.inf)
    keep = np.zeros(len(points), bool)
    for i in sorted(range(len(points)), key=lambda i: (-scores[i], i)):
        alike = []
        for k in np.flatnonzero(keep):
            few, many = sorted((i, int(k)), key=lambda n: max(1, int(usable[n].sum())))
            larger = max(areas[i], areas[k])
            pair = (points[few], usable[few], larger, points[many], usable[many], constants)
            alike.append(_oks(*pair))
        keep[i] = all(value <= threshold for value in alike)
    return keep
