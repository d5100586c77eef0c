"""The doubles of TensorRT and CUDA are strict: each wrong order of calls fails the test."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from flowtrack.runtime.engines.tensorrt.library import trt_logger
from tests.support.cuda_double import WrongOrder
from tests.support.graphs import pooled_heatmaps
from tests.support.tensorrt_double import tensorrt_double
from tests.support.tensorrt_engine_double import SCRATCH, Strategy
from tests.support.tensorrt_plans import plan_of

GRAPH = pooled_heatmaps(5, 16, 12, 4)
SHAPES = {"data": (2, 3, 16, 12), "maps": (2, 5, 4, 3)}
PROFILES = ({"data": (SHAPES["data"],) * 3},)


@pytest.fixture
def here(monkeypatch):
    """CUDA and TensorRT with a context that is current, a stream, memory, and a loaded plan."""
    with tensorrt_double(monkeypatch) as world:
        cuda, trt = sys.modules["pycuda.driver"], sys.modules["tensorrt"]
        data, _ = plan_of(GRAPH, PROFILES, ("data",))
        current = cuda.Device(0).retain_primary_context()
        current.push()
        engine = trt.Runtime(trt_logger()).deserialize_cuda_engine(data)
        yield SimpleNamespace(
            world=world, cuda=cuda, trt=trt, engine=engine, current=current, stream=cuda.Stream(1),
            driver=sys.modules["cuda.bindings.driver"],
            memory={name: cuda.mem_alloc(4 * int(np.prod(SHAPES[name]))) for name in SHAPES},
            scratch=cuda.mem_alloc(SCRATCH),
        )  # fmt: skip


STEPS = {
    "memory": lambda here, context: context.set_device_memory(int(here.scratch), SCRATCH),
    "profile": lambda here, context: context.set_optimization_profile_async(0, here.stream.handle),
    "shapes": lambda here, context: context.set_input_shape("data", SHAPES["data"]),
    "addresses": lambda here, context: [
        context.set_tensor_address(name, int(memory)) for name, memory in here.memory.items()
    ],
}


def context_of(here, without=""):
    context = here.engine.create_execution_context(Strategy.USER_MANAGED)
    for name, step in STEPS.items():
        if name != without:
            step(here, context)
    return context


def test_a_context_runs_when_everything_is_set(here):
    context = context_of(here)
    assert context.execute_async_v3(here.stream.handle)
    here.stream.synchronize()


@pytest.mark.parametrize("without", ["memory", "shapes", "addresses"])
def test_a_context_does_not_run_before_everything_is_set(here, without):
    with pytest.raises(WrongOrder, match="running before"):
        context_of(here, without).execute_async_v3(here.stream.handle)


def test_shapes_come_after_the_profile(here):
    with pytest.raises(WrongOrder, match="shapes before the profile"):
        context_of(here, "profile")


def test_a_context_is_not_recorded_before_it_ran(here):
    context = context_of(here)
    stream, mode = here.driver.CUstream(here.stream.handle), "thread local"
    here.driver.cuStreamBeginCapture(stream, mode)
    with pytest.raises(WrongOrder, match="never ran"):
        context.execute_async_v3(here.stream.handle)
    with pytest.raises(WrongOrder, match="allocating memory while"):
        here.cuda.mem_alloc(1)
    with pytest.raises(WrongOrder, match="waiting for a stream that is being recorded"):
        here.stream.synchronize()


def test_a_context_that_ran_keeps_its_shapes(here):
    context = context_of(here)
    context.execute_async_v3(here.stream.handle)
    with pytest.raises(WrongOrder, match="another shape for a context"):
        context.set_input_shape("data", SHAPES["data"])


def test_everything_wants_a_current_context(here):
    here.current.pop()
    for call in (
        lambda: here.cuda.mem_alloc(1),
        lambda: here.cuda.Stream(1),
        lambda: here.cuda.pagelocked_empty(1, np.uint8),
        lambda: here.cuda.Event(),
        lambda: here.scratch.free(),
        lambda: here.trt.Runtime(None),
        lambda: here.trt.Builder(None),
        lambda: here.engine.create_execution_context(Strategy.USER_MANAGED),
        lambda: here.cuda.memset_d8_async(int(here.scratch), 0, 1, here.stream),
    ):
        with pytest.raises(WrongOrder, match="without a current CUDA context"):
            call()


def test_work_for_a_stream_wants_its_own_gpu(here):
    here.cuda.Device(1).retain_primary_context().push()
    with pytest.raises(WrongOrder, match="stream of GPU 0 with GPU 1 current"):
        here.cuda.memset_d8_async(int(here.scratch), 0, 1, here.stream)


def test_host_memory_is_noise_until_somebody_waits(here):
    sent = np.arange(8, dtype=np.uint8)
    found = np.zeros(8, np.uint8)
    here.cuda.memcpy_htod_async(here.scratch, sent, here.stream)
    here.cuda.memcpy_dtoh_async(found, here.scratch, here.stream)
    assert (found == 0xA5).all()
    sent += 1  # too early as well: the copy has not begun
    here.stream.synchronize()
    np.testing.assert_array_equal(found, np.arange(1, 9))


def test_a_stream_waits_for_an_event_of_another(here):
    other, ready = here.cuda.Stream(1), here.cuda.Event()
    found = np.zeros(4, np.uint8)
    here.cuda.memset_d8_async(int(here.scratch), 7, 4, other)
    ready.record(other)
    here.stream.wait_for_event(ready)
    here.cuda.memcpy_dtoh_async(found, here.scratch, here.stream)
    here.stream.synchronize()
    assert (found == 7).all()


def test_memory_that_was_freed_is_gone(here):
    address = int(here.scratch)
    here.scratch.free()
    for call in (
        lambda: int(here.scratch),
        lambda: here.cuda.memcpy_htod_async(address, np.zeros(1, np.uint8), here.stream),
        lambda: (
            here.cuda.memset_d8_async(address, 0, 1, here.stream),
            here.stream.synchronize(),
        ),
    ):
        with pytest.raises(WrongOrder, match=r"freed|not there"):
            call()
    with pytest.raises(here.cuda.Error, match="freed twice"):
        here.scratch.free()


def test_two_runs_do_not_share_scratch_memory_at_the_same_time(here):
    first, second = context_of(here), context_of(here)
    other = here.cuda.Stream(1)
    first.execute_async_v3(here.stream.handle)
    with pytest.raises(WrongOrder, match="share scratch memory"):
        second.execute_async_v3(other.handle)


def test_networks_are_strongly_typed(here):
    builder = here.trt.Builder(trt_logger())
    with pytest.raises(WrongOrder, match="not strongly typed"):
        builder.create_network(0)


def test_arrays_with_gaps_are_not_copied(here):
    with pytest.raises(WrongOrder, match="with gaps"):
        here.cuda.memcpy_htod_async(here.scratch, np.zeros(8, np.uint8)[::2], here.stream)
