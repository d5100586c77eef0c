"""Building TensorRT plans from ONNX graphs: strongly typed, one profile per bucket.

Precision is what the graph says: a plan computes in half or INT8 where the graph's tensors are
half or quantised, never elsewhere. TensorRT 10 and 11 build from the same graphs.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsInt

from flowtrack.errors import ExportError, OptionError, OutputError
from flowtrack.export.plain_weights import with_plain_weights
from flowtrack.runtime.engines.tensorrt.device import Gpu
from flowtrack.runtime.engines.tensorrt.library import failed, trt_logger
from flowtrack.runtime.manifest import NetworkFile
from flowtrack.runtime.plans import Fingerprint, Machine, Shapes

if TYPE_CHECKING:
    import tensorrt as trt

Progress = Callable[[str, float], None]
"""Called while a plan is built, with the phase's name and the share that is done, 0 to 1."""

_GIB = 1 << 30
_MOST_ERRORS = 5


@dataclass(frozen=True)
class BuildOptions:
    """What TensorRT's builder is asked for; the defaults suit the machine that builds.

    Attributes:
        level: optimisation level, 0 (builds fast) to 5 (runs fast).
        workspace_gb: most scratch memory that a layer may take; None: all of the GPU.
        hardware_compatible: run on every GPU from Ampere on, slower.
        version_compatible: run on later versions of TensorRT, slower.
        weight_streaming: keep weights in host memory where the GPU's is short, slower.
        refit: let weights be replaced later, slower.
    """

    level: int = 3
    workspace_gb: float | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False
    weight_streaming: bool = False
    refit: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 5:
            raise OptionError(f"level is {self.level}, expected 0 to 5")
        if self.workspace_gb is not None and not (0 < self.workspace_gb < math.inf):
            raise OptionError(f"workspace is {self.workspace_gb} GB, expected more than 0")


def wanted_fingerprint(
    file: NetworkFile,
    machine: Machine,
    profiles: tuple[Shapes, ...],
    batched: tuple[str, ...],
    options: BuildOptions,
) -> Fingerprint:
    """What a plan of a network would be built from, here and now."""
    return Fingerprint(
        onnx_sha256=file.sha256,
        machine=machine,
        precision=file.precision,
        profiles=profiles,
        batched=batched,
        **asdict(options),
    )


def build_plan(
    graph: bytes,
    fingerprint: Fingerprint,
    gpu: Gpu,
    timing_cache: Path | None = None,
    on_progress: Progress | None = None,
) -> bytes:
    """Build a plan on a GPU; it takes seconds to minutes.

    Args:
        graph: the ONNX file.
        fingerprint: of the plan that is to be; its options are the builder's.
        gpu: to build on and for.
        timing_cache: file of measured kernels, which makes further builds faster; it is made
            where it is missing, and replaced afterwards.
        on_progress: called with the phase and the share that is done.

    Raises:
        DependencyError: onnx is missing.
        ExportError: TensorRT cannot read the graph; names the nodes.
        EngineError: TensorRT cannot build the plan.
        OutputError: the timing cache cannot be written.
    """
    import tensorrt as trt

    with gpu.active("building a plan"):
        builder = trt.Builder(trt_logger())
        network: trt.INetworkDefinition = builder.create_network(
            1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        )
        parser = trt.OnnxParser(network, trt_logger())
        if not parser.parse(with_plain_weights(graph)):
            raise ExportError(_parser_errors(parser))
        config = _config(builder, fingerprint)
        measured = _use_timing_cache(config, timing_cache)  # kept until the plan is built
        monitor = _monitor(on_progress)
        config.progress_monitor = monitor
        plan: trt.IHostMemory | None = builder.build_serialized_network(network, config)
        if monitor.stopped is not None:
            raise monitor.stopped
        if plan is None:
            raise failed(
                "TensorRT built no plan",
                "Give it more --workspace, a lower --level or fewer --buckets; if a layer is not "
                "supported, use device `cuda`",
            )
        if timing_cache is not None and measured is not None:
            _write_whole(timing_cache, bytes(measured.serialize()))
        return bytes(plan)


def _config(builder: trt.Builder, fingerprint: Fingerprint) -> trt.IBuilderConfig:
    import tensorrt as trt

    config: trt.IBuilderConfig = builder.create_builder_config()
    config.builder_optimization_level = fingerprint.level
    # Layers, their types and formats can be read from the plan later, by `flowtrack inspect`.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if fingerprint.workspace_gb is not None:
        workspace = int(fingerprint.workspace_gb * _GIB)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    if fingerprint.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    flags = {
        trt.BuilderFlag.VERSION_COMPATIBLE: fingerprint.version_compatible,
        trt.BuilderFlag.WEIGHT_STREAMING: fingerprint.weight_streaming,
        trt.BuilderFlag.REFIT: fingerprint.refit,
    }
    for flag, wanted in flags.items():
        if wanted:
            config.set_flag(flag)
    for shapes in fingerprint.profiles:
        profile: trt.IOptimizationProfile = builder.create_optimization_profile()
        for name, (least, tuned, most) in shapes.items():
            profile.set_shape(name, trt.Dims(least), trt.Dims(tuned), trt.Dims(most))
        if config.add_optimization_profile(profile) < 0:
            raise failed(f"TensorRT does not take the profile {shapes}", "Compile with other "
                         "--buckets or another --frame-size")  # fmt: skip
    return config


def _parser_errors(parser: trt.OnnxParser) -> str:
    """Everything that the parser complains of, with the nodes."""
    errors: list[trt.ParserError] = [parser.get_error(index) for index in range(parser.num_errors)]
    listed = [
        f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}"
        for error in errors[:_MOST_ERRORS]
    ]
    if len(errors) > _MOST_ERRORS:
        listed.append(f"and {len(errors) - _MOST_ERRORS} more")
    return (
        f"TensorRT cannot read the graph. {'; '.join(listed) or 'It does not say why'}. Use device "
        "`cuda` for this network, or export it with operators that TensorRT knows"
    )


def _use_timing_cache(config: trt.IBuilderConfig, path: Path | None) -> trt.ITimingCache | None:
    """Begin with what was measured before; what another GPU measured does not count."""
    if path is None:
        return None
    try:
        known = path.read_bytes()
    except FileNotFoundError:
        known = b""
    except OSError as error:
        raise OutputError(f"timing cache {path} cannot be read: {error}") from error
    for content in (known, b""):
        cache: trt.ITimingCache | None = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    raise failed("TensorRT takes no timing cache", "Build with another --timing-cache")


def timing_cache_path(folder: Path, machine: Machine) -> Path:
    """Where the timing cache of a machine lies: one file per GPU and version of TensorRT."""
    name = re.sub(r"[^\w.]+", "-", f"{machine.gpu}-{machine.tensorrt}")
    return folder / f"{name}.timing"


def _write_whole(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(scratch).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(scratch).unlink()
            raise
    except OSError as error:
        raise OutputError(f"timing cache {path} cannot be written: {error}") from error


class Phases:
    """How far a build is: phases within phases, each of so many steps."""

    def __init__(self) -> None:
        """Start before the first phase."""
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # outer phase, steps, done

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins inside another, or by itself."""
        self._phases[name] = (parent if parent in self._phases else None, max(steps, 1), 0)

    def complete(self, name: str, step: int) -> None:
        """Step `step`, counted from 0, of a phase is done."""
        parent, steps, _ = self._phases[name]
        self._phases[name] = (parent, steps, min(step + 1, steps))

    def finish(self, name: str) -> None:
        """A phase is over, and with it those inside."""
        inside = [inner for inner, (parent, _, _) in self._phases.items() if parent == name]
        for inner in inside:
            self.finish(inner)
        self._phases.pop(name, None)

    def share(self, name: str) -> float:
        """What is done of the outermost phase around a phase, 0 to 1."""
        parent, steps, done = self._phases[name]
        share = done / steps
        while parent is not None:
            parent, steps, done = self._phases[parent]
            share = min(done + share, steps) / steps
        return share


def _monitor(on_progress: Progress | None) -> Any:
    """A progress monitor for TensorRT.

    Nothing may be raised through TensorRT: what the callback raises stops the build, is kept as
    `stopped`, and is raised afterwards.
    """
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped: BaseException | None = None
            self._phases = Phases()

        def phase_start(
            self, phase_name: str, parent_phase: str | None, num_steps: SupportsInt
        ) -> None:
            self._phases.start(phase_name, parent_phase, int(num_steps))
            self._tell(phase_name)

        def step_complete(self, phase_name: str, step: SupportsInt) -> bool:
            self._phases.complete(phase_name, int(step))
            self._tell(phase_name)
            return self.stopped is None

        def phase_finish(self, phase_name: str) -> None:
            self._phases.finish(phase_name)

        def _tell(self, phase_name: str) -> None:
            if on_progress is None or self.stopped is not None:
                return
            try:
                on_progress(phase_name, self._phases.share(phase_name))
            except BaseException as error:  # noqa: BLE001 - raised after the build
                self.stopped = error

    return Monitor()
