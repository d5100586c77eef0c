"""Sets of pairs for tests: squares that move over noise by a known amount."""

from __future__ import annotations

import cv2
import numpy as np

from flowtrack.flo import write_flo

SIZE = (48, 64)


def moved(shift, seed=0, size=SIZE):
    """Two pictures of one texture, and the flow (dx, dy) that leads from one to the other."""
    rng = np.random.default_rng(seed)
    height, width = size
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (height + 32, width + 32, 3)), (0, 0), 1.5)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    dx, dy = shift
    first = wide[16 : 16 + height, 16 : 16 + width]
    second = wide[16 - dy : 16 - dy + height, 16 - dx : 16 - dx + width]
    uv = np.empty((2, height, width), np.float32)
    uv[0], uv[1] = dx, dy
    return first.copy(), second.copy(), uv


def write_pair(folder, names, shift=(2, 1), *, mask=None, valid=None, seed=0, size=SIZE):
    """A pair as three files, and the mask as a fourth."""
    first, second, uv = moved(shift, seed, size)
    for name, picture in zip(names[:2], (first, second), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), picture)
    flow = folder / names[2]
    flow.parent.mkdir(parents=True, exist_ok=True)
    write_flo(flow, uv, valid)
    if mask is not None:
        assert cv2.imwrite(str(flow.with_suffix(".png")), np.where(mask, 255, 0).astype(np.uint8))
    return uv


def chairs(stem):
    return f"{stem}_img1.ppm", f"{stem}_img2.ppm", f"{stem}_flow.flo"


def write_set(folder):
    """Three pairs of FlyingChairs' layout, with motions of (2, 1), (0, 0) and (6, -3) px."""
    for index, shift in enumerate([(2, 1), (0, 0), (6, -3)]):
        write_pair(folder, chairs(f"{index + 1:05d}"), shift, seed=index)
    return folder
