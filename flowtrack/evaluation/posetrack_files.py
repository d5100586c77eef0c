"""PoseTrack JSON of 2017 and 2018, truth or results, plain or gzipped, read as poseval reads it.

A joint that occurs twice in a person counts as the file gives it first. A person without a list of
points is left out, but makes its frame a labelled one.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.sequences import JOINTS, NO_SCORE, Float64Array, PoseFrame, PoseSequence
from flowtrack.structs import IntArray

_CORNERS = ("x1", "y1", "x2", "y2")
_ALIASES = {"neck": "head_bottom"}


def read_posetrack(path: str | Path) -> PoseSequence:
    """Truth or results of one clip, of either year.

    Args:
        path: a file of one clip; `.gz` is unpacked.

    Raises:
        InputError: the file cannot be read, is no PoseTrack file, or a value in it is missing or
            impossible; the message names the file, the frame and the person.
    """
    path = Path(path)
    content = _load(path)
    name = path.name.removesuffix(".gz").removesuffix(".json")
    if isinstance(content, dict) and "annolist" in content:
        return PoseSequence(name, _frames17(content, str(path)))
    if isinstance(content, dict) and "images" in content:
        return PoseSequence(name, _frames18(content, str(path)))
    raise InputError(
        f"{path} has neither 'annolist' (PoseTrack 2017) nor 'images' (2018) at its top level"
    )


def read_pairs(truth: str | Path, results: str | Path) -> list[tuple[PoseSequence, PoseSequence]]:
    """Ground truth and results of one clip (two files) or of several (two folders).

    Folders are paired by file name, led by the truth; `clip.posetrack.json` is taken as the result
    of `clip.json` as well.

    Raises:
        InputError: a clip has no results, there is none, or a file is bad, see `read_posetrack`.
    """
    truth, results = Path(truth), Path(results)
    if not truth.is_dir():
        if results.is_dir():
            results = _result_of(truth, results)
        return [(read_posetrack(truth), read_posetrack(results))]
    files = sorted(
        path for path in truth.iterdir() if path.name.endswith((".json", ".json.gz"))
    )  # fmt: skip
    if not files:
        raise InputError(f"{truth} holds no .json file, expected one for each clip")
    if not results.is_dir():
        raise InputError(f"{results} is no folder, expected one with results for each of {truth}")
    return [(read_posetrack(path), read_posetrack(_result_of(path, results))) for path in files]


def _result_of(truth: Path, results: Path) -> Path:
    stem = truth.name.removesuffix(".gz").removesuffix(".json")
    names = [f"{stem}{kind}{end}" for kind in (".json", ".posetrack.json") for end in ("", ".gz")]
    for name in names:
        if (results / name).is_file():
            return results / name
    expected = " or ".join(names[::2])
    raise InputError(f"{results} has no results of {truth.name}, expected {expected}")


def _load(path: Path) -> Any:
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.name.endswith(".gz") else data)
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON (cut short?): {error}") from error


def _list(record: Any, key: str, where: str, *, default: list[Any] | None = None) -> list[Any]:
    value = record.get(key, default) if isinstance(record, dict) else None
    if not isinstance(value, list):
        raise InputError(f"{where}: {key!r} is not a list, expected one")
    return value


def _only(value: Any) -> Any:
    """PoseTrack 2017 keeps scalars in lists of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _numbers(values: list[Any], where: str, what: str) -> Float64Array:
    """(N,) finite numbers.

    Raises:
        InputError: one of them is missing, of another kind, or not finite.
    """
    kinds = {type(value) for value in values}
    if not kinds <= {int, float}:
        wrong = next(value for value in values if type(value) not in (int, float))
        raise InputError(f"{where}: {what} is {wrong!r}, expected a number")
    array = np.array(values, np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{where}: {what} is {array[~np.isfinite(array)][0]}, expected a number")
    return array


def _whole(record: dict[str, Any], key: str, where: str) -> int:
    """A whole number; 2017 files of some tools hold it as a float."""
    value = _numbers([_only(record.get(key))], where, f"{key!r}")[0]
    if value != np.floor(value) or abs(value) >= 2**53:
        raise InputError(f"{where}: {key!r} is {value}, expected a whole number")
    return int(value)


def _frame(where: str, **parts: Any) -> PoseFrame:
    """A frame whose errors say where it stands."""
    try:
        return PoseFrame(**parts)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


# PoseTrack 2017 ---------------------------------------------------------------------------------


def _frames17(content: dict[str, Any], path: str) -> tuple[PoseFrame, ...]:
    return tuple(
        _frame17(record, f"{path}: frame {index}")
        for index, record in enumerate(_list(content, "annolist", path))
    )


def _frame17(record: Any, where: str) -> PoseFrame:
    rects = _list(record, "annorect", where, default=[])
    if not all(isinstance(rect, dict) for rect in rects):
        raise InputError(f"{where}: 'annorect' holds something else than objects")
    people = [(rect, points) for rect in rects if (points := _point_list(rect)) is not None]
    heads = [_head17(rect, f"{where}, person {i}") for i, (rect, _) in enumerate(people)]
    xy, score = _joints17([points for _, points in people], where)
    image = record.get("image")
    name = image[0].get("name", "") if isinstance(image, list) and image else ""
    return _frame(
        where,
        name=_only(name),
        track_id=np.array(
            [_whole(r, "track_id", f"{where}, person {i}") for i, (r, _) in enumerate(people)],
            np.int64,
        ),
        xy=xy,
        score=score,
        head=np.array(heads, np.float64).reshape(-1, 4),
        ignore=tuple(
            _region17(region, where)
            for region in _list(record, "ignore_regions", where, default=[])
        ),
        labelled=bool(rects),
    )


def _point_list(rect: dict[str, Any]) -> list[Any] | None:
    """The points of a person; None where the person carries no list of them, be it empty."""
    holder = rect.get("annopoints")
    if isinstance(holder, list) and holder and isinstance(holder[0], dict):
        points = holder[0].get("point")
        return points if isinstance(points, list) else None
    return None


def _joints17(people: list[list[Any]], where: str) -> tuple[Float64Array, Float64Array]:
    """(N, 15, 2) and (N, 15) of the points of all people of a frame."""
    xy = np.full((len(people), len(JOINTS), 2), np.nan)
    score = np.full((len(people), len(JOINTS)), NO_SCORE)
    owner = [row for row, points in enumerate(people) for _ in points]
    points = [point for one in people for point in one]
    if not all(isinstance(point, dict) for point in points):
        raise InputError(f"{where}: 'point' holds something else than objects")
    columns = [
        _numbers([_only(point.get(key, default)) for point in points], where, f"{key!r} of a point")
        for key, default in (("id", None), ("x", None), ("y", None), ("score", NO_SCORE))
    ]
    joint = columns[0].astype(np.int64)
    if wrong := sorted({*columns[0].tolist()} - {*range(len(JOINTS))}):
        raise InputError(f"{where}: joint id {wrong[0]:g}, expected 0 to {len(JOINTS) - 1}")
    slot, first = np.unique(
        np.array(owner, np.int64) * len(JOINTS) + joint, return_index=True
    )  # of a repeated joint
    xy.reshape(-1, 2)[slot] = np.stack(columns[1:3], axis=-1)[first]
    score.reshape(-1)[slot] = columns[3][first]
    return xy, score


def _head17(rect: dict[str, Any], where: str) -> list[float]:
    if not all(corner in rect for corner in _CORNERS):
        return [np.nan] * 4
    corners = _numbers([_only(rect[corner]) for corner in _CORNERS], where, "a corner of the head")
    return list(corners.tolist())


def _region17(region: Any, where: str) -> Float64Array:
    points = _list(region, "point", f"{where}, ignore region")
    if not all(isinstance(point, dict) for point in points):
        raise InputError(f"{where}: 'point' of an ignore region holds something else than objects")
    return np.stack(
        [
            _numbers([_only(point.get(axis)) for point in points], where, f"{axis!r} of a region")
            for axis in "xy"
        ],
        axis=-1,
    )


# PoseTrack 2018 ---------------------------------------------------------------------------------


def _frames18(content: dict[str, Any], path: str) -> tuple[PoseFrame, ...]:
    slots = _slots18(content, path)
    images = _list(content, "images", path)
    if not all(isinstance(image, dict) and "id" in image for image in images):
        raise InputError(f"{path}: an entry of 'images' has no 'id', expected one in each")
    videos = {str(image["vid_id"]) for image in images if "vid_id" in image}
    if len(videos) > 1:
        raise InputError(
            f"{path} holds {len(videos)} videos ({', '.join(sorted(videos)[:3])} ...), expected "
            "one; write a file for each"
        )
    by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    if len(by_image) != len(images):
        raise InputError(f"{path}: an id occurs twice in 'images', expected one for each frame")
    for row, annotation in enumerate(_list(content, "annotations", path)):
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if image_id not in by_image:
            raise InputError(
                f"{path}: annotation {row} is of image {image_id!r}, which 'images' does not list"
            )
        by_image[image_id].append(annotation)
    return tuple(
        _frame18(image, by_image[image["id"]], slots, f"{path}: frame {index}")
        for index, image in enumerate(images)
    )


def _slots18(content: dict[str, Any], path: str) -> IntArray:
    """(slots,) the joint that each slot of 'keypoints' holds; -1 for one that does not count."""
    categories = content.get("categories")
    try:
        names = [_ALIASES.get(name, name) for name in categories[0]["keypoints"]]  # type: ignore[index]
    except (TypeError, KeyError, IndexError) as error:
        raise InputError(
            f"{path}: 'categories' with the names of the 'keypoints' is missing, expected one "
            "category, as in PoseTrack 2018"
        ) from error
    if missing := [joint for joint in JOINTS if joint not in names]:
        raise InputError(f"{path}: 'categories' lacks the joints {', '.join(missing)}")
    return np.array([JOINTS.index(name) if name in JOINTS else -1 for name in names], np.int64)


def _frame18(
    image: dict[str, Any], annotations: list[dict[str, Any]], slots: IntArray, where: str
) -> PoseFrame:
    xy = np.full((len(annotations), len(JOINTS), 2), np.nan)
    score = np.full((len(annotations), len(JOINTS)), NO_SCORE)
    head = np.full((len(annotations), 4), np.nan)
    ids = np.zeros(len(annotations), np.int64)
    wanted = slots >= 0
    for row, annotation in enumerate(annotations):
        person = f"{where}, person {row}"
        ids[row] = _whole(annotation, "track_id", person)
        keypoints = _list(annotation, "keypoints", person)
        scores = annotation.get("scores") or [NO_SCORE] * len(slots)
        if len(keypoints) != 3 * len(slots) or len(scores) != len(slots):
            raise InputError(
                f"{person}: {len(keypoints)} numbers in 'keypoints' and {len(scores)} in 'scores', "
                f"expected {3 * len(slots)} and {len(slots)}"
            )
        points = _numbers(keypoints, person, "a number in 'keypoints'").reshape(-1, 3)
        there = wanted & points.any(axis=1)  # three zeros: no joint
        xy[row, slots[there]] = points[there, :2]
        score[row, slots[there]] = _numbers(scores, person, "a number in 'scores'")[there]
        if annotation.get("bbox_head") is not None:
            box = _numbers(_list(annotation, "bbox_head", person), person, "a side of 'bbox_head'")
            if len(box) != 4:
                raise InputError(f"{person}: 'bbox_head' has {len(box)} numbers, expected 4")
            head[row] = *box[:2], *(box[:2] + box[2:])
    return _frame(
        where,
        name=str(image.get("file_name", "")),
        track_id=ids,
        xy=xy,
        score=score,
        head=head,
        ignore=_regions18(image, where),
        labelled=bool(annotations),
    )


def _regions18(image: dict[str, Any], where: str) -> tuple[Float64Array, ...]:
    sides = [_list(image, f"ignore_regions_{axis}", where, default=[]) for axis in "xy"]
    if [len(one) for one in sides[0]] != [len(one) for one in sides[1]]:
        raise InputError(f"{where}: 'ignore_regions_x' and '..._y' differ in length")
    return tuple(
        np.stack([_numbers(side, where, "a corner of an ignore region") for side in pair], axis=-1)
        for pair in zip(*sides, strict=True)
    )
