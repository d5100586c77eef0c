"""Bodies as implicit surfaces: a smooth union of tapered capsules, made into a triangle mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Field = Callable[[Floats], Floats]
"""Signed distance (..., ) in metres at points (..., 3), negative inside."""


@dataclass(frozen=True)
class Capsule:
    """A tapered capsule, perhaps flattened along one direction.

    Attributes:
        bone: index of the bone that carries it.
        start, end: (3,) centres of the end spheres, metres.
        radius_start, radius_end: metres.
        thin: (3,) unit direction along which it is flattened.
        flat: thickness along `thin` relative to the rest.
    """

    bone: int
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius_start: float
    radius_end: float
    thin: tuple[float, float, float] = (0.0, 0.0, 1.0)
    flat: float = 1.0

    def box(self, margin_m: float) -> tuple[Floats, Floats]:
        """Two corners of a box outside which every distance is above the margin."""
        ends = np.array([self.start, self.end])
        # Flat capsules understate distances along their thin side.
        reach = max(self.radius_start, self.radius_end) + margin_m / min(
            1.0, 0.35 + 0.65 * self.flat
        )
        return ends.min(axis=0) - reach, ends.max(axis=0) + reach

    def distance(self, points: Floats) -> Floats:
        """Signed distance (exact on the axis, a little off where it tapers or is flat)."""
        start, along = np.array(self.start), np.subtract(self.end, self.start)
        offset = points - start
        if self.flat != 1.0:
            stretch = 1 / self.flat - 1
            thin = np.array(self.thin)
            offset = offset + stretch * (offset @ thin)[..., None] * thin
            along = along + stretch * (along @ thin) * thin
        t = np.clip(offset @ along / max(float(along @ along), 1e-9), 0.0, 1.0)
        gap = np.linalg.norm(offset - t[..., None] * along, axis=-1)
        radius = self.radius_start + t * (self.radius_end - self.radius_start)
        distance: Floats = (gap - radius) * min(1.0, 0.35 + 0.65 * self.flat)
        return distance


def smooth_union(capsules: Sequence[Capsule], softness_m: float) -> Field:
    """The field of all capsules, flowing into one another over about `softness_m`."""
    # Beyond this distance a capsule no longer matters; it is left out of the sum there.
    margin = 9 * softness_m
    boxes = [capsule.box(margin) for capsule in capsules]

    def field(points: Floats) -> Floats:
        flat = points.reshape(-1, 3)
        x, y, z = (np.ascontiguousarray(flat[:, i]) for i in range(3))
        each = np.full((len(capsules), len(flat)), margin)
        for row, (capsule, (low, high)) in enumerate(zip(capsules, boxes, strict=True)):
            near = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
            at = np.flatnonzero(near & (z > low[2]) & (z < high[2]))
            each[row, at] = np.minimum(capsule.distance(flat[at]), margin)
        nearest = each.min(axis=0)
        total = np.exp((nearest - each) / softness_m).sum(axis=0)
        united: Floats = nearest - softness_m * np.log(total)
        return united.reshape(points.shape[:-1])

    return field


def surface_mesh(
    field: Field, low: npt.ArrayLike, high: npt.ArrayLike, cell_m: float
) -> tuple[Floats, Ints, Floats]:
    """Triangles of the zero level of a field (naive surface nets, Gibson 1998).

    Each grid cell that the surface crosses holds one vertex, which is then moved onto the surface
    along the field's gradient.

    Args:
        field: signed distance.
        low, high: (3,) corners of a box that contains the surface.
        cell_m: grid spacing.

    Returns:
        vertices (V, 3), faces (F, 3) counter-clockwise seen from outside, unit normals (V, 3).
    """
    low, high = np.asarray(low, float), np.asarray(high, float)
    counts = np.ceil((high - low) / cell_m).astype(int) + 1
    axes = [low[i] + cell_m * np.arange(counts[i]) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = field(grid)
    inside = values < 0
    cells = tuple(counts - 1)
    total, crossings = np.zeros((*cells, 3)), np.zeros(cells)
    for axis in range(3):
        _add_crossings(values, axis, total, crossings)
    number = np.full(cells, -1, np.int64)
    crossed = crossings > 0
    number[crossed] = np.arange(crossed.sum())
    base = np.stack(np.nonzero(crossed), axis=-1)
    vertices = low + cell_m * (base + total[crossed] / crossings[crossed][:, None])
    faces = np.concatenate([_quads(inside, number, axis) for axis in range(3)])
    for _ in range(3):
        slope = gradient(field, vertices)
        steep = np.maximum((slope**2).sum(axis=1), 1e-6)
        step = np.clip(field(vertices) / steep, -0.5 * cell_m, 0.5 * cell_m)
        vertices = vertices - step[:, None] * slope
    slope = gradient(field, vertices)
    normals = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    return vertices, faces, normals


def gradient(field: Field, points: Floats, step_m: float = 2e-3) -> Floats:
    """(N, 3) gradient of a field by central differences."""
    slopes = []
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step_m
        slopes.append((field(points + shift) - field(points - shift)) / (2 * step_m))
    return np.stack(slopes, axis=-1)


def _add_crossings(values: Floats, axis: int, total: Floats, crossings: Floats) -> None:
    """Add, to every cell around a grid edge that the surface crosses, where it crosses."""
    near = np.moveaxis(values, axis, 0)
    start, end = near[:-1], near[1:]
    cross = (start < 0) != (end < 0)
    share = np.where(cross, start / np.where(cross, start - end, 1.0), 0.0)
    sums = np.moveaxis(total, axis, 0)
    count = np.moveaxis(crossings, axis, 0)
    others = [i for i in range(3) if i != axis]
    for corner_a in (0, 1):
        for corner_b in (0, 1):
            last_a, last_b = start.shape[1] - 1, start.shape[2] - 1
            part = (slice(None), slice(corner_a, corner_a + last_a),
                    slice(corner_b, corner_b + last_b))  # fmt: skip
            count += cross[part]
            sums[..., axis] += share[part]
            sums[..., others[0]] += corner_a * cross[part]
            sums[..., others[1]] += corner_b * cross[part]


def _quads(inside: npt.NDArray[np.bool_], number: Ints, axis: int) -> Ints:
    """Two triangles for every grid edge along `axis` that the surface crosses."""
    flags, cells = np.moveaxis(inside, axis, 0), np.moveaxis(number, axis, 0)
    start, end = flags[:-1, 1:-1, 1:-1], flags[1:, 1:-1, 1:-1]
    rows, a, b = np.nonzero(start != end)
    outward = start[rows, a, b]
    if axis == 1:  # moving axis 1 to the front is a reflection
        outward = ~outward
    corners = [cells[rows, a + i, b + j] for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    quad = np.stack(corners, axis=-1)
    quad = np.where(outward[:, None], quad, quad[:, ::-1])
    return np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
