"""How far two networks for the same job are apart: boxes, joints and flow of the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowtrack.structs import BoolArray, Boxes, FloatArray, FlowField, IntArray, Poses
from flowtrack.tracker.boxes import iou_matrix
from flowtrack.tracker.matching import greedy_match
from flowtrack.tracker.oks import oks_matrix

PAIRING_IOU = 0.5
"""Least IoU of two boxes of one person, as in PASCAL VOC and the tracker's own evaluation."""


@dataclass(frozen=True)
class BoxAgreement:
    """Boxes of two detectors, frame by frame.

    Attributes:
        iou: (P,) float32 of the pairs.
        pair_frame: (P,) place of each pair's frame.
        reference, lost, invented: (F,) boxes of the reference in each frame, those of them that
            have no counterpart, and those of the other detector that have none.
    """

    iou: FloatArray
    pair_frame: IntArray
    reference: IntArray
    lost: IntArray
    invented: IntArray


@dataclass(frozen=True)
class PoseAgreement:
    """Poses of two networks in the same boxes.

    Attributes:
        oks: (N,) of each person; NaN where neither network sees a joint.
        px: (N, K) distances of the joints that the reference is sure of; NaN for others, infinite
            for those that only the other network misses.
        frame: (N,) place of each person's frame.
    """

    oks: FloatArray
    px: FloatArray
    frame: IntArray


@dataclass(frozen=True)
class FlowAgreement:
    """Flow of two networks between the same frames, in source pixels.

    Attributes:
        error: (P, h, w) lengths of the difference.
        motion: (P,) mean length of the reference's vectors, pair by pair.
    """

    error: FloatArray
    motion: FloatArray


def pair_boxes(reference: Boxes, other: Boxes) -> tuple[IntArray, FloatArray]:
    """Boxes of one frame paired greedily, the most alike first.

    Returns:
        For each box of `other` the row of its counterpart or -1, and (N,) their IoU, 0 where there
        is none.
    """
    iou = iou_matrix(reference.xyxy, other.xyxy)
    match = greedy_match(iou, np.arange(len(reference)), PAIRING_IOU)
    paired: FloatArray = np.zeros(len(other), np.float32)
    found = match >= 0
    paired[found] = iou[match[found], np.flatnonzero(found)]
    return match, paired


def compare_boxes(reference: Sequence[Boxes], other: Sequence[Boxes]) -> BoxAgreement:
    """Boxes of both detectors, one entry per frame, above the threshold that is to be used."""
    ious, places, lost, invented = [], [], [], []
    for place, (expected, found) in enumerate(zip(reference, other, strict=True)):
        match, iou = pair_boxes(expected, found)
        there = match >= 0
        ious.append(iou[there])
        places.append(np.full(there.sum(), place))
        lost.append(len(expected) - there.sum())
        invented.append((~there).sum())
    return BoxAgreement(
        np.concatenate([np.zeros(0, np.float32), *ious]),
        np.concatenate([np.zeros(0, np.int64), *places]),
        np.array([len(boxes) for boxes in reference], np.int64),
        np.array(lost, np.int64),
        np.array(invented, np.int64),
    )


def compare_poses(
    reference: Sequence[Poses], other: Sequence[Poses], threshold: float, sigmas: FloatArray
) -> PoseAgreement:
    """Poses of both networks in the same boxes, one entry per frame.

    Args:
        reference, other: row by row the same boxes.
        threshold: score of the joints that the tracker keeps. Of a person without any, all joints
            are compared that the reference gives.
        sigmas: (K,) of the skeleton, for OKS with the box's area in the place of the person's.
    """
    oks, px, frames = [], [], []
    for place, (expected, found) in enumerate(zip(reference, other, strict=True)):
        usable = _usable(expected, threshold)
        there = ~found.missing
        sides = expected.box[:, 2:] - expected.box[:, :2]
        area = sides.prod(axis=1)
        table = oks_matrix(expected.xy, usable, area, found.xy, there, sigmas)
        nobody = ~usable.any(axis=1)
        oks.append(np.where(nobody, np.where(there.any(axis=1), 0.0, np.nan), table.diagonal()))
        distance = np.linalg.norm(expected.xy - found.xy, axis=2)
        px.append(np.where(usable, np.where(there, distance, np.inf), np.nan))
        frames.append(np.full(len(expected), place))
    joints = len(sigmas)
    return PoseAgreement(
        np.concatenate([np.zeros(0), *oks]).astype(np.float32),
        np.concatenate([np.zeros((0, joints)), *px]).astype(np.float32),
        np.concatenate([np.zeros(0, np.int64), *frames]),
    )


def _usable(poses: Poses, threshold: float) -> BoolArray:
    there = ~poses.missing
    usable: BoolArray = there & (poses.score >= np.float32(threshold))
    unsure = ~usable.any(axis=1)
    usable[unsure] = there[unsure]
    return usable


def compare_flow(reference: Sequence[FlowField], other: Sequence[FlowField]) -> FlowAgreement:
    """Flow of both networks on the same grid, one entry per pair of frames, at least one."""
    expected, found = (np.stack([field.uv for field in fields]) for fields in (reference, other))
    return FlowAgreement(
        np.linalg.norm(expected - found, axis=1).astype(np.float32),
        np.linalg.norm(expected, axis=1).mean(axis=(1, 2)).astype(np.float32),
    )
