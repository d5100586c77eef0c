"""Clips made hard on purpose, to measure trackers on: what training never shows.

Each clip is hard in one way above all: fast (everybody walks or runs, few pictures a second, some
of them missing), blurred (a shutter that stays open, a poor camera), crowded, or full of things
that hide people. In all of them people enter, leave and pass one another, and in most the camera
moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from flowtrack.errors import OptionError
from flowtrack.synthetic.clip_options import ClipOptions
from flowtrack.synthetic.shot import CAMERAS
from flowtrack.synthetic.writing import ClipFiles, write_clip

VALIDATION_SEED = 9_000_000
"""Seed of the first clip; training uses lower ones."""

VALIDATION_CLIPS = 24
"""Clips of the whole set."""

_COMMON = ClipOptions(width=640, height=480, frames=40, people=5, degrade=0.3, shutter=0.3)
_HARD = MappingProxyType(
    {
        "fast": replace(_COMMON, fps=10.0, missed=0.2, motions=("walk", "run")),
        "blurred": replace(_COMMON, fps=12.5, shutter=1.0, degrade=0.9),
        "crowded": replace(_COMMON, fps=15.0, people=9, crowd=1.0),
        "hidden": replace(_COMMON, fps=15.0, people=6, crowd=0.6, things=9),
    }
)


def validation_clips(count: int = VALIDATION_CLIPS) -> dict[str, ClipOptions]:
    """The first clips of the set by name, every kind in turn; beyond the whole set it goes on.

    Args:
        count: how many.

    Raises:
        OptionError: `count` is not positive.
    """
    if count < 1:
        raise OptionError(f"number of clips is {count}, expected 1 or more")
    kinds = list(_HARD)
    clips = {}
    for index in range(count):
        kind, turn = kinds[index % len(kinds)], index // len(kinds)
        # Names as PoseTrack has them, so that poseval reads the files of 2018, too.
        clips[f"{index + 1:06d}_{kind}_test"] = replace(
            _HARD[kind], camera=CAMERAS[turn % len(CAMERAS)], seed=VALIDATION_SEED + index
        )
    return clips


def write_validation(
    folder: Path,
    clips: dict[str, ClipOptions],
    progress: Callable[[], None] | None = None,
) -> Sequence[ClipFiles]:
    """Render clips into a folder, as `write_clip` does; the folder is the truth and the pictures.

    Joints that something hides are part of the truth, as PoseTrack labels them, and head points are
    those of the body itself.

    Args:
        folder: made if it is not there.
        clips: by name, see `validation_clips`.
        progress: called after each frame.

    Raises:
        OutputError: a file cannot be written, or is there already.
    """

    def done(frames: int) -> None:
        del frames
        if progress is not None:
            progress()

    return [
        write_clip(
            folder, options, name=name, pictures="jpg", hidden=True, head="measured", progress=done
        )
        for name, options in clips.items()
    ]
