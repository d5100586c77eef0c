"""What is exactly known about a picture: joints, visibility, boxes, ids and flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flowtrack.skeleton import COCO_17, POSETRACK17_15
from flowtrack.structs import BoolArray, ByteArray, FloatArray, FlowField, IntArray
from flowtrack.synthetic.people.rig import BONE, LANDMARKS, REST, Posed
from flowtrack.synthetic.rendering.camera import Camera
from flowtrack.synthetic.rendering.raster import face_of, inverse_depth_of
from flowtrack.synthetic.rendering.render import FINE, Soup, View

Floats = npt.NDArray[np.float64]

OUTSIDE, OCCLUDED, VISIBLE = 0.0, 1.0, 2.0
"""COCO's visibility of a joint: not in the picture, hidden, seen."""

# How thick a body is in front of each joint, metres: what may lie before it without hiding it.
_THICKNESS = {
    "nose": 0.035, "eye": 0.035, "ear": 0.035, "shoulder": 0.115, "elbow": 0.085, "wrist": 0.07,
    "hip": 0.20, "knee": 0.105, "ankle": 0.10, "head_bottom": 0.10, "head_top": 0.07,
}  # fmt: skip
_TOLERANCE = np.array(
    [_THICKNESS[name.removeprefix("left_").removeprefix("right_")] for name in LANDMARKS]
)
_POSETRACK = np.array([LANDMARKS.index(name) for name in POSETRACK17_15.joints])

_HEAD_CENTRE, _HEAD_RADII = np.array([0.0, 1.662, 0.008]), np.array([0.086, 0.116, 0.110])
_ANGLES = np.linspace(0, np.pi, 7)[1:-1]
_BALL = np.array(
    [(0, 1, 0), (0, -1, 0)]
    + [(np.sin(t) * np.sin(p), np.cos(t), np.sin(t) * np.cos(p))
       for t in _ANGLES for p in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
)  # fmt: skip


@dataclass(frozen=True)
class SyntheticFrame:
    """A rendered picture and everything that is known about it.

    Row i of every array is the same person. Only people are listed of whom something can be seen.

    Attributes:
        index: 0-based position in the clip.
        time_s: time since the start of the clip.
        image: (H, W, 3) uint8 BGR.
        ids: (P,) int64, fixed for each person of a clip.
        keypoints: (P, 17, 3) COCO joints: x, y in pixels (also where hidden or outside) and
            visibility: 2 seen, 1 hidden, 0 outside the picture.
        posetrack: (P, 15, 3) the same for PoseTrack 2017, head points measured on the body.
        boxes: (P, 4) xyxy around what can be seen of each person.
        head_boxes: (P, 4) xyxy around the head, not cut at the picture's edge.
        areas: (P,) pixels that show each person.
        flow: from this frame to the next one, a cell a pixel; None for the last.
        flow_valid: (H, W) where what a pixel shows can also be seen in the next frame; None where
            `flow` is.
    """

    index: int
    time_s: float
    image: ByteArray
    ids: IntArray
    keypoints: FloatArray
    posetrack: FloatArray
    boxes: FloatArray
    head_boxes: FloatArray
    areas: FloatArray
    flow: FlowField | None = None
    flow_valid: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.ids)


def joints_seen(pose: Posed, camera: Camera, view: View, girth: float) -> FloatArray:
    """(19, 3) x, y and visibility of the landmarks of one person.

    A joint is hidden when most of what is around it on the picture lies nearer to the camera than
    the joint by more than the body is thick there.

    Args:
        pose: of the person.
        camera, view: what is seen of everything.
        girth: thickness of the body relative to the average.
    """
    points, depth = camera.project(pose.landmarks())
    out = np.zeros((len(points), 3), np.float32)
    inside = (points > -0.5).all(axis=1) & (points < (camera.width - 0.5, camera.height - 0.5)).all(
        axis=1
    )
    inside &= depth > 0
    out[:, :2] = np.where((depth > 0)[:, None], points, -1.0)
    rows, columns = view.keys.shape
    at = np.rint(FINE * points[inside] + (FINE - 1) / 2).astype(np.int64)
    step = np.arange(-1, 2)
    x = np.clip(at[:, 0, None, None] + step, 0, columns - 1)
    y = np.clip(at[:, 1, None, None] + step[:, None], 0, rows - 1)
    surface = inverse_depth_of(view.keys[y, x]).reshape(len(at), step.size**2)
    limit = depth[inside] - _TOLERANCE[inside] * girth
    blocked = (surface * np.maximum(limit, 1e-3)[:, None] > 1).mean(axis=1) > 0.5
    out[inside, 2] = np.where(blocked, OCCLUDED, VISIBLE)
    return out


def head_box(pose: Posed, camera: Camera) -> FloatArray:
    """(4,) xyxy around the head."""
    head = BONE["head"]
    local = _HEAD_CENTRE + _BALL * _HEAD_RADII - REST[head]
    points, _ = camera.project(local @ pose.skin[head].T + pose.origin[head])
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


def extents(soup: Soup, view: View, camera: Camera, people: int) -> tuple[FloatArray, FloatArray]:
    """Boxes (people, 4) around what is seen of each person, and areas (people,), in pixels."""
    # Nobody has number -1, which counts into the last place.
    person = np.where(view.samples != 0, soup.person[face_of(view.samples)], -1).astype(np.int64)
    low, high = np.full((2, people + 1), 1 << 40), np.full((2, people + 1), -1)
    row, column = np.divmod(view.pixels, camera.width)
    for sample, who in enumerate(person):
        for axis, pixel in enumerate((column, row)):
            at = FINE * pixel + (sample // FINE if axis else sample % FINE)
            np.minimum.at(low[axis], who, at)
            np.maximum.at(high[axis], who, at)
    areas = np.bincount(person.reshape(-1) + 1, minlength=people + 1)[1:] / FINE**2
    edges = np.concatenate([low, high + 1])[:, :people].T / FINE - 0.5
    boxes = np.where(areas[:, None] > 0, edges, 0.0)
    return boxes.astype(np.float32), areas.astype(np.float32)


def split_joints(landmarks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """COCO (P, 17, 3) and PoseTrack 2017 (P, 15, 3) from landmarks (P, 19, 3)."""
    return landmarks[:, : len(COCO_17)].copy(), landmarks[:, _POSETRACK].copy()
