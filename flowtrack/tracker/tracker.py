"""Algorithm 1 of the paper, lines 8 to 13: the state of one video, and what is done with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowtrack.errors import InputError, OptionError
from flowtrack.skeleton import Skeleton
from flowtrack.structs import (
    NO_TRACK,
    BoolArray,
    Boxes,
    FloatArray,
    FlowField,
    IntArray,
    Poses,
    Tracks,
)
from flowtrack.tracker.boxes import iou_matrix, nms
from flowtrack.tracker.matching import greedy_match
from flowtrack.tracker.motion import joint_boxes, propagate
from flowtrack.tracker.oks import joint_area, oks_matrix, pose_nms
from flowtrack.tracker.options import TrackerOptions

_SAME_PERSON = 0.5  # IoU of a remembered person's box and one that shows them


@dataclass
class _Remembered:
    """The tracked people of one frame of the queue, P^{k-i} in equation 2.

    `here` are the joints where they are now (moved by flow), `there` where they were estimated.
    """

    index: int | None
    there: FloatArray
    here: FloatArray
    usable: BoolArray
    joint_score: FloatArray
    area: FloatArray
    box: FloatArray
    id: IntArray
    born: IntArray


class FlowTracker:
    """Follows people through one video.

    For every frame the calls come in this order, each at most once: `advance` (not on the first
    frame, nor where the options use no flow), `propose`, `unify`, `assign`. Ids count up from 0 and
    belong to this object: two videos never share a counter.
    """

    def __init__(self, skeleton: Skeleton, options: TrackerOptions | None = None) -> None:
        """Start with an empty queue (line 1).

        Raises:
            OptionError: `start_joints` asks for more joints than the skeleton has.
        """
        self.skeleton = skeleton
        self.options = options or TrackerOptions()
        if self.options.start_joints > len(skeleton):
            raise OptionError(
                f"start_joints is {self.options.start_joints}, but {skeleton.name} has only "
                f"{len(skeleton)} joints: no track would ever start"
            )
        self._queue: deque[_Remembered] = deque(maxlen=self.options.length)
        self._next_id = 0
        self._steps = 0

    @property
    def remembered_indices(self) -> tuple[int, ...]:
        """Frame indices in the queue, newest first: where `direct` flow links must start."""
        return tuple(entry.index for entry in self._queue if entry.index is not None)

    def advance(self, flows: FlowField | Sequence[FlowField]) -> None:
        """Move the remembered joints to the frame that `flows` lead to: the only use of flow.

        Args:
            flows: with `chained` links the flow from the previous frame; with `direct` links one
                flow from each frame in the queue, found by its `from_index`.

        Raises:
            InputError: a flow that is needed is missing, or the flows lead to different frames.
        """
        fields = [flows] if isinstance(flows, FlowField) else list(flows)
        if len({field.to_index for field in fields}) > 1:
            raise InputError(
                f"flows lead to frames {[field.to_index for field in fields]}, expected one frame"
            )
        if self.options.flow_links == "chained":
            if len(fields) != 1:
                raise InputError(f"{len(fields)} flows given, chained links take exactly one")
            for entry in self._queue:
                entry.here = propagate(fields[0].uv, fields[0].scale, entry.here)
            return
        by_start = {field.from_index: field for field in fields}
        for entry in self._queue:
            if entry.index not in by_start:
                raise InputError(
                    f"no flow from frame {entry.index} given, direct links need one from each of "
                    f"{list(self.remembered_indices)}"
                )
            field = by_start[entry.index]
            entry.here = propagate(field.uv, field.scale, entry.there)

    def propose(self, detections: Boxes) -> Boxes:
        """Detections unified with boxes around the propagated joints (lines 8 and 9).

        Boxes scored below the threshold are dropped, and so are those that may not start a track
        and touch nobody remembered, or only people who are in a box that may. A propagated box
        takes the mean score of the joints that it was made from, and complements the detections:
        where both show the same person the detection stays, because it was seen in this frame.

        Args:
            detections: of this frame; empty on frames that the detector leaves out.

        Returns:
            Detections by descending score, then propagated boxes by descending score.
        """
        boxes = detections[detections.score >= np.float32(self.options.box_threshold)]
        strong = self._may_start(boxes.score)
        if not strong.all():
            boxes = boxes[strong | self._may_continue(boxes.xyxy, boxes.xyxy[strong])]
        boxes = boxes[nms(boxes.xyxy, boxes.score, self.options.nms_iou)]
        if not self.options.propagate or not self._queue:
            return boxes
        extra = self._propagated_boxes(self._queue[0])
        both = Boxes(
            np.concatenate([boxes.xyxy, extra.xyxy]),
            np.concatenate([boxes.score, extra.score]),
            np.concatenate([boxes.origin, extra.origin]),
        )
        # Detections rank above propagated boxes, in each group the score decides.
        rank = -np.lexsort((-both.score, both.origin)).argsort()
        return both[nms(both.xyxy, rank, self.options.nms_iou)]

    def _propagated_boxes(self, entry: _Remembered) -> Boxes:
        """F_FlowBoxGen of line 8, without the boxes that the threshold drops."""
        usable = entry.usable & np.isfinite(entry.here).all(axis=-1)
        total = np.where(usable, entry.joint_score, 0.0).sum(axis=1)
        score = (total / np.maximum(usable.sum(axis=1), 1)).astype(np.float32)
        xyxy = joint_boxes(entry.here, usable, self.options.box_growth)
        extent = xyxy[:, 2:] - xyxy[:, :2]
        good = (score >= np.float32(self.options.box_threshold)) & (extent > 0).all(axis=1)
        return Boxes.propagated(xyxy[good], score[good])

    def unify(self, poses: Poses) -> BoolArray:
        """Which poses of this frame stay when the same person was estimated twice (pose NMS).

        Also goes what has no usable joint left.

        Returns:
            (N,) bool.
        """
        usable = self._usable(poses)
        stays: BoolArray = np.asarray(usable.any(axis=1))
        if self.options.pose_nms is None or len(poses) < 2:
            return stays
        best = pose_nms(
            poses.xy,
            usable,
            self._area(poses, usable),
            np.where(stays, _pose_score(poses, usable), -np.inf),
            self.skeleton.sigmas,
            self.options.pose_nms,
        )
        stays &= best
        return stays

    def assign(self, poses: Poses, index: int | None = None) -> Tracks:
        """Give every pose an id, and remember the frame (lines 11 to 13).

        Args:
            poses: of this frame, in any order.
            index: of this frame; needed with `direct` flow links.

        Returns:
            Tracks aligned with `poses`. New ids go to the best-scored instances first; `NO_TRACK`
            to those that continue no track and may not start one, which are not remembered.
        """
        if poses.xy.shape[1] != len(self.skeleton):
            raise InputError(
                f"poses have {poses.xy.shape[1]} joints, {self.skeleton.name} has "
                f"{len(self.skeleton)}"
            )
        if self.options.flow_links == "direct" and index is None:
            raise OptionError("direct flow links need the frame's index in assign()")
        usable = self._usable(poses)
        ids = np.concatenate([entry.id for entry in self._queue] or [np.zeros(0, np.int64)])
        born = np.concatenate([entry.born for entry in self._queue] or [np.zeros(0, np.int64)])
        similarity = self._similarity(poses, usable)
        match = greedy_match(similarity, ids, self.options.min_similarity)
        linked = match >= 0
        out_id = np.full(len(poses), NO_TRACK, np.int64)
        out_born = np.full(len(poses), self._steps, np.int64)
        link = np.full(len(poses), np.nan, np.float32)
        out_id[linked] = ids[match[linked]]
        out_born[linked] = born[match[linked]]
        link[linked] = similarity[match[linked], np.flatnonzero(linked)]
        whole = usable.sum(axis=1) >= self.options.start_joints
        newcomers = np.flatnonzero(~linked & whole & self._may_start(poses.box_score))
        order = np.argsort(-_pose_score(poses, usable)[newcomers], kind="stable")
        out_id[newcomers[order]] = self._next_id + np.arange(len(newcomers))
        self._next_id += len(newcomers)
        kept = out_id != NO_TRACK
        self._remember(poses[kept], usable[kept], out_id[kept], out_born[kept], index)
        self._steps += 1
        return Tracks(out_id, self._steps - 1 - out_born, link)

    def _similarity(self, poses: Poses, usable: BoolArray) -> FloatArray:
        """M_sim of line 11: rows are the queue's people, newest frame first."""
        if not self._queue:
            return np.zeros((0, len(poses)), np.float32)
        if self.options.similarity == "bbox":
            return iou_matrix(np.concatenate([entry.box for entry in self._queue]), poses.box)
        moved = self.options.similarity in ("flow", "multi_flow")
        return oks_matrix(
            np.concatenate([entry.here if moved else entry.there for entry in self._queue]),
            np.concatenate([entry.usable for entry in self._queue]),
            np.concatenate([entry.area for entry in self._queue]),
            poses.xy,
            usable,
            self.skeleton.sigmas,
        )

    def _remember(
        self, poses: Poses, usable: BoolArray, ids: IntArray, born: IntArray, index: int | None
    ) -> None:
        self._queue.appendleft(
            _Remembered(
                index=index,
                there=poses.xy,
                here=poses.xy,
                usable=usable,
                joint_score=poses.score,
                area=self._area(poses, usable),
                box=poses.box,
                id=ids,
                born=born,
            )
        )

    def _may_start(self, score: FloatArray) -> BoolArray:
        """(N,) boxes that may start a track."""
        may: BoolArray = score >= np.float32(self.options.start_threshold or 0.0)
        return may

    def _may_continue(self, xyxy: FloatArray, strong: FloatArray) -> BoolArray:
        """(N,) boxes that touch somebody remembered who is in none of the `strong` ones.

        Others resemble no track, or one that goes on in a better box.
        """
        if not self._queue:
            return np.zeros(len(xyxy), np.bool_)
        by_box = self.options.similarity == "bbox"
        around = np.concatenate([
            entry.box if by_box else joint_boxes(entry.here, entry.usable, self.options.box_growth)
            for entry in self._queue
        ])  # fmt: skip
        _, newest = np.unique(np.concatenate([e.id for e in self._queue]), return_index=True)
        around = around[newest]
        missed = around[(iou_matrix(around, strong) < _SAME_PERSON).all(axis=1)]
        touches: BoolArray = np.asarray((iou_matrix(xyxy, missed) > 0).any(axis=1))
        return touches

    def _usable(self, poses: Poses) -> BoolArray:
        """(N, K) joints that are there and not dropped by the threshold."""
        strong: BoolArray = poses.score >= np.float32(self.options.joint_threshold)
        return strong & ~poses.missing

    def _area(self, poses: Poses, usable: BoolArray) -> FloatArray:
        """(N,) area that OKS divides by."""
        if self.options.oks_area == "joints":
            return joint_area(poses.xy, usable)
        size = np.maximum(poses.box[:, 2:] - poses.box[:, :2], 0.0)
        area: FloatArray = size[:, 0] * size[:, 1]
        return area


def _pose_score(poses: Poses, usable: BoolArray) -> FloatArray:
    """(N,) mean over all joints of the score of usable ones: rewards sure and complete poses."""
    score: FloatArray = np.where(usable, poses.score, np.float32(0.0)).mean(axis=1)
    return score


def warmup(skeleton: Skeleton) -> None:
    """Compile (or load from the cache) every kernel, so that the first frame is not a slow one."""
    xy = np.full((2, len(skeleton), 2), 5.0, np.float32)
    xy[:, ::2] += 20.0
    poses = Poses(
        xy,
        np.ones((2, len(skeleton)), np.float32),
        np.array([[0, 0, 30, 30], [1, 1, 31, 31]], np.float32),
        np.ones(2, np.float32),
    )
    still = FlowField(np.zeros((2, 4, 4), np.float32), (0.1, 0.1), 0, 1)
    boxes = Boxes.detected(poses.box, poses.box_score)
    for options in (TrackerOptions(), TrackerOptions(similarity="bbox")):
        tracker = FlowTracker(skeleton, options)
        for index in range(2):
            if index:
                tracker.advance(still)
            tracker.propose(boxes)
            tracker.unify(poses)
            tracker.assign(poses, index)
