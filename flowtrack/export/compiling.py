"""All plans of a bundle: built where they do not match, compared, and written back as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from flowtrack import __version__
from flowtrack.errors import BundleError, OptionError
from flowtrack.export.plan_parity import compare_plan
from flowtrack.export.profiles import FrameSizes, check_buckets, profiles_for
from flowtrack.export.tensorrt import BuildOptions, Progress, build_plan, wanted_fingerprint
from flowtrack.runtime.batching import BUCKETS
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import Engine, TensorSpec, open_engine
from flowtrack.runtime.engines.tensorrt import TensorRTEngine, open_tensorrt, this_machine
from flowtrack.runtime.engines.tensorrt.device import Gpu
from flowtrack.runtime.plans import (
    Fingerprint,
    Machine,
    Plan,
    PlanRecord,
    differences,
    plan_member,
    record_member,
)
from flowtrack.structs import Boxes, Frame


@dataclass(frozen=True)
class CompileOptions:
    """What is compiled, and how.

    Attributes:
        parts: of the bundle; none: all that have a network.
        buckets: batch sizes of the pose network; None: the usual ones.
        frames: sizes for networks that leave theirs free; None: the usual ones.
        build: options of TensorRT's builder.
        rebuild: build plans that match, too.
        accept: why a plan may differ from its graph by more than the limit; None: it may not.
    """

    parts: tuple[str, ...] = ()
    buckets: tuple[int, ...] | None = None
    frames: FrameSizes | None = None
    build: BuildOptions = field(default_factory=BuildOptions)
    rebuild: bool = False
    accept: str | None = None

    def __post_init__(self) -> None:
        if self.buckets is not None:
            check_buckets(self.buckets)
        if self.accept is not None and not self.accept.strip():
            raise OptionError("the reason to accept a plan is empty, expected a few words")


@dataclass(frozen=True)
class CompiledPlan:
    """A plan of the bundle after compiling.

    Attributes:
        part: that it runs.
        plan: its bytes and what lies beside them.
        built: whether it was built now; otherwise it matched.
    """

    part: str
    plan: Plan
    built: bool


class BundleCompiler:
    """Builds the plans of one bundle for one GPU."""

    def __init__(self, bundle: Bundle, gpu: Gpu, options: CompileOptions) -> None:
        """Look at the graphs, and refuse options that cannot be or would be ignored.

        Raises:
            BundleError: a network is missing or damaged.
            OptionError: a part is unknown, or no network takes the buckets or sizes given.
            ExportError: a graph leaves an axis free that no profile covers.
        """
        files = bundle.manifest.files()
        unknown = sorted(set(options.parts) - set(files))
        if unknown:
            raise OptionError(f"{bundle.path} has no network for {', '.join(unknown)}; it has "
                              f"{', '.join(files)}")  # fmt: skip
        self.bundle = bundle
        self.parts = tuple(part for part in files if part in (options.parts or files))
        self._gpu = gpu
        self._options = options
        self._machine = this_machine(gpu)
        self._graphs: dict[str, Engine] = {}
        self.wanted = {part: self._fingerprint(part) for part in self.parts}
        self._refuse_ignored()

    def _graph(self, part: str) -> Engine:
        """A graph on the CPU, which every plan is compared with."""
        if part not in self._graphs:
            self._graphs[part] = open_engine(self.bundle.read(part), "cpu")
        return self._graphs[part]

    def _fingerprint(self, part: str) -> Fingerprint:
        options, manifest = self._options, self.bundle.manifest
        profiles, batched = profiles_for(
            manifest, part, self._graph(part).inputs, options.buckets or BUCKETS, options.frames
        )
        file = manifest.files()[part]
        return wanted_fingerprint(file, self._machine, profiles, batched, options.build)

    def _refuse_ignored(self) -> None:
        pose = self.wanted.get("pose")
        if self._options.buckets is not None and (pose is None or not pose.batched):
            raise OptionError(
                "buckets are batch sizes of a pose network that leaves its batch free, and none is "
                "compiled here; leave them out"
            )
        if self._options.frames is not None and not any(map(self._sides_are_free, self.parts)):
            raise OptionError(
                "every network compiled here has a fixed picture size; leave the frame size out"
            )

    def _sides_are_free(self, part: str) -> bool:
        """Whether graph and manifest leave the size of the pictures open."""
        spec = self.bundle.manifest.files()[part].input
        shapes = [tensor.shape[1:] for tensor in self._graph(part).inputs]
        free = any(not isinstance(size, int) for shape in shapes for size in shape)
        return free and (spec.form == "frame" or None in (spec.height, spec.width))

    def matching(self, part: str) -> Plan | None:
        """The plan that the bundle has, if it is what would be built, undamaged; None if not.

        Raises:
            BundleError: a file beside a plan is damaged.
        """
        if self._options.rebuild or part not in self.bundle.plans():
            return None
        try:
            plan = self.bundle.read_plan(part)
        except BundleError:
            return None
        found = plan.record.fingerprint
        wanted = replace(self.wanted[part], machine=found.machine)
        return None if found != wanted or differences(found, self._machine) else plan

    def compile(
        self,
        part: str,
        frames: Sequence[Frame],
        timing_cache: Path | None = None,
        on_progress: Progress | None = None,
    ) -> CompiledPlan:
        """Build a plan unless a matching one is there, and compare it with its graph.

        Args:
            part: `detector`, `pose` or `flow`.
            frames: of one size, at least two, to compare on.
            timing_cache, on_progress: see `build_plan`.

        Raises:
            ExportError: TensorRT cannot read the graph, or the plan differs from it.
            EngineError: TensorRT cannot build or run the plan.
            OutputError: the timing cache cannot be written.
        """
        there = self.matching(part)
        if there is not None:
            return CompiledPlan(part, there, built=False)
        wanted = self.wanted[part]
        data = build_plan(self.bundle.read(part), wanted, self._gpu, timing_cache, on_progress)
        engine = open_tensorrt(data, wanted, self._gpu.index)
        try:
            record = self._record(part, data, engine, frames)
        finally:
            engine.close()
        return CompiledPlan(part, Plan(data, record), built=True)

    def _record(
        self, part: str, data: bytes, engine: TensorRTEngine, frames: Sequence[Frame]
    ) -> PlanRecord:
        manifest, wanted = self.bundle.manifest, self.wanted[part]
        if self._sides_are_free(part):
            frames = fitted(frames, self._options.frames or FrameSizes())
        detections = [Boxes.empty() for _ in frames]
        if part == "pose":
            detector = Detector(self._graph("detector"), manifest.detector)
            detections = [detector(frame) for frame in frames]
        compared = compare_plan(
            manifest, part, self._graph(part), engine, frames, detections, wanted.buckets
        )
        return PlanRecord(
            fingerprint=wanted,
            sha256=hashlib.sha256(data).hexdigest(),
            comparison=compared.accepted(self._options.accept),
            tensors={spec.name: _described(spec) for spec in (*engine.inputs, *engine.outputs)},
            device_memory=engine.scratch_bytes,
            made_by=f"flowtrack {__version__}",
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def write(self, compiled: Sequence[CompiledPlan], place: Path) -> Bundle:
        """Write the bundle with its plans, whole or not at all.

        Args:
            compiled: plans of one or more parts; those of others stay as they are.
            place: a folder or a .zip file; the bundle's own path replaces it.

        Raises:
            BundleError: a network, or the plan of another part, is damaged or of another graph.
            OutputError: `place` is taken by something that is no bundle, or cannot be written.
        """
        files = self.bundle.contents()
        for item in compiled:
            files[plan_member(item.part)] = item.plan.data
            files[record_member(item.part)] = item.plan.record.to_json().encode()
        return write_bundle(place, self.bundle.manifest, files)


def fitted(frames: Sequence[Frame], sizes: FrameSizes) -> list[Frame]:
    """Frames that a plan of certain sizes takes: as they are, or resized to the usual size."""

    def takes(frame: Frame) -> bool:
        sides = zip(sizes.least, (frame.height, frame.width), sizes.most, strict=True)
        return all(low <= side <= high for low, side, high in sides)

    def resized(frame: Frame) -> Frame:
        picture = cv2.resize(frame.image, sizes.tuned[::-1])
        return replace(frame, image=np.asarray(picture, np.uint8))

    return [frame if takes(frame) else resized(frame) for frame in frames]


def _described(spec: TensorSpec) -> str:
    """Type and shape of a tensor, such as `uint8 ?x256x192x3`."""
    return f"{spec.dtype} {'x'.join('?' if size is None else str(size) for size in spec.shape)}"


OnPart = Callable[[str], Progress]
"""Called with each part's name; what it returns is told how far its build is."""


def compile_bundle(
    bundle: Bundle,
    gpu: Gpu,
    options: CompileOptions,
    frames: Sequence[Frame],
    place: Path | None = None,
    timing_cache: Callable[[Machine], Path] | None = None,
    on_part: OnPart | None = None,
) -> list[CompiledPlan]:
    """Compile the networks of a bundle, and write them into it if any was built.

    Args:
        bundle: to compile.
        gpu: to build on and for.
        options: what is compiled, and how.
        frames: of one size, at least two, to compare on.
        place: a folder or a .zip file to write instead of the bundle itself.
        timing_cache: gives the file of measured kernels for a machine.
        on_part: is told about progress.

    Raises:
        FlowtrackError: of the kinds of `BundleCompiler`.
    """
    compiler = BundleCompiler(bundle, gpu, options)
    cache = None if timing_cache is None else timing_cache(this_machine(gpu))
    compiled = [
        compiler.compile(part, frames, cache, None if on_part is None else on_part(part))
        for part in compiler.parts
    ]
    if place is not None or any(item.built for item in compiled):
        compiler.write(compiled, place or bundle.path)
    return compiled
