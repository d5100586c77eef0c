"""From meshes to pixels: what a camera sees of them, in which colour, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.rendering.camera import NEAR_M, Camera
from flowtrack.synthetic.rendering.raster import face_of, inverse_depth_of, rasterize

Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

FINE = 2
"""Samples a pixel in each direction."""
_SAME_SURFACE = 0.03
"""Samples of a pixel whose depths differ by a smaller share are shaded once."""


@dataclass(frozen=True)
class Solid:
    """A mesh in the world at one moment.

    Attributes:
        vertices, normals: (V, 3) world positions, metres, and unit normals.
        faces: (F, 3) counter-clockwise from outside.
        texels: (F, 6) column and row of each corner in `texture`.
        texture: (h, w, 4) blue, green, red, gloss, as on the screen (the root of linear light).
        openness: (V,) how much of the sky each vertex sees.
        person: row of the person it is; -1 for a thing.
    """

    vertices: Float32
    normals: Float32
    faces: Ints
    texels: Float32
    texture: Bytes
    openness: Float32
    person: int


@dataclass(frozen=True)
class Soup:
    """All meshes of a moment as one.

    Attributes:
        vertices, normals, openness: as in `Solid`, one after the other.
        faces: (F, 3).
        corners: (3, F, 2) columns and rows of each corner in the own texture.
        start, size: (F,) where the own texture begins in `colors`, and (F, 2) its columns and rows.
        person: (F,) row of the person, -1 for things.
        colors: (T, 4) uint8 all textures, texel after texel.
    """

    vertices: Float32
    normals: Float32
    openness: Float32
    faces: Ints
    corners: Float32
    start: Ints
    size: npt.NDArray[np.int32]
    person: npt.NDArray[np.int32]
    colors: Bytes

    def moved(self, vertices: Float32, normals: Float32) -> Soup:
        """The same meshes at another moment."""
        return replace(self, vertices=vertices, normals=normals)


def gathered(solids: Sequence[Solid]) -> Soup:
    """One soup of all solids."""
    if not solids:
        nothing = np.zeros((0, 3), np.float32)
        return Soup(
            nothing, nothing, nothing[:, 0], np.zeros((0, 3), np.int64),
            np.zeros((3, 0, 2), np.float32), np.zeros(0, np.int64), np.zeros((0, 2), np.int32),
            np.zeros(0, np.int32), np.zeros((0, 4), np.uint8),
        )  # fmt: skip
    first_vertex = np.cumsum([0] + [len(s.vertices) for s in solids])
    first_texel = np.cumsum([0] + [s.texture.shape[0] * s.texture.shape[1] for s in solids])
    counts = [len(s.faces) for s in solids]
    sizes = np.array([s.texture.shape[1::-1] for s in solids], np.int32)
    texels = np.concatenate([s.texels for s in solids])
    return Soup(
        vertices=np.concatenate([s.vertices for s in solids]),
        normals=np.concatenate([s.normals for s in solids]),
        openness=np.concatenate([s.openness for s in solids]),
        faces=np.concatenate([s.faces + v for s, v in zip(solids, first_vertex, strict=False)]),
        corners=np.ascontiguousarray(texels.reshape(-1, 3, 2).transpose(1, 0, 2)),
        start=np.repeat(first_texel[:-1], counts),
        size=np.repeat(sizes, counts, axis=0),
        person=np.repeat(np.array([s.person for s in solids], np.int32), counts),
        colors=np.concatenate([s.texture.reshape(-1, 4) for s in solids]),
    )


@dataclass(frozen=True)
class View:
    """What a camera sees of a soup, `FINE` samples a pixel in each direction.

    Attributes:
        xy: (V, 2) float32 samples; pixel x lies at sample FINE * x + (FINE - 1) / 2.
        inverse_depth: (V,) 1 / depth; 0 behind the camera.
        keys: (FINE * H, FINE * W) of `rasterize`.
        pixels: (P,) flat indices, in the picture, of the pixels with anything in them.
        samples: (FINE * FINE, P) keys of their samples, row by row of a pixel.
    """

    xy: Float32
    inverse_depth: Float32
    keys: Ints
    pixels: Ints
    samples: Ints


def seen(soup: Soup, camera: Camera) -> View:
    """Project a soup and find what is in front at every sample."""
    pixels, depth = camera.project(soup.vertices)
    xy = (FINE * pixels + (FINE - 1) / 2).astype(np.float32)
    behind = depth < NEAR_M
    inverse = np.where(behind, 0.0, 1.0 / np.where(behind, 1.0, depth)).astype(np.float32)
    height, width = camera.height, camera.width
    # Corners turn clockwise on the screen, whose y points down.
    keys = rasterize(xy, inverse, soup.faces[:, [0, 2, 1]], (FINE * height, FINE * width))
    corners = [keys[i::FINE, j::FINE] for i in range(FINE) for j in range(FINE)]
    some = corners[0] | corners[1]
    for corner in corners[2:]:
        some |= corner
    filled = np.flatnonzero(some)
    rows, columns = np.divmod(filled, width)
    first = rows * (FINE * FINE * width) + columns * FINE
    flat = keys.reshape(-1)
    samples = np.stack(
        [flat[first + (i * FINE * width + j)] for i in range(FINE) for j in range(FINE)]
    )
    return View(xy, inverse, keys, filled, samples)


def planes(soup: Soup, view: View, faces: Ints, values: Sequence[Float32]) -> Float32:
    """(N, 3, C) what each of C values is on the screen plane of each face: v0 + x vx + y vy.

    Interpolation is linear on the screen. That is exact for positions on the screen and off by
    little for the rest, because faces are small.

    Args:
        soup, view: the faces and where they are.
        faces: (N,) rows.
        values: of the three corners, each (N, C).
    """
    a, b, c = (view.xy[soup.faces[faces, i]] for i in range(3))
    ab, ac = b - a, c - a
    area = (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])[:, None]
    first, to_second, to_third = values[0], values[1] - values[0], values[2] - values[0]
    out = np.empty((len(faces), 3, first.shape[1]), np.float32)
    out[:, 1] = (to_second * ac[:, 1:] - to_third * ab[:, 1:]) / area
    out[:, 2] = (to_third * ab[:, :1] - to_second * ac[:, :1]) / area
    out[:, 0] = first - a[:, :1] * out[:, 1] - a[:, 1:] * out[:, 2]
    return out


def used(rows: Ints, count: int) -> Ints:
    """The different values among `rows`, all below `count`, in order."""
    mark = np.zeros(count, bool)
    mark[rows] = True
    return np.flatnonzero(mark)


@dataclass(frozen=True)
class Layer:
    """The people and things of a picture, by pixel.

    Attributes:
        pixels: (P,) flat indices.
        color: (P, 3) linear blue, green, red times coverage.
        cover: (P,) share of the pixel that is covered.
    """

    pixels: Ints
    color: Float32
    cover: Float32


def shaded(soup: Soup, view: View, camera: Camera, lights: Float32 | None) -> Layer:
    """The colour of what is seen.

    Samples of a pixel that lie on one surface are shaded together.

    Args:
        soup, view, camera: what is seen from where.
        lights: (V, 4) of `vertex_light`; None leaves every surface its own colour.
    """
    keys = view.samples
    face = face_of(keys)
    there = keys != 0
    depth = inverse_depth_of(keys)
    # The first sample that shows anything stands for those on the same surface.
    lead = leading(there)
    pixel = np.arange(keys.shape[1])
    lead_face, near = face[lead, pixel], depth[lead, pixel]
    alike = there & (soup.person[face] == soup.person[lead_face])
    alike &= np.abs(depth - near) < _SAME_SURFACE * near
    tables = _Tables(soup, view, used(face[there], len(soup.faces)), lights)
    y, x = (FINE * value for value in np.divmod(view.pixels, camera.width))
    share = sum(alike.astype(np.float32)) / np.float32(FINE**2)
    whole = share == 1
    middle = np.float32((FINE - 1) / 2)
    dx = np.where(whole, middle, (lead % FINE).astype(np.float32))
    dy = np.where(whole, middle, (lead // FINE).astype(np.float32))
    color = share[:, None] * tables.colors_at(lead_face, x + dx, y + dy)
    for sample in range(FINE**2):
        other = np.flatnonzero(there[sample] & ~alike[sample])
        own = tables.colors_at(
            face[sample, other], x[other] + sample % FINE, y[other] + sample // FINE
        )
        color[other] += own / np.float32(FINE**2)
    cover = sum(there.astype(np.float32)) / np.float32(FINE**2)
    return Layer(view.pixels, color, cover)


def leading(there: npt.NDArray[np.bool_]) -> Ints:
    """(P,) the first true row of each column of (FINE * FINE, P)."""
    lead = np.full(there.shape[1], FINE**2 - 1)
    for sample in range(FINE**2 - 2, -1, -1):
        lead[there[sample]] = sample
    return lead


class _Tables:
    """Texture position and light on the screen plane of every seen face."""

    def __init__(self, soup: Soup, view: View, faces: Ints, lights: Float32 | None) -> None:
        self._soup = soup
        self._row = np.zeros(len(soup.faces), np.int32)
        self._row[faces] = np.arange(len(faces))
        values = [soup.corners[i, faces] for i in range(3)]
        if lights is not None:
            corners = soup.faces[faces]
            values = [np.concatenate([v, lights[corners[:, i]]], 1) for i, v in enumerate(values)]
        self._planes = planes(soup, view, faces, values)
        self._lit = lights is not None

    def colors_at(self, face: Ints, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Float32:
        """(N, 3) linear colours at samples (x, y) of faces (N,)."""
        soup = self._soup
        plane = self._planes[self._row[face]]
        at = plane[:, 0] + x[:, None].astype(np.float32) * plane[:, 1]
        at += y[:, None].astype(np.float32) * plane[:, 2]
        texel = np.clip(at[:, :2].astype(np.int32), 0, soup.size[face] - 1)
        index = soup.start[face] + texel[:, 1] * soup.size[face, 0] + texel[:, 0]
        own: Float32 = soup.colors[index] * np.float32(1 / 255)
        own *= own
        if not self._lit:
            return own[:, :3]
        light = np.maximum(at[:, 2:], 0)
        light *= own
        out: Float32 = light[:, :3] + light[:, 3:]
        return out
