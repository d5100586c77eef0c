"""The last steps to a picture: place, shadows and people together, and what a camera adds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.rendering.render import Layer

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_SQUARES = (np.arange(256, dtype=np.float32) / 255) ** 2
"""Screen value to linear light; a gamma of 2 stands for the screen's 2.2."""
_ROOTS = np.rint(np.sqrt(np.arange(256) / 255) * 255).astype(np.uint8)
_LEVELS = np.sqrt(np.arange(3 * 1024) / 1024) * 255
_CURVE = np.rint(np.where(_LEVELS > 205, 255 - 50 * np.exp(-(_LEVELS - 205) / 50), _LEVELS)).astype(
    np.uint8
)
"""Screen value of linear light in steps of 1 / 1024."""
_GRAIN_PX = 243
_SLACK = 48
"""By how much the field of noise is larger than a picture, so that it can be moved."""


@dataclass(frozen=True)
class Grade:
    """What the camera does to colours.

    Attributes:
        gain: (3,) exposure and white balance, linear.
        vignette: darkening of the corners, 0 to 1.
        noise: deviation of the sensor noise in grey levels.
        blur_px: deviation of the lens blur.
        shake_px, shake_angle: length and direction of a movement of the camera.
        jpeg: quality of a round trip through JPEG; 0 leaves it out.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignette: float = 0.0
    noise: float = 0.0
    blur_px: float = 0.0
    shake_px: float = 0.0
    shake_angle: float = 0.0
    jpeg: int = 0


def random_grade(rng: np.random.Generator, strength: float = 1.0) -> Grade:
    """A camera by chance; `strength` 0 is a perfect one."""
    exposure = np.exp(rng.normal(0.0, 0.16 * strength))
    gain = exposure * np.exp(rng.normal(0.0, 0.05 * strength, 3))
    return Grade(
        (float(gain[0]), float(gain[1]), float(gain[2])),
        float(rng.uniform(0, 0.25)) * strength,
        float(abs(rng.normal(0, 3.0))) * strength,
        float(max(0.0, rng.normal(0.1, 0.45))) * strength,
        float(rng.uniform(2, 9)) * strength if rng.random() < 0.12 else 0.0,
        float(rng.uniform(0, np.pi)),
        int(rng.integers(35, 96)) if rng.random() < 0.6 * strength else 0,
    )


def composed(place: Bytes, layer: Layer | None, shade: Bytes | None) -> Bytes:
    """(H, W, 3) people and things over the empty place.

    A factor on linear light is the factor's root on the screen, so that the place need not be made
    linear except below the people's edges.

    Args:
        place: (H, W, 3) the empty place.
        layer: what stands in it.
        shade: (H, W) light that reaches each pixel of the place, 255 where nothing takes any away.
    """
    picture = place.copy() if shade is None else _darkened(place, shade)
    if layer is None:
        return picture
    flat = picture.reshape(-1, 3)
    behind = _SQUARES[flat[layer.pixels]] * (1 - layer.cover[:, None])
    flat[layer.pixels] = on_screen(np.asarray(layer.color + behind, np.float32))
    return picture


def _darkened(place: Bytes, shade: Bytes) -> Bytes:
    rows, columns = (
        np.flatnonzero((shade < 254).any(axis=1)),
        np.flatnonzero((shade < 254).any(axis=0)),
    )
    picture = place.copy()
    if len(rows):
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        roots = cv2.cvtColor(cv2.LUT(shade[part], _ROOTS), cv2.COLOR_GRAY2BGR)
        picture[part] = cv2.multiply(picture[part], roots, scale=1 / 255)
    return picture


def on_screen(linear: Float32) -> Bytes:
    """Linear light as screen values; highlights bend over softly instead of being cut off."""
    index = np.minimum(linear * np.float32(1024), np.float32(len(_CURVE) - 1)).astype(np.int32)
    return np.asarray(_CURVE[index], np.uint8)


class Sensor:
    """A camera's grade, with what can be made once for all pictures of a size."""

    def __init__(self, grade: Grade, size: tuple[int, int], rng: np.random.Generator) -> None:
        """Prepare for pictures of `size` (width, height); the noise comes from `rng`."""
        self._grade = grade
        width, height = size
        gain = np.sqrt(np.array(grade.gain, np.float32))
        x = np.linspace(-1, 1, width, dtype=np.float32)
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        corners = np.sqrt(np.maximum(1 - grade.vignette * 0.5 * (x**2 + y**2), 0.1))
        self._factor: Float32 | None = None
        if grade.vignette > 0 or not np.allclose(gain, 1.0):
            self._factor = (corners[..., None] * gain).astype(np.float32)
        self._grain: npt.NDArray[np.int16] | None = None
        if grade.noise > 0.25:
            # A tile that repeats: nobody sees that in noise, and it takes far less time to make.
            grain = rng.standard_normal((_GRAIN_PX, _GRAIN_PX, 3), dtype=np.float32)
            tile = np.rint(grain * grade.noise).astype(np.int16)
            times = (-(-(height + _SLACK) // _GRAIN_PX), -(-(width + _SLACK) // _GRAIN_PX), 1)
            self._grain = np.tile(tile, times)

    def developed(self, picture: Bytes, rng: np.random.Generator) -> Bytes:
        """(H, W, 3) the picture as this camera delivers it; `rng` moves the noise."""
        grade, out = self._grade, picture
        if self._factor is not None:
            out = np.asarray(cv2.multiply(out, self._factor, dtype=cv2.CV_8U))
        if grade.shake_px > 1:
            out = np.asarray(cv2.filter2D(out, -1, _streak(grade.shake_px, grade.shake_angle)))
        if grade.blur_px > 0.2:
            out = np.asarray(cv2.GaussianBlur(out, (0, 0), grade.blur_px))
        if self._grain is not None:
            top, left = rng.integers(0, _SLACK, 2)
            height, width = out.shape[:2]
            grain = self._grain[top : top + height, left : left + width]
            out = np.asarray(cv2.add(out, grain, dtype=cv2.CV_8U))
        if grade.jpeg:
            coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, grade.jpeg])[1]
            out = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
        return np.asarray(out, np.uint8)


def _streak(length_px: float, angle: float) -> Float32:
    """The kernel of a straight camera movement."""
    size = 2 * int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((size, size), np.float32)
    middle, half = (size - 1) / 2, length_px / 2
    dx, dy = np.cos(angle) * half, np.sin(angle) * half
    ends = [(round((middle + s * dx) * 16), round((middle + s * dy) * 16)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    total = float(kernel.sum())
    return np.asarray(kernel / total if total > 0 else np.ones((1, 1)), np.float32)
