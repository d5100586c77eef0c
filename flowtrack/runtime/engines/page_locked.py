"""Page-locked host memory: a GPU reads it by itself, while other memory is copied for it first."""

from __future__ import annotations

import ctypes
import logging
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.runtime.engines.driver import driver_library

Array = npt.NDArray[Any]

_PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE of cuda.h: page-locked for every GPU's context

_unused: deque[tuple[int, int]] = deque()  # GPU and address of memory that nobody looks at any more

log = logging.getLogger("flowtrack.cuda")


def page_locked(shape: tuple[int, ...], dtype: np.dtype[Any], gpu: int) -> Array:
    """An array whose memory stays where it is, for copies to a GPU; its values are anything.

    To be called where the GPU may be used, see `cuda_recording`.

    The memory is given back when the next such array is asked for after the array and all its
    views are gone: a collection of garbage comes at any time, and what frees memory while another
    thread records a CUDA graph spoils the recording. Where the driver has none to give, the array
    lies in ordinary memory: copies take longer, and nothing else changes.

    Args:
        shape: of the array.
        dtype: of the array.
        gpu: index, as CUDA counts.
    """
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    driver = driver_library() if nbytes else None
    if driver is None:
        return np.empty(shape, dtype)
    _free_unused(driver)
    address = ctypes.c_void_p()
    with _context(driver, gpu) as failed:
        failed = failed or driver.cuMemHostAlloc(
            ctypes.byref(address), ctypes.c_size_t(nbytes), ctypes.c_uint(_PORTABLE)
        )
    if failed or address.value is None:
        log.info(
            "no page-locked memory of %d bytes (CUDA error %d): ordinary instead", nbytes, failed
        )
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_ubyte * nbytes).from_address(address.value)
    weakref.finalize(memory, _unused.append, (gpu, address.value)).atexit = False
    return np.frombuffer(memory, dtype).reshape(shape)


def _free_unused(driver: Any) -> None:
    while _unused:
        gpu, address = _unused.popleft()
        with _context(driver, gpu) as failed:
            if not failed:
                driver.cuMemFreeHost(ctypes.c_void_p(address))


@contextmanager
def _context(driver: Any, gpu: int) -> Iterator[int]:
    """Make the GPU's primary context, which ONNX Runtime uses as well, that of this thread.

    Yields the driver's error: 0 where the context is there.
    """
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    error: int = driver.cuDeviceGet(ctypes.byref(device), gpu)
    if error:
        yield error
        return
    error = driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    if error:
        yield error
        return
    try:
        error = driver.cuCtxPushCurrent_v2(context)
        try:
            yield error
        finally:
            if not error:
                driver.cuCtxPopCurrent_v2(ctypes.byref(context))
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)
