"""The records of PoseTrack JSON, 2017 and 2018, as leonid-pishchulin/poseval reads them.

Who writes such a file says what is in it; how it is laid out is said here. 2017 keeps scalars in
lists of one, and a person's rectangle is the head box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from flowtrack.skeleton import POSETRACK18_17

BOX_GROWTH = 1.30
"""PoseTrack 2018 boxes are the extent of the joints, grown about the middle by this factor."""

_CORNERS = ("x1", "y1", "x2", "y2")


def point17(joint: int, x: float, y: float, **more: float) -> dict[str, Any]:
    """One joint of a person; `more` is `score` in results, `is_visible` in the truth."""
    fields = {"id": joint, "x": x, "y": y, **more}
    return {name: [value] for name, value in fields.items()}


def person17(
    track_id: int,
    points: Sequence[dict[str, Any]],
    *,
    head: Sequence[float] | None = None,
    score: float | None = None,
) -> dict[str, Any]:
    """One entry of `annorect`; `head` is xyxy in pixels."""
    corners = {} if head is None else {c: [v] for c, v in zip(_CORNERS, head, strict=True)}
    scored = {} if score is None else {"score": [score]}
    return {**corners, "track_id": [track_id], **scored, "annopoints": [{"point": list(points)}]}


def pointless17(track_id: int) -> dict[str, Any]:
    """An entry of `annorect` that only says that its frame is a labelled one."""
    return {"track_id": [track_id]}


def frame17(
    name: str,
    people: Sequence[dict[str, Any]],
    regions: Sequence[Sequence[Sequence[float]]] = (),
) -> dict[str, Any]:
    """One entry of `annolist`; `regions` are polygons of (x, y) in which nothing counts."""
    ignored = [{"point": [{"x": [x], "y": [y]} for x, y in polygon]} for polygon in regions]
    more = {"ignore_regions": ignored} if ignored else {}
    return {"image": [{"name": name}], "annorect": list(people), **more}


def image18(
    index: int,
    name: str,
    clip: str,
    frames: int,
    *,
    labelled: bool,
    regions: Sequence[Sequence[Sequence[float]]] | None = None,
) -> dict[str, Any]:
    """One entry of `images`.

    Args:
        index: of the frame; its id as well.
        name: of the picture.
        clip: name of the clip; what stands before its first "_" is the number of the video.
        frames: of the whole clip.
        labelled: whether somebody is noted in the frame.
        regions: polygons of (x, y) in which nothing counts; None in results.
    """
    ignored = {} if regions is None else {
        f"ignore_regions_{axis}": [[point[k] for point in polygon] for polygon in regions]
        for k, axis in enumerate("xy")
    }  # fmt: skip
    return {
        "id": index,
        "frame_id": index,
        "file_name": name,
        "vid_id": clip.split("_")[0],
        "nframes": frames,
        "is_labeled": labelled,
        **ignored,
    }


def annotation18(
    number: int,
    image: int,
    track_id: int,
    keypoints: Sequence[float],
    box: Sequence[float],
    **more: Any,
) -> dict[str, Any]:
    """One entry of `annotations`.

    Args:
        number: id of the entry.
        image: id of the frame's entry in `images`.
        track_id: of the person.
        keypoints: 17 times x, y, v; three zeros where there is no joint.
        box: left, top, width, height.
        more: `bbox_head` (as `box`), `score`, `scores` (17).
    """
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "track_id": track_id,
        "bbox": list(box),
        "keypoints": list(keypoints),
        **more,
    }


def box18(xy: npt.NDArray[Any]) -> list[float]:
    """Left, top, width, height of a `bbox`: around points (N, 2), N > 0, grown by `BOX_GROWTH`."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    size = (high - low) * BOX_GROWTH
    box: list[float] = [*((low + high) / 2 - size / 2).tolist(), *size.tolist()]
    return box


def categories18() -> list[dict[str, Any]]:
    """`categories`: the person, its 17 slots and their edges (which count from 1)."""
    return [
        {
            "id": 1,
            "name": "person",
            "supercategory": "person",
            "keypoints": list(POSETRACK18_17.joints),
            "skeleton": [[a + 1, b + 1] for a, b in POSETRACK18_17.edges],
        }
    ]
