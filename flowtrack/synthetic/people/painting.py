"""Painting the atlas of a person: skin, face, hair and clothes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.people.atlas import Chart, arm_coordinates, atlas_at, smooth_noise
from flowtrack.synthetic.people.wardrobe import Color, Look

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def paint(look: Look, level: int = 0) -> npt.NDArray[np.uint8]:
    """The texture of a person, (*Atlas.shape, 4) blue, green, red and gloss.

    Args:
        look: of the person.
        level: of `atlas_at`.
    """
    rng = np.random.default_rng(look.seed)
    charts = atlas_at(level)
    texture = np.zeros((*charts.shape, 4), np.uint8)
    same = int(rng.integers(2**31))
    for chart in charts.body:
        _put(texture, chart, _body(look, chart, rng, np.random.default_rng(same)))
    for chart in charts.head:
        _put(texture, chart, _head(look, chart, rng))
    for chart in charts.hair:
        _put(texture, chart, _hair(look, chart, rng))
    return texture


def _put(texture: npt.NDArray[np.uint8], chart: Chart, pixels: Float32) -> None:
    np.clip(pixels, 0, 255, out=pixels)
    texture[: chart.height, chart.column : chart.column + chart.width] = pixels


def _filled(chart: Chart, color: Color, gloss: float) -> Float32:
    pixels = np.empty((chart.height, chart.width, 4), np.float32)
    pixels[...] = (*color, gloss)
    return pixels


def _skin(look: Look, chart: Chart, rng: np.random.Generator) -> Float32:
    pixels = _filled(chart, look.skin, 70.0)
    shape = pixels.shape[:2]
    mottle = 1 + 0.025 * smooth_noise(rng, shape, _cells(chart, 0.05, 0.05))
    _shade(pixels, mottle)
    return pixels


def _cells(chart: Chart, high_m: float, wide_m: float) -> tuple[int, int]:
    """How many spots of a size fit on a chart."""
    return (
        round((chart.high[1] - chart.low[1]) / high_m),
        round((chart.high[0] - chart.low[0]) / wide_m),
    )


def _shade(pixels: Float32, factor: npt.ArrayLike) -> None:
    """Darken or lighten the colour, in place, without the gloss."""
    factors = np.asarray(factor, np.float32)
    for channel in range(3):
        pixels[..., channel] *= factors


def _folds(chart: Chart, rng: np.random.Generator, depth: float) -> Float32:
    """(h, w) brightness of creased cloth: ridges, because folds are sharper than noise."""
    shape = (chart.height, chart.width)
    wide = smooth_noise(rng, shape, _cells(chart, 0.10, 0.14))
    fine = smooth_noise(rng, shape, _cells(chart, 0.036, 0.064))
    weave = rng.standard_normal(shape, dtype=np.float32)
    ridges = 0.55 - np.abs(fine)
    return np.asarray(1 + depth * (0.5 * wide + 0.4 * ridges) + 0.018 * weave, np.float32)


def _body(look: Look, chart: Chart, rng: np.random.Generator, same: np.random.Generator) -> Float32:
    x, y = chart.grid()
    pixels = _skin(look, chart, rng)
    along, arm = arm_coordinates(x, y)
    below = ~arm & (y < 1.03)
    legs = below & (y > look.leg_m)
    shape = pixels.shape[:2]
    bottom = _filled(chart, look.colors[2], 40.0)
    if look.bottom == "jeans":
        _shade(bottom, 1 + 0.05 * rng.standard_normal(shape, dtype=np.float32))
        faded = np.exp(-(((np.abs(x) - 0.10) / 0.035) ** 2)) * np.exp(-(((y - 0.66) / 0.17) ** 2))
        _shade(bottom, 1 + 0.28 * faded)
        seam = np.abs(np.abs(x) - 0.163 + 0.03 * (0.9 - y)) < 0.003
        bottom[np.broadcast_to(seam, shape)] *= 0.75
    if not chart.back:
        fly = (np.abs(x) < 0.003) & (y > 0.88) & (y < 1.0)
        bottom[np.broadcast_to(fly, shape), :3] *= 0.7
    else:
        pocket = (np.abs(np.abs(x) - 0.075) < 0.045) & (np.abs(y - 0.93) < 0.045)
        rim = pocket & ~((np.abs(np.abs(x) - 0.075) < 0.040) & (np.abs(y - 0.93) < 0.040))
        bottom[np.broadcast_to(rim, shape), :3] *= 0.78
    _shade(bottom, _folds(chart, rng, 0.13))
    belt = np.broadcast_to((y > 0.985) & (y < 1.02), shape)
    bottom[belt, :3] = np.array(look.colors[3], np.float32) * 0.6
    pixels[legs] = bottom[legs]
    _shoes(look, chart, pixels, rng)
    top = _top(look, chart, rng, same)
    neckline = _neckline(look, chart)
    body = ~arm & (y > look.hem_m) & (y < neckline)
    if look.top == "tank top":
        body &= np.abs(x) < 0.155 - 0.04 * np.clip((y - 1.25) / 0.2, 0, 1)
    sleeves = arm & (along < look.sleeve_m)
    worn = body | sleeves
    pixels[worn] = top[worn]
    # Shadows where cloth ends on cloth or skin.
    for edge in (look.hem_m, look.leg_m):
        shade = 0.35 * np.exp(np.minimum(y - edge, 0) / 0.012) * (y < edge)
        _shade(pixels, np.where(arm, np.float32(1), 1 - shade))
    bare = along - look.sleeve_m
    cuff = (bare > 0) & (bare < 0.04) & arm
    pixels[cuff, :3] *= 1 - 0.3 * np.exp(bare[cuff] / -0.01)[:, None]
    return pixels


def _neckline(look: Look, chart: Chart) -> Float32:
    """(1, w) height of the edge of the top around the neck; the shoulders beside it are covered."""
    x, _ = chart.grid()
    scoop = 0.012 if chart.back else 0.11 if look.top == "tank top" else 0.05
    edge = 1.482 - scoop * np.maximum(0, 1 - (x / 0.08) ** 2)
    return np.asarray(np.where(np.abs(x) < 0.08, edge, 1.6), np.float32)


def _shoes(look: Look, chart: Chart, pixels: Float32, rng: np.random.Generator) -> None:
    x, y = chart.grid()
    shape = pixels.shape[:2]
    feet = np.broadcast_to((y < 0.088 + 0.0 * x) & (np.abs(x) < 0.3), shape)
    pixels[feet] = (*look.colors[3], 110.0)
    sole = np.broadcast_to((y < 0.022) & (np.abs(x) < 0.3), shape)
    pixels[sole, :3] = (215, 218, 220) if rng.random() < 0.5 else (38, 38, 40)
    if not chart.back:
        laces = (np.abs(np.abs(x) - 0.108) < 0.016) & (np.mod(y, 0.014) < 0.006) & (y > 0.04)
        laces = laces & (y < 0.08)
        pixels[np.broadcast_to(laces, shape), :3] = (225, 225, 225)
    if look.leg_m > 0.2 and rng.random() < 0.8:
        sock = np.broadcast_to((y >= 0.088) & (y < 0.088 + rng.uniform(0.03, 0.2)), shape)
        pixels[sock & np.broadcast_to(np.abs(x) < 0.3, shape), :3] = (
            (220, 222, 222) if rng.random() < 0.6 else (48, 46, 46)
        )


def _pattern(look: Look, chart: Chart, rng: np.random.Generator) -> Mask:
    """Where the second colour of a top goes."""
    x, y = chart.grid()
    along, arm = arm_coordinates(x, y)
    shape = (chart.height, chart.width)
    period = float(rng.uniform(0.03, 0.10))
    height = np.where(arm, 1.42 - along, y)
    name = look.pattern
    if name == "stripes":
        return np.asarray(np.mod(height, period) < period * float(rng.uniform(0.3, 0.6)))
    if name == "pinstripes":
        return np.broadcast_to(np.mod(np.abs(x) + 0.004, period * 0.5) < 0.006, shape)
    if name == "checks":
        odd_row = np.mod(height, period) < period / 2
        odd_column = np.mod(x + 0.5 * period, period) < period / 2
        return np.asarray(odd_row ^ odd_column)
    if name == "blocks":
        if rng.random() < 0.5:
            return np.broadcast_to(height > float(rng.uniform(1.2, 1.36)), shape)
        return np.broadcast_to(arm, shape)
    if name in ("print", "number"):
        canvas = np.zeros(shape, np.uint8)
        if name == "number":
            text, size = str(int(rng.integers(1, 99))), 0.0076 / chart.texel_m
            pen = max(1, round(0.024 / chart.texel_m))
            (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, pen)
            corner = (
                shape[1] // 2 - w // 2,
                round((chart.high[1] - 1.24) / chart.texel_m) + h // 2,
            )
            cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_DUPLEX, size, 255, pen)
        elif not chart.back:
            unit = 0.004 / chart.texel_m
            centre = (shape[1] // 2, round((chart.high[1] - 1.30) / chart.texel_m))
            radius, pen = round(float(rng.uniform(8, 20)) * unit), max(1, round(4 * unit))
            cv2.circle(canvas, centre, radius, 255, -1 if rng.random() < 0.5 else pen)
            bar, low = round(22 * unit), centre[1] + round(26 * unit)
            cv2.line(canvas, (centre[0] - bar, low), (centre[0] + bar, low), 255, pen)
        return (canvas[:, ::-1] if chart.back else canvas) > 0
    if name == "spots":
        u, v = np.mod(x, period) - period / 2, np.mod(height, period) - period / 2
        return u**2 + v**2 < (0.3 * period) ** 2
    if name == "blotches":
        return smooth_noise(rng, shape, _cells(chart, 0.055, 0.055)) > 0.4
    return np.zeros(shape, bool)


def _top(look: Look, chart: Chart, rng: np.random.Generator, same: np.random.Generator) -> Float32:
    x, y = chart.grid()
    shape = (chart.height, chart.width)
    pixels = _filled(chart, look.colors[0], 60.0 if look.top == "jacket" else 40.0)
    second = _pattern(look, chart, same)
    pixels[np.broadcast_to(second, shape), :3] = look.colors[1]
    if not chart.back:
        if look.top in ("jacket", "coat"):
            opening = np.abs(x) < 0.02 + 0.05 * np.clip((y - 0.95) / 0.5, 0, 1)
            opening = np.broadcast_to(opening, shape)
            pixels[opening, :3] = look.colors[4]
            lapel = np.broadcast_to(
                np.abs(np.abs(x) - (0.035 + 0.05 * np.clip((y - 0.95) / 0.5, 0, 1))) < 0.012, shape
            )
            pixels[lapel, :3] *= 0.8
        if look.top == "shirt":
            pixels[np.broadcast_to(np.abs(x) < 0.003, shape), :3] *= 0.75
            buttons = (np.mod(y, 0.085) < 0.010) & (np.abs(x - 0.012) < 0.006)
            pixels[np.broadcast_to(buttons, shape), :3] = (225, 225, 225)
        if look.top == "hoodie":
            pouch = (np.abs(x) < 0.11) & (np.abs(y - 1.03) < 0.06)
            rim = pouch & ~((np.abs(x) < 0.105) & (np.abs(y - 1.03) < 0.055))
            pixels[np.broadcast_to(rim, shape), :3] *= 0.72
    collar = np.broadcast_to((y > 1.44) & (np.abs(x) < 0.12), shape)
    pixels[collar, :3] *= 0.86
    _shade(pixels, _folds(chart, rng, 0.16))
    return pixels


def _blend(
    pixels: Float32, weight: npt.ArrayLike, color: npt.ArrayLike, gloss: float | None = None
) -> None:
    """Mix a colour into the pixels where the weight (h, w) is not 0, in place."""
    share = np.broadcast_to(np.asarray(weight, np.float32), pixels.shape[:2])
    rows, columns = np.flatnonzero(share.any(axis=1)), np.flatnonzero(share.any(axis=0))
    if not len(rows):
        return
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    target, mix = pixels[part], share[part][..., None]
    target[..., :3] += mix * (np.asarray(color, np.float32) - target[..., :3])
    if gloss is not None:
        target[..., 3:] += mix * (gloss - target[..., 3:])


def _disc(x: Float32, y: Float32, at: tuple[float, float], rx: float, ry: float) -> Float32:
    """Soft ellipse, 1 inside, falling to 0 over a texel or two."""
    r = np.sqrt(((x - at[0]) / rx) ** 2 + ((y - at[1]) / ry) ** 2)
    return np.asarray(np.clip((1 - r) * (min(rx, ry) / 0.0018) + 0.5, 0, 1), np.float32)


def _head(look: Look, chart: Chart, rng: np.random.Generator) -> Float32:
    x, y = chart.grid()
    pixels = _skin(look, chart, rng)
    skin = np.array(look.skin, np.float32)
    collar = _neckline(look, chart)
    if look.top in ("hoodie", "coat", "jacket", "shirt"):
        collar = np.maximum(collar, (1.497 if chart.back else 1.478) + 0.1 * np.abs(x))
    pixels[np.broadcast_to(y < collar, pixels.shape[:2])] = (*look.colors[0], 40.0)
    if look.hairstyle not in ("bald",):
        # Hair on the scalp, below the mesh of the hair, so that its edge is not bare.
        line = 1.728 - 2.5 * x**2 if not chart.back else 1.57
        _blend(pixels, np.clip((y - line) / 0.014, 0, 1), look.hair, 40.0)
        sides = np.clip((np.abs(x) - 0.066) / 0.018, 0, 1) * np.clip((y - 1.645) / 0.03, 0, 1)
        _blend(pixels, sides, look.hair, 40.0)
    if chart.back:
        return pixels
    for side in (-1.0, 1.0):
        cheek = _soft(x, y, (0.045 * side, 1.622), 0.022)
        _blend(pixels, 0.16 * cheek, skin * np.array([0.80, 0.78, 1.06]))
        _blend(pixels, 0.22 * _soft(x, y, (0.017 * side, 1.640), 0.008), skin * 0.55)
    _blend(pixels, 0.30 * _soft(x, y, (0.0, 1.6265), 0.009), skin * 0.5)
    if look.beard > 0:
        # Low on the face, higher towards the ears, and above the lip.
        line = 1.604 + 9.0 * np.maximum(np.abs(x) - 0.030, 0) ** 1.5
        jaw = np.clip((line - y) / 0.02, 0, 1) * np.clip((y - 1.532) / 0.02, 0, 1)
        lip = _disc(x, y, (0, 1.6215), 0.028, 0.0055)
        _blend(pixels, np.maximum(jaw, lip) * look.beard * 0.8, look.hair, 20.0)
    lips = skin * np.array([0.66, 0.62, 0.84])
    _blend(pixels, 0.8 * _disc(x, y, (0, 1.6055), 0.023, 0.0085), lips, 110.0)
    _blend(pixels, 0.75 * _disc(x, y, (0, 1.6065), 0.021, 0.0016), skin * 0.35)
    for side in (-1.0, 1.0):
        at = (0.033 * side, 1.672)
        _blend(pixels, 0.30 * _disc(x, y, at, 0.021, 0.013), skin * 0.62)
        _blend(pixels, _disc(x, y, at, 0.0155, 0.0072), (232, 234, 236), 160.0)
        _blend(pixels, _disc(x, y, at, 0.0068, 0.0072), look.eyes, 200.0)
        _blend(pixels, _disc(x, y, at, 0.0034, 0.0038), (12, 12, 12), 220.0)
        _blend(
            pixels, _disc(x, y, (at[0] - 0.002, at[1] + 0.0025), 0.0016, 0.0016), (245, 245, 245)
        )
        lid = _disc(x, y, (at[0], at[1] + 0.0075), 0.017, 0.0032)
        _blend(pixels, 0.85 * lid, skin * 0.25)
        brow = _disc(
            x, y - 0.25 * np.maximum(0, 0.03 - np.abs(x - at[0])), (at[0], 1.683), 0.02, 0.0038
        )
        _blend(pixels, 0.85 * brow, np.array(look.hair) * 0.8 + skin * 0.08)
        _blend(pixels, 0.6 * _disc(x, y, (0.0075 * side, 1.6285), 0.0045, 0.003), skin * 0.3)
        if look.glasses:
            ring = _disc(x, y, at, 0.026, 0.019) - _disc(x, y, at, 0.0235, 0.0165)
            _blend(pixels, ring, (24, 24, 26), 120.0)
            _blend(pixels, 0.10 * _disc(x, y, at, 0.0235, 0.0165), (210, 200, 190), 255.0)
    if look.glasses:
        _blend(pixels, _disc(x, y, (0, 1.677), 0.010, 0.0022), (24, 24, 26), 120.0)
    return pixels


def _soft(x: Float32, y: Float32, at: tuple[float, float], radius: float) -> Float32:
    return np.asarray(np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / radius**2), np.float32)


def _hair(look: Look, chart: Chart, rng: np.random.Generator) -> Float32:
    shape = (chart.height, chart.width)
    hat = look.hairstyle in ("cap", "beanie")
    pixels = _filled(chart, look.hat if hat else look.hair, 24.0 if hat else 105.0)
    if look.hairstyle == "beanie":
        _, y = chart.grid()
        knit = 0.9 + 0.1 * np.sign(np.sin(np.arange(shape[1]) * 2.2))[None, :]
        _shade(pixels, knit * np.where(y < 1.715, 0.85, 1.0))
    elif look.hairstyle == "afro":
        _shade(pixels, 1 + 0.25 * rng.standard_normal(shape, dtype=np.float32))
        pixels[..., 3] = 10.0
    elif not hat:
        strands = smooth_noise(rng, shape, _cells(chart, 0.05, 0.008))
        _shade(pixels, 1 + 0.10 * strands)
    return pixels
