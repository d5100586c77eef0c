"""Endless picture pairs with exact optical flow, in the manner of FlyingChairs.

A background moves by a random affine map, objects in front of it by that map and a random affine
map of their own (Dosovitskiy et al. 2015, section 4.2); some objects bend besides, as people do.
A pair depends on its options and its seed only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flowtrack.errors import OptionError
from flowtrack.structs import BoolArray, ByteArray, FloatArray
from flowtrack.synthetic.chairs_canvas import Canvases, FlyingObject, covered_window
from flowtrack.synthetic.chairs_motion import (
    BACKGROUND,
    OBJECT,
    Deformation,
    Matrix,
    similarity,
)
from flowtrack.synthetic.chairs_objects import draw_object
from flowtrack.synthetic.chairs_textures import add_noise, recoloured, textures

SCENE_PX = (512, 384)
"""Width and height of a whole scene of scale 1, as in FlyingChairs."""

_OBJECT_PX = (110.0, 0.65)  # median side at scale 1, standard deviation of its logarithm
_TILT_DEG = 8.0  # standard deviation of the tilt of objects
_RESOLUTIONS = (16, 320)  # px; objects larger than this are drawn smaller and enlarged


@dataclass(frozen=True, slots=True)
class ChairsOptions:
    """What the pairs are like; the defaults give whole scenes with the statistics of FlyingChairs.

    Attributes:
        width, height: of the pictures in px. Smaller than the scene, they are a window cut from it
            at random; larger, the scene grows with them.
        scale: size of everything, objects and motions alike; 0.5 is FlyingChairs at 256 x 192.
        motion: multiplies the motions alone; below 1 the pairs are easier.
        objects: fewest and most objects of a scene; a window shows a part of them.
        object_px: smallest and largest side of an object in px at scale 1.
        deformed: share of objects that bend while they move.
        deformation: how far their points move apart from the affine map, as a standard deviation
            in shares of the object's size.
        noise: largest standard deviation of the sensor noise in grey levels.
        lighting: largest relative change of brightness from the first picture to the second.
        backgrounds: folders, searched with all below them, whose pictures become backgrounds and
            surfaces; none: patterns are made up.
        pictures: at most this many of the pictures are used and kept in memory.
    """

    width: int = 512
    height: int = 384
    scale: float = 1.0
    motion: float = 1.0
    objects: tuple[int, int] = (5, 12)
    object_px: tuple[float, float] = (24.0, 400.0)
    deformed: float = 0.25
    deformation: float = 0.02
    noise: float = 3.0
    lighting: float = 0.03
    backgrounds: tuple[Path, ...] = ()
    pictures: int = 400

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if getattr(self, name) < 16:
                raise OptionError(f"{name} is {getattr(self, name)} px, expected at least 16")
        for name, most in (
            ("motion", np.inf), ("deformed", 1), ("deformation", 1), ("noise", 40), ("lighting", 1)
        ):  # fmt: skip
            value = getattr(self, name)
            if not (0 <= value <= most and np.isfinite(value)):
                raise OptionError(f"{name} is {value}, expected 0 to {most:g}")
        if not 0 < self.scale < np.inf:
            raise OptionError(f"scale is {self.scale}, expected a positive number; 1 is usual")
        if not 0 <= self.objects[0] <= self.objects[1] <= 200:
            raise OptionError(f"objects is {self.objects}, expected (fewest, most) within 0 to 200")
        if not 1 <= self.object_px[0] <= self.object_px[1] < float("inf"):
            raise OptionError(
                f"object_px is {self.object_px}, expected (smallest, largest) of 1 px or more"
            )
        if self.pictures < 1:
            raise OptionError(f"pictures is {self.pictures}, expected at least 1")

    @property
    def scene(self) -> tuple[float, float]:
        """Width and height of the scene that the pictures are cut from, in px."""
        return max(SCENE_PX[0] * self.scale, self.width), max(SCENE_PX[1] * self.scale, self.height)


@dataclass(frozen=True, slots=True)
class FlowPair:
    """Two pictures and the flow between them.

    Attributes:
        previous, current: (H, W, 3) uint8 BGR.
        uv: (2, H, W) float32, dx and dy in px from each pixel of the first picture to the same
            point in the second, exact also where that point is hidden or outside.
        visible: (H, W) bool, true where that point can be seen in the second picture.
    """

    previous: ByteArray
    current: ByteArray
    uv: FloatArray
    visible: BoolArray


class ChairsGenerator:
    """Makes pairs; holds the pictures that surfaces come from.

    Args:
        options: what the pairs are like.

    Raises:
        SourceError: a folder of backgrounds is missing or holds no picture.
    """

    def __init__(self, options: ChairsOptions | None = None) -> None:
        self.options = options or ChairsOptions()
        self._textures = textures(self.options.backgrounds, self.options.pictures)

    def pair(self, seed: int) -> FlowPair:
        """The pair of a seed, 0 or more.

        Raises:
            SourceError: a picture cannot be decoded.
        """
        rng = np.random.default_rng(seed)
        options = self.options
        room = np.array(options.scene) - (options.width, options.height)
        origin = rng.uniform(0, 1, 2) * room  # of the pictures in the scene, px
        centre = _point(np.array(options.scene) / 2 - origin)
        camera = BACKGROUND.draw(centre, rng, strength=options.motion, scale=options.scale)
        canvases = Canvases(options.width, options.height)
        self._paint_background(canvases, camera, origin, rng)
        for _ in range(int(rng.integers(options.objects[0], options.objects[1] + 1))):
            thing = self._object(camera, origin, rng)
            if thing is not None:
                canvases.paint(thing)
        return self._developed(canvases, rng)

    def _paint_background(
        self, canvases: Canvases, camera: Matrix, origin: Matrix, rng: np.random.Generator
    ) -> None:
        picture = recoloured(self._textures.draw(rng), rng)
        height, width = picture.shape[:2]
        scene = np.array(self.options.scene)
        # Pixels of the picture per pixel of the scene: about as many as there are, so that it is
        # neither blurred nor cut down to little. Where it ends its mirror image goes on.
        covering = min(width / scene[0], height / scene[1])
        density = min(max(covering * rng.uniform(0.6, 1.3), 0.35), 1.3)
        start = rng.uniform(0, 1, 2) * ((width, height) - density * scene)
        to_picture = similarity(rng.normal(0, 3), density, _point(start + density * origin))
        canvases.background(picture, to_picture, camera)

    def _object(
        self, camera: Matrix, origin: Matrix, rng: np.random.Generator
    ) -> FlyingObject | None:
        """A random object, or None if it is outside both pictures."""
        options = self.options
        typical, spread = _OBJECT_PX
        side = float(np.clip(rng.lognormal(np.log(typical), spread), *options.object_px))
        side *= options.scale
        centre = _point(rng.uniform(-0.05, 1.05, 2) * options.scene - origin)
        own = OBJECT.draw(centre, rng, strength=options.motion, scale=options.scale)
        resolution = round(min(max(side, _RESOLUTIONS[0]), _RESOLUTIONS[1]))
        middle = (resolution - 1) / 2
        turned = similarity(rng.normal(0, _TILT_DEG), side / resolution, centre)
        first = turned @ similarity(0, 1, (-middle, -middle))
        # What it looks like is drawn from its own numbers: an object outside takes no time.
        looks = np.random.default_rng(rng.integers(2**63))
        second = camera @ own @ first
        size = (options.width, options.height)
        if not any(covered_window(m, resolution, *size, margin=1) for m in (first, second)):
            return None
        picture = draw_object(resolution, self._textures, looks)
        bending = None
        strength = options.deformation * options.motion
        if looks.random() < options.deformed and strength > 0:
            bending = Deformation.random(resolution, strength, looks)
        return FlyingObject(picture, first, second, bending)

    def _developed(self, canvases: Canvases, rng: np.random.Generator) -> FlowPair:
        """The pair with the light and the noise of its pictures."""
        sigma = rng.uniform(0, self.options.noise)
        gain = 1 + rng.uniform(-self.options.lighting, self.options.lighting)
        current = cv2.convertScaleAbs(canvases.current, alpha=gain)
        return FlowPair(
            add_noise(canvases.previous, sigma, rng),
            add_noise(np.asarray(current, np.uint8), sigma, rng),
            canvases.uv,
            canvases.visible(),
        )


def flow_pair(options: ChairsOptions, seed: int) -> FlowPair:
    """One pair; for many, a `ChairsGenerator` keeps the pictures loaded.

    Args:
        options: what it is like.
        seed: 0 or more; the same arguments give the same bytes.
    """
    return ChairsGenerator(options).pair(seed)


def _point(xy: Matrix) -> tuple[float, float]:
    return float(xy[0]), float(xy[1])
