"""What the NVIDIA driver says of its GPUs, asked before any library that needs one."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

# CUdevice_attribute of cuda.h
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU.

    Attributes:
        index: as CUDA counts.
        name: that the driver gives.
        compute_capability: `major.minor`.
        memory_bytes: in all, free or not.
    """

    index: int
    name: str
    compute_capability: str
    memory_bytes: int


def cuda_driver_version() -> str | None:
    """CUDA version of the installed driver with at least one device; None without."""
    driver = driver_library()
    if driver is None:
        return None
    number = ctypes.c_int(0)
    count = _count(driver)
    if driver.cuDriverGetVersion(ctypes.byref(number)) or count == 0:
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}, {count} device(s)"


def gpus() -> tuple[GpuInfo, ...]:
    """The GPUs that the driver offers, none without a driver; one that gives no answer is left out.

    `CUDA_VISIBLE_DEVICES` hides GPUs here as everywhere.
    """
    driver = driver_library()
    if driver is None:
        return ()
    found = (_described(driver, index) for index in range(_count(driver)))
    return tuple(gpu for gpu in found if gpu is not None)


def driver_library() -> Any | None:
    """The driver's library after `cuInit`; None where there is none, or it does not start."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return None if driver.cuInit(0) else driver


def _count(driver: Any) -> int:
    devices = ctypes.c_int(0)
    return 0 if driver.cuDeviceGetCount(ctypes.byref(devices)) else devices.value


def _described(driver: Any, index: int) -> GpuInfo | None:
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    memory = ctypes.c_size_t(0)
    failed = (
        driver.cuDeviceGet(ctypes.byref(device), index)
        or driver.cuDeviceGetName(name, _NAME_BYTES, device)
        or driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    if failed:
        return None
    capability = f"{major.value}.{minor.value}"
    return GpuInfo(index, name.value.decode(errors="replace"), capability, memory.value)
