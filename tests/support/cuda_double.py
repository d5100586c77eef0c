"""pycuda and cuda-bindings as far as flowtrack uses them, over plain bytes, strict about order.

Work on a stream is done when somebody waits for it and not before, memory that was freed cannot be
touched, and calls without a current context, or that a recording forbids, fail the test. What a
real driver reports as an error is raised as one; what it would let pass and a user would suffer
from raises `WrongOrder`.
"""

from __future__ import annotations

import importlib.machinery
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

MIB = 1 << 20


class WrongOrder(AssertionError):  # noqa: N818 - a failed test, not an error of the program
    """Calls in an order that real hardware punishes later, or silently."""


@dataclass
class World:
    """What both doubles share: GPUs, their memory, and what is to go wrong.

    Attributes:
        gpus: (name, compute capability) of each.
        calls: how often each function was called.
        failing: function names that fail from now on, with the error they raise or return.
        live: device and pinned allocations by address.
        free_bytes: of each GPU.
        streams: every stream made, to look at what ran where.
    """

    gpus: list[tuple[str, tuple[int, int]]] = field(
        default_factory=lambda: [("Test GPU", (8, 6)), ("Other GPU", (9, 0))]
    )
    calls: Counter[str] = field(default_factory=Counter)
    failing: dict[str, Any] = field(default_factory=dict)
    live: dict[int, Memory] = field(default_factory=dict)
    free_bytes: int = 64 * MIB
    streams: list[Any] = field(default_factory=list)
    stacks: Any = field(default_factory=threading.local)
    next_address: int = 1 << 20
    launched: list[tuple[str, str]] = field(default_factory=list)
    capturing: dict[int, Any] = field(default_factory=dict)

    def call(self, name: str) -> Any:
        """Count a call; what it is to fail with, if it is."""
        self.calls[name] += 1
        how = self.failing.get(name)
        return how() if callable(how) else how

    @property
    def stack(self) -> list[int]:
        """GPUs whose context this thread pushed, the current one last."""
        if not hasattr(self.stacks, "gpus"):
            self.stacks.gpus = []
        return self.stacks.gpus

    def current(self, doing: str) -> int:
        """The current GPU."""
        if not self.stack:
            raise WrongOrder(f"{doing} without a current CUDA context")
        return self.stack[-1]

    def at(self, address: int, nbytes: int, doing: str) -> memoryview:
        """Memory of the GPU at an address."""
        for start, memory in self.live.items():
            if start <= address and address + nbytes <= start + len(memory.data):
                offset = address - start
                return memoryview(memory.data)[offset : offset + nbytes]
        raise WrongOrder(f"{doing} touches {nbytes} bytes at {address:#x}, which are not there")


@dataclass
class Memory:
    """An allocation on a GPU."""

    gpu: int
    data: bytearray


@dataclass
class Work:
    """Something on a stream: an effect, or a mark that an event waits for."""

    do: Callable[[], None]
    event: Any = None
    scratch: int | None = None


def cuda_modules(world: World) -> dict[str, ModuleType]:
    """`pycuda.driver` and `cuda.bindings.driver` over a world."""
    return {
        "pycuda": _module("pycuda"),
        "pycuda.driver": _pycuda(world),
        "cuda": _module("cuda"),
        "cuda.bindings": _module("cuda.bindings"),
        "cuda.bindings.driver": _bindings(world),
    }


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for key, value in content.items():
        setattr(module, key, value)
    return module


class _Stream:
    """A queue of work that is done when somebody waits."""

    def __init__(self, world: World, flags: int = 0) -> None:
        self.world, self.flags = world, flags
        self.gpu = world.current("making a stream")
        self.handle = 7000 + len(world.streams)
        self.queue: deque[Work] = deque()
        self.recording: list[Work] | None = None
        world.streams.append(self)

    def put(self, do: Callable[[], None], event: Any = None, scratch: int | None = None) -> None:
        current = self.world.current("work for a stream")
        if current != self.gpu:
            raise WrongOrder(f"work for a stream of GPU {self.gpu} with GPU {current} current")
        if scratch is not None:
            for other in self.world.streams:
                if other is not self and any(work.scratch == scratch for work in other.queue):
                    raise WrongOrder("two runs share scratch memory at the same time")
        (self.queue if self.recording is None else self.recording).append(Work(do, event, scratch))

    def run(self, until: Any = None) -> None:
        while self.queue:
            work = self.queue.popleft()
            work.do()
            if work.event is not None:
                work.event.pending -= 1
                if work.event is until:
                    return

    def synchronize(self) -> None:
        if self.recording is not None:
            raise WrongOrder("waiting for a stream that is being recorded")
        error = self.world.call("synchronize")
        if error is not None:
            self.queue.clear()
            raise error
        self.run()

    def wait_for_event(self, event: Any) -> None:
        def wait() -> None:
            if event.pending:
                event.stream.run(until=event)

        self.put(wait)


def _pycuda(world: World) -> ModuleType:
    class Error(Exception):
        pass

    class CudaMemoryError(Error):
        pass

    class Context:
        def __init__(self, gpu: int) -> None:
            self.gpu = gpu

        def push(self) -> None:
            world.call("push")
            world.stack.append(self.gpu)

        @staticmethod
        def pop() -> None:
            if not world.stack:
                raise Error("cannot pop context from empty stack")
            world.stack.pop()

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        @staticmethod
        def count() -> int:
            return len(world.gpus)

        def name(self) -> str:
            return world.gpus[self.index][0]

        def compute_capability(self) -> tuple[int, int]:
            return world.gpus[self.index][1]

        def retain_primary_context(self) -> Context:
            return Context(self.index)

    class DeviceAllocation:
        def __init__(self, nbytes: int) -> None:
            gpu = world.current("allocating memory")
            if world.capturing.get(threading.get_ident()):
                raise WrongOrder("allocating memory while a stream of this thread is recorded")
            error = world.call("mem_alloc")
            if error is not None:
                raise error
            if nbytes > world.free_bytes:
                raise CudaMemoryError("cuMemAlloc failed: out of memory")
            world.free_bytes -= nbytes
            self.nbytes, self.address = nbytes, world.next_address
            world.next_address += (nbytes + 511) // 256 * 256
            # As after other programs: what was not written is noise.
            world.live[self.address] = Memory(gpu, bytearray(b"\xa5" * nbytes))

        def __int__(self) -> int:
            if self.address not in world.live:
                raise WrongOrder("the address of memory that was freed")
            return self.address

        def free(self) -> None:
            world.current("freeing memory")
            if self.address not in world.live:
                raise Error("invalid handle: freed twice")
            del world.live[self.address]
            world.free_bytes += self.nbytes

    class PagelockedHostAllocation(bytearray):
        def free(self) -> None:
            world.current("freeing pinned memory")
            world.calls["pinned freed"] += 1

    class Event:
        def __init__(self, flags: int = 0) -> None:
            world.current("making an event")
            self.flags, self.pending, self.stream = flags, 0, None

        def record(self, stream: _Stream) -> Event:
            self.pending += 1
            self.stream = stream
            stream.put(lambda: None, event=self)
            return self

        def synchronize(self) -> Event:
            if self.pending:
                self.stream.run(until=self)
            return self

    def pagelocked_empty(shape: int, dtype: Any) -> np.ndarray:
        world.current("allocating pinned memory")
        world.calls["pinned"] += 1
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.ndarray(shape, dtype, PagelockedHostAllocation(b"\xa5" * nbytes))

    def copied(name: str, array: np.ndarray, do: Callable[[], None], stream: _Stream) -> None:
        error = world.call(name)
        if error is not None:
            raise error
        if not array.flags.c_contiguous:
            raise WrongOrder(f"{name} of an array with gaps")
        stream.put(do)

    def memcpy_htod_async(dest: Any, src: np.ndarray, stream: _Stream) -> None:
        address = int(dest)
        at = world.at(address, src.nbytes, "memcpy_htod_async")
        del at

        def do() -> None:
            world.at(address, src.nbytes, "a copy to the GPU")[:] = src.tobytes()

        copied("memcpy_htod_async", src, do, stream)

    def memcpy_dtoh_async(dest: np.ndarray, src: Any, stream: _Stream) -> None:
        address = int(src)
        dest.reshape(-1).view(np.uint8)[...] = 0xA5  # whoever reads before waiting reads noise

        def do() -> None:
            found = bytes(world.at(address, dest.nbytes, "a copy from the GPU"))
            dest[...] = np.frombuffer(found, dest.dtype).reshape(dest.shape)

        copied("memcpy_dtoh_async", dest, do, stream)

    def memcpy_dtod_async(dest: int, src: int, size: int, stream: _Stream) -> None:
        def do() -> None:
            found = bytes(world.at(src, size, "a copy on the GPU"))
            world.at(dest, size, "a copy on the GPU")[:] = found

        copied("memcpy_dtod_async", np.empty(0), do, stream)

    def memset_d8_async(dest: int, data: int, size: int, stream: _Stream) -> None:
        def do() -> None:
            world.at(dest, size, "a memset")[:] = bytes([data]) * size

        copied("memset_d8_async", np.empty(0), do, stream)

    def init() -> None:
        error = world.call("init")
        if error is not None:
            raise error

    return _module(
        "pycuda.driver",
        Error=Error, MemoryError=CudaMemoryError, Context=Context, Device=Device, Event=Event,
        DeviceAllocation=DeviceAllocation, Stream=lambda flags=0: _Stream(world, flags),
        event_flags=SimpleNamespace(DISABLE_TIMING=2), init=init, mem_alloc=DeviceAllocation,
        pagelocked_empty=pagelocked_empty, memcpy_htod_async=memcpy_htod_async,
        memcpy_dtoh_async=memcpy_dtoh_async, memcpy_dtod_async=memcpy_dtod_async,
        memset_d8_async=memset_d8_async,
    )  # fmt: skip


def _bindings(world: World) -> ModuleType:
    class CUresult(Enum):
        CUDA_SUCCESS = 0
        CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901
        CUDA_ERROR_UNKNOWN = 999

    class CUstream:
        def __init__(self, handle: int) -> None:
            self.stream = next(one for one in world.streams if one.handle == handle)

    @dataclass
    class Graph:
        work: list[Work]
        alive: bool = True

        def __int__(self) -> int:
            return 1

    good = CUresult.CUDA_SUCCESS

    def begin(stream: CUstream, mode: Any) -> tuple[Any, ...]:
        error = world.call("cuStreamBeginCapture")
        if error is not None:
            return (error,)
        if mode != "thread local":
            raise WrongOrder("recording holds other threads back")
        if stream.stream.queue:
            raise WrongOrder("recording a stream with work under way")
        stream.stream.recording = []
        world.capturing[threading.get_ident()] = True
        return (good,)

    def end(stream: CUstream) -> tuple[Any, ...]:
        work, stream.stream.recording = stream.stream.recording, None
        world.capturing.pop(threading.get_ident(), None)
        error = world.call("cuStreamEndCapture")
        return (error, None) if error is not None else (good, Graph(work or []))

    def instantiate(graph: Graph, flags: int) -> tuple[Any, ...]:
        error = world.call("cuGraphInstantiate")
        if error is not None:
            return error, None
        if flags != 0 or not graph.work:
            raise WrongOrder("an empty graph")
        return good, Graph(graph.work)

    def launch(graph: Graph, stream: CUstream) -> tuple[Any, ...]:
        error = world.call("cuGraphLaunch")
        if error is not None:
            return (error,)
        if not graph.alive:
            raise WrongOrder("launching a graph that was destroyed")
        for work in graph.work:
            stream.stream.put(work.do, scratch=work.scratch)
        return (good,)

    def destroy(graph: Graph) -> tuple[Any, ...]:
        if not graph.alive:
            raise WrongOrder("destroying a graph twice")
        graph.alive = False
        world.calls["graphs destroyed"] += 1
        return (good,)

    functions = {
        "cuStreamBeginCapture": begin, "cuStreamEndCapture": end, "cuGraphInstantiate": instantiate,
        "cuGraphLaunch": launch, "cuGraphExecDestroy": destroy, "cuGraphDestroy": destroy,
        "cuGetErrorString": lambda code: (good, f"{code.name} it was".encode()),
    }  # fmt: skip
    for name, function in functions.items():
        function.__name__ = name
    mode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL="thread local")
    return _module(
        "cuda.bindings.driver", CUresult=CUresult, CUstream=CUstream, CUstreamCaptureMode=mode,
        **functions,
    )  # fmt: skip
