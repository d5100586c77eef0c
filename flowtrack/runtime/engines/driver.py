"""Whether a GPU can be used at all: asked of the driver, before any library that needs it."""

from __future__ import annotations

import ctypes
import sys


def cuda_driver_version() -> str | None:
    """CUDA version of the installed driver with at least one device; None without."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return None
    number, devices = ctypes.c_int(0), ctypes.c_int(0)
    failed = (
        driver.cuInit(0)
        or driver.cuDriverGetVersion(ctypes.byref(number))
        or driver.cuDeviceGetCount(ctypes.byref(devices))
    )
    if failed or devices.value == 0:
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}, {devices.value} device(s)"
