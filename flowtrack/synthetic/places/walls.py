"""What stands behind people: rooms, streets, parks and halls, painted on a plane."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.places.grounds import cloud, muted

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

WALLS = ("room", "street", "park", "hall", "brick", "studio")
INDOOR = frozenset({"room", "hall", "studio"})
_WIDTH, _HEIGHT = 1200, 400


@dataclass(frozen=True)
class Wall:
    """A painted plane that stands on the ground and repeats sideways.

    Attributes:
        pixels: (h, w, 3) uint8, top row first.
        width_m, height_m: what it measures.
        distance_m: how far behind the origin it stands.
        kind: one of `WALLS`, or "photo".
        base_m: height of its lower edge.
    """

    pixels: Bytes
    width_m: float
    height_m: float
    distance_m: float
    kind: str
    base_m: float = 0.0


def random_wall(rng: np.random.Generator, kind: str | None = None) -> Wall:
    """A wall of the given kind, or of any."""
    name = kind or str(rng.choice(WALLS, p=(0.26, 0.2, 0.22, 0.12, 0.14, 0.06)))
    paint, metres_high, near, far = {
        "room": (_room, 3.6, 1.5, 5.0), "hall": (_hall, 9.0, 5.0, 16.0),
        "brick": (_brick, 6.0, 2.0, 9.0), "studio": (_studio, 6.0, 2.0, 6.0),
        "street": (_street, 26.0, 18.0, 40.0), "park": (_park, 22.0, 12.0, 35.0),
    }[name]  # fmt: skip
    pixels = np.empty((_HEIGHT, _WIDTH, 3), np.float32)
    paint(pixels, rng)
    for cells, strength in ((7, 2.5), (40, 2.0)):
        pixels += strength * cloud(rng, cells, (_HEIGHT, _WIDTH))[..., None]
    metres = metres_high * float(rng.uniform(0.9, 1.15))
    # Above what is painted the wall, or the sky, goes on.
    onwards = cv2.BORDER_WRAP if name == "brick" else cv2.BORDER_REPLICATE
    whole = cv2.copyMakeBorder(pixels, _HEIGHT // 2, 0, 0, 0, onwards)
    return Wall(
        np.clip(whole, 0, 255).astype(np.uint8),
        3 * metres,
        1.5 * metres,
        float(rng.uniform(near, far)),
        name,
    )


def _rect(pixels: Float32, x: float, y: float, w: float, h: float, color: npt.ArrayLike) -> Float32:
    """Fill a rectangle given in shares of the height (x wraps at 3); y counts from the ground."""
    left, top = round(x * _HEIGHT), round((1 - y - h) * _HEIGHT)
    right, bottom = left + round(w * _HEIGHT), round((1 - y) * _HEIGHT)
    part = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    part[...] = color
    return part


def _picture(part: Float32, rng: np.random.Generator) -> None:
    """Something to look at inside a frame or a window."""
    if min(part.shape[:2]) < 4:
        return
    shape = (part.shape[0], part.shape[1])
    tone = rng.uniform(60, 190, 3)
    mood = (tone + rng.normal(0, 32, (3, 3))).astype(np.float32)
    patches = cv2.resize(
        mood[None].repeat(2, 0), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC
    )
    part[...] = patches
    for _ in range(int(rng.integers(1, 5))):
        centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        size = int(rng.integers(2, max(3, min(shape) // 2)))
        color = tuple(float(c) for c in np.clip(tone + rng.normal(0, 60, 3), 10, 245))
        canvas = np.ascontiguousarray(part)
        if rng.random() < 0.5:
            cv2.circle(canvas, centre, size, color, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, centre, (centre[0] + size, centre[1] + size), color, -1)
        part[...] = canvas


def _room(pixels: Float32, rng: np.random.Generator) -> None:
    base = muted(rng, 120, 225, 14)
    light = 1 + 0.10 * np.cos(np.linspace(0, 2 * np.pi, _WIDTH) + rng.uniform(0, 6))
    rows = np.linspace(1.03, 0.9, _HEIGHT)
    pixels[...] = base * (light[None, :] * rows[:, None])[..., None]
    if rng.random() < 0.3:
        period = int(rng.integers(12, 40))
        pixels[:, (np.arange(_WIDTH) % period) < period // 2] *= 0.94
    if rng.random() < 0.35:
        _rect(pixels, 0, 0, 3, 0.28, base * rng.uniform(0.6, 0.9))
        _rect(pixels, 0, 0.28, 3, 0.012, base * 0.55)
    x = rng.uniform(0.0, 0.2)
    while x < 2.8:
        kind = int(rng.integers(5))
        if kind == 0:  # a window
            w, h = rng.uniform(0.28, 0.5), rng.uniform(0.34, 0.45)
            _rect(pixels, x - 0.015, 0.285, w + 0.03, h + 0.03, (225, 228, 230))
            glass = _rect(pixels, x, 0.30, w, h, (1, 1, 1))
            fade = np.linspace(1, 0, glass.shape[0])[:, None, None]
            glass[...] = fade * np.array([235, 215, 190]) + (1 - fade) * np.array([150, 175, 165])
            _rect(pixels, x + w / 2 - 0.006, 0.30, 0.012, h, (215, 218, 220))
            x += w
        elif kind == 1:  # a door
            color = muted(rng, 60, 200, 25)
            _rect(pixels, x - 0.012, 0, 0.274, 0.612, color * 0.7)
            _rect(pixels, x, 0, 0.25, 0.6, color)
            for low in (0.06, 0.33):
                _rect(pixels, x + 0.035, low, 0.18, 0.22, color * 0.9)
            _rect(pixels, x + 0.215, 0.29, 0.014, 0.02, (60, 150, 170))
            x += 0.25
        elif kind == 2:  # shelves
            w, h = rng.uniform(0.25, 0.5), rng.uniform(0.4, 0.65)
            wood = np.array([60, 95, 140]) * rng.uniform(0.5, 1.1)
            _rect(pixels, x, 0.0, w, h, wood * 0.5)
            level = 0.03
            while level < h - 0.1:
                _rect(pixels, x, level - 0.012, w, 0.012, wood)
                book = x + 0.01
                while book < x + w - 0.03:
                    width = rng.uniform(0.008, 0.025)
                    _rect(
                        pixels,
                        book,
                        level,
                        width,
                        rng.uniform(0.06, 0.095),
                        muted(rng, 40, 160, 34),
                    )
                    book += width
                level += 0.12
            x += w
        else:  # a picture or poster
            w, h = rng.uniform(0.1, 0.35), rng.uniform(0.12, 0.32)
            low = rng.uniform(0.36, 0.5)
            _rect(pixels, x - 0.01, low - 0.01, w + 0.02, h + 0.02, muted(rng, 20, 120))
            _picture(_rect(pixels, x, low, w, h, (1, 1, 1)), rng)
            x += w
        x += rng.uniform(0.06, 0.3)
    _rect(pixels, 0, 0, 3, 0.03, base * 0.5)


def _hall(pixels: Float32, rng: np.random.Generator) -> None:
    base = muted(rng, 90, 190, 14)
    pixels[...] = base * np.linspace(1.05, 0.8, _HEIGHT)[:, None, None]
    for k in range(12):
        _rect(pixels, 0.25 * k, 0, 0.022, 1, base * 0.7)
    _rect(pixels, 0, 0, 3, rng.uniform(0.12, 0.25), muted(rng, 50, 140, 30))
    for _ in range(9):
        part = _rect(pixels, rng.uniform(0, 2.7), rng.uniform(0.28, 0.55), rng.uniform(0.15, 0.5),
                     rng.uniform(0.08, 0.16), rng.uniform(20, 230, 3))  # fmt: skip
        _picture(part, rng)
    for k in range(8):
        _rect(pixels, 0.375 * k + 0.06, 0.8, 0.24, 0.14, (225, 222, 215))


def _brick(pixels: Float32, rng: np.random.Generator) -> None:
    brick = np.array([75, 92, 150]) * rng.uniform(0.6, 1.25) if rng.random() < 0.6 else muted(rng)
    row_px = 10
    i, j = np.arange(_HEIGHT)[:, None], np.arange(_WIDTH)[None, :]
    row = i // row_px
    column = (j + (row % 2) * 14) // 28
    tone = rng.normal(1, 0.10, (_HEIGHT // row_px + 1, _WIDTH // 28 + 2)).astype(np.float32)
    pixels[...] = brick * tone[row, column][..., None]
    mortar = (i % row_px < 2) | ((j + (row % 2) * 14) % 28 < 2)
    pixels[np.broadcast_to(mortar, (_HEIGHT, _WIDTH))] = brick * 0.55 + 55
    for _ in range(int(rng.integers(0, 5))):
        part = _rect(pixels, rng.uniform(0, 2.6), rng.uniform(0.18, 0.5), rng.uniform(0.12, 0.4),
                     rng.uniform(0.15, 0.3), (40, 40, 40))  # fmt: skip
        _picture(part[3:-3, 3:-3], rng)


def _studio(pixels: Float32, rng: np.random.Generator) -> None:
    pixels[...] = muted(rng, 50, 230, 20)
    rows = np.linspace(-1, 1, _HEIGHT)[:, None]
    columns = np.sin(np.linspace(0, 6 * np.pi, _WIDTH))[None, :]
    pixels *= (1 - 0.12 * rows**2 + 0.08 * columns)[..., None]


def _sky(pixels: Float32, rng: np.random.Generator) -> None:
    zenith = np.array([215, 165, 110]) * rng.uniform(0.75, 1.1)
    haze = np.array([238, 228, 214]) * rng.uniform(0.85, 1.02)
    up = np.linspace(1, 0, _HEIGHT)[:, None, None]
    pixels[...] = haze + (zenith - haze) * up
    cover = sum(s * cloud(rng, c, (_HEIGHT, _WIDTH)) for c, s in ((8, 0.8), (20, 0.45), (60, 0.25)))
    share = np.clip((cover - rng.uniform(-0.6, 1.2)) * 0.7, 0, 0.9)[..., None]
    pixels += share * (np.array([240, 240, 240]) - pixels)


def _street(pixels: Float32, rng: np.random.Generator) -> None:
    _sky(pixels, rng)
    x = -0.05
    while x < 3:
        w, h = rng.uniform(0.2, 0.5), rng.uniform(0.3, 0.85)
        base = muted(rng, 70, 200, 18)
        _rect(pixels, x, 0, w, h, base * np.ones(3))
        _rect(pixels, x, h - 0.015, w, 0.015, base * 0.75)
        columns, rows = int(w / 0.055), int((h - 0.1) / 0.075)
        glass = muted(rng, 40, 110, 14)
        for c in range(columns):
            for r in range(rows):
                tone = glass * rng.uniform(0.75, 1.5)
                _rect(pixels, x + 0.015 + c * w / columns, 0.13 + r * 0.075, 0.03, 0.045, tone)
        _rect(pixels, x + 0.01, 0, w - 0.02, 0.09, muted(rng, 30, 110, 20))
        _rect(pixels, x + 0.01, 0.09, w - 0.02, 0.025, muted(rng, 60, 190, 40))
        x += w + (rng.uniform(0.02, 0.15) if rng.random() < 0.3 else 0.0)
    for _ in range(int(rng.integers(2, 7))):
        _tree(pixels, rng, rng.uniform(0, 3), rng.uniform(0.2, 0.45))


def _park(pixels: Float32, rng: np.random.Generator) -> None:
    _sky(pixels, rng)
    leaf = np.array([52, 96, 70]) * rng.uniform(0.6, 1.15)
    up = (1 - np.arange(_HEIGHT) / _HEIGHT)[:, None]
    for layer in range(3):
        line = (0.5 - 0.14 * layer) * rng.uniform(0.7, 1.1) + 0.05 * cloud(rng, 12, (16, _WIDTH))[8]
        line = line + 0.015 * cloud(rng, 90, (16, _WIDTH))[8]
        texture = (
            1 + 0.16 * cloud(rng, 70, (_HEIGHT, _WIDTH)) + 0.12 * cloud(rng, 220, (_HEIGHT, _WIDTH))
        )
        shade = leaf * (1.15 - 0.22 * layer) + (2 - layer) * 14
        below = up < line[None, :]
        pixels[below] = (shade * texture[..., None])[below]
    for _ in range(int(rng.integers(3, 9))):
        _tree(pixels, rng, rng.uniform(0, 3), rng.uniform(0.3, 0.6))
    _rect(pixels, 0, 0, 3, 0.02, leaf * 0.6)


def _tree(pixels: Float32, rng: np.random.Generator, x: float, height: float) -> None:
    bark = np.array([45, 60, 75]) * rng.uniform(0.6, 1.2)
    _rect(pixels, x - 0.012, 0, 0.024, height * 0.6, bark)
    leaf = np.array([48, 105, 78]) * rng.uniform(0.6, 1.2)
    left, right = (round(np.clip(x + s * 0.75 * height, 0, 3) * _HEIGHT) for s in (-1, 1))
    if right - left < 8:
        return
    crown = np.zeros((_HEIGHT, right - left), np.float32)
    for k in range(32):
        dx, dy = rng.normal(0, 0.15), rng.normal(0, 0.12)
        column = round((x + dx * height) * _HEIGHT) - left
        row = round((1 - height * (0.78 + dy)) * _HEIGHT)
        tone = 0.7 + 0.014 * k + 0.8 * max(0.0, dy)
        radius = max(1, round(rng.uniform(0.05, 0.13) * height * _HEIGHT))
        cv2.circle(crown, (column, row), radius, tone, -1, cv2.LINE_AA)
    # Leaves: light and dark at the size of a twig, and gaps towards the edge.
    twigs = cloud(rng, max(8, (right - left) // 3), crown.shape)
    crown *= 1 + 0.22 * twigs
    cover = cv2.GaussianBlur((crown > 0).astype(np.float32), (0, 0), 2.5) + 0.12 * twigs > 0.62
    cover &= crown > 0
    part = pixels[:, left:right]
    part[cover] = (leaf * crown[..., None])[cover]
