"""Pictures that an exported graph is compared on: noise, smooth textures, and the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError
from flowtrack.structs import ByteArray

_SEED = 20180806
_COUNT = 2  # of each synthetic kind
_BATCH = 3  # pictures of every batch but the first, which has one
_SHIFT_PX = (3, 5)  # rows and columns by which the second picture of a synthetic pair is moved


def pictures(
    height: int, width: int, images: Sequence[npt.NDArray[Any]] | None, color: str
) -> tuple[ByteArray, str]:
    """Pictures of one size, and what they are.

    Args:
        height, width: in pixels.
        images: (H, W, 3) uint8 BGR of any size, which are resized; None or empty for none.
        color: `rgb` or `bgr`, channel order of the result.

    Returns:
        (N, height, width, 3) uint8, textures first, and a description.

    Raises:
        InputError: an image has another type or shape.
    """
    random = np.random.default_rng(_SEED)
    textures = [_texture(random, height, width) for _ in range(_COUNT)]
    noise = [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(_COUNT)]
    own = [_resized(index, image, height, width) for index, image in enumerate(images or ())]
    if color == "rgb":
        own = [np.ascontiguousarray(image[..., ::-1]) for image in own]
    made_of = f"{_COUNT} smooth textures, {_COUNT} of noise, {len(own)} images"
    return np.stack([*textures, *noise, *own]), made_of


def batches(everything: ByteArray) -> list[ByteArray]:
    """One picture alone, the rest in larger batches, so that both kinds of batch are compared."""
    rest = range(1, len(everything), _BATCH)
    return [everything[:1], *(everything[start : start + _BATCH] for start in rest)]


def followers(everything: ByteArray, synthetic: int = 2 * _COUNT) -> ByteArray:
    """The second picture of a pair for each: synthetic ones moved, images the next of them."""
    moved = np.roll(everything, _SHIFT_PX, axis=(1, 2))
    own = everything[synthetic:]
    if len(own) > 1:
        moved[synthetic:] = np.concatenate([own[1:], own[-2:-1]])
    return moved


def _texture(random: np.random.Generator, height: int, width: int) -> ByteArray:
    """Noise at several scales, enlarged smoothly and added up, over the full range of bytes."""
    total = np.zeros((height, width, 3), np.float32)
    for cells in (3, 6, 12, 24):
        coarse = random.standard_normal((cells, cells, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        total = total + np.asarray(smooth, np.float32) / np.float32(cells**0.5)
    low, high = total.min(), total.max()
    texture: ByteArray = ((total - low) / (high - low) * 255).astype(np.uint8)
    return texture


def _resized(index: int, image: npt.NDArray[Any], height: int, width: int) -> ByteArray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"image {index} is {image.dtype} of shape {image.shape}, expected uint8 (H, W, 3) BGR"
        )
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized, np.uint8)
