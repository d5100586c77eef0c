"""PoseTrack JSON of 2017 and 2018, written frame by frame.

The fields are those that leonid-pishchulin/poseval reads. It matches frames by position, so a frame
without people has an entry, and so has a frame that the source lost. It wants file names equal to
those of the ground truth and track ids below 10,000.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flowtrack.posetrack_json import (
    annotation18,
    categories18,
    frame17,
    image18,
    person17,
    point17,
)
from flowtrack.runtime.output.jsonl import PIXEL_DIGITS, rounded
from flowtrack.runtime.output.writer import LOGGER, Clip, GrowingFile, ResultWriter
from flowtrack.skeleton import POSETRACK17_15, POSETRACK18_17, Skeleton, convert_poses
from flowtrack.structs import ByteArray, Poses, TrackedFrame

_SCORE_DIGITS = 6
_ID_LIMIT = 10_000
"""poseval stops at larger track ids (MAX_TRACK_ID in eval_helpers.py)."""


class _PoseTrackWriter(ResultWriter):
    """Shared by both formats: joints converted, entries for lost frames filled in."""

    _target: Skeleton

    def __init__(self, path: Path, skeleton: Skeleton, clip: Clip, head: str) -> None:
        super().__init__(path)
        self._skeleton = skeleton
        self._clip = clip
        self._problems_seen = 0
        self._empty = True
        self._warned = False
        self._unlabeled = [
            row for row, joint in enumerate(self._target.joints) if joint.endswith("_ear")
        ]
        self._file = GrowingFile(path)
        self._file.write(head)

    def _add(self, frame: TrackedFrame, image: ByteArray) -> None:  # noqa: ARG002
        for index in self._lost_before(frame.index):
            self._write_frame(index, Poses.empty(len(self._target)), [], [])
        poses = convert_poses(frame.poses, self._skeleton, self._target)
        poses.xy[:, self._unlabeled] = np.nan
        there = np.flatnonzero(~poses.missing.all(axis=1))
        ids = [int(frame.tracks.id[row]) for row in there]
        if not self._warned and any(track_id >= _ID_LIMIT for track_id in ids):
            LOGGER.warning("%s: track ids reach %d; poseval refuses them", self.path, _ID_LIMIT)
            self._warned = True
        # The score of the person as tracked, not of the joints that this format can hold.
        scores = rounded(frame.poses.instance_score[there], _SCORE_DIGITS)
        usable = np.where(np.isfinite(scores), scores, 0.0)
        self._write_frame(frame.index, poses[there], ids, usable.tolist())

    def close(self, *, complete: bool = True) -> None:
        """Publish the file."""
        if complete:
            for index in self._lost_before(None):
                self._write_frame(index, Poses.empty(len(self._target)), [], [])
        self._file.publish(self._tail())

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.discard()

    @abstractmethod
    def _write_frame(self, index: int, poses: Poses, ids: list[int], scores: list[float]) -> None:
        """Append a frame; each of `poses` (in the target skeleton) has a joint."""

    @abstractmethod
    def _tail(self) -> str:
        """What completes the file."""

    def _append(self, entries: list[dict[str, Any]]) -> None:
        """Append entries to the list that the file grows, in one piece."""
        if not entries:
            return
        texts = [json.dumps(entry, separators=(",", ":"), allow_nan=False) for entry in entries]
        lead = "\n" if self._empty else ",\n"
        self._file.write(lead + ",\n".join(texts))
        self._empty = False

    def _lost_before(self, limit: int | None) -> Iterator[int]:
        """Indices below `limit` that the source lost and that have no entry yet."""
        while self._problems_seen < len(self._clip.problems):
            indices = self._clip.problems[self._problems_seen].indices
            if limit is not None and indices and indices[0] >= limit:
                return
            self._problems_seen += 1
            yield from (index for index in indices if index > self._last_index)


class PoseTrack17Writer(_PoseTrackWriter):
    """PoseTrack 2017: `annolist` with scalars in lists, 15 joints.

    People carry `track_id`, `score` and the joints that are there, with a score each. A rectangle
    (x1, y1, x2, y2) means the head box in this format; poseval reads it from ground truth only and
    it is left out.

    Args:
        path: the file.
        skeleton: of the poses that will be written.
        clip: gives the names of the pictures and the frames that were lost.

    Raises:
        OutputError: the folder cannot be written.
    """

    _target = POSETRACK17_15

    def __init__(self, path: Path, skeleton: Skeleton, clip: Clip) -> None:
        super().__init__(path, skeleton, clip, '{"annolist":[')

    def _write_frame(self, index: int, poses: Poses, ids: list[int], scores: list[float]) -> None:
        there = ~poses.missing
        xy, score = rounded(poses.xy, PIXEL_DIGITS), rounded(poses.score, _SCORE_DIGITS)
        people = [
            person17(
                track_id,
                [
                    point17(joint, *map(float, xy[row, joint]), score=float(score[row, joint]))
                    for joint in np.flatnonzero(there[row]).tolist()
                ],
                score=scores[row],
            )
            for row, track_id in enumerate(ids)
        ]
        self._append([frame17(self._clip.frame_name(index), people)])

    def _tail(self) -> str:
        return "\n]}\n"


class PoseTrack18Writer(_PoseTrackWriter):
    """PoseTrack 2018: `annotations`, `images`, `categories` in the manner of COCO, 17 slots.

    A missing joint has x = y = v = 0 and score 0; the ears are never there. poseval reads this
    format only where pictures are named as PoseTrack names them (`000342_mpii_test/000001.jpg`).

    Args:
        path: the file.
        skeleton: of the poses that will be written.
        clip: gives the names of the pictures and the frames that were lost.

    Raises:
        OutputError: the folder cannot be written.
    """

    _target = POSETRACK18_17

    def __init__(self, path: Path, skeleton: Skeleton, clip: Clip) -> None:
        super().__init__(path, skeleton, clip, '{"annotations":[')
        # The list of images is written last, when it is known how many they are.
        self._indices = array("q")
        self._labeled = bytearray()
        self._people = 0

    def _write_frame(self, index: int, poses: Poses, ids: list[int], scores: list[float]) -> None:
        self._indices.append(index)
        self._labeled.append(bool(ids))
        missing = poses.missing
        score = np.where(missing, 0.0, rounded(poses.score, _SCORE_DIGITS))
        joints = np.zeros((len(poses), len(self._target), 3))
        joints[..., :2] = np.where(missing[..., None], 0.0, rounded(poses.xy, PIXEL_DIGITS))
        joints[..., 2] = ~missing
        boxes = _boxes_xywh(poses)
        self._append(
            [
                annotation18(
                    self._people + row,
                    index,
                    track_id,
                    joints[row].reshape(-1).tolist(),
                    boxes[row],
                    score=scores[row],
                    scores=score[row].tolist(),
                )
                for row, track_id in enumerate(ids)
            ]
        )
        self._people += len(ids)

    def _tail(self) -> str:
        images = [
            image18(
                index,
                self._clip.frame_name(index),
                self._clip.name,
                len(self._indices),
                labelled=bool(labeled),
            )
            for index, labeled in zip(self._indices, self._labeled, strict=True)
        ]
        rest = f'"images":{json.dumps(images)},\n"categories":{json.dumps(categories18())}'
        return f"\n],\n{rest}}}\n"


def _boxes_xywh(poses: Poses) -> list[list[float]]:
    """(N, 4) left, top, width, height; around the joints where the box itself is not finite."""
    missing = poses.missing[..., None]
    low = np.where(missing, np.inf, poses.xy).min(axis=1, initial=np.inf)
    high = np.where(missing, -np.inf, poses.xy).max(axis=1, initial=-np.inf)
    usable = np.isfinite(poses.box).all(axis=1, keepdims=True)
    box = np.where(usable, poses.box, np.concatenate([low, high], axis=1))
    xywh = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
    result: list[list[float]] = rounded(xywh.astype(np.float32), PIXEL_DIGITS).tolist()
    return result
