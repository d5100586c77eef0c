"""A perspective camera over a ground plane: the world has y up and the ground at y = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NEAR_M = 0.15
"""What is nearer than this is not drawn."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; the centre of the top-left pixel is (0, 0).

    Attributes:
        matrix: (3, 3) world to camera rotation; camera axes are right, down, forward.
        place: (3,) metres.
        focal_px: focal length.
        width, height: of the picture.
    """

    matrix: Floats
    place: Floats
    focal_px: float
    width: int
    height: int

    @classmethod
    def looking(
        cls,
        place: npt.ArrayLike,
        target: npt.ArrayLike,
        focal_px: float,
        size: tuple[int, int],
        roll: float = 0.0,
    ) -> Camera:
        """A camera at `place` with `target` in the middle of the picture; `size` is its (w, h)."""
        origin = np.asarray(place, float)
        forward = np.asarray(target, float) - origin
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cos, sin = np.cos(roll), np.sin(roll)
        rows = [cos * right + sin * down, cos * down - sin * right, forward]
        return cls(np.array(rows), origin, focal_px, *size)

    @property
    def intrinsics(self) -> Floats:
        """(3, 3) camera coordinates to pixels."""
        return np.array(
            [[self.focal_px, 0, (self.width - 1) / 2], [0, self.focal_px, (self.height - 1) / 2],
             [0, 0, 1]]
        )  # fmt: skip

    def project(self, points: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Pixels (..., 2) and depths (...) of world points (..., 3); behind it depth < 0."""
        seen = (points - self.place) @ self.matrix.T
        depth = seen[..., 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        return seen[..., :2] * (self.focal_px / safe)[..., None] + centre, depth

    def plane_homography(self, origin: npt.ArrayLike, u: npt.ArrayLike, v: npt.ArrayLike) -> Floats:
        """(3, 3) from plane coordinates (a, b, 1) of origin + a u + b v to pixels."""
        columns = np.stack(
            [np.asarray(u, float), np.asarray(v, float), np.asarray(origin, float) - self.place], 1
        )
        homography: Floats = self.intrinsics @ self.matrix @ columns
        return homography
