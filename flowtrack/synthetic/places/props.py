"""Things that stand around: boxes, tables, posts and balls that hide parts of people."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.places.grounds import cloud, muted
from flowtrack.synthetic.rendering.render import Solid

Floats = npt.NDArray[np.float64]

_TEXTURE_PX = 64


def _texture(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    base = muted(rng, 40, 190, 30)
    value = np.ones((_TEXTURE_PX, _TEXTURE_PX), np.float32)
    value += 0.06 * cloud(rng, 5, value.shape) + 0.04 * cloud(rng, 20, value.shape)
    kind = int(rng.integers(4))
    i = np.arange(_TEXTURE_PX)
    if kind == 0:
        value *= np.where(i % 16 < 1, 0.7, 1)[:, None]
    elif kind == 1:
        value *= np.where((i % 16 < 8)[:, None] ^ (i % 16 < 8), 1.0, 0.8)
    out = np.empty((_TEXTURE_PX, _TEXTURE_PX, 4), np.float32)
    out[..., :3] = base * value[..., None]
    out[..., 3] = rng.uniform(5, 70)
    return np.clip(out, 0, 255).astype(np.uint8)


def _patch(
    corner: Floats, u: Floats, v: Floats, cells: int
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """A flat grid of quads: vertices, texture shares (0 to 1), faces; its front is along u x v."""
    share = np.linspace(0, 1, cells + 1)
    a, b = np.meshgrid(share, share, indexing="ij")
    vertices = corner + a[..., None] * u + b[..., None] * v
    i, j = (m.reshape(-1) for m in np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij"))
    n = cells + 1
    p, q, r, s = i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1
    faces = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)])
    return vertices.reshape(-1, 3), np.stack([a, b], -1).reshape(-1, 2), faces


def _assembled(
    patches: list[tuple[Floats, Floats, Floats, int]], texture: npt.NDArray[np.uint8],
    place: Floats, turn: float,
) -> Solid:  # fmt: skip
    cos, sin = np.cos(turn), np.sin(turn)
    spin = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    vertices, normals, faces, count = [], [], [], 0
    texels: list[npt.NDArray[np.floating]] = []
    for corner, u, v, cells in patches:
        flat, shares, triangles = _patch(corner, u, v, cells)
        normal = np.cross(u, v)
        vertices.append(flat @ spin.T + place)
        normals.append(np.tile(spin @ (normal / np.linalg.norm(normal)), (len(flat), 1)))
        faces.append(triangles + count)
        texels.append((shares * (_TEXTURE_PX - 1.01))[triangles].reshape(-1, 6))
        count += len(flat)
    points = np.asarray(np.concatenate(vertices), np.float32)
    openness = np.asarray(0.55 + 0.45 * np.clip(points[:, 1] / 0.3, 0, 1), np.float32)
    return Solid(
        vertices=points,
        normals=np.concatenate(normals).astype(np.float32),
        faces=np.concatenate(faces),
        texels=np.concatenate(texels).astype(np.float32),
        texture=texture,
        openness=openness,
        person=-1,
    )


def box(
    size: Floats, low: float = 0.0, middle: tuple[float, float] = (0.0, 0.0)
) -> list[tuple[Floats, Floats, Floats, int]]:
    """The five seen sides of a box of (x, y, z) `size` whose bottom is at height `low`."""
    w, h, d = size
    x, z = middle
    cells = max(2, min(12, int(max(size) / 0.12)))
    left, right, near, far, top = x - w / 2, x + w / 2, z + d / 2, z - d / 2, low + h
    ex, ey, ez = np.diag([w, h, d])
    return [
        (np.array([left, low, near]), ex, ey, cells),
        (np.array([right, low, far]), -ex, ey, cells),
        (np.array([right, low, near]), -ez, ey, cells),
        (np.array([left, low, far]), ez, ey, cells),
        (np.array([left, top, near]), ex, -ez, cells),
    ]


def random_prop(rng: np.random.Generator, place: npt.ArrayLike) -> Solid:
    """A crate, table, bench, post or screen at a place on the ground."""
    kind = int(rng.integers(5))
    patches: list[tuple[Floats, Floats, Floats, int]]
    if kind == 0:
        patches = box(
            np.array([rng.uniform(0.3, 0.9), rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.7)])
        )
    elif kind == 1:  # a table
        w, d, h = rng.uniform(0.8, 1.8), rng.uniform(0.5, 0.9), rng.uniform(0.68, 0.78)
        patches = box(np.array([w, 0.05, d]), h)
        for sx in (-1, 1):
            for sz in (-1, 1):
                patches += box(
                    np.array([0.06, h, 0.06]), 0.0, (sx * (w / 2 - 0.06), sz * (d / 2 - 0.06))
                )
    elif kind == 2:  # a bench
        w = rng.uniform(1.0, 2.0)
        patches = box(np.array([w, 0.06, 0.4]), 0.42) + box(
            np.array([w, 0.35, 0.05]), 0.5, (0, -0.2)
        )
        for sx in (-1, 1):
            patches += box(np.array([0.08, 0.42, 0.36]), 0.0, (sx * (w / 2 - 0.12), 0.0))
    elif kind == 3:  # a post
        side = rng.uniform(0.08, 0.3)
        patches = box(np.array([side, rng.uniform(1.5, 4.0), side]))
    else:  # a low wall or screen
        patches = box(np.array([rng.uniform(0.8, 2.5), rng.uniform(0.4, 1.1), 0.12]))
    return _assembled(
        patches, _texture(rng), np.asarray(place, float), float(rng.uniform(-0.6, 0.6))
    )
