"""Execution contexts: one, and one CUDA graph, for each set of input shapes.

TensorRT keeps a context's state in the graph that is recorded from it, so a context never changes
its shapes here. All contexts of an engine work in the same scratch memory and on the same buffers;
the engine's lock makes sure that one runs at a time.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowtrack.errors import EngineError
from flowtrack.runtime.engines.base import Array, TensorSpec
from flowtrack.runtime.engines.tensorrt.device import Gpu, free_pinned
from flowtrack.runtime.engines.tensorrt.graphs import CudaGraph
from flowtrack.runtime.engines.tensorrt.library import failed
from flowtrack.runtime.plans import REBUILD, Shape, Shapes

if TYPE_CHECKING:
    import pycuda.driver as cuda
    import tensorrt as trt

MOST_FREE_SHAPES = 8
"""Contexts that are kept, besides those of the buckets, for inputs of free size."""

_REPORT = "Run `flowtrack inspect` on the plan; if it looks right, " + REBUILD

log = logging.getLogger("flowtrack.tensorrt")


class TensorBuffer:
    """Device and pinned memory of an input or output, large enough for every profile."""

    def __init__(self, gpu: Gpu, spec: TensorSpec, elements: int) -> None:
        """Take the memory; call with the context active."""
        self.spec = spec
        self.nbytes = elements * spec.dtype.itemsize
        self.memory: cuda.DeviceAllocation = gpu.allocate(self.nbytes)
        self._host = gpu.pinned(self.nbytes)

    def host(self, shape: Shape) -> Array:
        """The beginning of the pinned memory as an array."""
        nbytes = math.prod(shape) * self.spec.dtype.itemsize
        return self._host[:nbytes].view(self.spec.dtype).reshape(shape)

    def zero(self, start: int, end: int, stream: cuda.Stream) -> None:
        """Set bytes `start` to `end` on the GPU to zero, in the stream's order."""
        import pycuda.driver as cuda

        if end > start:
            cuda.memset_d8_async(int(self.memory) + start, 0, end - start, stream)

    def free(self) -> None:
        """Give the memory back; call with the context active."""
        self.memory.free()
        free_pinned(self._host)


class Slot:
    """A context set up for certain input shapes, and its CUDA graph where there is one.

    Attributes:
        outputs: shapes of the outputs, by name.
    """

    def __init__(
        self, context: trt.IExecutionContext, outputs: dict[str, Shape], stream: cuda.Stream
    ) -> None:
        """Wrap a context whose shapes and addresses are set; `Contexts.slot` makes one."""
        self._context = context
        self._stream = stream
        self._graph: CudaGraph | None = None
        self.outputs = outputs

    def launch(self) -> None:
        """Put one run on the stream.

        Raises:
            EngineError: TensorRT or CUDA refuses.
        """
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.launch()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise failed("TensorRT could not run the network", _REPORT)

    def record(self, graphs: bool) -> None:
        """Run once, which TensorRT prepares more for than later runs, then record a graph.

        Raises:
            EngineError: the network cannot run at all.
        """
        self._enqueue()
        self._stream.synchronize()
        if not graphs:
            return
        try:
            self._graph = CudaGraph(self._stream.handle, self._enqueue)
        except EngineError as error:
            log.warning("the network runs without a CUDA graph, which costs time: %s", str(error))

    def free(self) -> None:
        """Forget the graph; call with the context active and nothing running."""
        if self._graph is not None:
            self._graph.free()


class Contexts:
    """The contexts of one engine, made when they are first needed and kept for the next time."""

    def __init__(
        self,
        engine: trt.ICudaEngine,
        gpu: Gpu,
        stream: cuda.Stream,
        profiles: tuple[Shapes, ...],
        graphs: bool,
    ) -> None:
        """Take scratch memory; call with the GPU's context active."""
        self._engine = engine
        self._stream = stream
        self._profiles = profiles
        self._graphs = graphs
        self._slots: OrderedDict[tuple[Shape, ...], Slot] = OrderedDict()
        self._outputs: tuple[TensorSpec, ...] = ()
        self.buffers: dict[str, TensorBuffer] = {}
        self.scratch_bytes: int = engine.device_memory_size_v2
        self._scratch: cuda.DeviceAllocation = gpu.allocate(self.scratch_bytes)

    def take_buffers(
        self, gpu: Gpu, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> None:
        """Take memory for inputs and outputs of the largest shapes of every profile.

        Raises:
            EngineError: there is not enough, or the size of an output depends on the data.
        """
        self._outputs = outputs
        elements = dict.fromkeys((spec.name for spec in (*inputs, *outputs)), 1)
        context = self._context()  # only asked for shapes, one profile after the other
        for index, profile in enumerate(self._profiles):
            largest = {spec.name: profile[spec.name][2] for spec in inputs}
            self._set_up(context, index, largest)
            for name, shape in {**largest, **self._output_shapes(context)}.items():
                elements[name] = max(elements[name], math.prod(shape))
        for spec in (*inputs, *outputs):
            self.buffers[spec.name] = TensorBuffer(gpu, spec, elements[spec.name])

    def slot(self, shapes: Mapping[str, Shape]) -> Slot:
        """The context for certain input shapes, by name.

        Raises:
            EngineError: no profile holds the shapes, or TensorRT refuses.
        """
        key = tuple(shapes[name] for name in sorted(shapes))
        slot = self._slots.get(key)
        if slot is None:
            profile = self._profile(shapes)
            context = self._context()
            self._set_up(context, profile, shapes)
            for name, buffer in self.buffers.items():
                if not context.set_tensor_address(name, int(buffer.memory)):
                    raise failed(f"TensorRT takes no memory for {name!r}", _REPORT)
            slot = Slot(context, self._output_shapes(context), self._stream)
            slot.record(self._graphs)
            self._slots[key] = slot
            self._drop_oldest()
        self._slots.move_to_end(key)
        return slot

    def _drop_oldest(self) -> None:
        while len(self._slots) > len(self._profiles) + MOST_FREE_SHAPES:
            _, oldest = self._slots.popitem(last=False)
            oldest.free()

    def _profile(self, shapes: Mapping[str, Shape]) -> int:
        for index, profile in enumerate(self._profiles):
            if all(_inside(shape, profile[name]) for name, shape in shapes.items()):
                return index
        first = {name: f"{least} to {most}" for name, (least, _, most) in self._profiles[0].items()}
        raise EngineError(
            f"fed {dict(shapes)}, the plan takes {first}; compile the bundle with a --frame-size "
            "that spans it, or scale the video"
        )

    def _context(self) -> trt.IExecutionContext:
        import tensorrt as trt

        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context: trt.IExecutionContext | None = self._engine.create_execution_context(strategy)
        if context is None:
            raise failed("TensorRT made no execution context", _REPORT)
        context.set_device_memory(int(self._scratch), self.scratch_bytes)
        return context

    def _set_up(
        self, context: trt.IExecutionContext, profile: int, shapes: Mapping[str, Shape]
    ) -> None:
        """Choose a profile and the shapes of the inputs."""
        if not context.set_optimization_profile_async(profile, self._stream.handle):
            raise failed(f"TensorRT could not choose optimisation profile {profile}", _REPORT)
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise failed(f"TensorRT does not take {name!r} of shape {shape}", _REPORT)
        unspecified = context.infer_shapes()
        if unspecified:
            raise failed(f"TensorRT cannot tell the shapes of {unspecified}", _REPORT)

    def _output_shapes(self, context: trt.IExecutionContext) -> dict[str, Shape]:
        shapes = {spec.name: tuple(context.get_tensor_shape(spec.name)) for spec in self._outputs}
        for name, shape in shapes.items():
            if any(size < 0 for size in shape):
                raise EngineError(
                    f"output {name!r} has shape {shape}: its size depends on the picture, which "
                    "plans of flowtrack do not do; run this bundle on device `cuda`, or export "
                    "the network with a fixed number of results"
                )
        return shapes

    def free(self) -> None:
        """Give everything back; call with the GPU's context active and nothing running."""
        for slot in self._slots.values():
            slot.free()
        self._slots.clear()
        for buffer in self.buffers.values():
            buffer.free()
        self.buffers.clear()
        self._scratch.free()


def _inside(shape: Shape, span: tuple[Shape, ...]) -> bool:
    least, _, most = span
    return len(shape) == len(least) and all(
        low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
    )
