"""Made-up people for the tracker's kernels: as many as wanted, spread out or all in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowtrack.skeleton import COCO_17
from flowtrack.structs import BoolArray, Boxes, FloatArray, FlowField, IntArray, Poses
from flowtrack.tracker.oks import joint_area

QUEUE = 5
"""Remembered frames that a frame is compared with."""

WIDTH, HEIGHT = 1920, 1080
GRID = (512, 288)
"""Width and height of the flow's grid: what 1080p is reduced to."""

SIGMAS = COCO_17.sigmas

# An upright figure: joints as shares of its height, from the middle between the feet.
_FIGURE = np.array(
    [[0.00, -0.92], [0.02, -0.94], [-0.02, -0.94], [0.05, -0.93], [-0.05, -0.93],
     [0.12, -0.80], [-0.12, -0.80], [0.17, -0.63], [-0.17, -0.63], [0.18, -0.48],
     [-0.18, -0.48], [0.08, -0.50], [-0.08, -0.50], [0.09, -0.27], [-0.09, -0.27],
     [0.10, -0.04], [-0.10, -0.04]]
)  # fmt: skip


@dataclass(frozen=True)
class Crowd:
    """People of one frame, or of the queue's frames one after the other, as bare arrays.

    Attributes:
        xy: (N, 17, 2); usable: (N, 17); area: (N,) px^2; box: (N, 4); score: (N,) of the box.
        track: (N,) int64, who it is.
    """

    xy: FloatArray
    usable: BoolArray
    area: FloatArray
    box: FloatArray
    score: FloatArray
    track: IntArray


def walk(people: int, frames: int, dense: bool = False, seed: int = 0) -> list[Crowd]:
    """The same people over several frames, each in an order of its own.

    Args:
        people: how many.
        frames: how many frames, 40 ms apart.
        dense: all stand in the middle of the picture, a few pixels apart, so that every pair is
            alike; otherwise they are spread over the picture.
        seed: of all that is left to chance.
    """
    rng = np.random.default_rng(seed)
    if dense:
        feet = np.array([WIDTH / 2, HEIGHT * 0.7]) + rng.normal(0, 6, (people, 2))
        tall = rng.uniform(380, 420, people)
    else:
        feet = rng.uniform([60, 200], [WIDTH - 60, HEIGHT], (people, 2))
        tall = rng.uniform(90, 180, people)
    speed = rng.normal(0, 2, (people, 1, 2))
    posture = rng.normal(0, 0.01, (people, len(_FIGURE), 2))
    at_first = feet[:, None] + (_FIGURE[None] + posture) * tall[:, None, None]
    found = []
    for frame in range(frames):
        xy = at_first + frame * speed + rng.normal(0, 1.0, at_first.shape)
        order = rng.permutation(people)
        found.append(_crowd(xy[order].astype(np.float32), order, rng))
    return found


def _crowd(xy: FloatArray, track: IntArray, rng: np.random.Generator) -> Crowd:
    usable = rng.random(xy.shape[:2]) > 0.1
    low, high = xy.min(axis=1), xy.max(axis=1)
    margin = 0.05 * (high - low)
    return Crowd(
        xy=xy,
        usable=usable,
        area=joint_area(xy, usable),
        box=np.concatenate([low - margin, high + margin], axis=1),
        score=rng.uniform(0.6, 1.0, len(xy)).astype(np.float32),
        track=track.astype(np.int64),
    )


def joined(crowds: list[Crowd]) -> Crowd:
    """The people of several frames as one, like the rows of the tracker's queue."""
    names = ("xy", "usable", "area", "box", "score", "track")
    return Crowd(*(np.concatenate([getattr(crowd, name) for crowd in crowds]) for name in names))


def poses_of(crowd: Crowd) -> Poses:
    """What a pose network would have found."""
    score = np.where(crowd.usable, np.float32(0.9), np.float32(0.2))
    return Poses(crowd.xy, score, crowd.box, crowd.score)


def boxes_of(crowd: Crowd) -> Boxes:
    """What a detector would have found."""
    return Boxes.detected(crowd.box, crowd.score)


def flow_field(from_index: int = 0, seed: int = 0) -> FlowField:
    """Flow of a pixel or so, on the grid that 1080p is reduced to."""
    rng = np.random.default_rng(seed)
    width, height = GRID
    uv = rng.normal(0, 1, (2, height, width)).astype(np.float32)
    return FlowField(uv, (width / WIDTH, height / HEIGHT), from_index, from_index + 1)
