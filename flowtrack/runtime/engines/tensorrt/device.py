"""One GPU: its context around every use, streams, device and pinned memory, shared uploads."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import EngineError, OptionError

if TYPE_CHECKING:
    import pycuda.driver as cuda

Bytes = npt.NDArray[np.uint8]

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream, nor it for this
_SPARE_BLOCKS = 4


class Gpu:
    """A GPU, used through its primary context, which PyTorch and ONNX Runtime use as well.

    Attributes:
        index: of the GPU, as CUDA counts.
        name: that the driver gives.
        compute_capability: `major.minor`.
        uploads: arrays that several engines read.
    """

    def __init__(self, index: int) -> None:
        """Retain the primary context; `open_gpu` makes one object per GPU and process.

        Raises:
            OptionError: there is no such GPU.
            EngineError: CUDA cannot be started.
        """
        import pycuda.driver as cuda

        self.index = index
        self.name = f"GPU {index}"
        with self._translated("starting CUDA"):
            cuda.init()
            count: int = cuda.Device.count()
            if not 0 <= index < count:
                raise OptionError(f"GPU {index} was asked for, this machine has {count}: "
                                  f"0 to {count - 1}")  # fmt: skip
            device: cuda.Device = cuda.Device(index)
            self._context: cuda.Context = device.retain_primary_context()
            self.name = device.name()
            self.compute_capability = ".".join(str(part) for part in device.compute_capability())
        with self.active("making a stream"):
            self.uploads = Uploads(self)

    @contextmanager
    def active(self, doing: str) -> Iterator[None]:
        """Make this GPU's context the thread's current one, and leave the thread as it was.

        Args:
            doing: what is done, for messages.

        Raises:
            EngineError: a CUDA call failed inside.
        """
        with self._translated(doing):
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        import pycuda.driver as cuda

        try:
            yield
        except cuda.MemoryError as error:
            raise EngineError(
                f"{self.name} has no memory left for {doing}: {error}; close other programs on it "
                "(`nvidia-smi` lists them), compile with fewer --buckets or a smaller "
                "--frame-size, or take another GPU (`tensorrt:1`)"
            ) from error
        except cuda.Error as error:
            raise EngineError(
                f"CUDA failed on {self.name} while {doing}: {error}; start the program again, and "
                "run `flowtrack doctor` if it happens once more"
            ) from error

    def stream(self) -> cuda.Stream:
        """A stream of its own; call and free it with the context active."""
        import pycuda.driver as cuda

        return cuda.Stream(_NON_BLOCKING)

    def allocate(self, nbytes: int) -> cuda.DeviceAllocation:
        """Memory on the GPU, aligned to 256 bytes; call and free it with the context active."""
        import pycuda.driver as cuda

        return cuda.mem_alloc(max(nbytes, 1))

    def pinned(self, nbytes: int) -> Bytes:
        """Host memory that the GPU copies from and to by itself; see `allocate`."""
        import pycuda.driver as cuda

        memory: Bytes = cuda.pagelocked_empty(max(nbytes, 1), np.uint8)
        return memory


@cache
def open_gpu(index: int) -> Gpu:
    """The one object of a GPU in this process; engines on it share what they place.

    Raises:
        OptionError: there is no such GPU.
        EngineError: CUDA cannot be started.
    """
    return Gpu(index)


class Block:
    """Device memory, pinned memory of the same size, and when the copy between them is done."""

    def __init__(self, gpu: Gpu, nbytes: int) -> None:
        """Take the memory; call with the context active."""
        import pycuda.driver as cuda

        self.nbytes = nbytes
        self.memory: cuda.DeviceAllocation = gpu.allocate(nbytes)
        self.host = gpu.pinned(nbytes)
        self.ready: cuda.Event = cuda.Event(cuda.event_flags.DISABLE_TIMING)

    def free(self) -> None:
        """Give the memory back; call with the context active."""
        self.ready.synchronize()
        self.memory.free()
        free_pinned(self.host)
        del self.ready


class Placed:
    """What a `DeviceArray` of this GPU is known by: it lies at `address` once `ready` is done."""

    def __init__(self, gpu: Gpu, block: Block) -> None:
        """Take a filled block; it goes back to `Gpu.uploads` when nobody holds this."""
        self.gpu = gpu
        self.address = int(block.memory)
        self.ready = block.ready
        weakref.finalize(self, gpu.uploads.take_back, block)


class Uploads:
    """Arrays on a GPU that engines read, on a stream of their own; memory is used again."""

    def __init__(self, gpu: Gpu) -> None:
        """Start without memory; call with the context active."""
        self._gpu = gpu
        # Collecting garbage can end a `Placed` anywhere, in here as well.
        self._lock = threading.RLock()
        self._spare: list[Block] = []
        self._stream: cuda.Stream = gpu.stream()

    def put(self, array: npt.NDArray[Any]) -> Placed:
        """Begin to copy an array to the GPU.

        Raises:
            EngineError: CUDA failed.
        """
        import pycuda.driver as cuda

        with self._gpu.active("placing an input"):
            block = self._block(array.nbytes)
            np.copyto(block.host[: array.nbytes].view(array.dtype).reshape(array.shape), array)
            cuda.memcpy_htod_async(block.memory, block.host, self._stream)
            block.ready.record(self._stream)
        return Placed(self._gpu, block)

    def _block(self, nbytes: int) -> Block:
        with self._lock:
            for index, block in enumerate(self._spare):
                if block.nbytes == nbytes:
                    return self._spare.pop(index)
        return Block(self._gpu, nbytes)

    def take_back(self, block: Block) -> None:
        """Keep a block that nobody reads for the next array of its size, not too many of them."""
        with self._lock:
            self._spare.append(block)
            oldest = self._spare.pop(0) if len(self._spare) > _SPARE_BLOCKS else None
        if oldest is not None:
            with self._gpu.active("freeing an input"):
                oldest.free()


def free_pinned(memory: Bytes) -> None:
    """Give pinned memory back; nothing may look at it any more."""
    allocation: Any = memory.base
    allocation.free()
