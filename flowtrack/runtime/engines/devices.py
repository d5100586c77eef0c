"""Names of what networks can run on, and the choice of the best that is there."""

from __future__ import annotations

import platform
import re

from flowtrack.errors import OptionError
from flowtrack.runtime.engines.driver import cuda_driver_version
from flowtrack.runtime.engines.onnxruntime_session import PROVIDERS, import_onnxruntime
from flowtrack.runtime.engines.openvino import openvino_installed

DEVICES = ("auto", "cpu", "openvino", "openvino-bf16", "cuda", "ort-tensorrt", "tensorrt")
"""What can be asked for: ONNX Runtime on `cpu`, `cuda` and `ort-tensorrt` (its TensorRT provider),
OpenVINO on CPUs in fp32 and bfloat16, and `tensorrt`, the plans that a bundle holds."""

GPU_DEVICES = ("cuda", "ort-tensorrt", "tensorrt")
"""Those that take the index of a GPU, as in `cuda:1`."""


def split_device(device: str) -> tuple[str, int]:
    """Name of a device and index of the GPU: `cuda:1` is (`cuda`, 1), without a number it is 0.

    Raises:
        OptionError: no such device, or an index where there is no GPU.
    """
    name, colon, index = device.partition(":")
    if name not in DEVICES:
        raise OptionError(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    if not colon:
        return name, 0
    if name not in GPU_DEVICES:
        raise OptionError(f"device is {device!r}, expected no number: {name} is no GPU")
    if re.fullmatch("[0-9]{1,3}", index) is None:
        raise OptionError(f"device is {device!r}, expected the index of a GPU, as in {name}:1")
    return name, int(index)


def choose_device(device: str, plans: bool = False) -> tuple[str, str]:
    """The device to run on, and why.

    `auto` takes the best that is there: the TensorRT plans of a bundle that has them, CUDA where
    this ONNX Runtime offers it, OpenVINO on x86 where it is installed, otherwise ONNX Runtime on
    the CPU. GPUs count only if a driver answers.

    Args:
        device: one of `DEVICES`, those of GPUs with an index if wanted.
        plans: there is a TensorRT plan for every network.

    Raises:
        OptionError: no such device.
        DependencyError: ONNX Runtime is missing or doubled.
    """
    name, _ = split_device(device)
    if name != "auto":
        return device, "asked for"
    driver = cuda_driver_version()
    without = ""
    if plans:
        from flowtrack.runtime.engines.tensorrt import tensorrt_missing

        missing = tensorrt_missing()
        if missing is None:
            return "tensorrt", f"the bundle has plans, CUDA {driver}"
        without = f"plans are there, but {missing}; "
    if PROVIDERS["cuda"] not in import_onnxruntime().get_available_providers():
        without += "ONNX Runtime offers no GPU provider"
    elif driver is None:
        without += "ONNX Runtime offers CUDA, but no CUDA driver with a device answers"
    else:
        return "cuda", f"{without}CUDA {driver}"
    if platform.machine().lower() in ("x86_64", "amd64") and openvino_installed():
        return "openvino", f"{without}; OpenVINO is installed"
    return "cpu", without
