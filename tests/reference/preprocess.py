"""Plain-loop oracles of preprocessing, in float64, written to be checked by eye."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


def letterbox(
    size: tuple[int, int], into: tuple[int, int], centred: bool
) -> tuple[int, int, int, int]:
    """Where a picture lies inside a network's input.

    Args:
        size, into: (height, width) of the picture and of the input.
        centred: in the middle, not at the top left.

    Returns:
        top, left, height, width of the picture within the input.
    """
    ratio = min(Fraction(into[0], size[0]), Fraction(into[1], size[1]))
    inner = [min(whole, max(1, int(side * ratio))) for whole, side in zip(into, size, strict=True)]
    free = [whole - part for whole, part in zip(into, inner, strict=True)]
    if not centred:
        return 0, 0, inner[0], inner[1]
    return free[0] // 2, free[1] // 2, inner[0], inner[1]


def centre_and_scale(
    box: npt.ArrayLike, height: int, width: int, padding: float
) -> tuple[Floats, Floats]:
    """Centre, and scale in units of 200 px, of a box extended to the crop's aspect ratio."""
    left, top, right, bottom = np.asarray(box, np.float64)
    w, h = max(right - left, 1.0), max(bottom - top, 1.0)
    aspect = width / height
    if w > aspect * h:
        h = w / aspect
    elif w < aspect * h:
        w = h * aspect
    centre = np.array([left + (right - left) / 2, top + (bottom - top) / 2])
    return centre, np.array([w, h]) / 200.0 * padding


def affine(centre: Floats, scale: Floats, height: int, width: int) -> Floats:
    """(2, 3) matrix through three points: the centre, the middle of the left side, and a third
    point that makes a right angle with them. Only the width of the scale counts."""
    half = scale[0] * 200.0 / 2
    source = np.array([centre, centre - [half, 0.0], centre + [-half, -half]])
    middle = np.array([width / 2, height / 2])
    target = np.array(
        [middle, middle - [width / 2, 0.0], middle + [-width / 2, -width / 2]]
    )  # fmt: skip
    equations, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        equations += [[x, y, 1, 0, 0, 0], [0, 0, 0, x, y, 1]]
        values += [u, v]
    return np.linalg.solve(np.array(equations), np.array(values)).reshape(2, 3)


def warp(image: Bytes, matrix: npt.ArrayLike, height: int, width: int) -> Floats:
    """(height, width, 3) bilinear samples at the places that the matrix maps to each pixel."""
    whole = np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]])
    back = np.linalg.inv(whole)
    out = np.zeros((height, width, 3))
    for v in range(height):
        for u in range(width):
            x, y, _ = back @ [u, v, 1]
            x0, y0 = math.floor(x), math.floor(y)
            for row, row_weight in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
                for column, column_weight in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
                    if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                        out[v, u] += row_weight * column_weight * image[row, column]
    return out


def pack(
    images: Bytes,
    dtype: str,
    layout: str,
    color: str,
    scale: float,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> npt.NDArray[np.generic]:
    """BGR pictures (N, H, W, 3) as a network's batch, by the formula of the manifest."""
    batch = images.astype(np.float64)
    if color == "rgb":
        batch = batch[..., ::-1]
    batch = (batch * scale - np.array(mean)) / np.array(std)
    if layout == "nchw":
        batch = batch.transpose(0, 3, 1, 2)
    return batch.astype(dtype)
