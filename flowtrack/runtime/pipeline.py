"""The way of a frame: Algorithm 1 of the paper over loaded networks.

A `Pipeline` owns the networks and may be shared; a `Stream` owns the state of one video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowtrack.errors import EngineError, InputError, OptionError
from flowtrack.runtime.bundle import Bundle, open_bundle
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import Engine, choose_device, open_engine, split_device
from flowtrack.runtime.engines.tensorrt import open_tensorrt
from flowtrack.runtime.flow import DisFlow, FlowEstimator, FlowImage, NetworkFlow
from flowtrack.runtime.manifest import FlowSpec, Manifest, NetworkFile
from flowtrack.runtime.network import PlacedFrame
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.runtime.prefetch import Prefetch
from flowtrack.runtime.preprocess import pack
from flowtrack.skeleton import Skeleton, skeleton_named
from flowtrack.structs import NO_TRACK, Boxes, FlowField, Frame, Poses, TrackedFrame
from flowtrack.tracker.options import TrackerOptions
from flowtrack.tracker.tracker import FlowTracker, warmup

LOOK_AHEAD = 2
"""Frames decoded, and frames detected, ahead of the tracker in `Pipeline.run`."""


class Stream:
    """What is remembered of one video: the tracker, and pictures that flow will start from.

    Streams of one pipeline share nothing but the networks; each gives its own ids, from 0 up.
    """

    def __init__(self, skeleton: Skeleton, options: TrackerOptions) -> None:
        """Start before the first frame; `Pipeline.stream` makes one."""
        self.tracker = FlowTracker(skeleton, options)
        self._images: deque[FlowImage] = deque(maxlen=options.length)
        self._frames = 0
        self._last_index = -1
        self._size: tuple[int, int] | None = None

    def next_frame(self, frame: Frame) -> bool:
        """Count a frame; whether the detector is due on it.

        Raises:
            InputError: the frame does not come after the one before, or has another size.
        """
        if frame.index <= self._last_index:
            raise InputError(
                f"frame {frame.index} came after frame {self._last_index}; frames of a stream go "
                "in order, take a new stream for another video"
            )
        size = (frame.height, frame.width)
        if self._size not in (None, size):
            raise InputError(
                f"frame {frame.index} has size {size}, the stream has {self._size}; frames of a "
                "stream have one size"
            )
        due = self._frames % self.tracker.options.detect_every == 0
        self._frames += 1
        self._last_index = frame.index
        self._size = size
        return due

    def exchange(self, image: FlowImage) -> list[FlowImage]:
        """Remember a picture, and get those that flow to it starts from, newest first."""
        earlier = list(self._images)
        self._images.appendleft(image)
        return earlier if self.tracker.options.flow_links == "direct" else earlier[:1]


@dataclass(frozen=True)
class _Seen:
    """What a frame shows by itself and against earlier pictures: needs no tracking result.

    `view` is the frame as the networks read it.
    """

    frame: Frame
    view: Frame
    detections: Boxes
    flows: list[FlowField]
    clock: StageClock


class Pipeline:
    """Detector, flow and pose network of a bundle, ready to run.

    Attributes:
        skeleton: of the poses that come out.
        options: of the tracker, for every stream.
        device: where the networks run, and why there.
    """

    def __init__(
        self,
        detector: Detector,
        pose: PoseEstimator,
        flow: FlowEstimator | None,
        options: TrackerOptions,
        device: str = "",
    ) -> None:
        """Put loaded networks together; `open_pipeline` loads them from a bundle.

        Raises:
            OptionError: the options need flow and there is none.
        """
        if options.uses_flow and flow is None:
            raise OptionError(
                "the tracker's options need optical flow and the bundle has none; add `--flow dis` "
                "when you make the bundle, or track with similarity 'bbox' or 'pose' and no "
                "propagation"
            )
        self.detector = detector
        self.pose = pose
        self.flow = flow if options.uses_flow else None
        self.skeleton = pose.skeleton
        self.options = options
        self.device = device
        self._reader = self._frame_reader()
        self._warm_up()

    def _warm_up(self) -> None:
        """Compile the kernels, or load them from the cache, before the first frame."""
        warmup(self.skeleton)
        for spec in (self.detector.spec.file, self.pose.spec.file):
            pack(np.zeros((1, 2, 2, 3), np.uint8), spec.input)

    def _frame_reader(self) -> Engine | None:
        """An engine that reads whole frames; what it places, the others of its device read too."""
        heads: list[tuple[Engine, NetworkFile | None]] = [
            (self.detector.engine, self.detector.spec.file),
            (self.pose.engine, self.pose.spec.file),
        ]
        if isinstance(self.flow, NetworkFlow):
            heads.append((self.flow.engine, self.flow.spec.file))
        readers = (engine for engine, file in heads if file and file.input.form == "frame")
        return next(readers, None)

    def stream(self) -> Stream:
        """The state of a new video."""
        return Stream(self.skeleton, self.options)

    def step(self, stream: Stream, frame: Frame) -> TrackedFrame:
        """Track one frame: lines 7 to 13 of Algorithm 1 (and 1 to 5 on the first frame)."""
        return self._track([stream], [self._see(stream, frame)])[0]

    def step_batch(self, streams: Sequence[Stream], frames: Sequence[Frame]) -> list[TrackedFrame]:
        """Track one frame of each of several streams, the people of all of them as one batch.

        Results equal those of `step` on each stream, up to what the pose network itself makes of
        another batch size.

        Raises:
            InputError: there are not as many frames as streams, or a stream occurs twice.
        """
        if len(streams) != len(frames) or len({id(stream) for stream in streams}) != len(streams):
            raise InputError(
                f"{len(streams)} streams with {len(frames)} frames; expected one frame for each "
                "of several different streams"
            )
        seen = [self._see(*pair) for pair in zip(streams, frames, strict=True)]
        return self._track(streams, seen)

    def run(
        self, frames: Iterable[Frame], stream: Stream | None = None
    ) -> Iterator[tuple[Frame, TrackedFrame]]:
        """Track a whole video with its stages overlapped; the results equal those of `step`.

        Frames are decoded ahead, and detection and flow of the next frames run while this one is
        in pose estimation and matching, for only those depend on the frame before.

        Yields:
            Each frame with what was tracked in it.
        """
        state = stream or self.stream()
        with (
            Prefetch(frames, LOOK_AHEAD) as decoded,
            Prefetch((self._see(state, frame) for frame in decoded), LOOK_AHEAD) as seen,
        ):
            for item in seen:
                yield item.frame, self._track([state], [item])[0]

    def _see(self, stream: Stream, frame: Frame) -> _Seen:
        """Detection (line 7) and flow, which do not depend on tracking results."""
        clock = StageClock()
        due = stream.next_frame(frame)
        view = self._placed(frame, clock)
        detections = self.detector(view, clock) if due else Boxes.empty()  # line 7
        flows: list[FlowField] = []
        if self.flow is not None:
            image = self.flow.prepare(view, clock)
            earlier = stream.exchange(image)
            flows = [self.flow.between(start, image, clock) for start in earlier]
        return _Seen(frame, view, detections, flows, clock)

    def _placed(self, frame: Frame, clock: StageClock) -> Frame:
        """The frame brought, once for all of them, to where networks of frame-in form run."""
        if self._reader is None:
            return frame
        with clock.stage("upload"):
            copy = self._reader.place(frame.image)
            return PlacedFrame(frame.index, frame.time_s, frame.image, copy)

    def _track(self, streams: Sequence[Stream], seen: Sequence[_Seen]) -> list[TrackedFrame]:
        """Lines 8 to 13 for one frame of each stream."""
        if not seen:
            return []
        proposals = []
        for stream, item in zip(streams, seen, strict=True):
            with item.clock.stage("propose"):
                if item.flows:
                    stream.tracker.advance(item.flows)
                proposals.append(stream.tracker.propose(item.detections))  # lines 8, 9
        views = [item.view for item in seen]
        estimated = self.pose.estimate(views, proposals, seen[0].clock)  # line 10
        return [
            self._assign(stream, item, boxes, poses)
            for stream, item, boxes, poses in zip(streams, seen, proposals, estimated, strict=True)
        ]

    def _assign(self, stream: Stream, seen: _Seen, boxes: Boxes, poses: Poses) -> TrackedFrame:
        """Pose NMS (ours), then lines 11 to 13; people in ascending order of id.

        Joints that the network puts outside the picture are missing: nobody has seen them.
        """
        with seen.clock.stage("assign"):
            poses = poses.within(seen.frame.width, seen.frame.height)
            stays = stream.tracker.unify(poses)
            poses, boxes = poses[stays], boxes[stays]
            tracks = stream.tracker.assign(poses, seen.frame.index)
            kept = np.flatnonzero(tracks.id != NO_TRACK)
            order = kept[np.argsort(tracks.id[kept])]
            return TrackedFrame(
                index=seen.frame.index,
                time_s=seen.frame.time_s,
                poses=poses[order].without_joints_below(self.options.joint_threshold),
                tracks=tracks[order],
                boxes=boxes[order],
                flow=seen.flows[0] if seen.flows else None,
                timing_ms=seen.clock.ms,
            )


def open_pipeline(
    bundle: Bundle | str | Path,
    options: TrackerOptions | None = None,
    device: str = "auto",
    threads: int = 0,
) -> Pipeline:
    """Load the networks of a bundle.

    Args:
        bundle: an open bundle or its path.
        options: of the tracker; None takes those of the bundle.
        device: one of `flowtrack.runtime.engines.DEVICES`.
        threads: CPU threads of each network's run; 0 lets the backend choose.

    Raises:
        BundleError: the bundle is damaged, or a network is not what its manifest says.
        DependencyError: what runs the device is missing or damaged.
        EngineError: a network cannot be loaded on the device, or its plan is not for this machine.
        OptionError: the options need something that the bundle lacks, or no such device.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    manifest = opened.manifest
    compiled = device == "auto" and opened.plans().keys() == manifest.files().keys()
    chosen, why = choose_device(device, plans=compiled)
    engines = {}
    for part, file in manifest.files().items():
        try:
            engines[part] = _open_part(opened, part, chosen, threads)
        except EngineError as error:
            raise EngineError(f"{opened.path}: {file.path}: {error}") from error
    return build_pipeline(manifest, engines, options, why)


def _open_part(bundle: Bundle, part: str, device: str, threads: int) -> Engine:
    """A network of a bundle: its TensorRT plan on device `tensorrt`, its graph on all others."""
    name, gpu = split_device(device)
    if name != "tensorrt":
        return open_engine(bundle.read(part), device, threads)
    if part not in bundle.plans():
        raise EngineError(
            f"the bundle has no TensorRT plan for it; make one with `flowtrack compile "
            f"{bundle.path}`, or take device `cuda`"
        )
    plan = bundle.read_plan(part)
    return open_tensorrt(plan.data, plan.record.fingerprint, gpu)


def build_pipeline(
    manifest: Manifest,
    engines: Mapping[str, Engine],
    options: TrackerOptions | None = None,
    why: str = "",
) -> Pipeline:
    """Put loaded networks together as a manifest says.

    Args:
        manifest: says what each network is.
        engines: by part: `detector`, `pose` and, where the manifest names a file for it, `flow`.
        options: of the tracker; None takes those of the manifest.
        why: the reason for running on this device, for people to read.

    Raises:
        BundleError: a network is not what the manifest says.
        OptionError: the options need flow and there is none.
    """
    pose = PoseEstimator(engines["pose"], manifest.pose, skeleton_named(manifest.skeleton))
    device = f"{pose.engine.device}{_lowered(manifest)}"
    return Pipeline(
        Detector(engines["detector"], manifest.detector),
        pose,
        open_flow(manifest.flow, engines.get("flow")),
        options or manifest.tracker_options,
        f"{device} ({why})" if why else device,
    )


def _lowered(manifest: Manifest) -> str:
    """Which networks are not fp32, as what follows the device: `; INT8: pose, flow`."""
    parts: dict[str, list[str]] = {}
    for part, file in manifest.files().items():
        if file.precision != "fp32":
            parts.setdefault(file.precision.replace("int", "INT"), []).append(part)
    return "".join(f"; {precision}: {', '.join(names)}" for precision, names in parts.items())


def open_flow(spec: FlowSpec | None, engine: Engine | None) -> FlowEstimator | None:
    """The flow method that a manifest names; None where it names none."""
    if spec is None:
        return None
    return DisFlow(spec) if engine is None else NetworkFlow(engine, spec)
