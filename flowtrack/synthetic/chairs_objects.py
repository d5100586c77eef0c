"""The things that fly through FlyingChairs-style pairs: furniture, figures, blobs, stars, wires.

An object is a square picture (R, R, 4) uint8, blue, green, red and coverage, the colours already
multiplied by the coverage; its edges are antialiased.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.structs import ByteArray
from flowtrack.synthetic.chairs_textures import Textures, recoloured, smooth_shading

Points = npt.NDArray[np.float64]
Colour = npt.NDArray[np.float64]

_SHIFT = 4  # fractional bits of coordinates handed to OpenCV
_MARGIN = 0.04  # of the picture's side, left free around the object

# Corners of a unit cube, and its faces: corner indices, and the axis and sign of the normal.
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_FACES = np.array(
    [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]]
)
_NORMALS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]])


def draw_object(resolution: int, textures: Textures, rng: np.random.Generator) -> ByteArray:
    """A random object.

    Args:
        resolution: side R of the picture in px.
        textures: where its surface may come from.
        rng: decides.

    Returns:
        (R, R, 4) uint8, premultiplied.
    """
    canvas = np.zeros((resolution, resolution, 4), np.uint8)
    kinds, weights = zip(*_KINDS, strict=True)
    draw = kinds[int(rng.choice(len(kinds), p=weights))]
    draw(canvas, rng)
    return _finished(canvas, textures, textured_share=_TEXTURED[draw], rng=rng)


def _finished(
    canvas: ByteArray, textures: Textures, textured_share: float, rng: np.random.Generator
) -> ByteArray:
    """The object with its surface and a slow change of light over it."""
    side = len(canvas)
    light = smooth_shading(side, side, 0.45, 1.0, rng)
    colours = cv2.multiply(canvas[..., :3], light, scale=1 / 255)
    if rng.random() < textured_share:
        picture = textures.draw(rng)
        height, width = picture.shape[:2]
        # From a close-up of the texture to a good part of the picture.
        crop = int(min(height, width, max(24, side * rng.uniform(0.5, 1.5))))
        top, left = rng.integers(0, height - crop + 1), rng.integers(0, width - crop + 1)
        cut = recoloured(picture[top : top + crop, left : left + crop], rng)
        surface = cv2.resize(cut, (side, side), interpolation=cv2.INTER_LINEAR)
        colours = cv2.multiply(colours, surface, scale=1 / 255)
    return np.asarray(cv2.merge((*cv2.split(colours), canvas[..., 3])), np.uint8)


def _colour(rng: np.random.Generator) -> Colour:
    """Half of the furniture of FlyingChairs is nearly black; the rest has any colour."""
    kind = rng.random()
    if kind < 0.35:
        return rng.uniform(0, 40, 3)
    if kind < 0.6:
        return np.clip(rng.uniform(60, 255) + rng.normal(0, 12, 3), 0, 255)
    return rng.uniform(10, 255, 3)


def _fixed(points: Points, side: int) -> npt.NDArray[np.int32]:
    """Points of the unit square as OpenCV's fixed-point pixels of a picture."""
    inner = side * (_MARGIN + (1 - 2 * _MARGIN) * points) - 0.5
    return np.round(inner * (1 << _SHIFT)).astype(np.int32)


def _fill(canvas: ByteArray, points: Points, colour: Colour) -> None:
    """A filled polygon, points in the unit square."""
    cv2.fillPoly(
        canvas, [_fixed(points, len(canvas))], (*colour.tolist(), 255), cv2.LINE_AA, _SHIFT
    )


def _stroke(canvas: ByteArray, points: Points, colour: Colour, width: float) -> None:
    """A line through points of the unit square, `width` a share of the side."""
    thickness = max(1, round(width * len(canvas)))
    fixed = _fixed(points, len(canvas))
    cv2.polylines(canvas, [fixed], False, (*colour.tolist(), 255), thickness, cv2.LINE_AA, _SHIFT)


def _fitted(points: Points) -> Points:
    """Points moved and scaled, alike in x and y, to fill the unit square."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float(max((high - low).max(), 1e-9))
    return np.asarray((points - (low + high) / 2) / extent + 0.5)


# Furniture --------------------------------------------------------------------------------------


def _furniture(canvas: ByteArray, rng: np.random.Generator) -> None:
    """Cuboids seen from a random side, lit from a random side, far faces first."""
    places, sizes, parts = _cuboids(rng)
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.6)
    about_y = np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    )
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    )
    view = about_x @ about_y  # y points up, z to the viewer
    corners = (places[:, None] + sizes[:, None] * _CORNERS) @ view.T
    normals = _NORMALS @ view.T
    depth_scale = 1.0 / (1.0 - rng.uniform(0.0, 0.35) * corners[..., 2:])  # perspective
    flat = corners[..., :2] * depth_scale * (1, -1)
    flat = _fitted(flat.reshape(-1, 2)).reshape(flat.shape)

    seen = np.flatnonzero(normals[:, 2] > 0.01)
    light = rng.normal(0, 1, 3)
    light /= np.linalg.norm(light)
    shade = rng.uniform(0.2, 0.6) + rng.uniform(0.4, 0.8) * np.maximum(normals @ light, 0)
    palette = np.stack((_colour(rng), _colour(rng)))[parts]
    depth = corners[:, _FACES[seen], 2].mean(axis=2)
    polygons = _fixed(flat[:, _FACES[seen]], len(canvas)).reshape(-1, 4, 2)
    colours = np.clip(palette[:, None] * shade[seen, None], 0, 255).reshape(-1, 3).tolist()
    for face in np.argsort(depth, axis=None, kind="stable"):
        colour = (*colours[face], 255)
        cv2.fillConvexPoly(canvas, polygons[face], colour, cv2.LINE_AA, _SHIFT)


def _cuboids(rng: np.random.Generator) -> tuple[Points, Points, list[int]]:
    """A chair, stool or table: centres and sizes, (n, 3), and the part: 0 frame, 1 seat."""
    width, depth, height = rng.uniform(0.35, 0.7), rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.6)
    leg, plate = rng.uniform(0.02, 0.07), rng.uniform(0.02, 0.1)
    cuboids = [((0.0, height, 0.0), (width, plate, depth), 1)]
    x, z = (width - leg) / 2, (depth - leg) / 2
    if rng.random() < 0.85:
        legs = [(sx * x, sz * z) for sx in (-1, 1) for sz in (-1, 1)]
    else:
        legs = [(0.0, 0.0)]
        cuboids.append(((0.0, plate / 2, 0.0), (width * 0.8, plate / 2, depth * 0.8), 0))
    cuboids += [((px, height / 2, pz), (leg, height, leg), 0) for px, pz in legs]
    if rng.random() < 0.3:  # rails between the legs
        rail = height * rng.uniform(0.15, 0.6)
        cuboids += [((0, rail, s * z), (width, leg / 2, leg / 2), 0) for s in (-1, 1)]
        cuboids += [((s * x, rail, 0), (leg / 2, leg / 2, depth), 0) for s in (-1, 1)]
    if rng.random() < 0.8:  # a back, whole or of bars
        cuboids += _back(width, height, leg, -z, rng)
    if rng.random() < 0.35:  # arms
        up = height * rng.uniform(0.3, 0.5)
        for s in (-1, 1):
            cuboids.append(((s * x, height + up, 0), (leg, leg, depth), 0))
            cuboids.append(((s * x, height + up / 2, z), (leg, up, leg), 0))
    places, sizes, parts = zip(*cuboids, strict=True)
    return np.array(places), np.array(sizes), list(parts)


def _back(
    width: float, height: float, leg: float, z: float, rng: np.random.Generator
) -> list[tuple[tuple[float, float, float], tuple[float, float, float], int]]:
    """The back of a chair."""
    tall = rng.uniform(0.3, 0.8)
    if rng.random() < 0.4:
        return [((0, height + tall / 2, z), (width, tall, leg), int(rng.integers(2)))]
    x = (width - leg) / 2
    posts = [((s * x, height + tall / 2, z), (leg, tall, leg), 0) for s in (-1.0, 1.0)]
    bars = int(rng.integers(1, 6))
    if rng.random() < 0.5:
        heights = height + tall * np.linspace(1, 0, bars, endpoint=False)
        thick = tall / (bars + 1) * rng.uniform(0.3, 0.8)
        return posts + [((0.0, float(y), z), (width, thick, leg), 1) for y in heights]
    posts.append(((0.0, height + tall, z), (width, leg * 1.5, leg), 0))
    across = np.linspace(-x, x, bars + 2)[1:-1]
    return posts + [((float(c), height + tall / 2, z), (leg * 0.7, tall, leg), 1) for c in across]


# Flat shapes ------------------------------------------------------------------------------------


def _blob(canvas: ByteArray, rng: np.random.Generator) -> None:
    """A smooth closed outline, at times with a hole."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = np.arange(2, 7)
    size = rng.normal(0, 0.45, len(waves)) / waves
    radius = 1 + size @ np.cos(np.outer(waves, angle) + rng.uniform(0, 2 * np.pi, (len(waves), 1)))
    radius = np.maximum(radius, 0.15)
    stretch = (1.0, rng.uniform(0.3, 1.0))
    points = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1) * stretch
    points = points @ _turn(rng)
    _fill(canvas, _fitted(points), _plain(rng))
    if rng.random() < 0.2:
        hole = 0.5 + 0.35 * rng.uniform(0.3, 0.8) * (_fitted(points) - 0.5)
        cv2.fillPoly(canvas, [_fixed(hole, len(canvas))], (0, 0, 0, 0), cv2.LINE_AA, _SHIFT)


def _star(canvas: ByteArray, rng: np.random.Generator) -> None:
    """A polygon with straight edges, from triangles to spiky stars."""
    corners = int(rng.integers(3, 14))
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(rng.uniform(0.2, 0.9), 1.0, corners)
    points = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    _fill(canvas, _fitted(points), _plain(rng))


def _wires(canvas: ByteArray, rng: np.random.Generator) -> None:
    """Thin structures: a fence, a bundle of curves, or branches."""
    colour, width = _colour(rng), rng.uniform(0.008, 0.04)
    kind = rng.random()
    if kind < 0.4:
        turn = _turn(rng)
        bars = np.linspace(-0.4, 0.4, int(rng.integers(2, 8)))
        lines = [np.array([[x, -0.5], [x, 0.5]]) for x in bars]
        lines += [np.array([[-0.5, y], [0.5, y]]) for y in rng.uniform(-0.5, 0.5, 2)]
        lines = [0.5 + 0.7 * line @ turn for line in lines]
    elif kind < 0.7:
        time = np.linspace(0, 1, 24)[:, None]
        ends = rng.uniform(0, 1, (int(rng.integers(1, 4)), 4, 2))
        lines = [
            (1 - time) ** 3 * a + 3 * (1 - time) ** 2 * time * b + 3 * (1 - time) * time**2 * c
            + time**3 * d
            for a, b, c, d in ends
        ]  # fmt: skip
    else:
        root = rng.uniform(0.3, 0.7, 2)
        tips = rng.uniform(0, 1, (int(rng.integers(3, 8)), 2))
        lines = [np.stack((root, (root + tip) / 2 + rng.normal(0, 0.06, 2), tip)) for tip in tips]
    for line in lines:
        _stroke(canvas, line, colour, width)


def _figure(canvas: ByteArray, rng: np.random.Generator) -> None:
    """Something like a person: head, trunk and four limbs of two segments."""
    shirt, trousers, skin = _colour(rng), _colour(rng), _colour(rng)
    neck, hip = np.array([0.5, 0.2]), np.array([0.5 + rng.normal(0, 0.03), 0.52])
    broad = rng.uniform(0.07, 0.12)
    limb = rng.uniform(0.04, 0.07)
    for side in (-1, 1):
        thigh, shin = rng.normal(0, 0.35), rng.normal(0, 0.35)
        knee = hip + (side * 0.05, 0.02) + 0.21 * np.array([np.sin(thigh), np.cos(thigh)])
        foot = knee + 0.21 * np.array([np.sin(shin), np.cos(shin)])
        _stroke(canvas, np.stack((hip + (side * 0.05, 0.02), knee, foot)), trousers, limb * 1.2)
    trunk = np.stack(
        (
            neck - (broad, -0.02),
            neck + (broad, 0.02),
            hip + (broad * 0.8, 0),
            hip - (broad * 0.8, 0),
        )
    )
    _fill(canvas, trunk, shirt)
    for side in (-1, 1):
        upper, fore = rng.normal(side * 0.3, 0.6), rng.normal(side * 0.3, 0.9)
        shoulder = neck + (side * broad, 0.04)
        elbow = shoulder + 0.15 * np.array([np.sin(upper), np.cos(upper)])
        hand = elbow + 0.14 * np.array([np.sin(fore), np.cos(fore)])
        _stroke(canvas, np.stack((shoulder, elbow)), shirt * 0.9, limb)
        _stroke(canvas, np.stack((elbow, hand)), skin, limb * 0.8)
    centre = _fixed(neck - (0, 0.1), len(canvas))
    radius = round(len(canvas) * 0.065 * (1 << _SHIFT))
    cv2.circle(canvas, centre.tolist(), radius, (*skin.tolist(), 255), -1, cv2.LINE_AA, _SHIFT)


def _turn(rng: np.random.Generator) -> Points:
    """A random rotation, (2, 2)."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _plain(rng: np.random.Generator) -> Colour:
    """White, which a texture shows through unchanged, or any colour."""
    return np.full(3, 255.0) if rng.random() < 0.6 else _colour(rng)


_Draw = Callable[[ByteArray, np.random.Generator], None]
_KINDS: tuple[tuple[_Draw, float], ...] = (
    (_furniture, 0.5),
    (_blob, 0.15),
    (_star, 0.1),
    (_wires, 0.1),
    (_figure, 0.15),
)
# How often a surface comes from a picture instead of being plain.
_TEXTURED: dict[_Draw, float] = {
    _furniture: 0.25,
    _blob: 0.9,
    _star: 0.8,
    _wires: 0.0,
    _figure: 0.6,
}
