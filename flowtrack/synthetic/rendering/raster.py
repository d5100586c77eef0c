"""Triangles to pixels: a z-buffer for some ten thousand small triangles at once, in numpy.

Triangles are sorted into classes by the size of their bounding box; all boxes of a class are
tested as one array, so that the number of numpy calls does not depend on how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_CLASSES = 2 ** np.arange(2, 14)
"""Sides of the boxes that triangles are sorted into."""
_CLASS_OF = _CLASSES[np.searchsorted(_CLASSES, np.arange(_CLASSES[-1] + 1))]
_KINDS = 1 << 14
_CHUNK = 1 << 17
"""Samples tested at once; keeps the arrays in the cache."""


@dataclass(frozen=True)
class Triangles:
    """Triangles on the screen that face the camera, ready to be drawn.

    Attributes:
        number: (T,) rows of the faces that they came from.
        corner: (T,) flat index of the first sample of the bounding box.
        columns, rows: (T,) size class of the bounding box, samples.
        second, third: (3, T) share of the second and third corner at that sample, and how it grows
            from column to column and from row to row.
        depth: (3, T) 1 / depth of the first corner and its differences to the others.
    """

    number: Ints
    corner: Ints
    columns: Ints
    rows: Ints
    second: Float32
    third: Float32
    depth: Float32


def rasterize(xy: Float32, inverse_depth: Float32, faces: Ints, shape: tuple[int, int]) -> Ints:
    """The nearest front-facing triangle at every sample.

    Args:
        xy: (V, 2) positions in samples; sample (row i, column j) lies at x = j, y = i.
        inverse_depth: (V,) 1 / depth; 0 or less for a vertex behind the camera.
        faces: (F, 3) vertices, clockwise on the screen (y down) where the front is seen.
        shape: rows and columns of the grid.

    Returns:
        (h, w) int64 keys, 0 where there is nothing; see `face_of` and `inverse_depth_of`.
    """
    keys = np.zeros(shape[0] * shape[1], np.int64)
    triangles = _prepared(xy, inverse_depth, faces, shape)
    kind = triangles.rows * _KINDS + triangles.columns
    order = np.argsort(kind, kind="stable")
    bounds = np.flatnonzero(np.diff(kind[order], prepend=-1, append=-1)).tolist()
    for first, end in pairwise(bounds):
        rows, columns = divmod(int(kind[order[first]]), _KINDS)
        step = max(1, _CHUNK // (rows * columns))
        for begin in range(first, end, step):
            _draw(triangles, order[begin : min(begin + step, end)], columns, rows, keys, shape)
    return keys.reshape(shape)


def face_of(keys: Ints) -> Ints:
    """The row of the face seen at each sample; -1 where there is nothing."""
    return (keys & 0xFFFFFFFF) - 1


def inverse_depth_of(keys: Ints) -> Float32:
    """1 / depth at each sample; 0 where there is nothing."""
    return (keys >> 32).astype(np.int32).view(np.float32)


def _prepared(
    xy: Float32, inverse_depth: Float32, faces: Ints, shape: tuple[int, int]
) -> Triangles:
    # One array for each coordinate: numpy is slow along short axes.
    x, y = np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1])
    first, second, third = (np.ascontiguousarray(faces[:, i]) for i in range(3))
    area = _area(x, y, first, second, third)
    front = np.flatnonzero(area > 1e-6)
    first, second, third = first[front], second[front], third[front]
    ax, ay, bx, by, cx, cy = x[first], y[first], x[second], y[second], x[third], y[third]
    low_x = np.maximum(np.ceil(np.minimum(np.minimum(ax, bx), cx)), 0)
    low_y = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy)), 0)
    wide = np.minimum(np.floor(np.maximum(np.maximum(ax, bx), cx)), shape[1] - 1) - low_x + 1
    high = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy)), shape[0] - 1) - low_y + 1
    near_a, near_b, near_c = inverse_depth[first], inverse_depth[second], inverse_depth[third]
    drawn = (wide >= 1) & (high >= 1) & (np.minimum(np.minimum(near_a, near_b), near_c) > 0)
    chosen = np.flatnonzero(drawn)

    def kept(values: Float32) -> Float32:
        return values[chosen]

    columns, rows = _CLASS_OF[kept(wide).astype(np.int64)], _CLASS_OF[kept(high).astype(np.int64)]
    # A box at the right or bottom edge is moved inwards, so that no sample leaves the grid.
    low_x = np.maximum(np.minimum(kept(low_x), shape[1] - columns), 0)
    low_y = np.maximum(np.minimum(kept(low_y), shape[0] - rows), 0)
    ax, ay, scale = kept(ax), kept(ay), 1 / area[front[chosen]]
    ab_x, ab_y = (kept(bx) - ax) * scale, (kept(by) - ay) * scale
    ac_x, ac_y = (kept(cx) - ax) * scale, (kept(cy) - ay) * scale
    from_x, from_y = low_x - ax, low_y - ay
    near = kept(near_a)
    return Triangles(
        number=front[chosen],
        corner=(low_y * shape[1] + low_x).astype(np.int64),
        columns=columns,
        rows=rows,
        second=np.stack([ac_y * from_x - ac_x * from_y, ac_y, -ac_x]).astype(np.float32),
        third=np.stack([ab_x * from_y - ab_y * from_x, -ab_y, ab_x]).astype(np.float32),
        depth=np.stack([near, kept(near_b) - near, kept(near_c) - near]),
    )


def _area(x: Float32, y: Float32, first: Ints, second: Ints, third: Ints) -> Float32:
    """Twice the signed area of each face."""
    ax, ay = x[first], y[first]
    area: Float32 = (x[second] - ax) * (y[third] - ay) - (y[second] - ay) * (x[third] - ax)
    return area


def _draw(
    t: Triangles, chosen: Ints, columns: int, rows: int, keys: Ints, shape: tuple[int, int]
) -> None:
    """Test rows x columns samples of each chosen triangle and keep the nearest ones."""
    columns, rows = min(columns, shape[1]), min(rows, shape[0])
    x, y = np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)

    def weight(values: Float32) -> Float32:
        # Triangles lie along the last axis: numpy is fast along long axes.
        start, right, down = values[0, chosen], values[1, chosen], values[2, chosen]
        across = start + right * x[:, None]
        grid: Float32 = (down * y[:, None])[:, None, :] + across
        return grid

    second, third = weight(t.second), weight(t.third)
    inside = (np.minimum(second, third) >= 0) & (second + third <= 1)
    where = np.flatnonzero(inside)
    offset, triangle = np.divmod(where.astype(np.int32), np.int32(len(chosen)))
    which = chosen[triangle]
    near = t.depth[0, which]
    near += second.reshape(-1)[where] * t.depth[1, which]
    near += third.reshape(-1)[where] * t.depth[2, which]
    box = (np.arange(rows)[:, None] * shape[1] + np.arange(columns)).reshape(-1)
    found = near.view(np.int32).astype(np.int64) << 32
    np.maximum.at(keys, t.corner[which] + box[offset], found | (t.number[which] + 1))
