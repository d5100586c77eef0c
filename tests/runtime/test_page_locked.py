"""Page-locked memory against a driver that allocates with malloc and counts what is given back."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from flowtrack.runtime.engines import onnxruntime_cuda as cuda
from flowtrack.runtime.engines import onnxruntime_session as sessions
from flowtrack.runtime.engines import page_locked as module
from flowtrack.runtime.engines.driver import GpuInfo
from flowtrack.runtime.engines.onnxruntime import open_onnxruntime
from flowtrack.runtime.engines.page_locked import page_locked
from tests.support.graphs import assemble, helper
from tests.support.onnxruntime_double import Gpu, double

FLOAT = np.dtype(np.float32)


class Driver:
    """The driver's library: every call that needs a context must find one, and contexts balance."""

    def __init__(self, failing=""):
        self.failing = failing
        self.live, self.retained, self.current = {}, 0, []
        self.asked = []

    def _fails(self, name):
        return 2 if name == self.failing else 0

    def cuDeviceGet(self, device, index):
        device._obj.value = 10 + index
        return self._fails("cuDeviceGet")

    def cuDevicePrimaryCtxRetain(self, context, device):
        error = self._fails("cuDevicePrimaryCtxRetain")
        self.retained += not error
        context._obj.value = device.value
        return error

    def cuDevicePrimaryCtxRelease_v2(self, device):
        assert device.value >= 10
        self.retained -= 1
        return 0

    def cuCtxPushCurrent_v2(self, context):
        error = self._fails("cuCtxPushCurrent_v2")
        if not error:
            self.current.append(context.value)
        return error

    def cuCtxPopCurrent_v2(self, context):
        context._obj.value = self.current.pop()
        return 0

    def cuMemHostAlloc(self, address, nbytes, flags):
        assert self.current, "no context"
        assert (type(nbytes), flags.value) == (ctypes.c_size_t, 1)
        if error := self._fails("cuMemHostAlloc"):
            return error
        memory = ctypes.create_string_buffer(nbytes.value)
        address._obj.value = ctypes.addressof(memory)
        self.live[address._obj.value] = memory
        self.asked.append((self.current[-1], nbytes.value))
        return 0

    def cuMemFreeHost(self, address):
        assert self.current, "no context"
        del self.live[address.value]
        return 0

    def balanced(self):
        return self.retained == 0 and not self.current


@pytest.fixture
def driver(monkeypatch):
    made = Driver()
    monkeypatch.setattr(module, "driver_library", lambda: made)
    module._unused.clear()
    return made


def other_arrays(driver):
    """Live memory once what is unused was given back: that of an array that asked for some."""
    gc.collect()
    array = page_locked((1,), FLOAT, gpu=0)
    return set(driver.live) - {array.ctypes.data}


def test_memory_comes_from_the_driver_and_goes_back_after_the_last_view(driver):
    array = page_locked((3, 4), FLOAT, gpu=1)
    assert (array.shape, array.dtype) == ((3, 4), FLOAT)
    assert driver.asked == [(11, 48)]
    assert array.ctypes.data in driver.live
    array[:] = np.arange(12).reshape(3, 4)
    view = array[1:, :2]
    address = array.ctypes.data
    del array
    assert other_arrays(driver) == {address}
    np.testing.assert_array_equal(view, [[4, 5], [8, 9]])
    del view
    assert address in driver.live  # collected at any time, given back when the GPU may be used
    assert not other_arrays(driver)
    assert driver.balanced()


def test_nothing_is_asked_for_where_nothing_is_needed(driver):
    assert page_locked((0, 4), FLOAT, gpu=0).shape == (0, 4)
    assert not driver.asked


@pytest.mark.parametrize(
    "failing", ["cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuMemHostAlloc"]
)
def test_ordinary_memory_where_the_driver_has_none(driver, failing, caplog):
    driver.failing = failing
    with caplog.at_level("INFO", logger="flowtrack.cuda"):
        array = page_locked((2, 2), FLOAT, gpu=0)
    array[:] = 1
    assert array.sum() == 4
    assert "CUDA error 2" in caplog.text
    assert driver.balanced()


def test_ordinary_memory_without_a_driver(monkeypatch):
    monkeypatch.setattr(module, "driver_library", lambda: None)
    assert page_locked((5,), FLOAT, gpu=0).shape == (5,)


def test_inputs_of_an_engine_pass_through_it_and_it_goes_back_with_the_engine(driver, monkeypatch):
    made = double(Gpu())
    for place in (sessions, cuda):
        monkeypatch.setattr(place, "import_onnxruntime", lambda: made)
    cards = tuple(GpuInfo(index, "Card", "9.0", 80 << 30) for index in range(2))
    monkeypatch.setattr(cuda, "gpus", lambda: cards)
    nodes = [helper.make_node("Add", ["x", "x"], ["twice"])]
    graph = assemble({"x": ("float32", ("N", 3))}, nodes, {"twice": ("float32", ("N", 3))})
    engine = open_onnxruntime(graph, "cuda", gpu=1)
    for count in (3, 4, 1, 3):  # rows behind the batch are zeros again, whatever lay there
        rows = np.arange(3 * count, dtype=np.float32).reshape(count, 3)
        np.testing.assert_array_equal(engine.infer({"x": rows})["twice"], 2 * rows)
    assert driver.asked == [(11, 4 * 3 * 4), (11, 1 * 3 * 4)]  # once a bucket
    four = next(bound for key, bound in engine._shapes.items() if key == ((4, 3),))
    np.testing.assert_array_equal(four._host["x"][3], [0, 0, 0])
    del four, engine
    assert not other_arrays(driver)
    assert driver.balanced()
