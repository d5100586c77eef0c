"""Painting both pictures of a pair at once: layers from back to front, their flow, what hides what.

Positions in a picture are affine maps, (3, 3), of positions in a layer's own picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from flowtrack.structs import BoolArray, ByteArray, FloatArray
from flowtrack.synthetic.chairs_motion import (
    Deformation,
    Matrix,
    affine_grid,
    inverse,
    mapped,
    similarity,
)

Window = tuple[int, int, int, int]
"""Left, top, width, height in px."""

_COVERED = 128  # an object is where at least half of the pixel is covered


@dataclass(frozen=True, slots=True)
class FlyingObject:
    """One thing in front of the background.

    Attributes:
        picture: (R, R, 4) uint8, premultiplied.
        first, second: from the object's px to either picture, (3, 3).
        bending: what it does besides, in its own px, or None.
    """

    picture: ByteArray
    first: Matrix
    second: Matrix
    bending: Deformation | None

    def window(self, matrix: Matrix, width: int, height: int) -> Window | None:
        """The part of a canvas of `width` x `height` px that the object may cover, if any.

        Args:
            matrix: `first` or `second`.
            width, height: of the canvas.
        """
        # Bilinear weights reach one px beyond the picture.
        reach = 1.0 if self.bending is None else 1.0 + float(np.abs(self.bending.xy).max())
        return covered_window(matrix, len(self.picture), width, height, margin=reach)


def covered_window(
    matrix: Matrix, side: int, width: int, height: int, *, margin: float
) -> Window | None:
    """The part of a canvas that a square picture may cover, None if it lies outside.

    Args:
        matrix: from px of the picture to px of the canvas.
        side: of the picture in px.
        width, height: of the canvas in px.
        margin: px of the picture that count as covered beyond its border.
    """
    a, b = -margin, side - 1 + margin
    corners = mapped(matrix, [[a, a], [a, b], [b, a], [b, b]])
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int).tolist()
    end = np.minimum(np.ceil(corners.max(axis=0)) + 1, (width, height))
    right, bottom = end.astype(int).tolist()
    if right <= left or bottom <= top:
        return None
    return left, top, right - left, bottom - top


class Canvases:
    """Both pictures, their flow and the layers in front, while they are painted."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.previous = np.empty((height, width, 3), np.uint8)
        self.current = np.empty((height, width, 3), np.uint8)
        self.uv = np.empty((2, height, width), np.float32)
        self._fronts = np.zeros((2, height, width), np.uint8)
        self._layers = 0

    def background(self, picture: ByteArray, to_picture: Matrix, camera: Matrix) -> None:
        """Fill both canvases.

        Args:
            picture: (h, w, 3) uint8.
            to_picture: from px of the first canvas to px of the picture.
            camera: from the first canvas to the second.
        """
        size = (self.width, self.height)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        back = to_picture @ inverse(camera)
        # OpenCV warps four channels several times as fast as three.
        four = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
        for canvas, matrix in ((self.previous, to_picture), (self.current, back)):
            warped = cv2.warpAffine(
                four, matrix[:2], size, flags=flags, borderMode=cv2.BORDER_REFLECT_101
            )
            cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR, canvas)
        # In float64, one minus the identity: small motions keep their digits.
        self.uv[:] = affine_grid(camera - np.eye(3), 0, 0, *size)

    def paint(self, thing: FlyingObject) -> None:
        """Put an object in front of everything so far."""
        self._layers += 1
        self._paint_first(thing)
        self._paint_second(thing)

    def visible(self) -> BoolArray:
        """(H, W): where the point of the first picture is in front in the second one too."""
        x, y = affine_grid(np.eye(3), 0, 0, self.width, self.height)
        target = cv2.remap(
            self._fronts[1], x + self.uv[0], y + self.uv[1], cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT, borderValue=255,
        )  # fmt: skip
        return np.asarray(target == self._fronts[0])

    def _paint_first(self, thing: FlyingObject) -> None:
        found = thing.window(thing.first, self.width, self.height)
        if found is None:
            return
        left, top, width, height = found
        place = (slice(top, top + height), slice(left, left + width))
        pixels = _warped(thing.picture, thing.first, found)
        front = _over(self.previous[place], pixels)
        self._fronts[0][place][front] = self._layers
        if thing.bending is None:
            motion = thing.second @ inverse(thing.first) - np.eye(3)
            uv = affine_grid(motion, *found)
        else:
            x, y = affine_grid(inverse(thing.first), *found)
            bent = thing.bending.at(x, y)
            x, y = _mapped_grid(thing.second, x + bent[..., 0], y + bent[..., 1])
            columns, rows = affine_grid(np.eye(3), *found)
            uv = (x - columns, y - rows)
        for component in (0, 1):
            np.copyto(self.uv[component][place], uv[component], where=front)

    def _paint_second(self, thing: FlyingObject) -> None:
        found = thing.window(thing.second, self.width, self.height)
        if found is None:
            return
        left, top, width, height = found
        place = (slice(top, top + height), slice(left, left + width))
        if thing.bending is None:
            pixels = _warped(thing.picture, thing.second, found)
        else:
            x, y = thing.bending.origin(*affine_grid(inverse(thing.second), *found))
            bent = cv2.remap(thing.picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            pixels = np.asarray(bent, np.uint8)
        front = _over(self.current[place], pixels)
        self._fronts[1][place][front] = self._layers


def _warped(picture: ByteArray, matrix: Matrix, roi: tuple[int, int, int, int]) -> ByteArray:
    """The part `roi` of the canvas on which `matrix` puts the picture; (h, w, 4), premultiplied."""
    left, top, width, height = roi
    back = inverse(matrix) @ similarity(0, 1, (left, top))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        picture, back[:2], (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(warped, np.uint8)


def _over(canvas: ByteArray, pixels: ByteArray) -> BoolArray:
    """Paint premultiplied `pixels` over `canvas`, in place; true where they are in front."""
    blue, green, red, cover = cv2.split(pixels)
    through = cv2.bitwise_not(cover)
    behind = cv2.multiply(canvas, cv2.merge((through, through, through)), scale=1 / 255)
    canvas[:] = cv2.add(behind, cv2.merge((blue, green, red)))
    return np.asarray(cover >= _COVERED)


def _mapped_grid(matrix: Matrix, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positions x, y, (h, w) each, mapped by an affine matrix."""
    m = matrix.astype(np.float32)
    return m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]
