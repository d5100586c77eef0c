"""The running side of the double of TensorRT: engines and contexts, computing on the CPU."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.support.cuda_double import World, WrongOrder

SCRATCH = 4096


class Severity(Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


class TensorLocation(Enum):
    DEVICE = 0
    HOST = 1


class DataType(Enum):
    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    INT32 = 6
    INT64 = 7
    BOOL = 9
    HALF = 10
    BF16 = 16


class Strategy(Enum):
    STATIC = 0
    USER_MANAGED = 2


class BuilderFlag(Enum):
    VERSION_COMPATIBLE = 1
    WEIGHT_STREAMING = 2
    REFIT = 3


class Dims(tuple):
    """Sizes by axis."""


@dataclass
class Built:
    """The head of a plan."""

    version: str
    gpu: str
    profiles: list[dict[str, list[list[int]]]]
    flags: list[str]
    level: int
    workspace: int | None
    ampere: bool

    @property
    def compatible(self) -> bool:
        return BuilderFlag.VERSION_COMPATIBLE.name in self.flags


_TYPES = {1: DataType.FLOAT, 2: DataType.UINT8, 6: DataType.INT32, 7: DataType.INT64,
          9: DataType.BOOL, 10: DataType.HALF, 16: DataType.BF16}  # fmt: skip


class Engine:
    """A graph whose sizes are known or -1."""

    def __init__(self, world: World, logger: Any, built: Built, graph: bytes) -> None:
        self.world, self.logger, self.built, self._graph = world, logger, built, graph
        self._session: Any = None
        model = onnx.load_from_string(graph).graph
        self.values = {value.name: value for value in (*model.input, *model.output)}
        self.input_names = [value.name for value in model.input]
        self.device_memory_size_v2 = SCRATCH
        self.num_io_tensors = len(self.values)
        self.num_layers = len(model.node)
        self.weight_streaming_budget_v2: int | None = None
        self.streamable_weights_size = len(graph)
        self.layers = [(node.name, node.op_type) for node in model.node]
        self.contexts = 0

    @property
    def session(self) -> Any:
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                self._graph, options, providers=["CPUExecutionProvider"]
            )
        return self._session

    def get_weight_streaming_automatic_budget(self) -> int:
        return 123

    def get_tensor_name(self, index: int) -> str:
        return list(self.values)[index]

    def get_tensor_location(self, name: str) -> TensorLocation:
        return self.world.failing.get("location", TensorLocation.DEVICE)

    def get_tensor_shape(self, name: str) -> Dims:
        dims = self.values[name].type.tensor_type.shape.dim
        return Dims(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    def get_tensor_dtype(self, name: str) -> DataType:
        return _TYPES[self.values[name].type.tensor_type.elem_type]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.input_names else TensorIOMode.OUTPUT

    def create_execution_context(self, strategy: Strategy) -> Context | None:
        self.world.current("making an execution context")
        if BuilderFlag.WEIGHT_STREAMING.name in self.built.flags and (
            self.weight_streaming_budget_v2 is None
        ):
            raise WrongOrder("a context before the budget of weights that stream")
        if self.world.call("create_execution_context") is not None:
            self.logger.log(Severity.ERROR, "no resources for a context")
            return None
        if strategy is not Strategy.USER_MANAGED:
            raise WrongOrder("a context with scratch memory of its own")
        return Context(self)

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self)


class Inspector:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get_engine_information(self, form: Any) -> str:
        assert form.name == "JSON"
        tensor = {"Name": "x", "Dimensions": [1, 3], "Format/Datatype": "Half NHWC"}
        layers = [
            {"Name": name, "LayerType": kind, "Inputs": [], "Outputs": [tensor]}
            for name, kind in self._engine.layers
        ]
        return json.dumps({"Layers": layers, "Bindings": []})


class Context:
    """Refuses to run before everything is set, and to be recorded before it ran once."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self._world = engine, engine.world
        self._memory: tuple[int, int] | None = None
        self._profile: int | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._ran = False
        self._probed: dict[str, tuple[int, ...]] = {}
        engine.contexts += 1

    def _refused(self, name: str, why: str = "told to fail") -> bool:
        if self._world.call(name) is None:
            return False
        self.engine.logger.log(Severity.ERROR, f"{name}: {why}")
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        if size < self.engine.device_memory_size_v2 or memory % 256:
            raise WrongOrder(f"scratch memory of {size} bytes at {memory:#x}")
        self._world.at(memory, size, "scratch memory")
        self._memory = (memory, size)

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._world.current("choosing a profile")
        if self._refused("set_optimization_profile_async"):
            return False
        self._profile, self._shapes, self._probed, self._ran = index, {}, {}, False
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if self._profile is None:
            raise WrongOrder("shapes before the profile")
        if self._ran:
            raise WrongOrder("another shape for a context that a graph may be recorded from")
        least, _, most = self.engine.built.profiles[self._profile][name]
        inside = len(shape) == len(least) and all(
            low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
        )
        if self._refused("set_input_shape") or not inside:
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        if self._world.call("infer_shapes") is not None:
            return self._world.failing["infer_shapes"]
        return [name for name in self.engine.input_names if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._shapes:
            return Dims(self._shapes[name])
        told = self._world.failing.get("output shape")
        if told is not None:
            return told
        if not self._probed:
            self._probed = {key: value.shape for key, value in self._run(None).items()}
        return Dims(self._probed[name])

    def set_tensor_address(self, name: str, address: int) -> bool:
        if self._refused("set_tensor_address"):
            return False
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        self._world.current("running a network")
        if self._memory is None or self._profile is None:
            raise WrongOrder("running before scratch memory and profile are set")
        if self.infer_shapes() or set(self._addresses) != set(self.engine.values):
            raise WrongOrder("running before shapes and addresses are set")
        stream = next(one for one in self._world.streams if one.handle == handle)
        if self._refused("execute_async_v3"):
            return False
        if stream.recording is not None and not self._ran:
            raise WrongOrder("recording a context that never ran")
        self._ran = True
        memory, size = self._memory

        def do() -> None:
            self._world.at(memory, size, "a run's scratch memory")
            batch = self._shapes[self.engine.input_names[0]][0]
            self._world.launched.append((self.engine.input_names[0], str(batch)))
            self._run(self._addresses)

        stream.put(do, scratch=memory)
        return True

    def _run(self, addresses: dict[str, int] | None) -> dict[str, np.ndarray]:
        """Outputs; from and to the GPU's memory where addresses are given, of zeros otherwise."""
        feeds = {}
        for node in self.engine.session.get_inputs():
            shape = self._shapes[node.name]
            dtype = np.dtype(node.type[7:-1].replace("float16", "f2").replace("float", "f4"))
            array = np.zeros(shape, dtype)
            if addresses is not None:
                found = bytes(self._world.at(addresses[node.name], array.nbytes, "an input"))
                array = np.frombuffer(found, dtype).reshape(shape)
            feeds[node.name] = array
        names = [node.name for node in self.engine.session.get_outputs()]
        outputs = dict(zip(names, self.engine.session.run(names, feeds), strict=True))
        for name, address in (addresses or {}).items():
            if name in outputs:
                content = np.ascontiguousarray(outputs[name]).tobytes()
                self._world.at(address, len(content), "an output")[:] = content
        return outputs
