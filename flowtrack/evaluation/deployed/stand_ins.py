"""Detector, flow and pose network that remember what they gave: stand-ins for a pipeline's own.

A frame that comes in may be without its picture: only index and size are looked at, and the picture
is taken from the clip when a network has to run.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from flowtrack.evaluation.deployed.memory import Arrays, Memory
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.deployed.weakening import Weakening
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.flow import FlowEstimator, FlowImage
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.structs import Boxes, FlowField, Frame, Poses

_PREPARED = 16
"""Pictures that are kept prepared for the flow: direct flow starts from several."""


class Pictures:
    """The frames of a clip, decoded only for a network; the last one is kept for the next."""

    def __init__(self, clip: TruthClip) -> None:
        """Decode nothing yet."""
        self._clip = clip
        self._last: Frame | None = None
        self._blank: Frame | None = None

    def blank(self, index: int) -> Frame:
        """A frame of the right size, index and time without its picture."""
        if self._blank is None:
            self._blank = Frame(0, 0.0, np.zeros_like(self.frame(0).image))
        return Frame(index, self._clip.time_s(index), self._blank.image)

    def frame(self, index: int) -> Frame:
        """The frame itself."""
        if self._last is None or self._last.index != index:
            self._last = self._clip.frame(index)
        return self._last


class RecordedDetector(Detector):
    """A detector that looks at each frame once."""

    def __init__(self, detector: Detector, pictures: Pictures, memory: Memory, key: str) -> None:
        """Stand in for a detector; what it gave is remembered under `key`."""
        super().__init__(detector.engine, detector.spec)
        self._detector = detector
        self._pictures = pictures
        self._memory = memory
        self._key = key

    def __call__(self, frame: Frame, clock: StageClock | None = None) -> Boxes:
        """The people of the frame with this index."""
        key = f"{self._key} {frame.index}"
        known = self._memory.get(key)
        if known is None:
            found = self._detector(self._pictures.frame(frame.index), clock)
            known = (found.xyxy, found.score)
            self._memory.put(key, known)
        return Boxes.detected(*known)


class WeakenedDetector(Detector):
    """A detector that loses some of the people it finds."""

    def __init__(self, detector: Detector, weakening: Weakening, clip: str) -> None:
        """Stand in for a detector that looks at the clip of this name."""
        super().__init__(detector.engine, detector.spec)
        self._detector = detector
        self._weakening = weakening
        self._clip = clip

    def __call__(self, frame: Frame, clock: StageClock | None = None) -> Boxes:
        """Those of the people of the frame that are not lost."""
        found = self._detector(frame, clock)
        return found[self._weakening.kept(self._clip, frame.index, found.xyxy)]


class RecordedFlow:
    """A flow method that looks at each pair of frames once."""

    def __init__(self, flow: FlowEstimator, pictures: Pictures, memory: Memory, key: str) -> None:
        """Stand in for a flow method; what it gave is remembered under `key`."""
        self._flow = flow
        self._pictures = pictures
        self._memory = memory
        self._key = key
        self._prepared: OrderedDict[int, FlowImage] = OrderedDict()

    def prepare(self, frame: Frame, clock: StageClock | None = None) -> FlowImage:  # noqa: ARG002
        """The index of the frame; the picture is prepared when a flow is missing."""
        return FlowImage(frame.index, (frame.height, frame.width), np.zeros(0))

    def between(
        self, first: FlowImage, second: FlowImage, clock: StageClock | None = None
    ) -> FlowField:
        """Flow from the frame with the first index to that with the second."""
        key = f"{self._key} {first.index} {second.index}"
        known = self._memory.get(key)
        if known is None:
            start, end = (self._image(index, clock) for index in (first.index, second.index))
            field = self._flow.between(start, end, clock)
            known = (field.uv, np.array(field.scale))
            self._memory.put(key, known)
        uv, scale = known
        return FlowField(uv, (float(scale[0]), float(scale[1])), first.index, second.index)

    def _image(self, index: int, clock: StageClock | None) -> FlowImage:
        if index not in self._prepared:
            frame = self._pictures.frame(index)
            self._prepared[index] = self._flow.prepare(frame, clock)
            while len(self._prepared) > _PREPARED:
                self._prepared.popitem(last=False)
        return self._prepared[index]


class RecordedPose(PoseEstimator):
    """A pose network that looks at each box once or, if `exact`, at each set of boxes.

    A network that takes one crop at once makes the same of it whatever else there is, so that box
    by box is exact, too.
    """

    def __init__(
        self, pose: PoseEstimator, pictures: Pictures, memory: Memory, key: str, *, exact: bool
    ) -> None:
        """Stand in for a pose network; what it gave is remembered under `key`."""
        super().__init__(pose.engine, pose.spec, pose.skeleton)
        self._pose = pose
        self._pictures = pictures
        self._memory = memory
        self._key = key
        self._by_box = not exact or pose.spec.file.input.batch == 1

    def estimate(
        self, frames: Sequence[Frame], boxes: Sequence[Boxes], clock: StageClock | None = None
    ) -> list[Poses]:
        """Poses in the boxes of the frames with these indices, each frame a batch of its own."""
        return [self._of(frame, found, clock) for frame, found in zip(frames, boxes, strict=True)]

    def _of(self, frame: Frame, boxes: Boxes, clock: StageClock | None) -> Poses:
        if not len(boxes):
            return Poses.empty(len(self.skeleton))
        rows = np.arange(len(boxes))
        groups = rows[:, None] if self._by_box else rows[None]
        keys = [self._key_of(frame.index, boxes[group]) for group in groups]
        known: list[Arrays | None] = [self._memory.get(key) for key in keys]
        missing = [place for place, arrays in enumerate(known) if arrays is None]
        if missing:
            picture = self._pictures.frame(frame.index)
            (poses,) = self._pose.estimate([picture], [boxes[groups[missing].ravel()]], clock)
            new = np.split(np.arange(len(poses)), len(missing))
            for place, part in zip(missing, new, strict=True):
                known[place] = arrays = (poses.xy[part], poses.score[part])
                self._memory.put(keys[place], arrays)
        xy, score = (
            np.concatenate([arrays[i] for arrays in known if arrays is not None]) for i in (0, 1)
        )
        return Poses(xy, score, boxes.xyxy, boxes.score)

    def _key_of(self, index: int, boxes: Boxes) -> str:
        return f"{self._key} {index} {hashlib.sha256(boxes.xyxy.tobytes()).hexdigest()[:24]}"
