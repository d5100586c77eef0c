"""From BGR frames to what a network takes: letterbox, person crops, and packing into the batch.

Geometry happens on uint8; the conversion to another type, layout and colour order is one table
look-up per value, straight into the batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.jit import jit
from flowtrack.runtime.manifest import InputSpec, Letterbox
from flowtrack.structs import ByteArray, FloatArray, checked

_DTYPES: dict[str, npt.DTypeLike] = {
    "uint8": np.uint8,
    "float32": np.float32,
    "float16": np.float16,
}


def fit(
    image: ByteArray, height: int, width: int, letterbox: Letterbox | None
) -> tuple[ByteArray, FloatArray]:
    """A picture resized to a network's input.

    Args:
        image: (H, W, 3) uint8.
        height, width: input size in pixels.
        letterbox: keep the aspect ratio and pad; None stretches.

    Returns:
        (height, width, 3) uint8, and (4,) [scale x, scale y, offset x, offset y] with
        input pixel = source pixel * scale + offset.
    """
    placed = placement(image.shape[:2], height, width, letterbox)
    if letterbox is None:
        return _resize(image, height, width), placed
    inner_h, inner_w = letterboxed_size(image.shape[:2], height, width)
    left, top = (int(offset) for offset in placed[2:])
    canvas = np.full((height, width, 3), letterbox.fill, np.uint8)
    canvas[top : top + inner_h, left : left + inner_w] = _resize(image, inner_h, inner_w)
    return canvas, placed


def placement(
    source: tuple[int, ...], height: int, width: int, letterbox: Letterbox | None
) -> FloatArray:
    """Where `fit` puts a picture of (height, width) `source`.

    Returns:
        (4,) [scale x, scale y, offset x, offset y]: input pixel = source pixel * scale + offset.
    """
    source_h, source_w = source
    if letterbox is None:
        return np.array([width / source_w, height / source_h, 0.0, 0.0], np.float32)
    inner_h, inner_w = letterboxed_size(source, height, width)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    offset = (left, top) if letterbox.anchor == "center" else (0, 0)
    return np.array([inner_w / source_w, inner_h / source_h, *offset], np.float32)


def letterboxed_size(source: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
    """(height, width) of the largest picture of `source`'s shape inside `height` x `width`.

    Whole numbers throughout: the frame-in graphs compute the same (export/sampling.py).
    """
    source_h, source_w = source
    inner_h = min(height, max(1, source_h * width // source_w))
    return inner_h, min(width, max(1, source_w * height // source_h))


def _resize(image: ByteArray, height: int, width: int) -> ByteArray:
    if image.shape[:2] == (height, width):
        return image
    resized: ByteArray = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized


def crop_matrices(xyxy: npt.ArrayLike, height: int, width: int, padding: float) -> FloatArray:
    """Affine maps from source pixels to the crop of each box.

    The shorter side of the box is extended to the crop's aspect ratio, then both are enlarged by
    `padding`; the map is isotropic and set by the width (official code of the paper,
    microsoft/human-pose-estimation.pytorch, lib/utils/transforms.py).

    Args:
        xyxy: (N, 4) boxes in source pixels.
        height, width: crop size in pixels.
        padding: 1.25 for the official networks.

    Returns:
        (N, 2, 3) float32, crop pixel = matrix @ (x, y, 1).
    """
    boxes = checked("xyxy", xyxy, ("N", 4), np.float32).astype(np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    extended_width = np.maximum(size[:, 0], size[:, 1] * (width / height))
    scale = width / (extended_width * padding)
    matrices = np.zeros((len(boxes), 2, 3), np.float32)
    matrices[:, 0, 0] = scale
    matrices[:, 1, 1] = scale
    matrices[:, 0, 2] = width / 2.0 - scale * centre[:, 0]
    matrices[:, 1, 2] = height / 2.0 - scale * centre[:, 1]
    return matrices


def mirrored_matrices(matrices: FloatArray, width: int) -> FloatArray:
    """Maps to the mirror images of crops that are `width` pixels wide.

    Args:
        matrices: (N, 2, 3) of `crop_matrices`.
    """
    turned = matrices.copy()
    turned[:, 0] *= -1.0
    turned[:, 0, 2] += width - 1
    return turned


def crop_people(image: ByteArray, matrices: FloatArray, height: int, width: int) -> ByteArray:
    """Crops of one frame: bilinear, black outside the picture.

    Args:
        image: (H, W, 3) uint8.
        matrices: (N, 2, 3) of `crop_matrices`.
        height, width: crop size in pixels.

    Returns:
        (N, height, width, 3) uint8.
    """
    crops = np.empty((len(matrices), height, width, 3), np.uint8)
    for matrix, crop in zip(matrices, crops, strict=True):
        cv2.warpAffine(image, matrix, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def to_source(xy: npt.ArrayLike, matrices: FloatArray) -> FloatArray:
    """Points in crop pixels taken back to source pixels.

    Args:
        xy: (N, K, 2) crop pixels.
        matrices: (N, 2, 3) of `crop_matrices`.

    Returns:
        (N, K, 2) float32.
    """
    points = checked("xy", xy, (len(matrices), "K", 2), np.float32)
    scale = matrices[:, None, 0, :1]
    back: FloatArray = (points - matrices[:, None, :, 2]) / scale
    return back


def pack(images: ByteArray, spec: InputSpec) -> npt.NDArray[Any]:
    """BGR pictures as the batch that a network takes.

    Args:
        images: (N, H, W, 3) uint8 BGR.
        spec: type, layout, colour order and normalisation.

    Returns:
        (N, H, W, 3) or (N, 3, H, W) of the declared type; `images` itself if nothing is to do.
    """
    if spec.dtype == "uint8" and spec.layout == "nhwc" and spec.color == "bgr":
        return images
    count, height, width = images.shape[:3]
    table = _table(spec.scale, spec.mean, spec.std, spec.dtype)
    step = -1 if spec.color == "rgb" else 1
    if spec.layout == "nchw":
        batch = np.empty((count, 3, height, width), table.dtype)
        _pack_planes(images[..., ::step], table, batch)
    else:
        batch = np.empty((count, height, width, 3), table.dtype)
        _pack_pixels(images[..., ::step], table, batch)
    return batch.astype(_DTYPES[spec.dtype], copy=False)


@lru_cache(maxsize=32)
def _table(
    scale: float, mean: tuple[float, ...], std: tuple[float, ...], dtype: str
) -> npt.NDArray[Any]:
    """(3, 256) what each value of each channel becomes."""
    values = np.arange(256, dtype=np.float64)[None] * scale
    normal = (values - np.array(mean)[:, None]) / np.array(std)[:, None]
    table: npt.NDArray[Any] = normal.astype(np.uint8 if dtype == "uint8" else np.float32)
    return table


@jit
def _pack_planes(images: ByteArray, table: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    for n in range(images.shape[0]):
        for y in range(images.shape[1]):
            for x in range(images.shape[2]):
                out[n, 0, y, x] = table[0, images[n, y, x, 0]]
                out[n, 1, y, x] = table[1, images[n, y, x, 1]]
                out[n, 2, y, x] = table[2, images[n, y, x, 2]]


@jit
def _pack_pixels(images: ByteArray, table: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    for n in range(images.shape[0]):
        for y in range(images.shape[1]):
            for x in range(images.shape[2]):
                for c in range(3):
                    out[n, y, x, c] = table[c, images[n, y, x, c]]
