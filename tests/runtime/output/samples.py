"""Tracked frames made by hand."""

from __future__ import annotations

import numpy as np

from flowtrack.skeleton import POSETRACK17_15
from flowtrack.structs import Poses, TrackedFrame, Tracks

SKELETON = POSETRACK17_15
NAN = float("nan")


def frame(index: int, people: dict[int, list[int]], time_s: float | None = None) -> TrackedFrame:
    """People (id: the joints that are there) with joint j of person i at (10 i + j, 100 + j).

    Joint scores are 0.5 + j / 100, box scores 0.8.
    """
    joints, count = len(SKELETON), len(people)
    xy = np.full((count, joints, 2), np.nan, np.float32)
    score = np.tile(0.5 + np.arange(joints) / 100, (count, 1))
    box = np.zeros((count, 4), np.float32)
    for row, (track_id, there) in enumerate(people.items()):
        for joint in there:
            xy[row, joint] = 10 * track_id + joint, 100 + joint
        box[row] = 10 * track_id - 1, 99, 10 * track_id + 15, 115
    ids = np.array(list(people), np.int64)
    poses = Poses(xy, score, box, np.full(count, 0.8, np.float32))
    tracks = Tracks(ids, np.zeros(count, np.int64), np.full(count, np.nan, np.float32))
    return TrackedFrame(index, index / 25 if time_s is None else time_s, poses, tracks)


def picture(number: int = 0, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A picture of one level of grey."""
    return np.full((size[1], size[0], 3), 10 + 5 * number % 240, np.uint8)


def leftovers(folder) -> list[str]:
    """Names of all files, temporary ones included."""
    return sorted(path.name for path in folder.iterdir())
