"""The gate that a bundle of lower precision must pass to stand in for the fp32 one.

Both run on frames that had no say in the conversion, through the code that tracks later. The
reference runs in ONNX Runtime on the CPU, the candidate on the device that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from flowtrack.calibration.agreement import compare_boxes, compare_flow, compare_poses
from flowtrack.calibration.verdict import (
    OTHERS,
    Limits,
    PartVerdict,
    Verdict,
    judge_boxes,
    judge_flow,
    judge_poses,
)
from flowtrack.errors import InputError
from flowtrack.runtime.bundle import Bundle
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import Engine, open_engine
from flowtrack.runtime.flow import NetworkFlow
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.skeleton import skeleton_named
from flowtrack.structs import Boxes, FlowField, Frame, Poses


class Gate:
    """A reference on held-out frames, ready to have candidates held against it.

    What the reference gives is computed once, when it is first needed.
    """

    def __init__(
        self,
        reference: Bundle,
        frames: Sequence[Frame],
        limits: Limits | None = None,
        device: str = "cpu",
    ) -> None:
        """Take the original of the candidates.

        Args:
            reference: of fp32.
            frames: held out of the conversion, two or more.
            limits: what candidates are held against.
            device: that candidates run on.

        Raises:
            InputError: there are fewer than two frames.
        """
        if len(frames) < 2:
            raise InputError(
                f"{len(frames)} frames are held out, expected two or more to compare on; give a "
                "longer video, or raise --count"
            )
        self.reference = reference
        self.frames = frames
        self.limits = limits or Limits()
        self.device = device

    def part(self, part: str, graph: bytes) -> PartVerdict:
        """Hold a network against the reference's.

        Args:
            part: `detector`, `pose` or `flow`.
            graph: fed and read as the reference's manifest says.

        Raises:
            BundleError, EngineError: one of them cannot be loaded, or does not fit the manifest.
        """
        engine = open_engine(graph, self.device)
        if part == "detector":
            boxes = compare_boxes(self._boxes, self._detect(engine))
            return judge_boxes(boxes, self._indices, self.limits)
        if part == "pose":
            skeleton = skeleton_named(self.reference.manifest.skeleton)
            threshold = self.reference.manifest.tracker_options.joint_threshold
            agreement = compare_poses(
                self._poses, self._estimate(engine), threshold, skeleton.sigmas
            )
            return judge_poses(agreement, self._indices, skeleton.joints, self.limits)
        pairs = [first.index for first, _ in self._pairs()]
        return judge_flow(compare_flow(self._flow, self._flows(engine)), pairs, self.limits)

    @property
    def _indices(self) -> list[int]:
        return [frame.index for frame in self.frames]

    def _open(self, part: str) -> Engine:
        return open_engine(self.reference.read(part), "cpu")

    @cached_property
    def _boxes(self) -> list[Boxes]:
        return self._detect(self._open("detector"))

    @cached_property
    def _poses(self) -> list[Poses]:
        return self._estimate(self._open("pose"))

    @cached_property
    def _flow(self) -> list[FlowField]:
        return self._flows(self._open("flow"))

    def _detect(self, engine: Engine) -> list[Boxes]:
        """The boxes that the tracker would take for people by themselves, frame by frame."""
        manifest = self.reference.manifest
        detector = Detector(engine, manifest.detector)
        threshold = np.float32(manifest.tracker_options.person_threshold)
        found = [detector(frame) for frame in self.frames]
        return [boxes[boxes.score >= threshold] for boxes in found]

    def _estimate(self, engine: Engine) -> list[Poses]:
        """Poses in the reference's boxes, frame by frame."""
        manifest = self.reference.manifest
        pose = PoseEstimator(engine, manifest.pose, skeleton_named(manifest.skeleton))
        return [pose(*pair) for pair in zip(self.frames, self._boxes, strict=True)]

    def _pairs(self) -> list[tuple[Frame, Frame]]:
        """Neighbours of one size that lie as close together as any."""
        near = [
            (first, second)
            for first, second in pairwise(self.frames)
            if first.image.shape == second.image.shape
        ]
        if not near:
            raise InputError(
                f"no two of {len(self.frames)} neighbouring frames have one size, so there is no "
                f"flow to compare; {OTHERS}"
            )
        step = min(second.index - first.index for first, second in near)
        return [pair for pair in near if pair[1].index - pair[0].index == step]

    def _flows(self, engine: Engine) -> list[FlowField]:
        spec = self.reference.manifest.flow
        assert spec is not None  # there is a flow network to compare
        flow = NetworkFlow(engine, spec)
        return [
            flow.between(flow.prepare(first), flow.prepare(second))
            for first, second in self._pairs()
        ]


def judge(
    reference: Bundle,
    candidate: Bundle,
    frames: Sequence[Frame],
    limits: Limits | None = None,
    device: str = "cpu",
    progress: Callable[[], None] | None = None,
) -> Verdict:
    """Hold the networks of a bundle that differ from the original's against them.

    Args:
        reference: the fp32 original.
        candidate: made from it.
        frames: held out of the conversion, two or more.
        limits: what the candidate is held against.
        device: that it runs on.
        progress: called after each part.

    Raises:
        InputError: nothing differs, the frames are too few, or there is nothing to compare.
        BundleError, EngineError: a network is damaged, or does not fit its manifest.
    """
    files = candidate.manifest.files()
    changed = [
        part for part, file in reference.manifest.files().items()
        if part in files and files[part].sha256 != file.sha256
    ]  # fmt: skip
    if not changed:
        raise InputError(f"{candidate.path} has the networks of {reference.path}, expected others")
    gate = Gate(reference, frames, limits, device)
    parts = {}
    for part in changed:
        parts[part] = gate.part(part, candidate.read(part))
        if progress is not None:
            progress()
    return Verdict(parts, gate.limits, len(frames), device)
