"""PoseTrack 2017: `annolist`, one entry a frame, with scalars in lists; read as poseval reads it.

A joint that occurs twice in a person counts as the file gives it first. A person without a list of
points is left out, but makes its frame a labelled one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.json_values import (
    Place,
    column,
    list_of,
    numbers,
    objects,
    only,
    whole_numbers,
)
from flowtrack.evaluation.sequences import (
    JOINTS,
    NO_SCORE,
    Float64Array,
    PoseFrame,
    placed_frame,
    starts,
)

_CORNERS = ("x1", "y1", "x2", "y2")


def frames17(content: dict[str, Any], path: str) -> tuple[PoseFrame, ...]:
    """The frames of a file's content.

    Raises:
        InputError: a value is missing or impossible; the message names the file, the frame and
            the person.
    """
    records = list_of(content, "annolist", path)
    rects = [_rects(record, f"{path}: frame {index}") for index, record in enumerate(records)]
    people = [
        [(rect, points) for rect in of_frame if (points := _point_list(rect)) is not None]
        for of_frame in rects
    ]
    start = starts([len(of_frame) for of_frame in people])
    owners = [rect for of_frame in people for rect, _ in of_frame]

    def person(row: int) -> str:
        frame = int(np.searchsorted(start, row, side="right")) - 1
        return f"{path}: frame {frame}, person {row - start[frame]}"

    ids = whole_numbers(column(owners, "track_id"), person, "'track_id'")
    head = _heads(owners, person)
    xy, score = _joints([points for of_frame in people for _, points in of_frame], person)
    return tuple(
        placed_frame(
            f"{path}: frame {index}",
            name=_picture(record),
            track_id=ids[begin:end],
            xy=xy[begin:end],
            score=score[begin:end],
            head=head[begin:end],
            ignore=_regions(record, f"{path}: frame {index}"),
            labelled=bool(rects[index]),
        )
        for index, (record, begin, end) in enumerate(
            zip(records, start[:-1].tolist(), start[1:].tolist(), strict=True)
        )
    )


def _rects(record: Any, where: str) -> list[dict[str, Any]]:
    rects = list_of(record, "annorect", where, default=[])
    objects(rects, lambda _: where, "'annorect'")
    return rects


def _point_list(rect: dict[str, Any]) -> list[Any] | None:
    """The points of a person; None where the person carries no list of them, be it empty."""
    holder = rect.get("annopoints")
    if isinstance(holder, list) and holder and isinstance(holder[0], dict):
        points = holder[0].get("point")
        return points if isinstance(points, list) else None
    return None


def _picture(record: dict[str, Any]) -> str:
    image = record.get("image")
    name = image[0].get("name", "") if isinstance(image, list) and image else ""
    return str(only(name))


def _joints(people: list[list[Any]], person: Place) -> tuple[Float64Array, Float64Array]:
    """(N, 15, 2) and (N, 15) of the points of all people of the file."""
    owner = np.repeat(np.arange(len(people)), [len(points) for points in people])
    points = [point for one in people for point in one]

    def where(place: int) -> str:
        return person(int(owner[place]))

    objects(points, where, "'point'")
    ids = numbers(column(points, "id"), where, "'id' of a point")
    joint = ids.astype(np.int64)
    wrong = np.flatnonzero((joint != ids) | (joint < 0) | (joint >= len(JOINTS)))
    if wrong.size:
        raise InputError(
            f"{where(int(wrong[0]))}: joint id {ids[wrong[0]]:g}, expected 0 to {len(JOINTS) - 1}"
        )
    x, y, confidence = (
        numbers(column(points, key, default), where, f"{key!r} of a point")
        for key, default in (("x", None), ("y", None), ("score", NO_SCORE))
    )
    xy = np.full((len(people), len(JOINTS), 2), np.nan)
    score = np.full((len(people), len(JOINTS)), NO_SCORE)
    slot, first = np.unique(owner * len(JOINTS) + joint, return_index=True)  # of a repeated joint
    xy.reshape(-1, 2)[slot] = np.stack([x, y], axis=-1)[first]
    score.reshape(-1)[slot] = confidence[first]
    return xy, score


def _heads(rects: list[dict[str, Any]], person: Place) -> Float64Array:
    """(N, 4) corners of the heads, NaN where the file gives none."""
    given = [row for row, rect in enumerate(rects) if all(corner in rect for corner in _CORNERS)]
    heads = np.full((len(rects), 4), np.nan)
    owners = [rects[row] for row in given]
    for side, corner in enumerate(_CORNERS):
        heads[given, side] = numbers(
            column(owners, corner), lambda place: person(given[place]), "a corner of the head"
        )
    return heads


def _regions(record: dict[str, Any], where: str) -> tuple[Float64Array, ...]:
    return tuple(
        _region(region, where) for region in list_of(record, "ignore_regions", where, default=[])
    )


def _region(region: Any, where: str) -> Float64Array:
    points = list_of(region, "point", f"{where}, ignore region")
    objects(points, lambda _: where, "'point' of an ignore region")
    x, y = (
        numbers(column(points, axis), lambda _: where, f"{axis!r} of a region") for axis in "xy"
    )
    return np.stack([x, y], axis=-1)
