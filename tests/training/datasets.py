"""Small annotated data sets, written as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowtrack.skeleton import COCO_17

NOBODY_THERE: list[dict[str, Any]] = []


def person(
    box: tuple[float, float, float, float] | None = None,
    joints: dict[str, tuple[float, float]] | None = None,
    *,
    hidden: tuple[str, ...] = (),
    crowd: bool = False,
) -> dict[str, Any]:
    """COCO's entry of a person.

    Args:
        box: x1 y1 x2 y2.
        joints: x, y by name.
        hidden: names of those that are labelled but cannot be seen.
        crowd: whether it is a region of many.
    """
    keypoints = [0.0] * 51
    for name, (x, y) in (joints or {}).items():
        at = 3 * COCO_17.index(name)
        keypoints[at : at + 3] = [x, y, 1 if name in hidden else 2]
    entry: dict[str, Any] = {"category_id": 1, "iscrowd": int(crowd), "keypoints": keypoints}
    if box is not None:
        entry["bbox"] = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    return entry


def write_coco(
    folder: Path, pictures: dict[str, np.ndarray], people: dict[str, list[dict[str, Any]]]
) -> tuple[Path, Path]:
    """A data set in COCO's layout; its annotations and folder of pictures."""
    images, annotations = [], []
    place = folder / "images"
    place.mkdir(parents=True, exist_ok=True)
    for number, (name, picture) in enumerate(pictures.items(), 100):
        cv2.imwrite(str(place / name), picture)
        images.append({"id": number, "file_name": name})
        annotations += [{**entry, "image_id": number} for entry in people.get(name, ())]
    path = folder / "person_keypoints.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path, place


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """A picture that no other is like, smooth enough to be learnt."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


IDENTITY_BOX = (6.4, 6.4, 57.6, 57.6)
"""Of a picture of 64 x 64 whose crop of 64 x 64 is the picture itself: padding makes 51.2 64."""


def poses_to_learn(folder: Path, count: int = 4) -> np.ndarray:
    """Pictures of 64 x 64 below `poses/`, one person each; (count, 17, 2) their joints.

    Every joint lies on a heatmap cell, 4 pixels apart.
    """
    rng = np.random.default_rng(7)
    joints = rng.integers(2, 14, (count, 17, 2)) * 4.0
    pictures = {f"{i}.png": noise(64, 64, i) for i in range(count)}
    people = {
        f"{i}.png": [
            person(IDENTITY_BOX, dict(zip(COCO_17.joints, joints[i].tolist(), strict=True)))
        ]
        for i in range(count)
    }
    write_coco(folder / "poses", pictures, people)
    return joints


def boxes_to_learn(folder: Path, count: int = 4) -> None:
    """Pictures of 64 x 64 below `boxes/` with one to three people, who stand out."""
    rng = np.random.default_rng(8)
    pictures, people = {}, {}
    for i in range(count):
        picture = noise(64, 64, 50 + i) // 4
        boxes = []
        for slot in rng.permutation(4)[: 1 + i % 3]:
            left, top = 32 * (slot % 2) + rng.integers(1, 8), 32 * (slot // 2) + rng.integers(1, 8)
            right, bottom = left + rng.integers(12, 22), top + rng.integers(12, 22)
            picture[top:bottom, left:right] = (60, 200, 90)
            boxes.append(person((float(left), float(top), float(right), float(bottom))))
        pictures[f"{i}.png"], people[f"{i}.png"] = picture, boxes
    write_coco(folder / "boxes", pictures, people)


POSE_RECIPE = """
task = "pose"
[network]
depth = 18
width = 0.25
deconv_channels = [32, 32, 32]
input = [64, 64]
sigma = 1
[augment]
scale = 0
rotation = 0
rotated = 0
flip = 0
[schedule]
batch = 4
validations = 4
[[data]]
kind = "coco"
annotations = "poses/person_keypoints.json"
pictures = "poses/images"
[[validation]]
kind = "coco"
annotations = "poses/person_keypoints.json"
pictures = "poses/images"
"""

DETECTOR_RECIPE = """
task = "detector"
[network]
depth = 18
width = 0.25
deconv_channels = [32, 32, 32]
head_channels = 32
input = [64, 64]
[schedule]
batch = 4
validations = 1
[[data]]
kind = "coco"
annotations = "boxes/person_keypoints.json"
pictures = "boxes/images"
[[validation]]
kind = "coco"
annotations = "boxes/person_keypoints.json"
pictures = "boxes/images"
"""
