"""Random changes of pictures: geometry as one affine map, colours as one table per channel."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from flowtrack.schema import limits
from flowtrack.structs import ByteArray, FloatArray

_HUE_CAST = 0.08  # a light's colour: each channel's own gain, at full strength
_LEAST_BLUR, _MOST_BLUR = 0.4, 0.9  # of the resolution that a blurred picture keeps


@dataclass(frozen=True)
class Looks:
    """How much a picture's colours and sharpness vary.

    Attributes:
        brightness: largest relative change of gain.
        contrast: largest relative change around the mean.
        gamma: largest change of the exponent's logarithm.
        colour: strength of a colour cast, 0 to 1.
        grey: probability of a picture without colour.
        blur: probability of a loss of resolution.
        noise: largest standard deviation of noise, in grey values.
    """

    brightness: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    contrast: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    gamma: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    colour: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    grey: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    blur: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    noise: float = field(default=0.0, metadata=limits(minimum=0, maximum=64))


def vary_looks(picture: ByteArray, looks: Looks, rng: np.random.Generator) -> ByteArray:
    """A picture in another light.

    Args:
        picture: (H, W, 3) uint8.
        looks: what varies, and how much.
        rng: decides.

    Returns:
        (H, W, 3) uint8; the picture itself where nothing varies.
    """
    if looks == Looks():
        return picture
    uniform = rng.uniform(-1, 1, 6)
    chance = rng.uniform(0, 1, 3)
    gain = (1 + looks.brightness * uniform[0]) * (1 + _HUE_CAST * looks.colour * uniform[3:6])
    contrast = 1 + looks.contrast * uniform[1]
    exponent = np.exp(looks.gamma * uniform[2])
    tone = (np.arange(256)[:, None] / 255) ** exponent * gain
    mean = float(picture.mean()) / 255
    table = np.clip(255 * ((tone - mean) * contrast + mean), 0, 255).round().astype(np.uint8)
    result = np.asarray(cv2.LUT(picture, np.ascontiguousarray(table)[None]), np.uint8)
    if chance[0] < looks.grey:
        result = np.repeat(cv2.cvtColor(result, cv2.COLOR_BGR2GRAY)[:, :, None], 3, 2)
    if chance[1] < looks.blur:
        result = _coarser(result, rng.uniform(_LEAST_BLUR, _MOST_BLUR))
    if looks.noise:
        noise = rng.standard_normal(result.shape, np.float32) * (looks.noise * chance[2])
        result = np.clip(np.rint(result + noise), 0, 255)
    return np.ascontiguousarray(result, np.uint8)


def _coarser(picture: ByteArray, share: float) -> ByteArray:
    height, width = picture.shape[:2]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    coarse = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height)), np.uint8)


def crop_matrix(
    centre: tuple[float, float],
    width: float,
    size: tuple[int, int],
    *,
    rotation: float = 0.0,
    flip: bool = False,
) -> FloatArray:
    """The affine map from a picture to a crop.

    Without rotation and flip it is the runtime's: isotropic, set by the width, centre on centre
    (lib/utils/transforms.py of the official code).

    Args:
        centre: x, y of the crop's centre in the picture.
        width: of the crop in pixels of the picture.
        size: height and width of the crop in its own pixels.
        rotation: of the content, degrees, clockwise as seen.
        flip: mirror the crop left to right.

    Returns:
        (2, 3) float32, crop pixel = matrix @ (x, y, 1).
    """
    height_px, width_px = size
    scale = width_px / width
    angle = np.deg2rad(rotation)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([width_px / 2, height_px / 2]) - linear @ np.asarray(centre)
    matrix = np.concatenate((linear, shift[:, None]), 1)
    if flip:
        matrix[0] *= -1
        matrix[0, 2] += width_px - 1
    return matrix.astype(np.float32)


def warp(picture: ByteArray, matrix: FloatArray, size: tuple[int, int]) -> ByteArray:
    """(height, width, 3) uint8: bilinear, zero outside the picture.

    Args:
        picture: (H, W, 3) uint8.
        matrix: (2, 3), crop pixel = matrix @ (x, y, 1).
        size: height and width.
    """
    warped = cv2.warpAffine(picture, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)
