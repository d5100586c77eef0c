"""Names of devices, and what `auto` takes of what is there."""

from __future__ import annotations

import pytest

from flowtrack.errors import EngineError, OptionError
from flowtrack.runtime.engines import DEVICES, choose_device, open_engine, split_device
from flowtrack.runtime.engines import devices as module


@pytest.mark.parametrize("wrong", ["gpu", "CPU", "", "npu:0", "cuda0"])
def test_unknown_devices_are_refused_with_those_that_are_known(wrong):
    for function in (choose_device, split_device, lambda device: open_engine(b"", device)):
        with pytest.raises(OptionError, match=rf"unknown device '{wrong}'; known are auto, cpu"):
            function(wrong)


@pytest.mark.parametrize(
    ("device", "parts"),
    [
        ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)),
        ("cuda:3", ("cuda", 3)), ("tensorrt:1", ("tensorrt", 1)),
    ],
)  # fmt: skip
def test_gpus_have_an_index(device, parts):
    assert split_device(device) == parts
    assert choose_device(device) == (device, "asked for")


@pytest.mark.parametrize("wrong", ["cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "cuda:²", "cuda: 1"])
def test_an_index_is_a_number(wrong):
    with pytest.raises(OptionError, match="expected the index of a GPU, as in cuda:1"):
        split_device(wrong)


@pytest.mark.parametrize("name", ["cpu", "openvino", "openvino-bf16", "auto"])
def test_what_is_no_gpu_has_no_index(name):
    with pytest.raises(OptionError, match=f"{name} is no GPU"):
        split_device(f"{name}:0")


GPU, CPU = ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]
DRIVER = "13.0, 1 device(s)"


@pytest.mark.parametrize(
    ("providers", "driver", "openvino", "machine", "plans", "missing", "chosen", "why"),
    [
        (CPU, None, False, "x86_64", False, None, "cpu", "offers no GPU provider"),
        (CPU, None, True, "x86_64", False, None, "openvino", "OpenVINO is installed"),
        (CPU, None, True, "AMD64", False, None, "openvino", "OpenVINO is installed"),
        (CPU, None, True, "aarch64", False, None, "cpu", "offers no GPU provider"),
        (GPU, None, False, "x86_64", False, None, "cpu", "no CUDA driver"),
        (GPU, None, True, "x86_64", False, None, "openvino", "no CUDA driver"),
        (GPU, DRIVER, True, "x86_64", False, None, "cuda", f"CUDA {DRIVER}"),
        (GPU, DRIVER, True, "x86_64", True, None, "tensorrt", "the bundle has plans"),
        (CPU, DRIVER, True, "x86_64", True, None, "tensorrt", "the bundle has plans"),
        (GPU, DRIVER, True, "x86_64", True, "no pycuda", "cuda", "plans are there, but no pycuda"),
        (CPU, None, False, "x86_64", True, "no driver", "cpu", "plans are there, but no driver"),
    ],
)
def test_auto_takes_the_best_that_is_there(
    monkeypatch, providers, driver, openvino, machine, plans, missing, chosen, why
):
    class Fake:
        @staticmethod
        def get_available_providers():
            return providers

    monkeypatch.setattr(module, "import_onnxruntime", lambda: Fake)
    monkeypatch.setattr(module, "cuda_driver_version", lambda: driver)
    monkeypatch.setattr(module, "openvino_installed", lambda: openvino)
    monkeypatch.setattr(module.platform, "machine", lambda: machine)
    monkeypatch.setattr("flowtrack.runtime.engines.tensorrt.tensorrt_missing", lambda: missing)
    device, reason = choose_device("auto", plans)
    assert device == chosen
    assert device in DEVICES
    assert why in reason
    assert not reason.startswith(";")


def test_graphs_do_not_run_on_native_tensorrt():
    with pytest.raises(EngineError, match="flowtrack compile BUNDLE"):
        open_engine(b"", "tensorrt:0")
