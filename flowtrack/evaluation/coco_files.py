"""COCO files, plain or gzipped: annotated people, and results of a detector or a pose network."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowtrack.errors import InputError, OutputError
from flowtrack.evaluation.json_values import (
    Place,
    list_of,
    load_json,
    no_collection,
    numbers,
    objects,
    whole_numbers,
)
from flowtrack.evaluation.sequences import Float64Array
from flowtrack.skeleton import COCO_17
from flowtrack.structs import BoolArray, IntArray

Kind = Literal["keypoints", "boxes"]
"""What is evaluated: the joints of people, or the boxes around them."""

_JOINTS = len(COCO_17)

_Records = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CocoTruth:
    """The annotated people of a set of pictures; other categories are left out.

    Attributes:
        name: of the file, for messages.
        kind: what was read of the people.
        person: the id of their category.
        categories: ids of all categories that the file knows.
        pictures: (P,) int64 ids, in the file's order.
        files: of each picture its path in the set's folder; empty where the file gives none.
        sizes: (P, 2) int64 width and height in pixels; 0 where the file gives none.
        image_id: (N,) int64 the picture of each person.
        boxes: (N, 4) left, top, width, height in pixels.
        area: (N,) squared pixels: of the person's outline, which OKS is measured by.
        crowd: (N,) true where the box holds a crowd.
        keypoints: (N, 17, 3) x, y, visibility (0: not labelled); None for `boxes`.
        labelled: (N,) int64 number of labelled joints; None for `boxes`.
    """

    name: str
    kind: Kind
    person: int
    categories: frozenset[int]
    pictures: IntArray
    files: tuple[str, ...]
    sizes: IntArray
    image_id: IntArray
    boxes: Float64Array
    area: Float64Array
    crowd: BoolArray
    keypoints: Float64Array | None
    labelled: IntArray | None

    @property
    def ignored(self) -> BoolArray:
        """(N,) true for those who need not be found: crowds, and people without joints."""
        return self.crowd if self.labelled is None else self.crowd | (self.labelled == 0)


@dataclass(frozen=True, slots=True)
class CocoResults:
    """People as a network found them.

    Attributes:
        image_id: (N,) int64 the picture of each.
        score: (N,) confidence.
        keypoints: (N, 17, 3) x, y, score; None for results of a detector.
        boxes: (N, 4) left, top, width, height in pixels; None for poses without boxes.
    """

    image_id: IntArray
    score: Float64Array
    keypoints: Float64Array | None
    boxes: Float64Array | None

    def __len__(self) -> int:
        return len(self.score)


def read_truth(path: str | Path, kind: Kind) -> CocoTruth:
    """The annotated people of a COCO file.

    Args:
        path: `person_keypoints_*.json`, for `boxes` also `instances_*.json`; `.gz` is unpacked.
        kind: what to read of them.

    Raises:
        InputError: the file cannot be read, is no such file, or a value in it is missing or
            impossible; the message names the file and the annotation.
    """
    path = Path(path)

    def image(row: int) -> str:
        return f"{path}: image {row}"

    with no_collection():
        content = load_json(path)
        images = _objects(content, "images", path, "image")
        annotations = _objects(content, "annotations", path, "annotation")
        categories = _objects(content, "categories", path, "category")
        person, known = _person(categories, path, kind)
        pictures = _whole(images, "id", image)
        sides = [_whole(images, side, image, 0) for side in ("width", "height")]
        _refuse_repeated(pictures, f"{path}: image")
        owner, people = _people(annotations, person, pictures, path)

        def place(row: int) -> str:
            return f"{path}: annotation {people[row]} (image {owner[row]})"

        records = [annotations[row] for row in people.tolist()]
        _refuse_repeated(_whole(records, "id", place), f"{path}: annotation")
        keypoints = _joints(records, place) if kind == "keypoints" else None
        return CocoTruth(
            name=str(path),
            kind=kind,
            person=person,
            categories=known,
            pictures=pictures,
            files=tuple(str(entry.get("file_name", "")) for entry in images),
            sizes=np.stack(sides, axis=-1),
            image_id=owner,
            boxes=_table(records, "bbox", 4, place),
            area=_numbers(records, "area", place),
            crowd=_whole(records, "iscrowd", place, 0) != 0,
            keypoints=keypoints,
            labelled=None if keypoints is None else _labelled(records, keypoints, place),
        )


def read_results(path: str | Path, truth: CocoTruth) -> CocoResults:
    """Results in COCO's format: a list of `image_id`, `category_id`, `score` and what was found.

    Results of other categories than people are left out. An empty list is legal: nothing found.
    Poses may come with boxes, `bbox`: all of them or none.

    Args:
        path: `.gz` is unpacked.
        truth: what they are results for; its kind says what they must hold.

    Raises:
        InputError: the file cannot be read, is no such file, does not belong to `truth`, or a value
            in it is missing or impossible; the message names the file, the entry and the picture.
    """
    path = Path(path)
    with no_collection():
        content = load_json(path)
        if not isinstance(content, list):
            raise InputError(
                f"{path} is no list, expected one of results, as in COCO's result format ([] if "
                "nothing was found)"
            )
        objects(content, lambda row: f"{path}: result {row}", "the list")
        owner, people = _found(content, path, truth)

        def place(row: int) -> str:
            return f"{path}: result {people[row]} (image {owner[row]})"

        records = [content[row] for row in people.tolist()]
        boxed = truth.kind == "boxes" or any(record.get("bbox") for record in records)
        return CocoResults(
            image_id=owner,
            score=_numbers(records, "score", place),
            keypoints=_joints(records, place) if truth.kind == "keypoints" else None,
            boxes=_table(records, "bbox", 4, place) if boxed else None,
        )


def write_results(path: Path, results: CocoResults, category: int) -> None:
    """Write results in COCO's format, whole or not at all.

    Args:
        path: of the file; its folder is made where it is missing.
        results: what to write.
        category: the id of people.

    Raises:
        OutputError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(records_of(results, category)) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; name another folder"
        ) from error
    finally:
        if partial.is_file():
            partial.unlink()


def records_of(results: CocoResults, category: int) -> list[dict[str, Any]]:
    """Results as the entries of a result file."""
    records: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": category, "score": score}
        for image_id, score in zip(results.image_id.tolist(), results.score.tolist(), strict=True)
    ]
    if results.keypoints is not None:
        flat = results.keypoints.reshape(len(records), 3 * _JOINTS)
        for record, keypoints in zip(records, flat.tolist(), strict=True):
            record["keypoints"] = keypoints
    if results.boxes is not None:
        for record, box in zip(records, results.boxes.tolist(), strict=True):
            record["bbox"] = box
    return records


def _objects(content: Any, key: str, path: Path, what: str) -> list[dict[str, Any]]:
    """The list under a key; neither it nor what is in it may be something else."""
    found = list_of(content, key, str(path))
    objects(found, lambda row: f"{path}: {what} {row}", f"{key!r}")
    if key == "images" and not found:
        raise InputError(f"{path}: 'images' is empty, expected the pictures to evaluate on")
    return found


def _person(categories: _Records, path: Path, kind: Kind) -> tuple[int, frozenset[int]]:
    """The category of people, the one of that name or the only one; and all categories."""
    ids = _whole(categories, "id", lambda row: f"{path}: category {row}").tolist()
    named = [row for row, entry in enumerate(categories) if entry.get("name") == "person"]
    found = named or list(range(len(categories)))
    if len(found) != 1:
        raise InputError(
            f"{path}: {len(found)} of {len(categories)} 'categories' may be people, expected one "
            "with the name 'person'"
        )
    joints = categories[found[0]].get("keypoints")
    if kind == "keypoints" and joints is not None and joints != list(COCO_17.joints):
        raise InputError(
            f"{path}: the joints in 'categories' are {joints}, expected the {_JOINTS} of COCO; for "
            "PoseTrack files there is `flowtrack eval posetrack`"
        )
    return ids[found[0]], frozenset(ids)


def _people(
    annotations: _Records, person: int, pictures: IntArray, path: Path
) -> tuple[IntArray, IntArray]:
    """Of each person the picture, and the row among the annotations."""
    owner = _whole(annotations, "image_id", lambda row: f"{path}: annotation {row}")
    lost = np.flatnonzero(~np.isin(owner, pictures))
    if lost.size:
        raise InputError(
            f"{path}: annotation {lost[0]} is of image {owner[lost[0]]}, which 'images' does not "
            "list"
        )
    category = _whole(annotations, "category_id", lambda row: f"{path}: annotation {row}")
    people = np.flatnonzero(category == person)
    return owner[people], people


def _refuse_repeated(ids: IntArray, what: str) -> None:
    values, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{what} id {values[count > 1][0]} occurs twice, expected one of each")


def _found(content: _Records, path: Path, truth: CocoTruth) -> tuple[IntArray, IntArray]:
    """Of each person found the picture, and the row among the results."""
    owner = _whole(content, "image_id", lambda row: f"{path}: result {row}")
    lost = np.flatnonzero(~np.isin(owner, truth.pictures))
    if lost.size:
        raise InputError(
            f"{path}: result {lost[0]} is of image {owner[lost[0]]}, which {truth.name} does not "
            "list; are these results of another set?"
        )

    def place(row: int) -> str:
        return f"{path}: result {row} (image {owner[row]})"

    category = _whole(content, "category_id", place)
    lost = np.flatnonzero(~np.isin(category, list(truth.categories)))
    if lost.size:
        raise InputError(
            f"{place(lost[0])} has category {category[lost[0]]}, which {truth.name} does not list; "
            f"people are category {truth.person}"
        )
    people = np.flatnonzero(category == truth.person)
    return owner[people], people


def _numbers(records: _Records, key: str, place: Place) -> Float64Array:
    return numbers([record.get(key) for record in records], place, f"{key!r}")


def _whole(records: _Records, key: str, place: Place, default: int | None = None) -> IntArray:
    return whole_numbers([record.get(key, default) for record in records], place, f"{key!r}")


def _table(records: _Records, key: str, width: int, place: Place) -> Float64Array:
    """(N, width) the lists of numbers under a key."""
    lists = [record.get(key) for record in records]
    for row, value in enumerate(lists):
        if not isinstance(value, list) or len(value) != width:
            found = f"a list of {len(value)}" if isinstance(value, list) else repr(value)
            raise InputError(f"{place(row)}: {key!r} is {found}, expected {width} numbers")
    flat = list(chain.from_iterable(lists))  # type: ignore[arg-type]
    return numbers(flat, lambda at: place(at // width), f"a number in {key!r}").reshape(-1, width)


def _joints(records: _Records, place: Place) -> Float64Array:
    return _table(records, "keypoints", 3 * _JOINTS, place).reshape(-1, _JOINTS, 3)


def _labelled(records: _Records, keypoints: Float64Array, place: Place) -> IntArray:
    """What 'num_keypoints' says, or, without it, the number of joints with a visibility."""
    counted = (keypoints[..., 2] > 0).sum(axis=1).tolist()
    pairs = zip(records, counted, strict=True)
    given = [record.get("num_keypoints", count) for record, count in pairs]
    return whole_numbers(given, place, "'num_keypoints'")
