"""Moments of rendered clips: people who walk, run, wave and pass each other, for training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flowtrack.synthetic import ClipOptions, SyntheticFrame, render_clip

MOMENTS = 4
"""Pictures of a clip. They are so far apart that people have moved on."""

_APART_S = 0.9


def walkers(
    clips: range,
    backgrounds: Path,
    size: tuple[int, int] = (416, 320),
    *,
    people: tuple[int, int] = (2, 7),
    crowd: tuple[float, float] = (0.0, 0.8),
) -> Iterator[tuple[str, SyntheticFrame]]:
    """Frames of the clips of these seeds, each with a name for its picture.

    Args:
        clips: seeds.
        backgrounds: folder of pictures; three clips in ten have one of them behind the people.
        size: of the pictures, (width, height) in pixels.
        people: fewest and most of a clip.
        crowd: how closely they are together, least and most (`ClipOptions.crowd`).

    Scenes show people in any posture; these show what people do in videos.
    """
    for seed in clips:
        rng = np.random.default_rng([seed, 0x3A1C])
        smallest = rng.uniform(0.25, 0.6)
        options = ClipOptions(
            width=size[0], height=size[1], frames=MOMENTS, fps=1 / _APART_S,
            people=int(rng.integers(people[0], people[1] + 1)), seed=seed,
            scale=(smallest, smallest + rng.uniform(0.1, 0.5)), crowd=rng.uniform(*crowd),
            camera="pan" if rng.random() < 0.3 else "static",
            things=int(rng.integers(0, 3)), degrade=rng.uniform(0, 0.6),
            backgrounds=backgrounds if rng.random() < 0.3 else None,
        )  # fmt: skip
        for frame in render_clip(options):
            yield f"{seed:08d}_{frame.index}", frame
