"""Hair, hats and skirts: meshes of their own that the head or the hips carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.people.implicit import Capsule, smooth_union, surface_mesh
from flowtrack.synthetic.people.rig import BONE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_HEAD = BONE["head"]
_FRONT = (0.0, 0.0, 1.0)
_SIDE = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Extra:
    """A mesh that is worn.

    Attributes:
        vertices, normals: (V, 3).
        faces: (F, 3) counter-clockwise from outside.
        bones, weights: (V, 4), as in a template.
    """

    vertices: Floats
    normals: Floats
    faces: Ints
    bones: Ints
    weights: Floats


def _skull(extra_m: float) -> list[Capsule]:
    return [
        Capsule(_HEAD, (0, 1.698, -0.022), (0, 1.690, 0.016), 0.086 + extra_m, 0.082 + extra_m,
                _SIDE, 0.93),
        Capsule(_HEAD, (0, 1.635, -0.030), (0, 1.68, -0.02), 0.070 + extra_m, 0.08 + extra_m),
    ]  # fmt: skip


def _pair(
    capsule: tuple[tuple[float, float, float], tuple[float, float, float], float, float],
) -> list[Capsule]:
    a, b, ra, rb = capsule
    return [
        Capsule(_HEAD, (s * a[0], a[1], a[2]), (s * b[0], b[1], b[2]), ra, rb) for s in (1.0, -1.0)
    ]


def _shape(style: str) -> list[Capsule]:
    if style == "short":
        return _skull(0.010)
    if style == "crop":
        return _skull(0.012) + [Capsule(_HEAD, (0, 1.755, -0.02), (0, 1.752, 0.045), 0.045, 0.040)]
    if style == "bob":
        return (
            _skull(0.018)
            + _pair(((0.078, 1.67, -0.01), (0.080, 1.585, 0.012), 0.030, 0.024))
            + [Capsule(_HEAD, (0, 1.66, -0.055), (0, 1.575, -0.055), 0.078, 0.070, _FRONT, 0.7)]
        )
    if style == "long":
        return (
            _skull(0.016)
            + _pair(((0.077, 1.67, -0.012), (0.092, 1.43, 0.0), 0.030, 0.022))
            + [Capsule(_HEAD, (0, 1.66, -0.060), (0, 1.37, -0.105), 0.080, 0.085, _FRONT, 0.50)]
        )
    if style == "ponytail":
        return _skull(0.008) + [
            Capsule(_HEAD, (0, 1.715, -0.108), (0, 1.69, -0.145), 0.020, 0.028),
            Capsule(_HEAD, (0, 1.69, -0.145), (0, 1.50, -0.150), 0.030, 0.014),
        ]
    if style == "bun":
        return _skull(0.009) + [Capsule(_HEAD, (0, 1.765, -0.085), (0, 1.77, -0.088), 0.042, 0.040)]
    if style == "afro":
        return [Capsule(_HEAD, (0, 1.72, -0.025), (0, 1.715, 0.0), 0.135, 0.13)]
    if style == "cap":
        return _skull(0.014)
    return _skull(0.018) + [Capsule(_HEAD, (0, 1.765, -0.02), (0, 1.78, -0.025), 0.06, 0.05)]


@lru_cache(maxsize=32)
def headwear(style: str, coarseness: float) -> Extra | None:
    """The mesh of a hairstyle or hat; None for "bald"."""
    if style == "bald":
        return None
    grown = smooth_union(_shape(style), 0.012)
    sides = 0.0 if style not in ("bob", "long") else 1.0
    level = {"cap": 1.722, "beanie": 1.705}.get(style)

    def field(points: Floats) -> Floats:
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        if level is not None:
            cut = (
                (level - 0.12 * (z - 0.02) - y)
                if style == "beanie"
                else level - y - 0.15 * (0.0 - z)
            )
            return np.maximum(grown(points), cut)
        # The hairline: a plane from the forehead over the ears to the nape ...
        line = 0.66 * (z - 0.045) - 0.75 * (y - 1.705) - 0.25 * np.abs(x)
        # ... or, where hair falls over the ears, an ellipsoid around the face.
        face = 1.0 - np.sqrt(
            (x / 0.067) ** 2 + ((y - 1.62) / 0.108) ** 2 + ((z - 0.115) / 0.115) ** 2
        )
        face = 0.07 * face
        if sides:
            return np.maximum(grown(points), face)
        kept = np.maximum(line, face) if style == "afro" else line
        if style == "ponytail":
            kept = np.where(z < -0.10, -1.0, kept)
        return np.maximum(grown(points), kept)

    vertices, faces, normals = surface_mesh(
        field, (-0.20, 1.25, -0.24), (0.20, 1.90, 0.18), 0.0125 * coarseness
    )
    if style == "cap":
        vertices, faces, normals = _with_peak(vertices, faces, normals)
    fall = np.clip((1.56 - vertices[:, 1]) / 0.14, 0.0, 1.0)
    bones = np.tile([_HEAD, BONE["neck"], BONE["chest"], 0], (len(vertices), 1))
    weights = np.stack([1 - fall, 0.45 * fall, 0.55 * fall, 0 * fall], axis=1)
    return Extra(vertices, normals, faces, bones, weights)


def _with_peak(vertices: Floats, faces: Ints, normals: Floats) -> tuple[Floats, Ints, Floats]:
    angle = np.linspace(-1.15, 1.15, 13)
    rim = np.stack(
        [0.084 * np.sin(angle), np.full(13, 1.741), 0.016 + 0.084 * np.cos(angle)], axis=1
    )
    out = rim + np.stack([0.0 * angle, -0.028 * np.cos(angle), 0.075 * np.cos(angle)], axis=1)
    strip = np.concatenate([rim, out])
    up = np.tile([0.0, 0.94, 0.34], (26, 1))
    row = np.arange(12)
    tops = np.concatenate(
        [np.stack([row, row + 13, row + 14], axis=1), np.stack([row, row + 14, row + 1], axis=1)]
    )
    n = len(vertices)
    both = np.concatenate([tops + n, tops[:, ::-1] + n + 26])
    return (
        np.concatenate([vertices, strip, strip - [0, 0.004, 0]]),
        np.concatenate([faces, both]),
        np.concatenate([normals, up, -up]),
    )


def skirt(hem_m: float, flare: float, coarseness: float) -> Extra:
    """A skirt from the waist to `hem_m`.

    Args:
        hem_m: height of its lower edge in the rest pose.
        flare: how much wider it is below, metres.
        coarseness: as for a template.
    """
    around, rows = int(40 / coarseness), max(4, int((1.03 - hem_m) / (0.035 * coarseness)))
    angle = 2 * np.pi * np.arange(around) / around
    down = np.linspace(0, 1, rows + 1)[:, None]
    hips = np.clip(down * (1.03 - hem_m) / 0.12, 0, 1)
    pleat = 1 + 0.05 * down * np.cos(9 * angle)
    x = (0.142 + 0.042 * hips + flare * down) * np.sin(angle) * pleat
    z = -0.006 + (0.108 + 0.036 * hips + flare * down) * np.cos(angle) * pleat
    y = 1.03 - down * (1.03 - hem_m) + 0 * angle
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    normals = np.stack([np.sin(angle) + 0 * y, 0.15 + 0 * y, np.cos(angle) + 0 * y], -1).reshape(
        -1, 3
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    row, column = np.divmod(np.arange(rows * around), around)
    a = row * around + column
    b = row * around + (column + 1) % around
    faces = np.concatenate(
        [np.stack([a, a + around, b], 1), np.stack([b, a + around, b + around], 1)]
    )
    left = np.clip(0.5 + vertices[:, 0] / 0.20, 0, 1)
    legs = np.clip((0.96 - vertices[:, 1]) / 0.30, 0, 1) * 0.85
    bones = np.tile(
        [BONE["pelvis"], BONE["left_thigh"], BONE["right_thigh"], 0], (len(vertices), 1)
    )
    weights = np.stack([1 - legs, legs * left, legs * (1 - left), 0 * legs], axis=1)
    # The inside is a second surface: it is seen from below and when somebody sits.
    inside = vertices - 0.004 * normals
    return Extra(
        np.concatenate([vertices, inside]),
        np.concatenate([normals, -normals]),
        np.concatenate([faces, faces[:, ::-1] + len(vertices)]),
        np.tile(bones, (2, 1)),
        np.tile(weights, (2, 1)),
    )
