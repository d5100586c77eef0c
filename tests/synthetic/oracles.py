"""Slow, obvious versions of what the renderer does fast; they share no code with it."""

from __future__ import annotations

import numpy as np


def nearest_faces(xy, inverse_depth, faces, shape):
    """(h, w) the nearest front-facing triangle at every sample, -1 where there is none."""
    best = np.zeros(shape)
    out = np.full(shape, -1)
    for number, (i, j, k) in enumerate(faces):
        a, b, c = (np.asarray(xy[v], float) for v in (i, j, k))
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area <= 1e-6 or min(inverse_depth[[i, j, k]]) <= 0:
            continue
        for row in range(shape[0]):
            for column in range(shape[1]):
                p = np.array([column, row], float)
                u = ((p - a)[0] * (c - a)[1] - (p - a)[1] * (c - a)[0]) / area
                v = ((b - a)[0] * (p - a)[1] - (b - a)[1] * (p - a)[0]) / area
                if u < 0 or v < 0 or u + v > 1:
                    continue
                near = (1 - u - v) * inverse_depth[i] + u * inverse_depth[j] + v * inverse_depth[k]
                if near > best[row, column]:
                    best[row, column], out[row, column] = near, number
    return out


def first_hit_m(origin, target, vertices, faces):
    """Distance from `origin` to the first triangle on the way to `target`; infinite without one."""
    direction = (target - origin) / np.linalg.norm(target - origin)
    a, b, c = (vertices[faces[:, i]].astype(float) for i in range(3))
    p = np.cross(direction, c - a)
    determinant = ((b - a) * p).sum(axis=1)
    front = determinant > 1e-12  # seen from outside
    scale = 1 / np.where(front, determinant, 1.0)
    u = ((origin - a) * p).sum(axis=1) * scale
    q = np.cross(origin - a, b - a)
    v = (q @ direction) * scale
    t = ((c - a) * q).sum(axis=1) * scale
    hit = front & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return float(t[hit].min()) if hit.any() else np.inf


def sampled(image, x, y):
    """Bilinear values (H, W, C) of an image at positions (H, W), edges repeated."""
    height, width = image.shape[:2]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = image[top, left] * (1 - fx) + image[top, left + 1] * fx
    lower = image[top + 1, left] * (1 - fx) + image[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy
