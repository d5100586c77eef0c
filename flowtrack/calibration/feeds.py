"""What each network of a bundle is fed on real frames: the material that ranges are measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, OptionError
from flowtrack.runtime.bundle import Bundle
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import Engine, open_engine
from flowtrack.runtime.engines.base import DeviceArray
from flowtrack.runtime.flow import FlowImage, NetworkFlow
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.skeleton import skeleton_named
from flowtrack.structs import Frame

Array = npt.NDArray[Any]
Feed = dict[str, Array]


def record_feeds(
    bundle: Bundle,
    frames: Iterable[Frame],
    limit: int,
    progress: Callable[[], None] | None = None,
) -> dict[str, list[Feed]]:
    """Run a bundle's networks on frames, as tracking does, and keep what they are fed.

    The detector sees every frame, the flow network each pair of neighbours of one size that lie as
    close together as the first two, and the pose network the people that are detected with the
    score the bundle's tracker asks for.

    Args:
        bundle: fp32, on the CPU.
        frames: of a video, or pictures of any sizes.
        limit: most runs to keep of each network, spread evenly over all; never more than twice
            as many are in memory.
        progress: called after each frame.

    Returns:
        By part, the inputs by name of each run that was kept.

    Raises:
        OptionError: `limit` is below 1.
        InputError: the frames are a single grey each, or one of the networks is never run on them.
        BundleError, EngineError: a network is damaged.
    """
    if limit < 1:
        raise OptionError(f"limit is {limit}, expected at least 1 run to keep")
    manifest = bundle.manifest
    recorders = {
        part: _Recorder(open_engine(bundle.read(part), "cpu"), limit) for part in manifest.files()
    }
    detector = Detector(recorders["detector"], manifest.detector)
    pose = PoseEstimator(recorders["pose"], manifest.pose, skeleton_named(manifest.skeleton))
    flow = None
    if manifest.flow is not None and "flow" in recorders:
        flow = _Neighbours(NetworkFlow(recorders["flow"], manifest.flow))
    threshold = manifest.tracker_options.box_threshold
    count, plain = 0, 0
    for frame in frames:
        boxes = detector(frame)
        pose(frame, boxes[boxes.score >= np.float32(threshold)])
        if flow is not None:
            flow.see(frame)
        count += 1
        plain += int(frame.image.min() == frame.image.max())
        if progress is not None:
            progress()
    if count == plain:
        raise InputError(
            f"{count} frames were given and {plain} of them are one colour all over; calibrate on "
            "frames of the kind that will be tracked"
        )
    feeds = {part: recorder.kept() for part, recorder in recorders.items()}
    _check_run(feeds, count, threshold)
    return feeds


class _Neighbours:
    """A flow network that runs on frames that follow each other, and not from moment to moment."""

    def __init__(self, flow: NetworkFlow) -> None:
        self._flow = flow
        self._before: tuple[int, FlowImage] | None = None  # its frame's index comes first
        self._step: int | None = None

    def see(self, frame: Frame) -> None:
        """Run on the last frame and this one, if they are neighbours."""
        image = self._flow.prepare(frame)
        if self._before is not None:
            index, before = self._before
            step = frame.index - index
            self._step = self._step or step
            if step <= self._step and before.size == image.size:
                self._flow.between(before, image)
        self._before = frame.index, image


def _check_run(feeds: Mapping[str, list[Feed]], count: int, threshold: float) -> None:
    if not feeds["pose"]:
        raise InputError(
            f"nobody was detected with a score of {threshold} or more on {count} frames, so the "
            "pose network was never run; calibrate on frames that show people"
        )
    if not feeds.get("flow", [{}]):
        raise InputError(
            f"no two of {count} neighbouring frames have one size, so the flow network was never "
            "run; calibrate on a video, or pictures of one size"
        )


class _Recorder(Engine):
    """An engine that keeps what it is fed: evenly spread, and at most twice the limit."""

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._kept: list[Feed] = []
        self._runs = 0
        self._step = 1
        self.inputs = engine.inputs
        self.outputs = engine.outputs
        self.device = engine.device

    def place(self, array: Array) -> Array | DeviceArray:
        return self._engine.place(array)

    def _run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        if self._runs % self._step == 0:
            # Copies: a decoder may write the next frame where this one lies.
            self._kept.append({name: np.array(value) for name, value in feeds.items()})
            if len(self._kept) == 2 * self._limit:
                del self._kept[1::2]
                self._step *= 2
        self._runs += 1
        return self._engine.infer(feeds)

    def kept(self) -> list[Feed]:
        """At most `limit` feeds, evenly spread over all runs."""
        chosen = np.linspace(0, len(self._kept) - 1, min(self._limit, len(self._kept)))
        return [self._kept[round(place)] for place in chosen]
