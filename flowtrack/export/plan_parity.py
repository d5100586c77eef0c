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

from flowtrack.calibration.agreement import compare_boxes, compare_flow, compare_poses
from flowtrack.errors import ExportError
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import Engine
from flowtrack.runtime.manifest import Manifest
from flowtrack.runtime.pipeline import open_flow
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.skeleton import skeleton_named
from flowtrack.structs import Boxes, FloatArray, Frame, Poses

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
    """Boxes that the tracker would take for people by themselves, each with its counterpart on the
    other side.
    """
    threshold = np.float32(manifest.tracker_options.person_threshold)
    expected, found = (
        [
            boxes[boxes.score >= threshold]
            for boxes in map(Detector(engine, manifest.detector), frames)
        ]
        for engine in (graph, plan)
    )
    agreement = compare_boxes(expected, found)
    alone = int(agreement.lost.sum() + agreement.invented.sum())
    # Each of a pair counts, so that what stands alone has the weight of one box.
    iou = np.concatenate([np.repeat(agreement.iou, 2), np.zeros(alone, np.float32)])
    mean = float(iou.mean()) if len(iou) else 0.0
    figures = {
        "boxes": len(iou), "alone": alone, "mean_iou": mean,
        "least_iou": float(iou.min(initial=1.0)), "limit_mean_iou": IOU_LIMIT,
    }  # fmt: skip
    failure = f"boxes have a mean IoU of {mean:.3f}, expected at least {IOU_LIMIT}"
    if not len(iou):
        failure = f"neither finds anybody in these frames, so there is {_NOTHING}"
    return figures, None if mean >= IOU_LIMIT else failure


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
    reference: list[Poses] = []
    others: list[Poses] = []
    for frame, boxes in zip(frames, detections, strict=True):
        people = boxes if len(boxes) else Boxes.detected(
            [[0.0, 0.0, float(frame.width), float(frame.height)]], [1.0]
        )  # fmt: skip
        truth = expected(frame, people)
        for count in buckets or (len(people),):
            rows = np.resize(np.arange(len(people)), count)
            reference.append(truth[rows])
            others.append(found(frame, people[rows]))
    threshold = manifest.tracker_options.joint_threshold
    agreement = compare_poses(reference, others, threshold, skeleton.sigmas)
    oks = np.nan_to_num(agreement.oks, nan=1.0)  # NaN: neither sees anybody
    compared = agreement.px[~np.isnan(agreement.px)]
    px = compared[np.isfinite(compared)]
    mean = float(oks.mean())
    figures = {
        "people": len(oks), "joints": len(compared), "missed_joints": len(compared) - len(px),
        "batches": list(buckets),
        "mean_oks": mean, "least_oks": float(oks.min()), "limit_mean_oks": OKS_LIMIT,
        "median_px": _quantile(px, 0.5), "p99_px": _quantile(px, 0.99),
    }  # fmt: skip
    failure = f"poses have a mean OKS of {mean:.3f}, expected at least {OKS_LIMIT}"
    if np.isnan(agreement.oks).all():
        return figures, f"neither finds a joint in these frames, so there is {_NOTHING}"
    return figures, None if mean >= OKS_LIMIT else failure


def _flow(
    manifest: Manifest, graph: Engine, plan: Engine, frames: Sequence[Frame]
) -> tuple[dict[str, Any], str | None]:
    """End-point differences between consecutive frames."""
    fields = []
    for engine in (graph, plan):
        flow = open_flow(manifest.flow, engine)
        assert flow is not None
        images = [flow.prepare(frame) for frame in frames]
        fields.append([flow.between(*pair) for pair in pairwise(images)])
    difference = compare_flow(*fields).error
    mean = float(difference.mean())
    figures = {
        "vectors": difference.size, "mean_px": mean, "p99_px": _quantile(difference.ravel(), 0.99),
        "limit_mean_px": FLOW_LIMIT_PX,
    }  # fmt: skip
    failure = f"flow differs by {mean:.3g} px on average, expected at most {FLOW_LIMIT_PX}"
    return figures, None if mean <= FLOW_LIMIT_PX else failure


def _quantile(values: FloatArray, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else 0.0
