"""The truth of a clip in the forms of PoseTrack 2017 and 2018, as poseval reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from flowtrack.skeleton import COCO_17, POSETRACK17_15, POSETRACK18_17, convert_joints
from flowtrack.structs import BoolArray, FloatArray
from flowtrack.synthetic.truth import VISIBLE, SyntheticFrame

Head = Literal["derived", "measured"]
"""Where the two head points come from. "derived": from nose and shoulders, by the rule with which
the joints of a COCO network are converted (`flowtrack.skeleton`), so that such a network is judged
by what it says. "measured": neck and top of the head on the body itself, as people label them."""

_DIGITS = 3
_BOX_GROWTH = 1.30
"""PoseTrack 2018 boxes are the extent of the joints, grown by this factor."""


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
                {
                    "id": [joint],
                    "x": [_rounded(xy[row, joint, 0])],
                    "y": [_rounded(xy[row, joint, 1])],
                    "is_visible": [int(seen[row, joint])],
                }
                for joint in np.flatnonzero(wanted[row]).tolist()
            ]
            corners = zip(("x1", "y1", "x2", "y2"), frame.head_boxes[row], strict=True)
            rects.append(
                {
                    **{corner: [_rounded(value)] for corner, value in corners},
                    "track_id": [int(frame.ids[row])],
                    "annopoints": [{"point": points}],
                }
            )
        annolist.append({"image": [{"name": name}], "annorect": rects})
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
            {
                "id": index,
                "frame_id": index,
                "file_name": name,
                "vid_id": folder.split("_")[0],
                "nframes": len(frames),
                "is_labeled": bool(labelled),
                "ignore_regions_x": [],
                "ignore_regions_y": [],
            }
        )
        for row in labelled:
            joints = np.zeros((len(POSETRACK18_17), 3))
            joints[slots] = np.where(
                wanted[row][:, None], np.column_stack([xy[row], seen[row]]), 0.0
            )
            x1, y1, x2, y2 = frame.head_boxes[row].tolist()
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": index,
                    "category_id": 1,
                    "track_id": int(frame.ids[row]),
                    "bbox": _extent(xy[row][wanted[row]]),
                    "bbox_head": [_rounded(v) for v in (x1, y1, x2 - x1, y2 - y1)],
                    "keypoints": [_rounded(v) for v in joints.reshape(-1)],
                }
            )
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(POSETRACK18_17.joints),
        "skeleton": [[a + 1, b + 1] for a, b in POSETRACK18_17.edges],
    }
    return {"images": images, "annotations": annotations, "categories": [category]}


def _extent(xy: npt.NDArray[np.float32]) -> list[float]:
    """Left, top, width and height around points, grown about the middle."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    size = (high - low) * _BOX_GROWTH
    corner = (low + high) / 2 - size / 2
    return [_rounded(v) for v in (*corner, *size)]


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS)
