"""A clip in the making: its cast, its place and its camera, and the frames one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flowtrack.structs import FlowField
from flowtrack.synthetic.clip_options import ClipOptions
from flowtrack.synthetic.people.figure import Figure, dress
from flowtrack.synthetic.people.motions import Motion, random_motion
from flowtrack.synthetic.people.rig import Posed, posed
from flowtrack.synthetic.people.wardrobe import random_look
from flowtrack.synthetic.places.props import random_prop
from flowtrack.synthetic.places.scenery import Scenery, photo_scenery, pictures_in, random_scenery
from flowtrack.synthetic.rendering.camera import Camera
from flowtrack.synthetic.rendering.flow import Moment, blurred, dense_flow, same_view
from flowtrack.synthetic.rendering.light import random_light
from flowtrack.synthetic.rendering.picture import Grade, Sensor, composed, random_grade
from flowtrack.synthetic.rendering.render import Solid, Soup, gathered, seen, shaded
from flowtrack.synthetic.scene import annotated, lighting, solid_of
from flowtrack.synthetic.shot import Shot
from flowtrack.synthetic.truth import SyntheticFrame

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_STATURE_M = 1.7
_APART_M = 0.55
"""Least distance in depth between two people, so that they can pass one another."""


@dataclass(frozen=True)
class _Instant:
    """A moment with what the truth needs to know about it."""

    time_s: float
    poses: list[Posed]
    moment: Moment


class Stage:
    """Everything that is chosen once for a clip, and the frames that follow from it."""

    def __init__(self, options: ClipOptions) -> None:
        """Choose people, place, light and camera."""
        rng = np.random.default_rng([options.seed, 0xC11B])
        size = (options.width, options.height)
        self._options = options
        self._times = _times(options, rng)
        self._shot = Shot.random(options.camera, size, float(self._times[-1]), rng)
        depths = _depths(options, self._shot, rng)
        self._actors: list[tuple[Figure, Motion]] = []
        for kind, depth in zip(_cast(options, rng), depths, strict=True):
            look = random_look(rng)
            figure = dress(look, self._shot.focal_px / depth / 100)
            reach = options.width / self._shot.focal_px * depth
            spot = (float(rng.uniform(-0.34, 0.34)) * reach, -depth)
            meets = float(rng.uniform(0.15, 0.85) * self._times[-1])
            legs = look.physique.stature * look.physique.legs
            self._actors.append((figure, random_motion(kind, spot, meets, rng, legs)))
        farthest = max(depths, default=5.0) + 1.5
        self._things = _things(options, self._shot, farthest, rng)
        self._scenery = _scenery(options, self._shot.at(0.0), farthest, rng)
        self._light = random_light(rng, self._scenery.indoor)
        grade = random_grade(rng, options.degrade) if options.degrade > 0 else Grade()
        self._sensor = Sensor(replace(grade, shake_px=0.0), size, rng)
        self._noise_seed = int(rng.integers(2**62))
        self._still: Soup | None = None
        self._drawn: tuple[Camera, Bytes] | None = None

    def frames(self) -> Iterator[SyntheticFrame]:
        """All frames in order."""
        now = self._instant(0)
        for index in range(self._options.frames):
            last = index == self._options.frames - 1
            # Blur needs to know where the last frame leads to, too.
            later = None if last and self._options.shutter == 0 else self._instant(index + 1)
            yield self._frame(index, now, later, last)
            if later is not None:
                now = later

    def _instant(self, index: int) -> _Instant:
        time_s = float(self._times[index])
        camera = self._shot.at(time_s)
        poses = [posed(motion.at(time_s), figure.scales) for figure, motion in self._actors]
        figures = [figure for figure, _ in self._actors]
        solids = [
            *(solid_of(f, p, row) for row, (f, p) in enumerate(zip(figures, poses, strict=True))),
            *self._things,
        ]
        if self._still is None:
            self._still = gathered(solids)
        soup = self._still
        if solids:
            soup = soup.moved(
                np.concatenate([solid.vertices for solid in solids]),
                np.concatenate([solid.normals for solid in solids]),
            )
        return _Instant(time_s, poses, Moment(soup, seen(soup, camera), camera))

    def _frame(
        self, index: int, now: _Instant, later: _Instant | None, last: bool
    ) -> SyntheticFrame:
        options, moment = self._options, now.moment
        soup, view, camera = moment.soup, moment.view, moment.camera
        lights, shade = None, None
        if options.shading:
            lights, shade = lighting(soup, self._scenery, camera, self._light)
        layer = shaded(soup, view, camera, lights)
        place = self._empty(camera)
        uv, valid = (
            (None, None) if later is None else dense_flow(moment, later.moment, self._scenery)
        )
        if uv is not None and options.shutter > 0:
            picture = blurred(composed(place, None, shade), layer, uv, options.shutter)
        else:
            picture = composed(place, layer, shade)
        rng = np.random.default_rng([self._noise_seed, index])
        image = self._sensor.developed(picture, rng)
        people = [(figure, pose) for (figure, _), pose in zip(self._actors, now.poses, strict=True)]
        frame = annotated(image, soup, view, camera, people, index, now.time_s)
        if uv is None or last:
            return frame
        return replace(frame, flow=FlowField(uv, (1.0, 1.0), index, index + 1), flow_valid=valid)

    def _empty(self, camera: Camera) -> Bytes:
        """The empty place; drawn anew only when the camera has moved."""
        if self._drawn is not None:
            before, picture = self._drawn
            if same_view(before, camera):
                return picture
        picture = self._scenery.drawn(camera)
        self._drawn = (camera, picture)
        return picture


def _times(options: ClipOptions, rng: np.random.Generator) -> Floats:
    """(frames + 1,) seconds; after a frame that was missed twice the time has passed."""
    steps = 1.0 + (rng.random(options.frames) < options.missed)
    return np.concatenate([[0.0], np.cumsum(steps)]) / options.fps


_DECK = ("walk", "walk", "*", "run", "*", "walk", "*")
"""What people do, in turn; a star stands for anything that is done in place."""


def _cast(options: ClipOptions, rng: np.random.Generator) -> list[str]:
    """What each of the people does."""
    in_place = [name for name in options.motions if name not in ("walk", "run")]
    bag: list[str] = []
    kinds = []
    for i in range(options.people):
        kind = _DECK[i % len(_DECK)]
        if kind not in options.motions:
            pool = in_place or list(options.motions)
            if not bag:
                bag = [pool[j] for j in rng.permutation(len(pool))]
            kind = bag.pop()
        kinds.append(kind)
    return [kinds[i] for i in rng.permutation(len(kinds))]


def _depths(options: ClipOptions, shot: Shot, rng: np.random.Generator) -> list[float]:
    """How far from the camera each of the people is: lanes, mixed up and uneven."""
    near, far = (shot.focal_px * _STATURE_M / (s * options.height) for s in options.scale[::-1])
    count = options.people
    if count == 0:
        return []
    spread = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    lanes = near + (far - near) * spread
    close = near + (far - near) * rng.uniform(0, 0.5) + _APART_M * np.arange(count)
    lanes = (1 - options.crowd) * lanes + options.crowd * close
    lanes = lanes + rng.uniform(-0.15, 0.15, count)
    return [float(depth) for depth in np.maximum(lanes, 1.0)[rng.permutation(count)]]


def _things(
    options: ClipOptions, shot: Shot, farthest: float, rng: np.random.Generator
) -> list[Solid]:
    things = []
    for depth in rng.uniform(0.55, 1.0, options.things) * farthest:
        x = rng.uniform(-0.5, 0.5) * options.width / shot.focal_px * depth
        things.append(random_prop(rng, (x, 0.0, -float(depth))))
    return things


def _scenery(
    options: ClipOptions, camera: Camera, farthest: float, rng: np.random.Generator
) -> Scenery:
    if options.backgrounds is None:
        return random_scenery(rng, farthest)
    paths = pictures_in(options.backgrounds)
    return photo_scenery(paths[int(rng.integers(len(paths)))], camera, farthest + 8)
