"""Single pictures for training: random people in random places, with exact truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowtrack.errors import OptionError
from flowtrack.synthetic.people.figure import Figure, dress
from flowtrack.synthetic.people.postures import random_posture
from flowtrack.synthetic.people.rig import LANDMARKS, Posed, posed
from flowtrack.synthetic.people.wardrobe import random_look
from flowtrack.synthetic.places.props import random_prop
from flowtrack.synthetic.places.scenery import Scenery, photo_scenery, pictures_in, random_scenery
from flowtrack.synthetic.rendering.camera import Camera
from flowtrack.synthetic.rendering.light import (
    Light,
    ground_shade,
    random_light,
    shadow_map,
    vertex_light,
)
from flowtrack.synthetic.rendering.picture import Sensor, composed, random_grade
from flowtrack.synthetic.rendering.render import Solid, Soup, View, gathered, seen, shaded
from flowtrack.synthetic.truth import (
    SyntheticFrame,
    extents,
    head_box,
    joints_seen,
    split_joints,
)

_SEEN_PX = 20.0
"""Fewer pixels than this are not called a person."""


@dataclass(frozen=True)
class SceneOptions:
    """What a random picture may hold.

    Attributes:
        width, height: of the picture, pixels.
        people: fewest and most people.
        scale: smallest and largest standing height as a share of the picture's height; above 1
            people are cut off.
        crowd: how likely each further person stands close to another one, 0 to 1.
        extreme: share of people who lie, crawl, jump or stand on their hands.
        things: most things (tables, posts, crates) that stand around.
        degrade: how much blur, noise and compression cameras add, 0 to 1.
        backgrounds: folder of pictures to use as backgrounds; None paints places.
        photo_share: with `backgrounds`: how often a picture is used rather than a painted place.
    """

    width: int = 640
    height: int = 480
    people: tuple[int, int] = (1, 8)
    scale: tuple[float, float] = (0.15, 1.6)
    crowd: float = 0.45
    extreme: float = 0.08
    things: int = 3
    degrade: float = 0.7
    backgrounds: Path | None = None
    photo_share: float = 0.5

    def __post_init__(self) -> None:
        if not 32 <= min(self.width, self.height) <= max(self.width, self.height) <= 4096:
            raise OptionError(
                f"picture size is {self.width} x {self.height}, expected 32 to 4096 pixels a side"
            )
        if not 0 <= self.people[0] <= self.people[1] <= 60:
            raise OptionError(f"people is {self.people}, expected (fewest, most) within 0 to 60")
        if not 0.02 <= self.scale[0] <= self.scale[1] <= 4:
            raise OptionError(
                f"scale is {self.scale}, expected (smallest, largest) within 0.02 to 4"
            )
        for name in ("crowd", "extreme", "degrade", "photo_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if not 0 <= self.things <= 20:
            raise OptionError(f"things is {self.things}, expected 0 to 20")
        if self.backgrounds is not None:
            pictures_in(self.backgrounds)


@lru_cache(maxsize=8)
def _pictures(folder: Path) -> tuple[Path, ...]:
    return tuple(pictures_in(folder))


def render_scene(options: SceneOptions, seed: int) -> SyntheticFrame:
    """A random picture with its truth; the same arguments give the same bytes.

    Raises:
        OptionError: the seed is negative.
    """
    if seed < 0:
        raise OptionError(f"seed is {seed}, expected 0 or more")
    rng = np.random.default_rng([seed, 0x5CE7E])
    camera = _random_camera(options, rng)
    places = _places(options, camera, rng)
    figures, poses, solids = [], [], []
    for row, place in enumerate(places):
        depth = float(np.linalg.norm(place - camera.place))
        figure = dress(random_look(rng), camera.focal_px / depth / 100)
        sampled = random_posture(rng, options.extreme)
        heading = (
            float(rng.normal(0, 0.9)) if rng.random() < 0.6 else float(rng.uniform(-np.pi, np.pi))
        )
        pose = posed(sampled.at((place[0], 0.0, place[2]), heading), figure.scales)
        figures.append(figure)
        poses.append(pose)
        solids.append(solid_of(figure, pose, row))
    for _ in range(int(rng.integers(0, options.things + 1))):
        depth = float(rng.uniform(0.5, 1.1)) * float(-places[:, 2].min()) if len(places) else 4.0
        x = rng.uniform(-0.55, 0.55) * options.width / camera.focal_px * depth
        prop = random_prop(rng, (x, 0.0, -max(depth, 1.2)))
        solids.append(prop)
    farthest = float(-places[:, 2].min()) + 1.2 if len(places) else 4.0
    if options.backgrounds is not None and rng.random() < options.photo_share:
        paths = _pictures(options.backgrounds)
        scenery = photo_scenery(paths[int(rng.integers(len(paths)))], camera, farthest + 8)
    else:
        scenery = random_scenery(rng, farthest)
    light = random_light(rng, scenery.indoor)
    sensor = Sensor(random_grade(rng, options.degrade), (options.width, options.height), rng)
    place = scenery.drawn(camera)
    soup = gathered(solids)
    view = seen(soup, camera)
    lights, shade = lighting(soup, scenery, camera, light)
    picture = composed(place, shaded(soup, view, camera, lights), shade)
    return annotated(
        sensor.developed(picture, rng), soup, view, camera, list(zip(figures, poses, strict=True))
    )


def lighting(
    soup: Soup, scenery: Scenery, camera: Camera, light: Light
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8] | None]:
    """Light (V, 4) on every vertex, and (H, W) what of it reaches the floor (None: all of it)."""
    if not len(soup.vertices):
        return np.zeros((0, 4), np.float32), None
    shadows = shadow_map(soup.vertices, light)
    lights = vertex_light(soup, camera, light, shadows)
    ground = scenery.is_ground(camera)
    if not ground.any():
        return lights, None
    shade = ground_shade(soup.vertices, camera, light, shadows)
    shade[~ground] = 255
    return lights, shade


def solid_of(figure: Figure, pose: Posed, row: int) -> Solid:
    """The mesh of a person in a pose."""
    vertices, normals = figure.moved(pose)
    return Solid(
        vertices, normals, figure.faces, figure.texels, figure.texture, figure.occlusion, row
    )


def annotated(
    image: npt.NDArray[np.uint8], soup: Soup, view: View, camera: Camera,
    people: list[tuple[Figure, Posed]], index: int = 0, time_s: float = 0.0,
) -> SyntheticFrame:  # fmt: skip
    """The frame with the truth about everybody of whom enough can be seen; ids are rows."""
    boxes, areas = extents(soup, view, camera, len(people))
    shown = np.flatnonzero(areas >= _SEEN_PX)
    landmarks = [joints_seen(people[i][1], camera, view, people[i][0].girth) for i in shown]
    heads = [head_box(people[i][1], camera) for i in shown]
    coco, posetrack = split_joints(np.array(landmarks, np.float32).reshape(-1, len(LANDMARKS), 3))
    return SyntheticFrame(
        index, time_s, image, shown.astype(np.int64), coco, posetrack, boxes[shown],
        np.array(heads, np.float32).reshape(-1, 4), areas[shown],
    )  # fmt: skip


def _random_camera(options: SceneOptions, rng: np.random.Generator) -> Camera:
    height = float(np.exp(rng.normal(np.log(1.45), 0.35)))
    view = float(rng.uniform(0.55, 1.15))
    focal = (
        options.height / 2 / np.tan(view / 2) * (1.0 if options.width >= options.height else 1.15)
    )
    pitch = float(rng.normal(-0.06, 0.07)) - 0.10 * (height - 1.45)
    target = np.array([0.0, height + np.sin(pitch), -np.cos(pitch)])
    return Camera.looking((0, height, 0), target, focal, (options.width, options.height),
                          float(rng.normal(0, 0.03)))  # fmt: skip


def _places(
    options: SceneOptions, camera: Camera, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(P, 3) places on the ground such that people have the wanted sizes and are in view."""
    count = int(rng.integers(options.people[0], options.people[1] + 1))
    low, high = np.log(options.scale)
    places: list[npt.NDArray[np.float64]] = []
    for _ in range(20 * count):
        if len(places) == count:
            break
        if places and rng.random() < options.crowd:
            near = places[int(rng.integers(len(places)))]
            step = rng.normal(0, 0.55, 2)
            place = near + np.array([step[0], 0, 0.8 * step[1]])
        else:
            depth = camera.focal_px * 1.7 / (float(np.exp(rng.uniform(low, high))) * camera.height)
            x = rng.uniform(-0.52, 0.52) * camera.width / camera.focal_px * depth
            place = np.array([x, 0.0, -depth])
        gaps = [np.hypot(*(place - other)[[0, 2]]) for other in places]
        if -place[2] > 0.9 and min(gaps, default=1.0) > 0.38:
            places.append(place)
    return np.array(places).reshape(-1, 3)
