"""Benchmark `rendering`: pictures a second from `flowtrack.synthetic` on one core."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2

from benchmarks.measure import Effort, no_collection, one_core
from benchmarks.records import Record
from flowtrack.synthetic import ClipOptions, SceneOptions, render_clip, render_scene

NAME = "rendering"

_WANTED = 15.0
"""Frames a second that training wants of the plain clip."""

_CLIPS = {
    "clip": ClipOptions(seed=1),
    "clip, camera in the hand": ClipOptions(seed=1, camera="handheld"),
    "clip, motion blur and noise": ClipOptions(seed=1, shutter=0.5, degrade=0.7),
}


def measure(effort: Effort) -> Iterator[Record]:
    """Records of clips at 640x480 with five people, flow and truth included, and of scenes."""
    place = {"size": "640x480", "people": 5, "cores": 1}
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with one_core(), no_collection():
            for name, options in _CLIPS.items():
                rates = _clip_rates(options, effort)
                limit = _WANTED if name == "clip" else None
                yield Record(NAME, name, place, "frames/s", rates, limit)
            scenes = SceneOptions(people=(5, 5))
            rates = [_scene_rate(scenes, seed) for seed in range(effort.frames)]
            yield Record(NAME, "scenes, each with new people", place, "frames/s", rates[1:])
    finally:
        cv2.setNumThreads(threads)


def _clip_rates(options: ClipOptions, effort: Effort) -> list[float]:
    """Frames a second of each pass; people are dressed and the place is painted beforehand."""
    rates = []
    for _ in range(effort.passes):
        frames = iter(render_clip(options))
        next(frames)
        start = time.perf_counter()
        for _ in range(effort.frames):
            next(frames)
        rates.append(effort.frames / (time.perf_counter() - start))
    return rates


def _scene_rate(options: SceneOptions, seed: int) -> float:
    start = time.perf_counter()
    render_scene(options, seed)
    return 1 / (time.perf_counter() - start)
