"""What a bundle's networks make of a clip, computed once and shared by all tracker settings.

Detector, flow and pose network are replaced by stand-ins that remember, and these go into an
unmodified `flowtrack.runtime.pipeline.Pipeline`: what is measured is what is deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flowtrack.evaluation.deployed.memory import Memory
from flowtrack.evaluation.deployed.networks import Networks, Part
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.deployed.stand_ins import (
    Pictures,
    RecordedDetector,
    RecordedFlow,
    RecordedPose,
    WeakenedDetector,
)
from flowtrack.evaluation.deployed.weakening import Weakening
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.flow import FlowImage
from flowtrack.runtime.pipeline import Pipeline
from flowtrack.structs import TrackedFrame
from flowtrack.tracker.options import TrackerOptions


class Recording:
    """One clip as the networks of one bundle see it.

    If `exact`, a replay equals a plain run with the same options bit for bit: poses are remembered
    for all boxes of a frame together, because a network may round a crop otherwise in another
    batch. Otherwise they are remembered box by box, so that settings share more of them, and differ
    from those of a plain run by that rounding; not at all where the network takes one crop at once.
    Boxes that no setting had before go through the network when a setting proposes them.

    What is remembered depends on the networks, how they are fed and read, the device and versions,
    and the pictures' bytes. All of that is in the keys: a `Memory` may serve many recordings
    (bundles that share a network share what it gave) and outlive the process.

    Attributes:
        clip: what is seen.
        networks: what sees it.
    """

    def __init__(
        self, clip: TruthClip, networks: Networks, memory: Memory, *, exact: bool = True
    ) -> None:
        """Pair a clip with networks; no network runs yet.

        Raises:
            SourceError: a picture cannot be read.
        """
        self.clip = clip
        self.networks = networks
        content = clip.digest()

        def key(part: Part) -> str:
            return f"{part} {networks.fingerprint(part)[:24]} {content[:24]}"

        self._pictures = pictures = Pictures(clip)
        self._detector = RecordedDetector(networks.detector, pictures, memory, key("detector"))
        self._pose = RecordedPose(networks.pose, pictures, memory, key("pose"), exact=exact)
        self._flow: RecordedFlow | None = None
        if networks.flow is not None:
            self._flow = RecordedFlow(networks.flow, pictures, memory, key("flow"))

    def record(self, *, flow: bool, progress: Callable[[], None] | None = None) -> None:
        """Detect people and, if asked for, compute the flow from frame to frame, for all frames.

        Replays do so by themselves; this is for telling how far it is.

        Args:
            flow: whether a setting will need it.
            progress: called after each frame.
        """
        before: FlowImage | None = None
        for index in range(len(self.clip)):
            frame = self._pictures.blank(index)
            self._detector(frame)
            if flow and self._flow is not None:
                image = self._flow.prepare(frame)
                if before is not None:
                    self._flow.between(before, image)
                before = image
            if progress is not None:
                progress()

    def track(
        self, options: TrackerOptions, weakening: Weakening | None = None
    ) -> Iterator[TrackedFrame]:
        """The clip tracked with a setting.

        Args:
            options: of the tracker.
            weakening: loses some of the detections.

        Raises:
            OptionError: the options need flow and there is none.
        """
        self.networks.check(options)
        detector: Detector = self._detector
        if weakening is not None:
            detector = WeakenedDetector(self._detector, weakening, self.clip.name)
        pipeline = Pipeline(detector, self._pose, self._flow, options)
        stream = pipeline.stream()
        for index in range(len(self.clip)):
            yield pipeline.step(stream, self._pictures.blank(index))
