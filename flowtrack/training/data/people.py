"""Annotated people as arrays, from COCO and PoseTrack files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, SourceError
from flowtrack.skeleton import COCO_17, POSETRACK17_15, POSETRACK18_17, Skeleton
from flowtrack.structs import BoolArray, FloatArray, IntArray, checked

JOINT_BOX = 1.15
"""A box around joints is longer than their extent by this (the paper, section 4.2)."""

_HASH_RANGE = 1000


@dataclass(frozen=True)
class People:
    """Every annotated person of a data set.

    Attributes:
        skeleton: of the joints.
        paths: (P,) of the pictures, also of those that show nobody.
        picture: (N,) int64, the number of the picture that shows each person.
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels; of no extent where a person has none.
        joints: (N, K, 3) float32: x, y, and 0 not labelled, 1 labelled but hidden, 2 visible.
        crowd: (N,) bool, a region with more people than the annotation tells apart.
    """

    skeleton: Skeleton
    paths: tuple[Path, ...]
    picture: IntArray
    boxes: FloatArray
    joints: FloatArray
    crowd: BoolArray

    def __post_init__(self) -> None:
        count, joints = len(self.picture), len(self.skeleton.joints)
        checked("boxes", self.boxes, (count, 4), np.float32)
        checked("joints", self.joints, (count, joints, 3), np.float32)
        if count and not 0 <= self.picture.min() <= self.picture.max() < len(self.paths):
            raise InputError(f"picture numbers run beyond the {len(self.paths)} pictures")

    def __len__(self) -> int:
        return len(self.picture)

    def select(self, keep: npt.ArrayLike) -> People:
        """The people that a mask or list of numbers names; all pictures stay."""
        index = np.asarray(keep)
        return replace(
            self,
            picture=self.picture[index],
            boxes=self.boxes[index],
            joints=self.joints[index],
            crowd=self.crowd[index],
        )

    def with_joints(self, least: int) -> People:
        """Those who are no crowd, have an extent and at least so many labelled joints."""
        labelled = (self.joints[:, :, 2] > 0).sum(1) >= least
        extent = (self.boxes[:, 2:] - self.boxes[:, :2]).min(1, initial=np.inf) > 1
        return self.select(labelled & extent & ~self.crowd)

    def split(self, held_out: float) -> tuple[People, People]:
        """Training and held-out people; a picture's name decides for all people in it.

        Args:
            held_out: share of the pictures that is held out.

        Returns:
            Both with only their own pictures. The same name goes to the same side in any data set.
        """
        if not 0 <= held_out < 1:
            raise InputError(f"held_out is {held_out}, expected a share from 0 to below 1")
        aside = np.array(
            [zlib.crc32(path.name.encode()) % _HASH_RANGE < held_out * _HASH_RANGE
             for path in self.paths],
            bool,
        )  # fmt: skip
        return self._only(~aside), self._only(aside)

    def _only(self, pictures: BoolArray) -> People:
        number = np.cumsum(pictures) - 1
        kept = pictures[self.picture] if len(self) else np.zeros(0, bool)
        chosen = self.select(kept)
        paths = tuple(path for path, keep in zip(self.paths, pictures, strict=True) if keep)
        return replace(chosen, paths=paths, picture=number[chosen.picture].astype(np.int64))


def read_coco(annotations: Path, pictures: Path) -> People:
    """People of a COCO `person_keypoints_*.json`.

    Args:
        annotations: the JSON file.
        pictures: folder of the pictures that it names.

    Raises:
        SourceError: a file is missing or has another layout.
    """
    return _read(annotations, pictures, COCO_17)


def read_posetrack18(annotations: Path, pictures: Path) -> People:
    """People of the PoseTrack18 files below a folder; boxes are the joints' extent + 15%.

    Frames that were not labelled are left out.

    Args:
        annotations: folder of JSON files, one a video.
        pictures: folder that the pictures' names are relative to.

    Raises:
        SourceError: a file is missing or has another layout.
    """
    files = _json_files(annotations)
    return _joined([_boxed_by_joints(_read(path, pictures, POSETRACK18_17)) for path in files])


def read_posetrack17(annotations: Path, pictures: Path) -> People:
    """People of the PoseTrack17 files below a folder; boxes are the joints' extent + 15%.

    Frames that were not labelled are left out.

    Args:
        annotations: folder of JSON files with `annolist`, one a video, or one such file.
        pictures: folder that the pictures' names are relative to.

    Raises:
        SourceError: a file is missing or has another layout.
    """
    return _joined([_read_posetrack17(path, pictures) for path in _json_files(annotations)])


def _json_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    files = sorted(place.rglob("*.json"))
    if not files:
        raise SourceError(f"{place} holds no .json file; expected PoseTrack annotations")
    return files


def _load(path: Path, expected: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"{path} is no readable JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get(expected), list):
        raise SourceError(f"{path} has no list '{expected}'; expected that kind of annotations")
    return content


def _read(path: Path, pictures: Path, skeleton: Skeleton) -> People:
    content = _load(path, "annotations")
    try:
        images = [image for image in content["images"] if image.get("is_labeled", True)]
        number = {image["id"]: i for i, image in enumerate(images)}
        unlabelled = {image["id"] for image in content["images"]} - set(number)
        names = [pictures / image["file_name"] for image in images]
        people = [
            item
            for item in content["annotations"]
            if item.get("category_id", 1) == 1
            and (item.get("bbox") or item.get("keypoints"))
            and item["image_id"] not in unlabelled
        ]
        picture = np.array([number[item["image_id"]] for item in people], np.int64)
        joints = _coco_joints(people, len(skeleton.joints))
        xywh = [item.get("bbox") or (0, 0, 0, 0) for item in people]
        boxes = np.array(xywh, np.float32).reshape(len(people), 4)
        crowd = np.array([bool(item.get("iscrowd", 0)) for item in people], bool)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{path}: {type(error).__name__} {error}; expected COCO's layout"
        ) from error
    boxes[:, 2:] += boxes[:, :2]
    if not np.isfinite(boxes).all():
        raise SourceError(f"{path} has boxes that are not finite numbers")
    return People(skeleton, tuple(names), picture, boxes, _finite(joints, path), crowd)


def _coco_joints(people: Sequence[Mapping[str, Any]], count: int) -> FloatArray:
    blank = [0.0] * (3 * count)
    flat = [person.get("keypoints") or blank for person in people]
    joints = np.array(flat, np.float32).reshape(len(people), count, 3)
    joints[joints[:, :, 2] <= 0] = 0
    return joints


def _finite(joints: FloatArray, source: Path) -> FloatArray:
    if not np.isfinite(joints).all():
        raise SourceError(f"{source} has joints that are not finite numbers")
    return joints


def _read_posetrack17(path: Path, pictures: Path) -> People:
    content = _load(path, "annolist")
    paths: list[Path] = []
    picture: list[int] = []
    joints: list[FloatArray] = []
    try:
        for frame in content["annolist"]:
            if not _bare(frame.get("is_labeled", 1)):
                continue
            for person in frame.get("annorect") or ():
                points = _posetrack17_points(person)
                if points[:, 2].any():
                    picture.append(len(paths))
                    joints.append(points)
            paths.append(pictures / _bare(frame["image"])["name"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SourceError(
            f"{path}: {type(error).__name__} {error}; expected PoseTrack17's layout"
        ) from error
    count = len(picture)
    stacked = np.array(joints, np.float32).reshape(count, len(POSETRACK17_15), 3)
    people = People(
        POSETRACK17_15,
        tuple(paths),
        np.array(picture, np.int64),
        np.zeros((count, 4), np.float32),
        _finite(stacked, path),
        np.zeros(count, bool),
    )
    return _boxed_by_joints(people)


def _posetrack17_points(person: Mapping[str, Any]) -> FloatArray:
    joints = np.zeros((len(POSETRACK17_15), 3), np.float32)
    for group in person.get("annopoints") or ():
        for point in group.get("point") or ():
            number = int(_bare(point["id"]))
            if not 0 <= number < len(joints):
                raise ValueError(f"joint {number}")
            joints[number] = _bare(point["x"]), _bare(point["y"]), 2
    return joints


def _bare(value: Any) -> Any:
    """PoseTrack17's files put scalars into lists of one."""
    return value[0] if isinstance(value, list) else value


def _boxed_by_joints(people: People) -> People:
    labelled = people.joints[:, :, 2:] > 0
    xy = people.joints[:, :, :2]
    low = np.where(labelled, xy, np.inf).min(1, initial=np.inf)
    high = np.where(labelled, xy, -np.inf).max(1, initial=-np.inf)
    some = labelled.any((1, 2))
    low[~some], high[~some] = 0, 0
    grow = (high - low) * (JOINT_BOX - 1) / 2
    return replace(people, boxes=np.concatenate((low - grow, high + grow), 1).astype(np.float32))


def _joined(parts: Sequence[People]) -> People:
    offsets = np.cumsum([0, *(len(part.paths) for part in parts[:-1])])
    return People(
        parts[0].skeleton,
        tuple(path for part in parts for path in part.paths),
        np.concatenate(
            [part.picture + offset for part, offset in zip(parts, offsets, strict=True)]
        ),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.joints for part in parts]),
        np.concatenate([part.crowd for part in parts]),
    )
