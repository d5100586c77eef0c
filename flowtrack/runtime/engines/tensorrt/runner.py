"""Running a plan: batches split and filled up to buckets, everything on a stream of its own."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowtrack.errors import EngineError, InputError
from flowtrack.runtime.batching import Part, split_batch
from flowtrack.runtime.engines.base import Array, DeviceArray, Engine, TensorSpec
from flowtrack.runtime.engines.tensorrt.contexts import Contexts, Slot
from flowtrack.runtime.engines.tensorrt.device import Gpu, Placed, open_gpu
from flowtrack.runtime.engines.tensorrt.library import (
    deserialized,
    require_tensorrt,
    this_machine,
)
from flowtrack.runtime.plans import REBUILD, Fingerprint, refuse_difference

if TYPE_CHECKING:
    import pycuda.driver as cuda
    import tensorrt as trt


def open_tensorrt(
    plan: bytes, fingerprint: Fingerprint, gpu: int = 0, graphs: bool = True
) -> TensorRTEngine:
    """Load a plan on a GPU.

    Args:
        plan: TensorRT's file.
        fingerprint: what lies beside it; it must fit this machine.
        gpu: index, as CUDA counts.
        graphs: record a CUDA graph per bucket; without, every run is enqueued layer by layer.

    Raises:
        DependencyError: a driver, TensorRT or another package is missing.
        OptionError: there is no such GPU.
        EngineError: the plan is not for this machine, or TensorRT cannot load or run it.
    """
    require_tensorrt()
    device = open_gpu(gpu)
    refuse_difference(fingerprint, this_machine(device))
    return TensorRTEngine(plan, fingerprint, device, graphs)


class TensorRTEngine(Engine):
    """A plan in a GPU's memory, its contexts, and a stream of its own.

    Calls from several threads wait for each other, because all contexts share scratch memory.

    Attributes:
        scratch_bytes: GPU memory that all contexts share.
    """

    def __init__(self, plan: bytes, fingerprint: Fingerprint, gpu: Gpu, graphs: bool) -> None:
        """Load a plan that was held against this machine; `open_tensorrt` does both."""
        self._gpu = gpu
        self._lock = threading.Lock()
        self._batched = frozenset(fingerprint.batched)
        self._buckets = fingerprint.buckets
        # TensorRT nowhere promises that a graph may be recorded of weights that stream.
        graphs = graphs and not fingerprint.weight_streaming
        with gpu.active("loading a plan"):
            self._loaded = _Loaded(plan, fingerprint, gpu, graphs)
            self._closed = weakref.finalize(self, _close, gpu, self._loaded)
            self.inputs, self.outputs = self._loaded.inputs, self._loaded.outputs
            _check_profiles(fingerprint, self.inputs)
            try:
                self._loaded.contexts.take_buffers(gpu, self.inputs, self.outputs)
                for profile in fingerprint.profiles:
                    tuned = {name: shapes[1] for name, shapes in profile.items()}
                    self._loaded.contexts.slot(tuned)
            except BaseException:
                self.close()
                raise
        self.scratch_bytes = self._loaded.contexts.scratch_bytes
        version = fingerprint.machine.tensorrt
        self.device = f"TensorRT plan of {version}, {gpu.name} (GPU {gpu.index})"

    def place(self, array: Array) -> DeviceArray:
        """Begin to copy an input to the GPU, where every engine on it can read it."""
        return DeviceArray(
            array.dtype, array.shape, f"GPU {self._gpu.index}", self._gpu.uploads.put(array)
        )

    def _run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        parts = self._parts(feeds)
        with self._lock:
            if not self._closed.alive:
                raise EngineError("the engine was closed; open the bundle again")
            with self._gpu.active("running a network"):
                results = [self._once(feeds, part) for part in parts]
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([each[name] for each in results]) for name in results[0]}

    def _parts(self, feeds: Mapping[str, Any]) -> Sequence[Part | None]:
        """The runs for what is fed: shares of a batch, or None for everything as it is."""
        rows = self._rows(feeds)
        if rows is None:
            return [None]
        parts = split_batch(rows, self._buckets)
        if parts != [Part(0, rows, rows)]:
            self._refuse_to_divide(rows)
        return parts

    def _rows(self, feeds: Mapping[str, Any]) -> int | None:
        """Rows of the batch; None where no input is one."""
        for name, value in feeds.items():
            if isinstance(value, DeviceArray) and not self._reads(value):
                raise InputError(
                    f"input {name!r} lies on {value.device}, this network runs on GPU "
                    f"{self._gpu.index}; place it with an engine of the same device"
                )
        counts = {name: feeds[name].shape[0] for name in self._batched}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise InputError(f"fed batches of {counts}, expected as many of each, at least one")
        return next(iter(counts.values()), None)

    def _refuse_to_divide(self, rows: int) -> None:
        """A batch can be split and filled up only if every output has a row for each of its."""
        for spec in self.outputs:
            if not _has_rows(spec):
                raise InputError(
                    f"fed a batch of {rows}, but output {spec.name!r} has shape {spec.shape} for "
                    f"all of it, so only batches of {list(self._buckets)} can be run; compile with "
                    "other --buckets"
                )

    def _reads(self, value: DeviceArray) -> bool:
        return isinstance(value.handle, Placed) and value.handle.gpu is self._gpu

    def _once(self, feeds: Mapping[str, Any], part: Part | None) -> dict[str, Array]:
        """One run: copies to the GPU, the network, copies back, all in the stream's order."""
        shapes = {
            name: value.shape
            if part is None or name not in self._batched
            else (part.bucket, *value.shape[1:])
            for name, value in feeds.items()
        }
        stream = self._loaded.stream
        slot = self._loaded.contexts.slot(shapes)
        try:
            for name, value in feeds.items():
                self._feed(name, value, part if name in self._batched else None)
            slot.launch()
            views = dict(self._fetched(slot, part))
        finally:
            stream.synchronize()  # the buffers belong to the next run
        return {name: view.copy() for name, view in views.items()}

    def _feed(self, name: str, value: Array | DeviceArray, part: Part | None) -> None:
        import pycuda.driver as cuda

        stream, buffer = self._loaded.stream, self._loaded.contexts.buffers[name]
        row = math.prod(value.shape[1:]) * value.dtype.itemsize
        start, count = (0, value.shape[0]) if part is None else (part.start, part.count)
        if isinstance(value, DeviceArray):
            stream.wait_for_event(value.handle.ready)
            source = value.handle.address + start * row
            cuda.memcpy_dtod_async(int(buffer.memory), source, count * row, stream)
        else:
            host = buffer.host((count, *value.shape[1:]))
            np.copyto(host, value[start : start + count])
            cuda.memcpy_htod_async(buffer.memory, host, stream)
        if part is not None:
            buffer.zero(count * row, part.bucket * row, stream)

    def _fetched(self, slot: Slot, part: Part | None) -> Iterator[tuple[str, Array]]:
        """Names and pinned memory of the outputs, on their way from the GPU."""
        import pycuda.driver as cuda

        for spec in self.outputs:
            shape = slot.outputs[spec.name]
            if part is not None and _has_rows(spec):
                shape = (part.count, *shape[1:])
            buffer = self._loaded.contexts.buffers[spec.name]
            host = buffer.host(shape)
            cuda.memcpy_dtoh_async(host, buffer.memory, self._loaded.stream)
            yield spec.name, host

    def close(self) -> None:
        """Give the GPU's memory back; the engine runs no more. Does nothing the second time."""
        with self._lock:
            self._closed()


def _has_rows(spec: TensorSpec) -> bool:
    """Whether an output has a row for each of the batch."""
    return spec.shape[:1] == (None,)


class _Loaded:
    """What an engine holds on the GPU; it is freed with the context active."""

    def __init__(self, plan: bytes, fingerprint: Fingerprint, gpu: Gpu, graphs: bool) -> None:
        engine: trt.ICudaEngine
        runtime, engine = deserialized(plan, fingerprint)
        if fingerprint.weight_streaming:
            engine.weight_streaming_budget_v2 = engine.get_weight_streaming_automatic_budget()
        self.inputs, self.outputs = _tensors(engine)
        self.stream: cuda.Stream = gpu.stream()
        self.contexts = Contexts(engine, gpu, self.stream, fingerprint.profiles, graphs)
        # TensorRT wants the runtime to outlive the engine.
        self._kept = [engine, runtime]

    def free(self) -> None:
        self.stream.synchronize()
        self.contexts.free()
        del self.contexts, self.stream
        while self._kept:
            del self._kept[0]


def _close(gpu: Gpu, loaded: _Loaded) -> None:
    with gpu.active("freeing a network"):
        loaded.free()


def _tensors(engine: trt.ICudaEngine) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs in the plan's order; a free axis has no name in a plan."""
    import tensorrt as trt

    found: dict[trt.TensorIOMode, list[TensorSpec]] = {
        trt.TensorIOMode.INPUT: [],
        trt.TensorIOMode.OUTPUT: [],
    }
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise EngineError(
                f"tensor {name!r} is a shape that lies in host memory, which flowtrack does not "
                "feed; export the network without shapes as inputs"
            )
        shape = tuple(size if size >= 0 else None for size in engine.get_tensor_shape(name))
        spec = TensorSpec(name, _numpy_dtype(name, engine.get_tensor_dtype(name)), shape)
        found[engine.get_tensor_mode(name)].append(spec)
    return tuple(found[trt.TensorIOMode.INPUT]), tuple(found[trt.TensorIOMode.OUTPUT])


def _numpy_dtype(name: str, dtype: trt.DataType) -> np.dtype[np.generic]:
    import tensorrt as trt

    known: dict[trt.DataType, type[np.generic]] = {
        trt.DataType.FLOAT: np.float32,
        trt.DataType.HALF: np.float16,
        trt.DataType.INT8: np.int8,
        trt.DataType.INT32: np.int32,
        trt.DataType.INT64: np.int64,
        trt.DataType.UINT8: np.uint8,
        trt.DataType.BOOL: np.bool_,
    }
    if dtype not in known:
        raise EngineError(
            f"tensor {name!r} is {dtype}, which numpy lacks; export the network with float inputs "
            "and outputs"
        )
    return np.dtype(known[dtype])


def _check_profiles(fingerprint: Fingerprint, inputs: tuple[TensorSpec, ...]) -> None:
    """Hold what lies beside a plan against the plan itself."""
    names = {spec.name for spec in inputs}
    for profile in fingerprint.profiles:
        if set(profile) != names or not names.issuperset(fingerprint.batched):
            raise EngineError(
                f"the plan takes {sorted(names)}, the file beside it speaks of {sorted(profile)} "
                f"and batches of {list(fingerprint.batched)}; {REBUILD}"
            )
