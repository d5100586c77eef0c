"""Poses and boxes that a bundle's networks give on a COCO set, through the runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from flowtrack.errors import OptionError
from flowtrack.evaluation.coco_conventions import oks_nms, person_scores
from flowtrack.evaluation.coco_files import CocoResults, CocoTruth
from flowtrack.evaluation.deployed.coco_set import CocoSet
from flowtrack.evaluation.deployed.networks import Networks, open_networks
from flowtrack.runtime.bundle import Bundle
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.pipeline import LOOK_AHEAD
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.runtime.prefetch import Prefetch
from flowtrack.runtime.preprocess import crop_matrices, to_source
from flowtrack.skeleton import COCO_17, conversion_weights, skeleton_named
from flowtrack.structs import Boxes, Poses

Progress = Callable[[int], None]
"""Told the number of pictures that are done."""


def open_for_pictures(
    bundle: Bundle, *, flip: bool | None = None, device: str = "auto", threads: int = 0
) -> Networks:
    """Detector and pose network of a bundle, without its flow.

    Args:
        bundle: holds them.
        flip: average poses with those of the mirrored crop; None does what the bundle says.
        device, threads: see `flowtrack.runtime.pipeline.open_pipeline`.

    Raises:
        BundleError: the bundle is damaged.
        EngineError: a network cannot be loaded on the device.
        OptionError: the flip test is asked for and must be part of the graph.
    """
    pose = bundle.manifest.pose
    if flip and pose.decode != "heatmap":
        raise OptionError(
            f"the flip test works on decode 'heatmap', the pose network of {bundle.path} has "
            f"{pose.decode!r}; export the graph with the flip test inside"
        )
    if flip is not None:
        pose = replace(pose, flip_test=flip)
    manifest = replace(bundle.manifest, pose=pose, flow=None)
    return open_networks(Bundle(bundle.path, manifest), device, threads)


def check_joints(bundle: Bundle) -> None:
    """Whether the poses of a bundle can be compared with COCO's.

    Raises:
        OptionError: they lack joints of COCO, so that every person would miss them.
    """
    skeleton = skeleton_named(bundle.manifest.skeleton)
    lacking = np.flatnonzero(~conversion_weights(skeleton, COCO_17).any(axis=1))
    if lacking.size:
        names = [COCO_17.joints[row] for row in lacking]
        raise OptionError(
            f"{bundle.path} has skeleton {skeleton.name!r}, which lacks {', '.join(names)} of "
            f"COCO; expected {COCO_17.name!r}, or use `flowtrack eval posetrack`"
        )


def estimate_poses(
    pose: PoseEstimator,
    pictures: CocoSet,
    detector: Detector | None = None,
    progress: Progress | None = None,
) -> CocoResults:
    """Poses on every picture, by the conventions of `coco_conventions`.

    Args:
        pose: with the joints of COCO, see `check_joints`.
        pictures: to run on.
        detector: finds the boxes, from its score floor on; without one they are the annotated boxes
            of people with labelled joints, with score 1.
        progress: told how far it is.

    Raises:
        InputError, SourceError: a picture is bad, see `CocoSet.frames`.
    """
    parts = []
    with Prefetch(pictures.frames(), LOOK_AHEAD) as frames:
        for done, (picture, frame) in enumerate(frames, 1):
            if detector is None:
                boxes = annotated_boxes(pictures.truth, picture)
            else:
                boxes = detector(frame)
            parts.append(as_results(pose(frame, boxes), picture, pose))
            if progress is not None:
                progress(done)
    return _joined(parts)


def detect_people(
    detector: Detector, pictures: CocoSet, progress: Progress | None = None
) -> CocoResults:
    """Boxes on every picture, from the detector's score floor on.

    Raises:
        InputError, SourceError: a picture is bad, see `CocoSet.frames`.
    """
    parts = []
    with Prefetch(pictures.frames(), LOOK_AHEAD) as frames:
        for done, (picture, frame) in enumerate(frames, 1):
            found = detector(frame)
            xywh = found.xyxy.astype(np.float64)
            xywh[:, 2:] -= xywh[:, :2]
            owner = np.full(len(found), picture, np.int64)
            parts.append(CocoResults(owner, found.score.astype(np.float64), None, xywh))
            if progress is not None:
                progress(done)
    return _joined(parts)


def annotated_boxes(truth: CocoTruth, picture: int) -> Boxes:
    """The boxes of the people to find in a picture, with score 1."""
    xyxy = truth.boxes[(truth.image_id == picture) & ~truth.ignored]
    xyxy[:, 2:] += xyxy[:, :2]
    return Boxes.detected(xyxy, np.ones(len(xyxy)))


def as_results(poses: Poses, picture: int, pose: PoseEstimator) -> CocoResults:
    """The poses of one picture as results, best first.

    A missing joint lies in the corner of its crop, where the official code leaves it.

    Args:
        poses: of the picture, joints of COCO.
        picture: its id.
        pose: the network that they are from: size and padding of its crops give the areas.
    """
    height, width = pose.size
    matrices = crop_matrices(poses.box, height, width, pose.spec.box_padding)
    corner = to_source(np.zeros((len(poses), 1, 2), np.float32), matrices)
    missing = poses.missing[..., None]
    xy = np.where(missing, corner, poses.xy).astype(np.float64)
    joint_score = np.where(missing[..., 0], 0.0, poses.score).astype(np.float64)
    score = person_scores(poses.box_score, joint_score)
    area = width * height / np.square(matrices[:, 0, 0].astype(np.float64))
    kept = oks_nms(xy, score, area)
    keypoints = np.concatenate([xy, joint_score[..., None]], axis=-1)[kept]
    return CocoResults(np.full(len(kept), picture, np.int64), score[kept], keypoints, None)


def _joined(parts: list[CocoResults]) -> CocoResults:
    """The results of several pictures as one."""
    keypoints = [part.keypoints for part in parts if part.keypoints is not None]
    boxes = [part.boxes for part in parts if part.boxes is not None]
    return CocoResults(
        np.concatenate([part.image_id for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate(keypoints) if keypoints else None,
        np.concatenate(boxes) if boxes else None,
    )
