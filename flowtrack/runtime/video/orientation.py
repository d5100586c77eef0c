"""How a decoded frame must be turned to be shown: the display matrix of phones' videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from flowtrack.structs import ByteArray


@dataclass(frozen=True, slots=True)
class Orientation:
    """First swap rows and columns, then mirror."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: ByteArray) -> ByteArray:
        """The picture as it is shown: (H, W, 3) to (H, W, 3), or (W, H, 3) if turned."""
        turned = cv2.transpose(image) if self.transpose else image
        if self.flip_x or self.flip_y:
            turned = cv2.flip(turned, -1 if self.flip_x and self.flip_y else int(self.flip_x))
        return np.ascontiguousarray(turned, np.uint8)


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation in a frame's display matrix, to the nearest quarter turn.

    The matrix (a b u; c d v; x y w) of 16.16 fixed-point numbers leads a point (p, q) of the stored
    picture to (a p + c q + x, b p + d q + y) on the screen (ISO 14496-12, 6.2.2).
    """
    side_data = cast("Mapping[Type, Buffer]", frame.side_data)
    if Type.DISPLAYMATRIX not in side_data:
        return UPRIGHT
    matrix = np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(b) > abs(a):
        return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return Orientation(flip_x=a < 0, flip_y=d < 0)
