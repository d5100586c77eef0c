"""Where the colour of every point of a person is kept: views from the front and from the back.

The atlas holds, side by side, views of the body, of the head, which has finer texels, and of the
hair or hat. A point is looked up by where it is in the rest pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.people.rig import ALONG_ARM, BONE, REST

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chart:
    """A rectangle of the atlas that shows a part of the rest pose.

    Attributes:
        column: first column in the atlas.
        low, high: (x, y) corners of the shown part, metres; x is mirrored in a view of the back.
        texel_m: size of a texel.
        back: whether it is seen from behind.
    """

    column: int
    low: tuple[float, float]
    high: tuple[float, float]
    texel_m: float
    back: bool = False

    @property
    def width(self) -> int:
        """Columns."""
        return round((self.high[0] - self.low[0]) / self.texel_m)

    @property
    def height(self) -> int:
        """Rows; the first one is the highest."""
        return round((self.high[1] - self.low[1]) / self.texel_m)

    def texels(self, points: Floats) -> Floats:
        """(..., 2) column and row in the atlas of rest positions (..., 3)."""
        x = np.clip(points[..., 0], self.low[0], self.high[0] - self.texel_m)
        y = np.clip(points[..., 1], self.low[1] + self.texel_m, self.high[1])
        column = self.column + (x - self.low[0]) / self.texel_m
        return np.stack([column, (self.high[1] - y) / self.texel_m], axis=-1)

    def grid(self) -> tuple[Float32, Float32]:
        """X (1, w) and y (h, 1) of the texel centres, metres."""
        x = self.low[0] + (np.arange(self.width, dtype=np.float32) + 0.5) * self.texel_m
        y = self.high[1] - (np.arange(self.height, dtype=np.float32) + 0.5) * self.texel_m
        return x[None, :].astype(np.float32), y[:, None].astype(np.float32)


@dataclass(frozen=True)
class Atlas:
    """The charts at one resolution, side by side.

    Attributes:
        body, head, hair: the views from the front and from the back.
    """

    body: tuple[Chart, Chart]
    head: tuple[Chart, Chart]
    hair: tuple[Chart, Chart]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        charts = (*self.body, *self.head, *self.hair)
        return max(chart.height for chart in charts), charts[-1].column + charts[-1].width


@lru_cache(maxsize=4)
def atlas_at(level: int) -> Atlas:
    """The atlas for people seen large (level 0) or smaller; each level halves the resolution."""
    column = 0
    pairs = []
    for low, high, texel in (
        ((-0.76, -0.02), (0.76, 1.58), 0.0045),
        ((-0.13, 1.42), (0.13, 1.82), 0.0018),
        ((-0.21, 1.20), (0.21, 1.91), 0.005),
    ):
        front = Chart(column, low, high, texel * 2.0**level)
        back = Chart(column + front.width, low, high, texel * 2.0**level, back=True)
        column += front.width + back.width
        pairs.append((front, back))
    return Atlas(*pairs)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]
) -> Float32:
    """(h, w) noise of mean 0 and deviation about 1 with `cells` = (rows, columns) of detail."""
    grain = rng.standard_normal((max(2, cells[0]), max(2, cells[1])), dtype=np.float32)
    grown = cv2.resize(grain, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, np.float32)


def arm_coordinates(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Mask]:
    """Distance along the arm from the shoulder, and whether the point belongs to an arm."""
    shoulder, axis = REST[BONE["left_upper_arm"]].tolist(), ALONG_ARM.tolist()
    dx, dy = np.abs(x) - shoulder[0], np.asarray(y) - shoulder[1]
    along = dx * axis[0] + dy * axis[1]
    across = dy * axis[0] - dx * axis[1]
    return along, (along > -0.02) & (across > -0.098) & (np.abs(x) > 0.13)
