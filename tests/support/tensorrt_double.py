"""TensorRT as far as flowtrack uses it, computing with ONNX Runtime on the CPU, strict on order.

A plan of this TensorRT is the graph itself with a head that says what it was built from.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, IntEnum
from types import ModuleType
from typing import Any

import onnx
import pytest

from flowtrack.runtime.engines import devices
from flowtrack.runtime.engines.tensorrt import device, library
from tests.support.cuda_double import World, WrongOrder, _module, cuda_modules
from tests.support.tensorrt_engine_double import (
    BuilderFlag,
    Built,
    DataType,
    Dims,
    Engine,
    Severity,
    Strategy,
    TensorIOMode,
    TensorLocation,
)

MAGIC = b"double of TensorRT\n"


class IHostMemory(bytes):
    """What TensorRT gives as a buffer."""


class CreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class Level(Enum):
    NONE = 0
    AMPERE_PLUS = 1


@contextmanager
def tensorrt_double(
    monkeypatch: pytest.MonkeyPatch, version: str = "10.16.1.11", world: World | None = None
) -> Iterator[World]:
    """A machine with GPUs and TensorRT, instead of this one."""
    world = world or World()
    modules = {**cuda_modules(world), "tensorrt": tensorrt_module(world, version)}
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        for asking in (library, devices):
            patch.setattr(asking, "cuda_driver_version", lambda: "13.0, 2 device(s)")
        device.open_gpu.cache_clear()
        library.trt_logger.cache_clear()
        yield world
    device.open_gpu.cache_clear()
    library.trt_logger.cache_clear()


def tensorrt_module(world: World, version: str) -> ModuleType:
    """The module `tensorrt` over a world."""

    class ILogger:
        Severity = Severity

        def __init__(self) -> None:
            pass

    class IProgressMonitor:
        def __init__(self) -> None:
            pass

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            world.current("making a TensorRT runtime")
            self.logger, self.engine_host_code_allowed = logger, False

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            world.current("loading a plan")
            if world.call("deserialize_cuda_engine") is not None or not plan.startswith(MAGIC):
                self.logger.log(Severity.ERROR, "Magic tag does not match")
                return None
            built, graph = opened(plan)
            if built.version != version and not (
                built.compatible and self.engine_host_code_allowed
            ):
                self.logger.log(Severity.ERROR, f"built by {built.version}")
                return None
            return Engine(world, self.logger, built, graph)

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            world.current("making a TensorRT builder")
            self.logger = logger

        def create_network(self, flags: int) -> Network:
            if not flags & (1 << CreationFlag.STRONGLY_TYPED):
                raise WrongOrder("a network that is not strongly typed")
            return Network()

        def create_builder_config(self) -> Config:
            return Config(world)

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> IHostMemory | None:
            gpu = world.current("building a plan")
            if world.call("build_serialized_network") is not None:
                self.logger.log(Severity.ERROR, "out of memory")
                return None
            if not _built_to_the_end(world, config.progress_monitor):
                return None
            _measure(config, network)
            flags = sorted(flag.name for flag in config.flags)
            head = Built(
                version, world.gpus[gpu][0], [profile.shapes for profile in config.profiles], flags,
                config.builder_optimization_level, config.workspace,
                config.hardware_compatibility_level is Level.AMPERE_PLUS,
            )  # fmt: skip
            return IHostMemory(MAGIC + json.dumps(vars(head)).encode() + b"\n" + network.graph)

    class OnnxParser:
        def __init__(self, network: Network, logger: ILogger) -> None:
            self._network = network
            self._errors: list[Any] = []

        def parse(self, model: bytes) -> bool:
            nodes = onnx.load_from_string(model).graph.node
            unknown = world.failing.get("parse", ())
            self._errors = [ParserError(node) for node in nodes if node.op_type in unknown]
            self._network.graph = model
            return not self._errors

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> Any:
            return self._errors[index]

    return _module(
        "tensorrt", __version__=version, ILogger=ILogger, IProgressMonitor=IProgressMonitor,
        Runtime=Runtime, Builder=Builder, OnnxParser=OnnxParser, Dims=Dims, DataType=DataType,
        TensorIOMode=TensorIOMode, TensorLocation=TensorLocation, BuilderFlag=BuilderFlag,
        ExecutionContextAllocationStrategy=Strategy, NetworkDefinitionCreationFlag=CreationFlag,
        HardwareCompatibilityLevel=Level, MemoryPoolType=Enum("MemoryPoolType", "WORKSPACE"),
        ProfilingVerbosity=Enum("ProfilingVerbosity", "DETAILED"),
        LayerInformationFormat=Enum("LayerInformationFormat", "JSON ONELINE"),
    )  # fmt: skip


class ParserError:
    def __init__(self, node: Any) -> None:
        self._node = node

    def node_name(self) -> str:
        return self._node.name

    def node_operator(self) -> str:
        return self._node.op_type

    def desc(self) -> str:
        return f"No importer registered for op: {self._node.op_type}"


class Network:
    graph = b""


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, least: Dims, tuned: Dims, most: Dims) -> None:
        for shape in (least, tuned, most):
            assert isinstance(shape, Dims)
        self.shapes[name] = [list(least), list(tuned), list(most)]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.content)


class Config:
    def __init__(self, world: World) -> None:
        self._world = world
        self.builder_optimization_level = 3
        self.profiling_verbosity: Any = None
        self.hardware_compatibility_level = Level.NONE
        self.progress_monitor: Any = None
        self.workspace: int | None = None
        self.flags: set[BuilderFlag] = set()
        self.profiles: list[Profile] = []
        self.cache: TimingCache | None = None

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert pool.name == "WORKSPACE"
        self.workspace = size

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def add_optimization_profile(self, profile: Profile) -> int:
        if self._world.call("add_optimization_profile") is not None:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        fits = not cache.content or cache.content.startswith(b"timing")
        if fits and not ignore_mismatch:
            self.cache = cache
        return fits


def _measure(config: Config, network: Network) -> None:
    if config.cache is not None:
        config.cache.content = (config.cache.content or b"timing") + b"+%d" % len(network.graph)


def _built_to_the_end(world: World, monitor: Any) -> bool:
    """Phases as TensorRT tells them: names, outer phases, steps counted from 0."""
    if monitor is None:
        return True
    monitor.phase_start("Building Engine", None, 2)
    for step, (name, steps) in enumerate((("Computing layers", 3), ("Tuning", 2))):
        monitor.phase_start(name, "Building Engine", steps)
        for inner in range(steps):
            world.calls["build step"] += 1
            if not monitor.step_complete(name, inner):
                return False
        monitor.phase_finish(name)
        if not monitor.step_complete("Building Engine", step):
            return False
    monitor.phase_finish("Building Engine")
    return True


def opened(plan: bytes) -> tuple[Built, bytes]:
    """Head and graph of a plan."""
    head, _, graph = plan[len(MAGIC) :].partition(b"\n")
    return Built(**json.loads(head)), graph


def calls(world: World) -> Counter[str]:
    """How often each function was called since this was asked for the last time."""
    counted = Counter(world.calls)
    world.calls.clear()
    return counted
