"""Pairs for `flowtrack eval flow --synthetic N`: rendered, with exact flow, written as a set."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import cv2
import numpy as np

from flowtrack.errors import OutputError
from flowtrack.flo import write_flo
from flowtrack.synthetic import CAMERAS, ClipOptions
from flowtrack.synthetic.chairs import ChairsGenerator, ChairsOptions
from flowtrack.synthetic.writing import write_clip

SEED = 9_000_000
"""The first seed of pairs and of clips; no training whose own seed is below 90 draws these."""

_CLIP_PAIRS = 8  # of one camera and one set of people
_CLIP_PEOPLE = 6  # at most
_PICTURE_PX = (640, 480)


def render_pairs(folder: Path, count: int, progress: Callable[[], None]) -> None:
    """Render pairs, half in the manner of FlyingChairs, half neighbouring frames of people.

    Args:
        folder: is made; gets `chairs/` and `people/`, all of it or nothing. A mask beside each
            flow says what the second picture shows.
        count: of pairs.
        progress: called after each picture or pair.

    Raises:
        OutputError: the folder is there already, or cannot be written.
    """
    if folder.exists():
        raise OutputError(f"{folder} is there already; remove it or name another --out")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"cannot write into {folder.parent}: {error}") from error
    try:
        _render_chairs(scratch / "chairs", (count + 1) // 2, progress)
        _render_people(scratch / "people", count // 2, progress)
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _render_chairs(folder: Path, count: int, progress: Callable[[], None]) -> None:
    folder.mkdir()
    generator = ChairsGenerator(ChairsOptions())
    for index in range(count):
        pair = generator.pair(SEED + index)
        stem = f"{index + 1:05d}"
        mask = np.asarray(pair.visible, np.uint8) * 255
        for name, picture in (
            ("img1.ppm", pair.previous), ("img2.ppm", pair.current), ("flow.png", mask)
        ):  # fmt: skip
            path = folder / f"{stem}_{name}"
            if not cv2.imwrite(str(path), picture):
                raise OutputError(f"cannot write {path}; is the disk full?")
        write_flo(folder / f"{stem}_flow.flo", pair.uv)
        progress()


def _render_people(folder: Path, count: int, progress: Callable[[], None]) -> None:
    for clip in range(-(-count // _CLIP_PAIRS)):
        pairs = min(_CLIP_PAIRS, count - clip * _CLIP_PAIRS)
        options = ClipOptions(
            width=_PICTURE_PX[0], height=_PICTURE_PX[1], frames=pairs + 1, seed=SEED + clip,
            people=1 + clip % _CLIP_PEOPLE, camera=CAMERAS[clip % len(CAMERAS)],
        )  # fmt: skip

        def of_frame(done: int) -> None:
            if done > 1:  # the first frame ends no pair
                progress()

        write_clip(folder, options, name=f"{clip + 1:04d}", flow=True, progress=of_frame)
