"""ONNX Runtime on NVIDIA GPUs: its CUDA provider with CUDA graphs, and its TensorRT provider.

Inputs and outputs are bound to memory on the GPU, a set of it for each set of input shapes; inputs
go there through page-locked memory. Batches are filled up to a few sizes, so that the same shapes
come again; from the second time on the CUDA provider replays what it recorded of them.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowtrack.errors import EngineError, InputError, OptionError
from flowtrack.runtime.batching import BUCKETS, Part, split_batch
from flowtrack.runtime.engines.base import Array, DeviceArray, Engine, TensorSpec
from flowtrack.runtime.engines.cuda_recording import recording
from flowtrack.runtime.engines.driver import gpus
from flowtrack.runtime.engines.onnxruntime_session import (
    PROVIDERS,
    described,
    import_onnxruntime,
    open_session,
    require_provider,
    tensor_specs,
)
from flowtrack.runtime.engines.page_locked import page_locked

MOST_SHAPES = 8
"""Sets of input shapes whose memory is kept; the one that was not used for longest goes first."""

MOST_GRAPHS = 16
"""CUDA graphs of an engine. ONNX Runtime never frees one, so their shapes are kept besides."""

_NO_GRAPH = -1  # the `gpu_graph_id` of a run that neither records nor replays

Shape = tuple[int, ...]

log = logging.getLogger("flowtrack.onnxruntime")


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """Options of the CUDA provider.

    Attributes:
        gpu: index, as CUDA counts.
        graphs: record CUDA graphs.
        convolutions: how cuDNN chooses an algorithm, once per shape: by measuring all, or by rule.
        arena: growth of GPU memory: by what is asked for, or by powers of two.
        tf32: multiply float32 with ten bits of mantissa where the GPU can.
    """

    gpu: int = 0
    graphs: bool = True
    convolutions: Literal["EXHAUSTIVE", "HEURISTIC"] = "EXHAUSTIVE"
    arena: Literal["kSameAsRequested", "kNextPowerOfTwo"] = "kSameAsRequested"
    tf32: bool = True

    def settings(self) -> dict[str, str]:
        """As ONNX Runtime names them."""
        return {
            "device_id": str(self.gpu),
            "enable_cuda_graph": str(int(self.graphs)),
            "cudnn_conv_algo_search": self.convolutions,
            "arena_extend_strategy": self.arena,
            "use_tf32": str(int(self.tf32)),
        }


def open_on_gpu(model: Path | bytes, device: str, threads: int, gpu: int, graphs: bool) -> Engine:
    """Load an ONNX graph on a GPU; `open_onnxruntime` refuses wrong options first.

    Args:
        model: path or bytes of the graph.
        device: `cuda` or `ort-tensorrt`.
        threads: CPU threads of one run; 0 lets ONNX Runtime choose.
        gpu: index, as CUDA counts.
        graphs: record CUDA graphs, on `cuda`.

    Raises:
        OptionError: there is no such GPU.
        EngineError: the graph cannot be loaded, or the provider does not start.
    """
    present = gpus()
    if present and not 0 <= gpu < len(present):
        names = ", ".join(f"{each.index}: {each.name}" for each in present)
        raise OptionError(f"GPU {gpu} was asked for, this machine has {names}")
    require_provider("cuda")
    _load_libraries()
    first: list[tuple[str, Mapping[str, str]]] = []
    if device == "ort-tensorrt":
        from flowtrack.runtime.engines.onnxruntime_tensorrt import load_tensorrt, tensorrt_settings

        load_tensorrt()
        first = [(PROVIDERS[device], tensorrt_settings(model, gpu, BUCKETS))]

    def opened(graphs: bool) -> Any:
        cuda = CudaOptions(gpu, graphs).settings()
        providers = [*first, (PROVIDERS["cuda"], cuda), (PROVIDERS["cpu"], {})]
        return open_session(model, providers, threads)

    name = f"{described(device)}, GPU {gpu}"
    return CudaEngine(opened, name, gpu, graphs and device == "cuda")


@cache
def _load_libraries() -> None:
    """Load CUDA and cuDNN out of the packages `nvidia-*`, where there are such; once a process.

    ONNX Runtime prints what it does not find; whether that matters shows when the provider starts.
    """
    preload: Callable[[], None] | None = getattr(import_onnxruntime(), "preload_dlls", None)
    if preload is None:  # before 1.21
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preload()
    if printed.getvalue():
        log.info("%s", printed.getvalue().strip())


@dataclass(frozen=True, slots=True)
class Placed:
    """An array on a GPU, in ONNX Runtime's memory."""

    gpu: int
    value: Any


class CudaEngine(Engine):
    """A session on a GPU, and memory there for the shapes that it is fed.

    All runs go through one thread of the engine's own: ONNX Runtime keeps recorded graphs by thread
    (core/providers/cuda/cuda_execution_provider.cc, `PerThreadContext`), and would record again in
    every other. Calls from several threads therefore wait for each other; engines run at the same
    time.
    """

    def __init__(
        self, open_session: Callable[[bool], Any], device: str, gpu: int, graphs: bool
    ) -> None:
        """Open a session; `open_on_gpu` says how.

        Args:
            open_session: opens it with CUDA graphs, or without.
            device: for people to read.
            gpu: index, as CUDA counts.
            graphs: record CUDA graphs. A network that cannot be recorded runs without, and a
                warning says so.

        Raises:
            EngineError: the session cannot be opened.
        """
        self.device = device
        self._ort = import_onnxruntime()
        self._gpu = gpu
        self._thread = ThreadPoolExecutor(1, "flowtrack-cuda")
        self._shapes: OrderedDict[tuple[Shape, ...], _Bound] = OrderedDict()
        self._open = open_session
        self._graphs = graphs
        with recording().shared():
            self._session = self._opened()
        self.inputs, self.outputs = tensor_specs(self._session)
        self._batched = _batched(self.inputs, self.outputs)

    def _opened(self) -> Any:
        if not self._graphs:
            return self._open(False)
        try:
            return self._open(True)
        except EngineError as error:
            # A network with parts that run on the CPU is refused whole. If that is not why, the
            # session does not open without graphs either.
            session = self._open(False)
            self._do_without_graphs(error)
            return session

    def _do_without_graphs(self, error: Exception) -> None:
        self._graphs = False
        log.warning("the network runs without CUDA graphs, which costs time: %s", error)

    def place(self, array: Array) -> DeviceArray:
        """Copy an input to the GPU, where every engine of ONNX Runtime on it can read it."""
        with recording().shared(), _translated(self.device):
            make = self._ort.OrtValue.ortvalue_from_numpy
            value = make(np.ascontiguousarray(array), "cuda", self._gpu)
        where = f"GPU {self._gpu}, in ONNX Runtime"
        return DeviceArray(array.dtype, array.shape, where, Placed(self._gpu, value))

    def _run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        self._check_places(feeds)
        rows = self._rows(feeds)
        parts: Sequence[Part | None] = [None] if rows is None else split_batch(rows, BUCKETS)
        results = self._thread.submit(self._runs, feeds, parts).result()
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([each[name] for each in results]) for name in results[0]}

    def _runs(
        self, feeds: Mapping[str, Any], parts: Sequence[Part | None]
    ) -> list[dict[str, Array]]:
        return [self._once(feeds, part) for part in parts]

    def _check_places(self, feeds: Mapping[str, Any]) -> None:
        for name, value in feeds.items():
            if isinstance(value, DeviceArray) and not (
                isinstance(value.handle, Placed) and value.handle.gpu == self._gpu
            ):
                raise InputError(
                    f"input {name!r} lies on {value.device}, this network runs on GPU {self._gpu}, "
                    "in ONNX Runtime; place it with an engine of the same device"
                )

    def _rows(self, feeds: Mapping[str, Any]) -> int | None:
        """Rows of a batch that can be split and filled up; None to run it as it is."""
        if any(isinstance(feeds[name], DeviceArray) for name in self._batched):
            return None
        counts = {name: feeds[name].shape[0] for name in self._batched}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise InputError(f"fed batches of {counts}, expected as many of each, at least one")
        return next(iter(counts.values()), None)

    def _once(self, feeds: Mapping[str, Any], part: Part | None) -> dict[str, Array]:
        """One run, of a part of the batch or of everything as it is."""
        given = dict(feeds)
        shapes = {name: tuple(value.shape) for name, value in feeds.items()}
        if part is not None:
            for name in self._batched:
                given[name] = feeds[name][part.start : part.start + part.count]
                shapes[name] = (part.bucket, *shapes[name][1:])
        key = tuple(shapes[spec.name] for spec in self.inputs)
        bound = self._shapes.get(key)
        if bound is None:
            with recording().shared(), _translated(self.device):
                self._make_room()
                bound = self._bound(key)
                found = bound.run(given)
            self._shapes[key] = bound
        else:
            self._shapes.move_to_end(key)
            found = self._again(key, bound, given)
        if part is None:
            return found
        return {name: value[: part.count] for name, value in found.items()}

    def _bound(self, shapes: tuple[Shape, ...]) -> _Bound:
        return _Bound(self._ort, self._session, self._gpu, self.inputs, self.outputs, shapes)

    def _again(
        self, key: tuple[Shape, ...], bound: _Bound, given: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Run shapes that were seen before: replay their graph, or record it if there is room."""
        recorded = [each.graph for each in self._shapes.values() if each.graph != _NO_GRAPH]
        if bound.graph != _NO_GRAPH or not self._graphs or len(recorded) >= MOST_GRAPHS:
            with recording().shared(), _translated(self.device):
                return bound.run(given)
        try:
            with recording().alone(), _translated(self.device):
                return bound.record(len(recorded) + 1, given)
        except EngineError as error:
            # What a failed recording leaves behind in a session is nowhere described.
            self._do_without_graphs(error)
        with recording().shared(), _translated(self.device):
            self._shapes.clear()
            self._session = self._open(False)
            bound = self._bound(key)
            self._shapes[key] = bound
            return bound.run(given)

    def _make_room(self) -> None:
        """Forget shapes without a graph; memory of those with one is written by every replay."""
        plain = [key for key, bound in self._shapes.items() if bound.graph == _NO_GRAPH]
        for key in plain[: max(0, len(plain) - MOST_SHAPES + 1)]:
            del self._shapes[key]


class _Bound:
    """Memory on the GPU for certain input shapes, bound to a session.

    Attributes:
        graph: ONNX Runtime's number of the recorded CUDA graph, from 1 on.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        gpu: int,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        shapes: tuple[Shape, ...],
    ) -> None:
        """Take memory for the inputs; that of the outputs is known after the first run.

        Args:
            ort: the module `onnxruntime`.
            session: of the network.
            gpu: index, as CUDA counts.
            inputs, outputs: of the network.
            shapes: of the inputs.
        """
        self.graph = _NO_GRAPH
        self._ort = ort
        self._session = session
        self._gpu = gpu
        self._outputs = outputs
        self._found: list[Any] = []
        self._binding = session.io_binding()
        self._inputs = {}
        self._host: dict[str, Array] = {}  # page-locked, of the inputs that come from the host
        self._forms = {spec.name: (shape, spec.dtype)
                       for spec, shape in zip(inputs, shapes, strict=True)}  # fmt: skip
        for name, (shape, dtype) in self._forms.items():
            self._inputs[name] = self._empty(shape, dtype)
        self._told = self._run_options(_NO_GRAPH)

    def run(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """Copy the inputs, run or replay, and copy the outputs."""
        for name, value in given.items():
            source = self._filled(name, value)
            if self.graph == _NO_GRAPH:
                self._binding.bind_ortvalue_input(name, source)
        if self.graph == _NO_GRAPH:
            # Anew each time: the binding would keep the last run's memory and hence its shapes.
            for spec in self._outputs:
                self._binding.bind_output(spec.name, "cuda", self._gpu)
        self._session.run_with_iobinding(self._binding, self._told)
        self._binding.synchronize_outputs()
        if self.graph == _NO_GRAPH:
            self._found = self._binding.get_outputs()
        names = [spec.name for spec in self._outputs]
        return {name: each.numpy() for name, each in zip(names, self._found, strict=True)}

    def _filled(self, name: str, value: Array | DeviceArray) -> Any:
        """The memory that an input is read from, which a graph has no choice of."""
        own = self._inputs[name]
        if not isinstance(value, DeviceArray):
            own.update_inplace(self._staged(name, value))
            return own
        placed = value.handle.value
        if self.graph == _NO_GRAPH:
            return placed
        own.update_inplace(placed if _copies_on_gpu(self._ort) else placed.numpy())
        return own

    def _staged(self, name: str, value: Array) -> Array:
        """The input in page-locked memory, zeros behind its rows up to the bucket."""
        if name not in self._host:
            self._host[name] = page_locked(*self._forms[name], self._gpu)
        host = self._host[name]
        if host.ndim == 0:
            host[...] = value
            return host
        host[: len(value)] = value
        host[len(value) :] = 0
        return host

    def record(self, graph: int, given: Mapping[str, Any]) -> dict[str, Array]:
        """Run, and record it: from now on the same memory is read and written."""
        self._found = [
            self._empty(tuple(found.shape()), spec.dtype)
            for spec, found in zip(self._outputs, self._found, strict=True)
        ]
        for spec, value in zip(self._outputs, self._found, strict=True):
            self._binding.bind_ortvalue_output(spec.name, value)
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self.graph, self._told = graph, self._run_options(graph)
        return self.run(given)

    def _empty(self, shape: Shape, dtype: np.dtype[Any]) -> Any:
        make = self._ort.OrtValue.ortvalue_from_shape_and_type
        return make(list(shape), dtype.type, "cuda", self._gpu)

    def _run_options(self, graph: int) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options


def _batched(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    """Names of the inputs whose rows are those of every output, by the name of their first axis."""
    rows = {spec.shape[0] if spec.shape else None for spec in outputs}
    (name,) = rows if len(rows) == 1 else (None,)
    if not isinstance(name, str):
        return ()
    return tuple(spec.name for spec in inputs if spec.shape[:1] == (name,))


@contextmanager
def _translated(device: str) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"ONNX Runtime failed on {device}: {error}") from error


def _copies_on_gpu(ort: Any) -> bool:
    """Whether this ONNX Runtime copies within a GPU; before 1.26 it does only from the host."""
    major, minor = ort.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (1, 26)
