"""What the driver is asked, against a libcuda of Python: none, one that fails, one with GPUs."""

from __future__ import annotations

import pytest

from flowtrack.runtime.engines import driver as module
from flowtrack.runtime.engines.driver import GpuInfo, cuda_driver_version, gpus


class FakeDriver:
    """Each function returns 0, or 100 if it is named in `fails`."""

    def __init__(self, cards=(), fails=(), version=13000):
        self.cards, self.fails, self.version = cards, fails, version

    def _done(self, name):
        return 100 if name in self.fails else 0

    def cuInit(self, flags):
        assert flags == 0
        return self._done("cuInit")

    def cuDriverGetVersion(self, number):
        number._obj.value = self.version
        return self._done("cuDriverGetVersion")

    def cuDeviceGetCount(self, number):
        number._obj.value = len(self.cards)
        return self._done("cuDeviceGetCount")

    def cuDeviceGet(self, device, index):
        device._obj.value = 40 + index  # a handle is not the index
        return self._done(f"cuDeviceGet {index}")

    def cuDeviceGetName(self, name, size, device):
        assert size == len(name)
        name.value = self.cards[device.value - 40][0]
        return self._done("cuDeviceGetName")

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = self.cards[device.value - 40][2]
        return self._done("cuDeviceTotalMem_v2")

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = self.cards[device.value - 40][1][{75: 0, 76: 1}[attribute]]
        return self._done("cuDeviceGetAttribute")


CARDS = ((b"Big", (9, 0), 80 << 30), (b"Small \xff", (8, 6), 6 << 30))
BIG = GpuInfo(0, "Big", "9.0", 80 << 30)
SMALL = GpuInfo(1, "Small �", "8.6", 6 << 30)


@pytest.fixture
def install(monkeypatch):
    def put(driver):
        def load(_):
            if driver is None:
                raise OSError("no such library")
            return driver

        monkeypatch.setattr(module.ctypes, "CDLL", load)

    return put


@pytest.mark.parametrize(
    ("driver", "version", "found"),
    [
        (FakeDriver(CARDS), "13.0, 2 device(s)", (BIG, SMALL)),
        (FakeDriver(CARDS[:1], version=12080), "12.8, 1 device(s)", (BIG,)),
        (FakeDriver(), None, ()),
        (None, None, ()),
        (FakeDriver(CARDS, fails=("cuInit",)), None, ()),
        (FakeDriver(CARDS, fails=("cuDeviceGetCount",)), None, ()),
        (FakeDriver(CARDS, fails=("cuDriverGetVersion",)), None, (BIG, SMALL)),
        (FakeDriver(CARDS, fails=("cuDeviceGet 0",)), "13.0, 2 device(s)", (SMALL,)),
        (FakeDriver(CARDS, fails=("cuDeviceTotalMem_v2",)), "13.0, 2 device(s)", ()),
    ],
)
def test_the_driver_tells_its_version_and_gpus(install, driver, version, found):
    install(driver)
    assert cuda_driver_version() == version
    assert gpus() == found


@pytest.mark.parametrize(("system", "name"), [("linux", "libcuda.so.1"), ("win32", "nvcuda.dll")])
def test_the_library_has_its_systems_name(monkeypatch, system, name):
    asked = []

    def load(library):
        asked.append(library)
        raise OSError

    monkeypatch.setattr(module.sys, "platform", system)
    monkeypatch.setattr(module.ctypes, "CDLL", load)
    assert gpus() == ()
    assert asked == [name]
