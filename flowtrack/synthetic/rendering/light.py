"""Light on vertices and on the ground: sun or lamp, sky, and the shadows that bodies cast."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.rendering.camera import Camera
from flowtrack.synthetic.rendering.render import Soup

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

_CELL_M = 0.03
_BIAS_M = 0.075
"""How far a vertex may lie behind the shadow map before it is in shadow: a few cells."""
_MOST_CELLS = 900


@dataclass(frozen=True)
class Light:
    """The light of a scene, in linear units (1 = a white surface comes out white).

    Attributes:
        towards: (3,) unit vector to the sun or lamp.
        key: (3,) its blue, green and red.
        sky, bounce: (3,) light from above and from below.
        softness: width of the shadows' edges, metres.
    """

    towards: Floats
    key: Floats
    sky: Floats
    bounce: Floats
    softness: float


def random_light(rng: np.random.Generator, indoor: bool) -> Light:
    """Daylight from clear to overcast, or lamps of a room."""
    azimuth = rng.uniform(0, 2 * np.pi)
    height = rng.uniform(0.45, 1.3)
    towards = np.array(
        [np.cos(azimuth) * np.cos(height), np.sin(height), np.sin(azimuth) * np.cos(height)]
    )
    if towards[2] < 0 and rng.random() < 0.7:
        towards[2] *= -1  # rarely against the light
    warm = rng.uniform(-0.05, 0.18) if indoor else rng.uniform(-0.03, 0.13)
    strength = rng.uniform(0.35, 0.8) if indoor else rng.uniform(0.25, 1.15)
    fill = float(np.clip(0.95 - 0.5 * strength + rng.normal(0, 0.06), 0.25, 0.85))
    key = strength * np.array([1 - warm, 1.0, 1 + warm])
    sky = fill * (np.array([1.0, 1.0, 1.0]) if indoor else np.array([1.12, 1.02, 0.92]))
    bounce = 0.55 * fill * np.array([0.92, 0.98, 1.06])
    return Light(towards, key, sky, bounce, float(rng.uniform(0.02, 0.12)))


@dataclass(frozen=True)
class ShadowMap:
    """Height towards the light of what is nearest to it, on a grid across the light.

    Attributes:
        axes: (2, 3) directions of the grid's columns and rows.
        corner: (2,) metres at the centre of the first cell.
        nearest: (rows, columns) metres along the light; -inf where there is nothing.
        cell_m: size of a cell.
    """

    axes: Floats
    corner: Floats
    nearest: Float32
    cell_m: float


def shadow_map(points: Float32, light: Light) -> ShadowMap:
    """The shadow map of all vertices (V, 3) together."""
    helper = np.array([0.0, 0.0, 1.0]) if abs(light.towards[1]) > 0.9 else np.array([0.0, 1.0, 0.0])
    first = np.cross(helper, light.towards)
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(light.towards, first)])
    flat = points @ axes.T.astype(np.float32)
    corner, far = flat.min(axis=0) - 0.3, flat.max(axis=0) + 0.3
    cell = max(_CELL_M, float((far - corner).max()) / _MOST_CELLS)
    columns, rows = (np.ceil((far - corner) / cell).astype(int) + 1).tolist()
    nearest = np.full(rows * columns, -np.inf, np.float32)
    at = np.rint((flat - corner) / cell).astype(np.int64)
    along = points @ light.towards.astype(np.float32)
    np.maximum.at(nearest, at[:, 1] * columns + at[:, 0], along)
    return ShadowMap(axes, corner.astype(float), nearest.reshape(rows, columns), cell)


def lit_share(points: Float32, light: Light, shadows: ShadowMap) -> Float32:
    """(V,) 1 in full light, 0 in full shadow."""
    flat = (points @ shadows.axes.T.astype(np.float32) - shadows.corner) / shadows.cell_m
    along = points @ light.towards.astype(np.float32)
    rows, columns = shadows.nearest.shape
    lit = np.zeros(len(points), np.float32)
    taps = ((-0.8, -0.5), (0.8, 0.5), (-0.5, 0.8), (0.5, -0.8))
    for dx, dy in taps:
        column = np.clip(np.rint(flat[:, 0] + dx).astype(np.int64), 0, columns - 1)
        row = np.clip(np.rint(flat[:, 1] + dy).astype(np.int64), 0, rows - 1)
        behind = shadows.nearest.reshape(-1)[row * columns + column] - along - _BIAS_M
        lit += 1 - np.clip(behind / 0.04, 0, 1)
    return lit / np.float32(len(taps))


def vertex_light(soup: Soup, camera: Camera, light: Light, shadows: ShadowMap) -> Float32:
    """(V, 4) light that a white matt vertex returns (blue, green, red), and its highlight."""
    points, normals, openness = soup.vertices, soup.normals, soup.openness
    towards = light.towards.astype(np.float32)
    view = camera.place.astype(np.float32) - points
    view /= np.sqrt((view**2).sum(axis=1, keepdims=True))
    facing = normals @ towards
    # Wrapped a little around the body, as soft sources and skin do.
    diffuse = np.clip((facing + 0.12) / 1.12, 0, 1) * lit_share(points, light, shadows)
    above = (0.5 + 0.5 * normals[:, 1])[:, None]
    ambient = (light.bounce + (light.sky - light.bounce) * above) * openness[:, None]
    half = view + towards
    half /= np.sqrt((half**2).sum(axis=1, keepdims=True)) + 1e-6
    shine = np.clip((normals * half).sum(axis=1), 0, 1) ** 22 * diffuse
    grazing = np.clip(1 - (normals * view).sum(axis=1), 0, 1) ** 3
    highlight = 0.9 * shine * light.key.mean() + 0.45 * grazing * above[:, 0] * light.sky.mean()
    out = np.empty((len(points), 4), np.float32)
    out[:, :3] = diffuse[:, None] * light.key + ambient
    out[:, 3] = highlight
    return out


def ground_shade(
    points: Float32, camera: Camera, light: Light, shadows: ShadowMap
) -> npt.NDArray[np.uint8]:
    """(H, W) how much of the light reaches the ground at each pixel, 0 to 255.

    Cast shadows come from the shadow map, whose cells are an affine picture of the ground seen
    from the light; the dark below feet comes from what is close above the ground.
    """
    direct = (light.key * max(float(light.towards[1]), 0.2)).mean()
    share = float(direct / (direct + light.sky.mean()))
    covered = (shadows.nearest > -np.inf).astype(np.uint8) * np.uint8(round(255 * share))
    closed = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    sigma = 0.7 + light.softness / shadows.cell_m / 2
    cast = cv2.GaussianBlur(closed, (0, 0), sigma)
    # Ground point (x, z) -> grid column and row.
    to_grid = np.eye(3)
    to_grid[:2, :2] = shadows.axes[:, [0, 2]] / shadows.cell_m
    to_grid[:2, 2] = -shadows.corner / shadows.cell_m
    to_pixels = camera.plane_homography((0, 0, 0), (1, 0, 0), (0, 0, 1))
    size = (camera.width, camera.height)
    dark = cv2.warpPerspective(cast, to_pixels @ np.linalg.inv(to_grid), size)
    near = _contact(points, to_pixels, size)
    lit = cv2.bitwise_not(np.asarray(dark))
    return np.asarray(cv2.multiply(lit, cv2.bitwise_not(near), scale=1 / 255), np.uint8)


def _contact(points: Float32, to_pixels: Floats, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    low = points[points[:, 1] < 0.22]
    if not len(low):
        return np.zeros((size[1], size[0]), np.uint8)
    flat = low[:, [0, 2]]
    corner = flat.min(axis=0) - 0.5
    extent = flat.max(axis=0) + 0.5 - corner
    cell = max(0.03, float(extent.max()) / 700)
    columns, rows = (np.ceil(extent / cell).astype(int) + 1).tolist()
    near = np.zeros(rows * columns, np.float32)
    at = ((flat - corner) / cell).astype(np.int64)
    np.maximum.at(near, at[:, 1] * columns + at[:, 0], 255 * np.exp(-low[:, 1] / 0.07))
    spread = cv2.GaussianBlur(near.reshape(rows, columns).astype(np.uint8), (0, 0), 0.06 / cell)
    spread = np.minimum(cv2.convertScaleAbs(spread, alpha=1.6), 190).astype(np.uint8)
    to_grid = np.array(
        [[1 / cell, 0, -corner[0] / cell], [0, 1 / cell, -corner[1] / cell], [0, 0, 1]]
    )
    return np.asarray(
        cv2.warpPerspective(spread, to_pixels @ np.linalg.inv(to_grid), size), np.uint8
    )
