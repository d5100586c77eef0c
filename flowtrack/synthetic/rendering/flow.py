"""Dense optical flow between two moments, from geometry, and blur along it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.structs import BoolArray, ByteArray, FloatArray
from flowtrack.synthetic.places.scenery import Scenery
from flowtrack.synthetic.rendering.camera import Camera
from flowtrack.synthetic.rendering.picture import on_screen
from flowtrack.synthetic.rendering.raster import face_of, inverse_depth_of
from flowtrack.synthetic.rendering.render import FINE, Layer, Soup, View, leading, planes, used

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_HIDDEN_M = 0.04
"""A point this much behind what is seen at its place is hidden."""


@dataclass(frozen=True)
class Moment:
    """One moment of a clip: all meshes, the camera, and what it sees."""

    soup: Soup
    view: View
    camera: Camera


def dense_flow(now: Moment, then: Moment, scenery: Scenery) -> tuple[FloatArray, BoolArray]:
    """Where what each pixel shows goes.

    Returns:
        (2, H, W) displacement in pixels, and (H, W) whether it can be seen there: inside the
        picture and not behind anything.
    """
    height, width = now.camera.height, now.camera.width
    taken = then.view.keys != 0
    if same_view(now.camera, then.camera):
        # Where nothing moves, a pixel's samples are its own.
        target = _own_place(height, width)
        inside = np.ones((height, width), bool)
        hidden = taken[1::FINE, 1::FINE].copy()
    else:
        target = _place_targets(now.camera, then.camera, scenery)
        x, y, inside = _samples(target[0], target[1], height, width)
        hidden = taken[y, x]
    there = now.view.samples != 0
    chosen = np.flatnonzero(sum(there.astype(np.int8)) >= FINE**2 / 2)
    pixels = now.view.pixels[chosen]
    keys = now.view.samples[:, chosen]
    lead = leading(keys != 0)
    xy, depth = _solid_targets(now, then, pixels, face_of(keys[lead, np.arange(len(chosen))]))
    target.reshape(2, -1)[:, pixels] = xy
    sx, sy, within = _samples(xy[0], xy[1], height, width)
    surface = inverse_depth_of(then.view.keys[sy, sx])
    found = 1 / np.maximum(surface, 1e-4)
    at_goal = (depth > 0) & (np.abs(found - depth) < _HIDDEN_M)
    hidden.reshape(-1)[pixels] = np.logical_not(at_goal)
    inside.reshape(-1)[pixels] = within
    uv = target
    uv[0] -= np.arange(width, dtype=np.float32)
    uv[1] -= np.arange(height, dtype=np.float32)[:, None]
    return uv, inside & ~hidden


def _samples(x: Float32, y: Float32, height: int, width: int) -> tuple[Ints, Ints, BoolArray]:
    """Columns and rows of the samples at pixel positions, and which lie in the picture."""
    inside = np.asarray((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5))
    column = np.where(inside, FINE * x + (FINE - 1) / 2, 0)
    row = np.where(inside, FINE * y + (FINE - 1) / 2, 0)
    return np.rint(column).astype(np.int64), np.rint(row).astype(np.int64), inside


def _solid_targets(now: Moment, then: Moment, pixels: Ints, face: Ints) -> tuple[Float32, Float32]:
    """Next position (2, P) and next depth (P,), 0 where behind the camera, of people and things."""
    faces = used(face, len(now.soup.faces))
    row = np.zeros(len(now.soup.faces), np.int32)
    row[faces] = np.arange(len(faces))
    later = np.concatenate(
        [(then.view.xy - (FINE - 1) / 2) / FINE, then.view.inverse_depth[:, None]], axis=1
    ).astype(np.float32)
    corners = now.soup.faces[faces]
    plane = planes(now.soup, now.view, faces, [later[corners[:, i]] for i in range(3)])[row[face]]
    y, x = np.divmod(pixels, now.camera.width)
    middle = np.float32((FINE - 1) / 2)
    at = plane[:, 0] + (FINE * x + middle)[:, None].astype(np.float32) * plane[:, 1]
    at += (FINE * y + middle)[:, None].astype(np.float32) * plane[:, 2]
    behind = np.asarray((then.view.inverse_depth[corners] <= 0).any(axis=1))[row[face]]
    depth = np.where(behind, 0, 1 / np.maximum(at[:, 2], 1e-4)).astype(np.float32)
    here = np.stack([x, y], axis=1)
    xy = np.where(behind[:, None], here, at[:, :2]).astype(np.float32)
    return np.ascontiguousarray(xy.T), depth


def same_view(now: Camera, then: Camera) -> bool:
    """Whether two cameras see the same."""
    return np.array_equal(now.matrix, then.matrix) and np.array_equal(now.place, then.place)


def _own_place(height: int, width: int) -> FloatArray:
    """(2, H, W) column and row of each pixel."""
    target = np.empty((2, height, width), np.float32)
    target[0] = np.arange(width, dtype=np.float32)
    target[1] = np.arange(height, dtype=np.float32)[:, None]
    return target


def _place_targets(now: Camera, then: Camera, scenery: Scenery) -> FloatArray:
    """(2, H, W) next position of the floor and the wall at each pixel."""
    height, width = now.height, now.width
    x = np.arange(width, dtype=np.float64)
    y = np.arange(height, dtype=np.float64)[:, None]
    target = _own_place(height, width)
    ground = scenery.is_ground(now)
    floor = ((0, 0, 0), (1, 0, 0), (0, 0, 1))
    for mask, before, after in (
        (~ground, scenery.wall_homography(now), scenery.wall_homography(then)),
        (ground, now.plane_homography(*floor), then.plane_homography(*floor)),
    ):
        rows = np.flatnonzero(mask.any(axis=1))
        if not len(rows):
            continue
        band = slice(int(rows[0]), int(rows[-1]) + 1)
        m = after @ np.linalg.inv(before)
        w = m[2, 0] * x + m[2, 1] * y[band] + m[2, 2]
        for axis in range(2):
            moved = (m[axis, 0] * x + m[axis, 1] * y[band] + m[axis, 2]) / w
            target[axis, band][mask[band]] = moved[mask[band]]
    return target


def blurred(place: ByteArray, layer: Layer, uv: Float32, shutter: float) -> ByteArray:
    """(H, W, 3) a picture as it looks when the shutter stays open for a share of a frame's time.

    People are blurred along their own flow, and out over the place along the flow of the nearest
    one that moves fast; the place is blurred along its own (after McGuire et al. 2012, "A
    reconstruction filter for plausible motion blur", with two layers that are known apart).

    Args:
        place: (H, W, 3) the place alone, with its shadows.
        layer: the people and things in it.
        uv: (2, H, W) flow to the next frame.
        shutter: share of the time between two frames.
    """
    height, width = place.shape[:2]
    own = np.zeros((height, width), np.float32)
    own.reshape(-1)[layer.pixels] = layer.cover
    covered = own > 0
    velocity = uv * np.float32(shutter)
    wall = _smeared(place, np.where(covered, 0, velocity))
    front = np.zeros((height, width, 4), np.uint8)
    share = layer.cover[:, None]
    front.reshape(-1, 4)[layer.pixels, :3] = on_screen(layer.color / share) * share
    front.reshape(-1, 4)[layer.pixels, 3] = 255 * layer.cover
    moving = np.where(covered, velocity, 0)
    front = _smeared(front, np.where(covered, velocity, _spread(moving)))
    rest = cv2.cvtColor(cv2.bitwise_not(front[..., 3]), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.add(front[..., :3], cv2.multiply(wall, rest, scale=1 / 255)), np.uint8)


_TAPS = 7
_TILE_PX = 8
_STILL_PX = 0.7
"""Blur over less than this does not show."""


def _smeared(picture: ByteArray, velocity: Float32) -> ByteArray:
    """The mean of the picture along each pixel's own velocity."""
    if float(np.abs(velocity).max(initial=0.0)) < _STILL_PX:
        return picture
    height, width = picture.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros(picture.shape, np.float32)
    for tap in np.linspace(-0.5, 0.5, _TAPS, dtype=np.float32):
        moved = cv2.remap(picture, x + tap * velocity[0], y + tap * velocity[1], cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        cv2.accumulate(moved, total)
    return np.asarray(total / _TAPS + 0.5, np.uint8)


def _spread(velocity: Float32) -> Float32:
    """(2, H, W) the fastest velocity around each pixel, within two tiles."""
    height, width = velocity.shape[1:]
    rows, columns = -(-height // _TILE_PX), -(-width // _TILE_PX)
    padded = np.zeros((2, rows * _TILE_PX, columns * _TILE_PX), np.float32)
    padded[:, :height, :width] = velocity
    tiles = padded.reshape(2, rows, _TILE_PX, columns, _TILE_PX).transpose(0, 1, 3, 2, 4)
    tiles = tiles.reshape(2, rows, columns, -1)
    fastest = np.hypot(tiles[0], tiles[1]).argmax(axis=-1)
    best = np.take_along_axis(tiles, fastest[None, ..., None], axis=-1)[..., 0]
    around = np.pad(best, ((0, 0), (2, 2), (2, 2)))
    near = np.stack(
        [around[:, i : i + rows, j : j + columns] for i in range(5) for j in range(5)], -1
    )
    fastest = np.hypot(near[0], near[1]).argmax(axis=-1)
    best = np.take_along_axis(near, fastest[None, ..., None], axis=-1)[..., 0]
    grown = [cv2.resize(b, (columns * _TILE_PX, rows * _TILE_PX)) for b in best]
    return np.asarray(grown, np.float32)[:, :height, :width]
