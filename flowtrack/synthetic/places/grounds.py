"""Floors and lawns: square tiles of texture that repeat without a seam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

TILE_PX = 512


@dataclass(frozen=True)
class Ground:
    """A repeating floor.

    Attributes:
        levels: the tile (s, s, 3) uint8, then each half the size of the one before.
        side_m: what a tile measures in the world.
    """

    levels: tuple[Bytes, ...]
    side_m: float


def cloud(
    rng: np.random.Generator, cells: int, shape: tuple[int, int] = (TILE_PX, TILE_PX)
) -> Float32:
    """(h, w) noise that wraps around, about `cells` spots across."""
    rows = max(2, round(cells * shape[0] / shape[1]))
    grain = rng.standard_normal((rows, cells), dtype=np.float32)
    wrapped = np.pad(grain, 2, mode="wrap")
    fx, fy = shape[1] / cells, shape[0] / rows
    size = (round(fx * wrapped.shape[1]), round(fy * wrapped.shape[0]))
    grown = cv2.resize(wrapped, size, interpolation=cv2.INTER_CUBIC)
    top, left = round(2 * fy), round(2 * fx)
    return np.asarray(grown[top : top + shape[0], left : left + shape[1]], np.float32)


def muted(
    rng: np.random.Generator, low: float = 60, high: float = 190, spread: float = 9
) -> Float32:
    """A greyish colour (3,)."""
    return np.asarray(rng.uniform(low, high) + rng.normal(0, 0.6 * spread, 3), np.float32)


@dataclass
class _Canvas:
    """A tile in the making: one colour, its brightness, and what is added to it."""

    base: npt.NDArray[np.floating]
    value: Float32
    tint: Float32
    side_m: float = 4.0


def random_ground(rng: np.random.Generator, kind: str | None = None) -> Ground:
    """A floor of the given kind, one of `GROUNDS`, or of any."""
    name = kind or str(rng.choice(GROUNDS))
    shape = (TILE_PX, TILE_PX)
    tile = _Canvas(muted(rng), np.ones(shape, np.float32), np.zeros((*shape, 3), np.float32))
    for cells, strength in ((5, 0.03), (21, 0.025), (128, 0.03)):
        tile.value += strength * cloud(rng, cells)
    _PAINTERS[name](tile, rng)
    pixels = np.clip(tile.base * tile.value[..., None] + tile.tint, 0, 255).astype(np.uint8)
    levels = [pixels]
    while levels[-1].shape[0] > 8:
        half = cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return Ground(tuple(levels), tile.side_m * float(rng.uniform(0.8, 1.25)))


def _white(rng: np.random.Generator) -> Float32:
    return rng.standard_normal((TILE_PX, TILE_PX), dtype=np.float32)


def _grid(
    tile: _Canvas, rng: np.random.Generator, count: int, shifted: bool, contrast: float
) -> None:
    """Slabs, `count` a side, every other row shifted or not, in two tones or one."""
    cell = TILE_PX // count
    i = np.arange(TILE_PX)
    shift = np.where((i // cell) % 2 == 0, 0, cell // 2) if shifted else 0 * i
    columns = (i[None, :] + shift[:, None]) % TILE_PX
    tone = rng.normal(0, 0.05, (count, count)).astype(np.float32)
    k = np.arange(count)
    tone += contrast * (np.add.outer(k, k) % 2 - 0.5)
    tile.value += tone[np.broadcast_to(i[:, None] // cell, columns.shape), columns // cell]
    gap = (columns % cell < 2) | (i[:, None] % cell < 2)
    tile.value *= np.where(gap, np.float32(0.72), np.float32(1))


def _tiles(tile: _Canvas, rng: np.random.Generator) -> None:
    contrast = 0.16 if rng.random() < 0.4 else 0.0
    _grid(tile, rng, int(rng.choice([4, 8, 16])), shifted=False, contrast=contrast)


def _paving(tile: _Canvas, rng: np.random.Generator) -> None:
    _grid(tile, rng, 8, shifted=True, contrast=0.0)


def _boards(tile: _Canvas, rng: np.random.Generator) -> None:
    tile.base = np.array([70, 110, 160], np.float32) * rng.uniform(0.55, 1.15)
    cell, i = 32, np.arange(TILE_PX)
    row = i // cell
    tone = rng.normal(0, 0.08, TILE_PX // cell).astype(np.float32)
    streaks = rng.standard_normal((TILE_PX, 12), dtype=np.float32)
    grain = cv2.resize(streaks, (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR)
    tile.value += tone[row][:, None] + 0.05 * np.asarray(grain)
    starts = rng.integers(0, TILE_PX, TILE_PX // cell)
    ends = np.abs((i[None, :] - starts[row][:, None]) % 256) < 2
    tile.value *= np.where(ends | (i[:, None] % cell < 1), np.float32(0.65), np.float32(1))


def _asphalt(tile: _Canvas, rng: np.random.Generator) -> None:
    tile.base = muted(rng, 70, 120, 4)
    tile.value += 0.10 * _white(rng)


def _grass(tile: _Canvas, rng: np.random.Generator) -> None:
    tile.base = np.array([48, 112, 88], np.float32) * rng.uniform(0.7, 1.2)
    tile.value += 0.10 * cloud(rng, 60) + 0.16 * cloud(rng, 200)
    tile.tint[..., 2] = 10 * cloud(rng, 17)


def _carpet(tile: _Canvas, rng: np.random.Generator) -> None:
    tile.base = muted(rng, 60, 160, 14)
    tile.value += 0.06 * _white(rng)


def _sand(tile: _Canvas, rng: np.random.Generator) -> None:
    tile.base = np.array([140, 180, 205], np.float32) * rng.uniform(0.8, 1.1)
    tile.value += 0.05 * cloud(rng, 40) + 0.05 * _white(rng)


def _court(tile: _Canvas, rng: np.random.Generator) -> None:
    tile.side_m = 12.0
    tile.base = muted(rng, 80, 150, 24)
    line = np.abs(np.arange(TILE_PX) - 23) < 4
    tile.tint[line], tile.tint[:, line] = 95, 95
    tile.value += 0.02 * _white(rng)


_PAINTERS: MappingProxyType[str, Callable[[_Canvas, np.random.Generator], None]] = MappingProxyType(
    {"tiles": _tiles, "boards": _boards, "asphalt": _asphalt, "grass": _grass, "carpet": _carpet,
     "court": _court, "paving": _paving, "sand": _sand}
)  # fmt: skip
GROUNDS = tuple(_PAINTERS)
"""Kinds of floor."""
