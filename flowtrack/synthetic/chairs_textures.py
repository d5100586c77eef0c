"""What surfaces of FlyingChairs-style pairs look like: photographs from folders, or patterns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Protocol

import cv2
import numpy as np

from flowtrack.errors import OptionError, SourceError
from flowtrack.structs import ByteArray

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
"""Files of a folder that are taken for pictures."""

_LONGEST = 640  # px; larger photographs are shrunk when loaded, so that memory stays bounded

# Quantiles of the standard Gaussian at the middles of 256 equal shares.
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


class Textures(Protocol):
    """A source of pictures."""

    def draw(self, rng: np.random.Generator) -> ByteArray:
        """A picture (H, W, 3) uint8 BGR, at least 64 px each way; must not be changed."""


class Photographs:
    """Pictures below folders.

    At most `limit` of them, evenly spread over the sorted list, are ever used, and each stays in
    memory once loaded: memory is bounded, and which picture a seed draws never depends on what
    was drawn before.
    """

    def __init__(self, folders: Sequence[Path], limit: int) -> None:
        """Look for pictures in `folders` and everything below them.

        Raises:
            SourceError: a folder is missing, or there is no picture.
        """
        files: list[Path] = []
        for folder in folders:
            if not folder.is_dir():
                raise SourceError(f"{folder} is not a folder; name one with pictures in it")
            files += (path for path in folder.rglob("*") if path.suffix in PICTURE_SUFFIXES)
        if not files:
            raise SourceError(
                f"no pictures below {', '.join(map(str, folders))}; expected files that end in "
                f"{', '.join(PICTURE_SUFFIXES)}"
            )
        files.sort()
        chosen = np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int)
        self.paths = tuple(files[i] for i in chosen)
        self._loaded: dict[int, ByteArray] = {}

    def draw(self, rng: np.random.Generator) -> ByteArray:
        """One of the photographs.

        Raises:
            SourceError: it cannot be decoded.
        """
        index = int(rng.integers(len(self.paths)))
        picture = self._loaded.get(index)
        if picture is None:
            picture = self._loaded[index] = _photograph(self.paths[index])
        return picture


class Patterns:
    """Pictures without photographs: noise of all coarsenesses, strewn shapes and stripes.

    Each is made when it is first drawn, from its own number, and kept.
    """

    def __init__(self, count: int = 48, width: int = 480, height: int = 360) -> None:
        self.count = count
        self._size = (width, height)
        self._made: dict[int, ByteArray] = {}

    def draw(self, rng: np.random.Generator) -> ByteArray:
        """One of the patterns."""
        index = int(rng.integers(self.count))
        pattern = self._made.get(index)
        if pattern is None:
            own = np.random.default_rng((index, 0x7E))
            pattern = self._made[index] = _pattern(*self._size, own)
        return pattern


def add_noise(image: ByteArray, sigma: float, rng: np.random.Generator) -> ByteArray:
    """A picture with Gaussian sensor noise.

    Args:
        image: (H, W, C) uint8.
        sigma: standard deviation in grey levels, 0 to 40.
        rng: decides.
    """
    if sigma <= 0:
        return image
    # Random bytes through a table of the distribution: ten times as fast as random Gaussians.
    words = rng.integers(0, 2**64 - 1, -(-image.size // 8), np.uint64, endpoint=True)
    bytes_ = words.view(np.uint8)[: image.size].reshape(image.shape)
    table = np.clip(np.round(128.0 + sigma * _QUANTILES), 0, 255).astype(np.uint8)
    noise = cv2.LUT(bytes_, table.reshape(1, 256))
    return np.asarray(cv2.addWeighted(image, 1.0, noise, 1.0, -128.0), np.uint8)


def recoloured(image: ByteArray, rng: np.random.Generator) -> ByteArray:
    """A picture with other contrast, brightness and colour balance, for more variety."""
    levels = np.arange(256, dtype=np.float32) / 255.0
    gamma = np.exp(rng.normal(0.0, 0.2))
    gains = rng.uniform(0.75, 1.3) * rng.uniform(0.85, 1.15, 3)
    table = np.clip(255.0 * levels[:, None] ** gamma * gains, 0, 255).astype(np.uint8)
    turned = cv2.flip(image, 1) if rng.random() < 0.5 else image
    return np.asarray(cv2.LUT(turned, table.reshape(1, 256, 3)), np.uint8)


def smooth_shading(
    width: int, height: int, low: float, high: float, rng: np.random.Generator
) -> ByteArray:
    """(height, width, 3) light of `low` ... `high` times 255 that changes slowly."""
    coarse = rng.uniform(low, high, (3, 3)) * 255.0
    grey = cv2.resize(coarse.astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _photograph(path: Path) -> ByteArray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SourceError(f"{path} cannot be decoded; remove it or convert it to PNG or JPEG")
    height, width = picture.shape[:2]
    # Thin or tiny pictures are enlarged: a crop must be able to hold some texture.
    scale = max(min(1.0, _LONGEST / max(height, width)), 64 / min(height, width))
    if scale != 1.0:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        size = (max(64, round(width * scale)), max(64, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=how)
    return np.asarray(picture, np.uint8)


def _pattern(width: int, height: int, rng: np.random.Generator) -> ByteArray:
    """Coloured noise in octaves, with shapes or stripes over it."""
    total = np.full((height, width, 3), rng.uniform(60, 190, 3), np.float32)
    falloff = rng.uniform(0.6, 1.1)  # how much finer octaves fade: from rough to cloudy
    cell = 128.0
    while cell >= 2:
        shape = (int(height / cell) + 2, int(width / cell) + 2)
        grey = rng.normal(0, 1, (*shape, 1)) + 0.5 * rng.normal(0, 1, (*shape, 3))
        octave = cv2.resize(grey.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        total += octave * np.float32(30.0 * (cell / 128.0) ** (0.5 * falloff))
        cell /= 2
    canvas = np.clip(total, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(10, 60)):
        colour = rng.uniform(0, 255, 3).tolist()
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        reach = rng.lognormal(3.0, 0.7)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        ring = np.stack((x + reach * np.cos(angles), y + reach * np.sin(angles)), axis=-1)
        if rng.random() < 0.3:
            chord = [ring[:: len(ring) - 1].astype(np.int32)]
            cv2.polylines(canvas, chord, False, colour, 2, cv2.LINE_AA)
        else:
            cv2.fillPoly(canvas, [ring.astype(np.int32)], colour, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(canvas, (3, 3), 0.6), np.uint8)


def textures(folders: Sequence[Path], limit: int) -> Textures:
    """Photographs from `folders`, or patterns where there are none.

    Raises:
        OptionError: the limit is not positive.
        SourceError: a folder is missing or holds no picture.
    """
    if limit < 1:
        raise OptionError(f"the limit of pictures is {limit}, expected at least 1")
    return Photographs(folders, limit) if folders else Patterns()
