"""PoseTrack 2018: `images`, `annotations` and `categories` in the manner of COCO, one clip a file.

The names of the joints are those of the category: PoseTrack's, or those of another skeleton that
is known, from which the 15 follow by `flowtrack.skeleton`.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.conversion import joints15
from flowtrack.evaluation.json_values import (
    Place,
    column,
    list_of,
    numbers,
    whole_numbers,
)
from flowtrack.evaluation.sequences import (
    NO_SCORE,
    Float64Array,
    PoseFrame,
    placed_frame,
    starts,
)
from flowtrack.skeleton import POSETRACK17_15, POSETRACK18_17, SKELETONS, Skeleton
from flowtrack.structs import BoolArray

_ALIASES = {"neck": "head_bottom"}


def frames18(content: dict[str, Any], path: str) -> tuple[PoseFrame, ...]:
    """The frames of a file's content.

    Raises:
        InputError: a value is missing or impossible; the message names the file, the frame and
            the person.
    """
    names = _names(content, path)
    images = _images(content, path)
    by_frame = _by_frame(content, images, path)
    notes = list(chain.from_iterable(by_frame))
    start = starts([len(of_frame) for of_frame in by_frame])

    def person(row: int) -> str:
        frame = int(np.searchsorted(start, row, side="right")) - 1
        return f"{path}: frame {frame}, person {row - start[frame]}"

    ids = whole_numbers(column(notes, "track_id"), person, "'track_id'")
    points, confidence = _keypoints(notes, len(names), person)
    xy, score = _as15(points, confidence, names, path)
    head = _heads(notes, person)
    return tuple(
        placed_frame(
            f"{path}: frame {index}",
            name=str(image.get("file_name", "")),
            track_id=ids[begin:end],
            xy=xy[begin:end],
            score=score[begin:end],
            head=head[begin:end],
            ignore=_regions(image, f"{path}: frame {index}"),
            labelled=end > begin,
        )
        for index, (image, begin, end) in enumerate(
            zip(images, start[:-1].tolist(), start[1:].tolist(), strict=True)
        )
    )


def _images(content: dict[str, Any], path: str) -> list[dict[str, Any]]:
    images = list_of(content, "images", path)
    if not all(isinstance(image, dict) and "id" in image for image in images):
        raise InputError(f"{path}: an entry of 'images' has no 'id', expected one in each")
    videos = {str(image["vid_id"]) for image in images if "vid_id" in image}
    if len(videos) > 1:
        raise InputError(
            f"{path} holds {len(videos)} videos ({', '.join(sorted(videos)[:3])} ...), expected "
            "one; write a file for each"
        )
    return images


def _by_frame(
    content: dict[str, Any], images: list[dict[str, Any]], path: str
) -> list[list[dict[str, Any]]]:
    """The annotations of each of `images`."""
    by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    if len(by_image) != len(images):
        raise InputError(f"{path}: an id occurs twice in 'images', expected one for each frame")
    for row, annotation in enumerate(list_of(content, "annotations", path)):
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if image_id not in by_image:
            raise InputError(
                f"{path}: annotation {row} is of image {image_id!r}, which 'images' does not list"
            )
        by_image[image_id].append(annotation)
    return list(by_image.values())


def _names(content: dict[str, Any], path: str) -> list[str]:
    """Names of the joints that 'keypoints' holds, in its order."""
    categories = content.get("categories")
    try:
        return [_ALIASES.get(name, name) for name in categories[0]["keypoints"]]  # type: ignore[index]
    except (TypeError, KeyError, IndexError) as error:
        raise InputError(
            f"{path}: 'categories' with the names of the 'keypoints' is missing, expected one "
            "category, as in PoseTrack 2018"
        ) from error


def _keypoints(
    notes: list[dict[str, Any]], joints: int, person: Place
) -> tuple[Float64Array, Float64Array]:
    """(N, K, 3) and (N, K): x, y and whether the joint is there, and its score."""
    keypoints = [list_of(note, "keypoints", person(i)) for i, note in enumerate(notes)]
    scores = [note.get("scores") or [NO_SCORE] * joints for note in notes]
    for row, (given, confidence) in enumerate(zip(keypoints, scores, strict=True)):
        if len(given) != 3 * joints or len(confidence) != joints:
            raise InputError(
                f"{person(row)}: {len(given)} numbers in 'keypoints' and {len(confidence)} in "
                f"'scores', expected {3 * joints} and {joints}"
            )
    points = numbers(
        list(chain.from_iterable(keypoints)),
        lambda place: person(place // (3 * joints)),
        "a number in 'keypoints'",
    )
    confidence = numbers(
        list(chain.from_iterable(scores)),
        lambda place: person(place // joints),
        "a number in 'scores'",
    )
    return points.reshape(-1, joints, 3), confidence.reshape(-1, joints)


def _as15(
    points: Float64Array, confidence: Float64Array, names: list[str], path: str
) -> tuple[Float64Array, Float64Array]:
    """(N, 15, 2) and (N, 15) of joints that are called `names`."""
    there: BoolArray = np.asarray(points.any(axis=2))  # three zeros: no joint
    xy = np.where(there[..., None], points[..., :2], np.nan)
    score = np.where(there, confidence, NO_SCORE)
    given = _skeleton(names, path)
    place = [names.index(joint) for joint in given.joints]
    return joints15(xy[:, place], score[:, place], given)


def _skeleton(names: list[str], path: str) -> Skeleton:
    """The skeleton whose joints `names` hold, PoseTrack's if they can."""
    for skeleton in (POSETRACK17_15, *SKELETONS.values()):
        if set(skeleton.joints) <= set(names):
            return skeleton
    missing = [joint for joint in POSETRACK18_17.joints if joint not in names]
    raise InputError(
        f"{path}: 'categories' lacks the joints {', '.join(missing)} of PoseTrack 2018, and has "
        f"not those of {' or '.join(name for name in SKELETONS if 'posetrack' not in name)} either"
    )


def _heads(notes: list[dict[str, Any]], person: Place) -> Float64Array:
    """(N, 4) corners of the heads, NaN where the file gives none."""
    heads = np.full((len(notes), 4), np.nan)
    given = [row for row, note in enumerate(notes) if note.get("bbox_head") is not None]
    boxes = [list_of(notes[row], "bbox_head", person(row)) for row in given]
    for row, box in zip(given, boxes, strict=True):
        if len(box) != 4:
            raise InputError(f"{person(row)}: 'bbox_head' has {len(box)} numbers, expected 4")
    sides = numbers(
        list(chain.from_iterable(boxes)),
        lambda place: person(given[place // 4]),
        "a side of 'bbox_head'",
    ).reshape(-1, 4)
    heads[given] = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)
    return heads


def _regions(image: dict[str, Any], where: str) -> tuple[Float64Array, ...]:
    sides = [list_of(image, f"ignore_regions_{axis}", where, default=[]) for axis in "xy"]
    if [len(one) for one in sides[0]] != [len(one) for one in sides[1]]:
        raise InputError(f"{where}: 'ignore_regions_x' and '..._y' differ in length")
    return tuple(
        np.stack(
            [numbers(side, lambda _: where, "a corner of an ignore region") for side in pair],
            axis=-1,
        )
        for pair in zip(*sides, strict=True)
    )
