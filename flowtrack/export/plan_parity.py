"""Plans against the graphs that they were built from: boxes, joints and flow of the same frames.

Both run through the code that runs them later, the graph in ONNX Runtime on the CPU. Graph and
plan have the same precision, and still round differently, so agreement is measured as users see it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import ExportError
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import Engine
from flowtrack.runtime.manifest import Manifest
from flowtrack.runtime.pipeline import open_flow
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.skeleton import skeleton_named
from flowtrack.structs import Boxes, FloatArray, Frame, Poses
from flowtrack.tracker.boxes import iou_matrix
from flowtrack.tracker.oks import oks_matrix

OKS_LIMIT = 0.98
"""Least mean OKS of a plan's poses to those of its graph."""

IOU_LIMIT = 0.95
"""Least mean IoU of a plan's boxes to those of its graph; a box without a counterpart counts 0."""

FLOW_LIMIT_PX = 0.5
"""Largest mean end-point difference, in source pixels."""

_NOTHING = "nothing to compare; give others with --frames"


@dataclass(frozen=True)
class Comparison:
    """How a plan agrees with its graph.

    Attributes:
        record: for the file beside the plan.
        failure: what is beyond its limit; None where nothing is.
    """

    record: dict[str, Any]
    failure: str | None

    def accepted(self, reason: str | None) -> dict[str, Any]:
        """The record, if the plan may be used.

        Args:
            reason: why it may be used although it is beyond the limit; None if it may not.

        Raises:
            ExportError: it may not.
        """
        if self.failure is None:
            return self.record
        if reason is None:
            raise ExportError(
                f"the plan is not proven against its graph: {self.failure}. Nothing was written. "
                "Try another --level, use a bundle of higher precision, or give `--accept REASON` "
                "to put it in the bundle all the same"
            )
        return {**self.record, "failure": self.failure, "accepted": reason}


def compare_plan(
    manifest: Manifest,
    part: str,
    graph: Engine,
    plan: Engine,
    frames: Sequence[Frame],
    detections: Sequence[Boxes],
    buckets: Sequence[int] = (),
) -> Comparison:
    """Run a plan and its graph on the same frames.

    Args:
        manifest: says how the network is fed and read.
        part: `detector`, `pose` or `flow`.
        graph: the ONNX graph on the CPU.
        plan: the plan on the GPU.
        frames: of one size, at least two.
        detections: people in each frame, for the pose network.
        buckets: batch sizes of the plan, each of which is run.
    """
    if part == "detector":
        figures, failure = _detector(manifest, graph, plan, frames)
    elif part == "pose":
        figures, failure = _pose(manifest, graph, plan, frames, detections, buckets)
    else:
        figures, failure = _flow(manifest, graph, plan, frames)
    against = f"onnxruntime {importlib.metadata.version('onnxruntime')} on the CPU"
    size = f"{frames[0].width}x{frames[0].height}"
    return Comparison({"against": against, "frames": len(frames), "size": size, **figures}, failure)


def _detector(
    manifest: Manifest, graph: Engine, plan: Engine, frames: Sequence[Frame]
) -> tuple[dict[str, Any], str | None]:
    """Boxes that the tracker would take, each with its nearest on the other side."""
    threshold = manifest.tracker_options.box_threshold
    expected, found = (Detector(engine, manifest.detector) for engine in (graph, plan))
    overlaps = [
        _overlaps(*(there[there.score >= threshold] for there in (expected(frame), found(frame))))
        for frame in frames
    ]
    iou = np.concatenate(overlaps)
    mean = float(iou.mean()) if len(iou) else 0.0
    figures = {
        "boxes": len(iou), "mean_iou": mean, "least_iou": float(iou.min(initial=1.0)),
        "limit_mean_iou": IOU_LIMIT,
    }  # fmt: skip
    failure = f"boxes have a mean IoU of {mean:.3f}, expected at least {IOU_LIMIT}"
    if not len(iou):
        failure = f"neither finds anybody in these frames, so there is {_NOTHING}"
    return figures, None if mean >= IOU_LIMIT else failure


def _overlaps(expected: Boxes, found: Boxes) -> FloatArray:
    """IoU of every box of either side to the best of the other; 0 where there is none."""
    iou = iou_matrix(expected.xyxy, found.xyxy)
    return np.concatenate([iou.max(axis=1, initial=0.0), iou.max(axis=0, initial=0.0)])


def _pose(
    manifest: Manifest,
    graph: Engine,
    plan: Engine,
    frames: Sequence[Frame],
    detections: Sequence[Boxes],
    buckets: Sequence[int],
) -> tuple[dict[str, Any], str | None]:
    """Joints of the same people, in batches of every size that the plan is tuned for."""
    skeleton = skeleton_named(manifest.skeleton)
    expected, found = (PoseEstimator(engine, manifest.pose, skeleton) for engine in (graph, plan))
    similarity, distance = [], []
    for frame, boxes in zip(frames, detections, strict=True):
        people = boxes if len(boxes) else Boxes.detected(
            [[0.0, 0.0, float(frame.width), float(frame.height)]], [1.0]
        )  # fmt: skip
        truth = expected(frame, people)
        for count in buckets or (len(people),):
            rows = np.resize(np.arange(len(people)), count)
            poses = found(frame, people[rows])
            oks, px = _agreement(truth[rows], poses, manifest, skeleton.sigmas)
            similarity.append(oks)
            distance.append(px)
    oks, px = np.concatenate(similarity), np.concatenate(distance)
    mean = float(oks.mean())
    figures = {
        "people": len(oks), "joints": len(px), "batches": list(buckets),
        "mean_oks": mean, "least_oks": float(oks.min()), "limit_mean_oks": OKS_LIMIT,
        "median_px": _quantile(px, 0.5), "p99_px": _quantile(px, 0.99),
    }  # fmt: skip
    failure = f"poses have a mean OKS of {mean:.3f}, expected at least {OKS_LIMIT}"
    if not len(px) and mean == 1.0:
        return figures, f"neither finds a joint in these frames, so there is {_NOTHING}"
    return figures, None if mean >= OKS_LIMIT else failure


def _agreement(
    expected: Poses, found: Poses, manifest: Manifest, sigmas: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """OKS person by person, and distances of the joints that the tracker would keep."""
    threshold = manifest.tracker_options.joint_threshold
    usable: npt.NDArray[np.bool_] = np.asarray(expected.score >= threshold)
    # A network that is sure of nothing is held against all that it gives.
    usable[~usable.any(axis=1)] = True
    usable &= np.isfinite(expected.xy).all(axis=2)
    there: npt.NDArray[np.bool_] = np.asarray(np.isfinite(found.xy).all(axis=2))
    sides = expected.box[:, 2:] - expected.box[:, :2]
    oks = oks_matrix(expected.xy, usable, sides.prod(axis=1), found.xy, there, sigmas).diagonal()
    blank = ~usable.any(axis=1) & ~there.any(axis=1)  # both sides see nobody
    px = np.linalg.norm(expected.xy - found.xy, axis=2)[usable & there]
    return np.where(blank, np.float32(1.0), oks), px


def _flow(
    manifest: Manifest, graph: Engine, plan: Engine, frames: Sequence[Frame]
) -> tuple[dict[str, Any], str | None]:
    """End-point differences between consecutive frames."""
    fields = []
    for engine in (graph, plan):
        flow = open_flow(manifest.flow, engine)
        assert flow is not None
        images = [flow.prepare(frame) for frame in frames]
        fields.append(np.stack([flow.between(*pair).uv for pair in pairwise(images)]))
    difference = np.linalg.norm(fields[0] - fields[1], axis=1)
    mean = float(difference.mean())
    figures = {
        "vectors": difference.size, "mean_px": mean, "p99_px": _quantile(difference.ravel(), 0.99),
        "limit_mean_px": FLOW_LIMIT_PX,
    }  # fmt: skip
    failure = f"flow differs by {mean:.3g} px on average, expected at most {FLOW_LIMIT_PX}"
    return figures, None if mean <= FLOW_LIMIT_PX else failure


def _quantile(values: FloatArray, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else 0.0
