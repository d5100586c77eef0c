"""The truth of a clip in the forms of PoseTrack 2017 and 2018, as poseval reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from flowtrack.posetrack_json import (
    annotation18,
    box18,
    categories18,
    frame17,
    image18,
    person17,
    point17,
)
from flowtrack.skeleton import COCO_17, POSETRACK17_15, POSETRACK18_17, convert_joints
from flowtrack.structs import BoolArray, FloatArray
from flowtrack.synthetic.truth import VISIBLE, SyntheticFrame

Head = Literal["derived", "measured"]
"""Where the two head points come from. "derived": from nose and shoulders, by the rule with which
the joints of a COCO network are converted (`flowtrack.skeleton`), so that such a network is judged
by what it says. "measured": neck and top of the head on the body itself, as people label them."""

_DIGITS = 3


def joints15(frame: SyntheticFrame, head: Head) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Joints (P, 15, 2), whether each can be seen (P, 15), and whether it is in the picture."""
    height, width = frame.image.shape[:2]
    xy, seen = frame.posetrack[..., :2], frame.posetrack[..., 2] == VISIBLE
    if head == "derived":
        score = (frame.keypoints[..., 2] == VISIBLE).astype(np.float32)
        xy, converted = convert_joints(frame.keypoints[..., :2], score, COCO_17, POSETRACK17_15)
        seen = converted > 0
    within = (xy >= 0) & (xy <= np.array([width, height]) - 1)
    inside = within[..., 0] & within[..., 1]
    return xy, np.asarray(seen & inside), np.asarray(inside)


def posetrack17(
    frames: Sequence[SyntheticFrame], names: Sequence[str], *, hidden: bool = False,
    head: Head = "derived",
) -> dict[str, Any]:  # fmt: skip
    """The truth as the content of a PoseTrack 2017 file.

    Args:
        frames: of one clip, in order.
        names: of the pictures, one a frame.
        hidden: label joints that cannot be seen, too; `is_visible` tells them apart.
        head: where the head points come from.
    """
    annolist = []
    for frame, name in zip(frames, names, strict=True):
        xy, seen, inside = joints15(frame, head)
        wanted = inside if hidden else seen
        rects = []
        for row in np.flatnonzero(wanted.any(axis=1)).tolist():
            points = [
                point17(joint, *map(_rounded, xy[row, joint]), is_visible=int(seen[row, joint]))
                for joint in np.flatnonzero(wanted[row]).tolist()
            ]
            head_box = [_rounded(value) for value in frame.head_boxes[row]]
            rects.append(person17(int(frame.ids[row]), points, head=head_box))
        annolist.append(frame17(name, rects))
    return {"annolist": annolist}


def posetrack18(
    frames: Sequence[SyntheticFrame], names: Sequence[str], *, hidden: bool = False,
    head: Head = "derived",
) -> dict[str, Any]:  # fmt: skip
    """The truth as the content of a PoseTrack 2018 file; see `posetrack17`.

    Ears are never labelled in this format; a joint that is not labelled has x = y = v = 0.
    """
    folder = names[0].split("/")[0] if names else ""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    slots = [POSETRACK18_17.index(joint) for joint in POSETRACK17_15.joints]
    for index, (frame, name) in enumerate(zip(frames, names, strict=True)):
        xy, seen, inside = joints15(frame, head)
        wanted = inside if hidden else seen
        labelled = np.flatnonzero(wanted.any(axis=1)).tolist()
        images.append(
            image18(index, name, folder, len(frames), labelled=bool(labelled), regions=())
        )
        for row in labelled:
            joints = np.zeros((len(POSETRACK18_17), 3))
            joints[slots] = np.where(
                wanted[row][:, None], np.column_stack([xy[row], seen[row]]), 0.0
            )
            x1, y1, x2, y2 = frame.head_boxes[row].tolist()
            annotations.append(
                annotation18(
                    len(annotations),
                    index,
                    int(frame.ids[row]),
                    [_rounded(v) for v in joints.reshape(-1)],
                    [_rounded(v) for v in box18(xy[row][wanted[row]])],
                    bbox_head=[_rounded(v) for v in (x1, y1, x2 - x1, y2 - y1)],
                )
            )
    return {"images": images, "annotations": annotations, "categories": categories18()}


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS)
