"""PoseTrack files as plain objects, for the oracle of tracking quality.

Positions are pixels; joints are the 15 of PoseTrack 2017 by id.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist",
    "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "nose",
    "head_top",
)  # fmt: skip
COUNT = len(JOINTS)
HEAD_SHARE = 0.6  # of the head box's diagonal
NO_SCORE = -9999.0


@dataclass(frozen=True)
class Person:
    """One annotated or predicted person of a frame.

    Attributes:
        track_id: unique within the frame.
        xy: (15, 2), NaN where there is no joint.
        score: (15,) of the joints.
        head: x1, y1, x2, y2 of the head box; needed in the truth only.
    """

    track_id: int
    xy: Floats
    score: Floats = field(default_factory=lambda: np.full(COUNT, NO_SCORE))
    head: tuple[float, float, float, float] | None = None

    @property
    def has(self) -> npt.NDArray[np.bool_]:
        """(15,) true where a joint is there."""
        return np.isfinite(self.xy[:, 0]) & np.isfinite(self.xy[:, 1])

    @property
    def normaliser(self) -> float:
        """Pixels that count as distance 1."""
        if self.head is None:
            raise ValueError(f"person {self.track_id} of the truth has no head box")
        x1, y1, x2, y2 = self.head
        return HEAD_SHARE * math.hypot(x2 - x1, y2 - y1)


@dataclass(frozen=True)
class LabelledFrame:
    """One frame.

    Attributes:
        people: those that carry a list of points, be it empty.
        ignore: polygons (V, 2) in which nothing is counted.
        rects: people before those without a list of points were left out.
    """

    people: tuple[Person, ...] = ()
    ignore: tuple[Floats, ...] = ()
    rects: int = -1
    name: str = ""

    def __post_init__(self) -> None:
        ids = [person.track_id for person in self.people]
        if len(set(ids)) != len(ids):
            raise ValueError(f"frame {self.name!r}: track ids {ids} repeat")
        if self.rects < 0:
            object.__setattr__(self, "rects", len(self.people))


Clip = list[LabelledFrame]


def _only(value: Any) -> Any:
    """PoseTrack 2017 keeps scalars in lists of one."""
    return value[0] if isinstance(value, list) else value


def _person(rect: dict[str, Any]) -> Person:
    xy, score = np.full((COUNT, 2), np.nan), np.full(COUNT, NO_SCORE)
    for point in reversed(rect["annopoints"][0]["point"]):  # the first of a joint counts
        joint = _only(point["id"])
        xy[joint] = _only(point["x"]), _only(point["y"])
        score[joint] = _only(point.get("score", NO_SCORE))
    corners = ("x1", "y1", "x2", "y2")
    head = (
        tuple(float(_only(rect[c])) for c in corners) if all(c in rect for c in corners) else None
    )
    return Person(int(_only(rect["track_id"])), xy, score, head)  # type: ignore[arg-type]


def read_posetrack17(path: str | Path) -> Clip:
    """Truth or results of one clip from a PoseTrack 2017 file.

    Raises:
        ValueError: a track id occurs twice in a frame.
    """
    clip: Clip = []
    for frame in json.loads(Path(path).read_text())["annolist"]:
        with_points = [
            rect
            for rect in frame["annorect"]
            if rect.get("annopoints") and "point" in rect["annopoints"][0]
        ]
        ignore = tuple(
            np.array([(_only(p["x"]), _only(p["y"])) for p in region["point"]], float)
            for region in frame.get("ignore_regions", [])
        )
        people = tuple(_person(rect) for rect in with_points)
        name = frame["image"][0]["name"] if "image" in frame else ""
        clip.append(LabelledFrame(people, ignore, len(frame["annorect"]), name))
    return clip


def _person18(annotation: dict[str, Any], slots: list[int | None]) -> Person:
    xy, score = np.full((COUNT, 2), np.nan), np.full(COUNT, NO_SCORE)
    points = np.asarray(annotation["keypoints"], float).reshape(len(slots), 3)
    scores = annotation.get("scores") or [NO_SCORE] * len(slots)
    for joint, point, value in zip(slots, points, scores, strict=True):
        if joint is not None and point.any():  # three zeros: not annotated
            xy[joint], score[joint] = point[:2], value
    head = None
    if "bbox_head" in annotation:
        x, y, width, height = annotation["bbox_head"]
        head = (x, y, x + width, y + height)
    return Person(int(annotation["track_id"]), xy, score, head)


def read_posetrack18(path: str | Path) -> Clip:
    """Truth or results of one clip from a PoseTrack 2018 file; see `read_posetrack17`."""
    content = json.loads(Path(path).read_text())
    names = [{"head_bottom": "neck"}.get(n, n) for n in content["categories"][0]["keypoints"]]
    slots = [JOINTS.index(name) if name in JOINTS else None for name in names]
    clip: Clip = []
    for image in content["images"]:
        people = tuple(
            _person18(annotation, slots)
            for annotation in content["annotations"]
            if annotation["image_id"] == image["id"]
        )
        regions = zip(
            image.get("ignore_regions_x", []), image.get("ignore_regions_y", []), strict=True
        )
        ignore = tuple(np.array([xs, ys], float).T for xs, ys in regions)
        clip.append(LabelledFrame(people, ignore, name=image.get("file_name", "")))
    return clip


def read_posetrack(path: str | Path) -> Clip:
    """Truth or results of one clip from a PoseTrack file of either year."""
    content = json.loads(Path(path).read_text())
    return read_posetrack17(path) if "annolist" in content else read_posetrack18(path)
