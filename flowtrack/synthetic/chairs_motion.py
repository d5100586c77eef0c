"""How things move in FlyingChairs-style pairs: random affine maps and smooth deformations.

Points are pixels, x first; an affine map is a (3, 3) float64 matrix on (x, y, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.structs import FloatArray

Matrix = npt.NDArray[np.float64]
"""Affine, (3, 3), or points, (..., 2)."""

DEFORMATION_CELLS = 4
"""Independent displacements along each side of a deformed object."""

_STEEPEST = (
    0.25  # of a deformation: below 1 it has an inverse, and this far below few steps find it
)
_STEPS = 6  # of the fixed point: 0.25^6 of the largest displacement is below 0.01 px


@dataclass(frozen=True, slots=True)
class Component:
    """The distribution of one motion parameter: a Gaussian to a power, so most motions are small.

    With probability `share` the parameter is sign(g) |g|^power, g drawn from N(mean, sigma), cut to
    `low` ... `high`; otherwise it is `mean` (Dosovitskiy et al. 2015, supplementary material).
    """

    power: float
    mean: float
    sigma: float
    low: float
    high: float
    share: float

    def draw(self, rng: np.random.Generator) -> float:
        """One value."""
        gaussian = rng.normal(self.mean, self.sigma)
        if rng.random() >= self.share:
            return self.mean
        powered = np.sign(gaussian) * abs(gaussian) ** self.power
        return float(min(max(powered, self.low), self.high))


@dataclass(frozen=True, slots=True)
class Motion:
    """The distribution of an affine motion: translation in px, rotation in degrees, zoom."""

    translation: Component
    rotation: Component
    zoom: Component

    def draw(
        self,
        centre: tuple[float, float],
        rng: np.random.Generator,
        *,
        strength: float = 1.0,
        scale: float = 1.0,
    ) -> Matrix:
        """One motion that turns and zooms about `centre`.

        Args:
            centre: x, y in px.
            rng: decides.
            strength: multiplies translation, rotation and the zoom's distance from 1.
            scale: multiplies the translation besides.
        """
        x, y = self.translation.draw(rng), self.translation.draw(rng)
        angle = strength * self.rotation.draw(rng)
        zoom = 1.0 + strength * (self.zoom.draw(rng) - 1.0)
        return about(centre, similarity(angle, zoom, (strength * scale * x, strength * scale * y)))


# Px of a 512 x 384 picture; chosen so that the motions are as long, and as unevenly long, as those
# of FlyingChairs: 11 px on average, half below 6, backgrounds up to 40 and objects beyond 100.
BACKGROUND = Motion(
    translation=Component(power=4, mean=0, sigma=1.05, low=-40, high=40, share=1.0),
    rotation=Component(power=2, mean=0, sigma=1.0, low=-10, high=10, share=0.3),
    zoom=Component(power=2, mean=1, sigma=0.02, low=0.93, high=1.07, share=0.3),
)
OBJECT = Motion(
    translation=Component(power=4, mean=0, sigma=1.3, low=-120, high=120, share=1.0),
    rotation=Component(power=2, mean=0, sigma=2.3, low=-30, high=30, share=0.7),
    zoom=Component(power=2, mean=1, sigma=0.1, low=0.6, high=1.6, share=0.7),
)


def similarity(angle_deg: float, zoom: float, shift: tuple[float, float]) -> Matrix:
    """Zoom and turn about the origin, then shift: x right, y down, clockwise as seen."""
    angle = np.deg2rad(angle_deg)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]], [0.0, 0.0, 1.0]])


def about(centre: tuple[float, float], matrix: Matrix) -> Matrix:
    """The map `matrix` with `centre` in place of the origin."""
    moved = matrix.copy()
    moved[:2, 2] += centre - matrix[:2, :2] @ np.asarray(centre)
    return moved


def inverse(matrix: Matrix) -> Matrix:
    """The map that undoes an affine one."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def mapped(matrix: Matrix, xy: npt.ArrayLike) -> Matrix:
    """Points (..., 2) mapped by an affine matrix."""
    points: Matrix = np.asarray(xy, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]
    return points


def affine_grid(
    matrix: Matrix, left: int, top: int, width: int, height: int
) -> tuple[FloatArray, FloatArray]:
    """The map of every pixel of a window.

    Args:
        matrix: (3, 3) affine.
        left, top, width, height: the window in px.

    Returns:
        x and y, (height, width) float32 each.
    """
    x = np.arange(left, left + width)
    y = np.arange(top, top + height)[:, None]
    # Sums of a row and a column in float64: large coordinates keep their fractions.
    u = (matrix[0, 0] * x + matrix[0, 2]) + matrix[0, 1] * y
    v = (matrix[1, 0] * x + matrix[1, 2]) + matrix[1, 1] * y
    return u.astype(np.float32), v.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Deformation:
    """A smooth non-rigid motion in an object's own pixels.

    Attributes:
        xy: (h, w, 2) float32, the displacement at each pixel of the object's picture; between them
            it is interpolated, beyond the border it stays as at the border.
    """

    xy: FloatArray

    @classmethod
    def random(cls, size: int, strength: float, rng: np.random.Generator) -> Deformation:
        """Independent displacements on a coarse grid, smoothly joined.

        Args:
            size: side of the object's picture in px.
            strength: standard deviation of the displacements as a share of `size`.
            rng: decides.
        """
        coarse = rng.normal(0.0, strength * size, (DEFORMATION_CELLS, DEFORMATION_CELLS, 2))
        xy = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        slopes = (np.abs(np.diff(xy, axis=axis)).max(initial=0.0) for axis in (0, 1))
        steepest = float(max(slopes))
        # Steeper ones are weakened until they have an inverse: nothing folds.
        return cls(xy * np.float32(min(1.0, 0.5 * _STEEPEST / max(steepest, 1e-9))))

    def at(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """(H, W, 2) displacements at the positions x, y, (H, W) float32 each."""
        found = cv2.remap(self.xy, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32)

    def origin(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where the points that arrive at x, y came from: p with p + displacement(p) = (x, y)."""
        px, py = x, y
        for _ in range(_STEPS):
            moved = self.at(px, py)
            px, py = x - moved[..., 0], y - moved[..., 1]
        return px, py
