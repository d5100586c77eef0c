"""The place: a floor and a wall behind, drawn by homographies, so that their motion is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.errors import OptionError
from flowtrack.synthetic.places.grounds import Ground, random_ground
from flowtrack.synthetic.places.walls import INDOOR, Wall, random_wall
from flowtrack.synthetic.rendering.camera import Camera

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_FLOORS = {
    "room": ("boards", "carpet", "tiles"), "hall": ("boards", "court", "tiles", "carpet"),
    "studio": ("carpet", "tiles", "boards"), "brick": ("paving", "asphalt", "tiles"),
    "street": ("asphalt", "paving", "tiles"), "park": ("grass", "grass", "sand", "paving"),
}  # fmt: skip
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


@dataclass(frozen=True)
class Scenery:
    """A floor and a wall.

    Attributes:
        ground: the floor at y = 0; None behind a photograph, which fills the whole view.
        wall: what stands behind.
        yaw: how the wall is turned about the vertical, radians.
    """

    ground: Ground | None
    wall: Wall
    yaw: float

    @property
    def indoor(self) -> bool:
        """Whether lamps rather than the sky light it."""
        return self.wall.kind in INDOOR

    def wall_axes(self) -> tuple[Floats, Floats]:
        """A point of the wall's foot and the direction along it."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        normal = np.array([sin, 0.0, cos])
        return -self.wall.distance_m * normal, np.array([cos, 0.0, -sin])

    def wall_homography(self, camera: Camera) -> Floats:
        """(3, 3) from metres (along, up, 1) on the wall to pixels."""
        foot, along = self.wall_axes()
        return camera.plane_homography(foot, along, (0, 1, 0))

    def is_ground(self, camera: Camera) -> Mask:
        """(H, W) the pixels below the foot of the wall."""
        size = (camera.height, camera.width)
        if self.ground is None:
            return np.zeros(size, bool)
        foot = self.wall_homography(camera) @ np.array([[0.0, 1.0], [0, 0], [1, 0]])
        line = np.cross(foot[:, 0], foot[:, 0] + foot[:, 1])
        line = line if line[1] > 0 else -line
        x, y = np.arange(camera.width), np.arange(camera.height)[:, None]
        return np.asarray(line[0] * x + line[1] * y + line[2] > 0)

    def drawn(self, camera: Camera) -> Bytes:
        """(H, W, 3) the empty place."""
        size = (camera.width, camera.height)
        wall = self.wall
        texel = wall.height_m / wall.pixels.shape[0]
        top = wall.base_m + wall.height_m - 0.5 * texel
        to_metres = np.array(
            [[texel, 0, 0.5 * texel - wall.width_m / 2], [0, -texel, top], [0, 0, 1]]
        )
        picture = cv2.warpPerspective(
            wall.pixels, self.wall_homography(camera) @ to_metres, size, flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        if self.ground is not None:
            _draw_ground(np.asarray(picture), self.ground, camera, self.is_ground(camera))
        return np.asarray(picture, np.uint8)


def _draw_ground(picture: Bytes, ground: Ground, camera: Camera, where: Mask) -> None:
    """Draw the floor in bands of rows, each from the level whose texels are about its pixels."""
    rows = np.flatnonzero(where.any(axis=1))
    if not len(rows):
        return
    to_pixels = camera.plane_homography((0, 0, 0), (1, 0, 0), (0, 0, 1))
    inverse = np.linalg.inv(to_pixels)
    middle = camera.width / 2
    steps = np.stack([np.full(len(rows), middle), rows, np.ones(len(rows))])

    def metres(pixels: Floats) -> Floats:
        mapped = inverse @ pixels
        flat: Floats = mapped[:2] / mapped[2]
        return flat

    across = np.linalg.norm(metres(steps + [[1.0], [0], [0]]) - metres(steps), axis=0)
    down = np.linalg.norm(metres(steps + [[0.0], [1], [0]]) - metres(steps), axis=0)
    texel = ground.side_m / ground.levels[0].shape[0]
    level = np.log2(np.maximum(np.sqrt(across * down) / texel, 1e-6)) - 0.2
    level = np.clip(np.rint(level), 0, len(ground.levels) - 1).astype(int)
    for used in np.unique(level):
        band = rows[level == used]
        first, last = int(band[0]), int(band[-1]) + 1
        tile = ground.levels[used]
        scale = tile.shape[0] / ground.side_m
        to_tile = (
            np.diag([scale, scale, 1.0])
            @ inverse
            @ np.array([[1, 0, 0], [0, 1, first], [0, 0, 1.0]])
        )
        part = cv2.warpPerspective(
            tile,
            to_tile,
            (camera.width, last - first),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
        chosen = where[first:last] & np.isin(np.arange(first, last), band)[:, None]
        picture[first:last][chosen] = np.asarray(part)[chosen]


def random_scenery(rng: np.random.Generator, farthest_m: float) -> Scenery:
    """A place by chance, its wall behind everything within `farthest_m` of the origin."""
    wall = random_wall(rng)
    wall = replace(wall, distance_m=farthest_m + wall.distance_m)
    ground = random_ground(rng, str(rng.choice(_FLOORS[wall.kind])))
    return Scenery(ground, wall, float(np.clip(rng.normal(0, 0.15), -0.4, 0.4)))


def photo_scenery(path: Path, camera: Camera, distance_m: float) -> Scenery:
    """A picture that fills the view of `camera` with a margin to move in.

    Raises:
        OptionError: the file cannot be read as a picture.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise OptionError(f"{path} cannot be read as a picture; take it out of the folder")
    away = distance_m + camera.place[2]
    aspect = pixels.shape[1] / pixels.shape[0]
    height = 1.15 * away / camera.focal_px * max(camera.height, camera.width / aspect)
    base = camera.place[1] + away * camera.matrix[2, 1] - height / 2
    wall = Wall(np.asarray(pixels, np.uint8), aspect * height, height, distance_m, "photo", base)
    return Scenery(None, wall, 0.0)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        OptionError: it is no folder, or has no picture.
    """
    if not folder.is_dir():
        raise OptionError(f"backgrounds is {folder}, expected a folder of pictures")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise OptionError(
            f"{folder} has no picture ({', '.join(sorted(PICTURES))}) to use as background"
        )
    return found
