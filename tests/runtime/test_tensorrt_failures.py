"""What goes wrong with plans: every failing call, what is missing, and plans of other machines."""

import gc
import logging
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from flowtrack.errors import DependencyError, EngineError, OptionError
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.engines.tensorrt import library, open_tensorrt, tensorrt_missing
from flowtrack.runtime.plans import Fingerprint, Machine
from tests.support.cuda_double import World
from tests.support.graphs import assemble, helper
from tests.support.tensorrt_double import tensorrt_double
from tests.support.tensorrt_engine_double import DataType, Dims, TensorLocation
from tests.support.tensorrt_plans import BUCKETS, GRAPH, PROFILES, crops, maps, plan_of

MACHINE = Machine("10.16.1.11", "Test GPU", "8.6", "Linux x86_64")
REFERENCE = open_engine(GRAPH, "cpu", 1)


@pytest.fixture(params=["10.16.1.11", "11.4.0.106"])
def world(request, monkeypatch):
    with tensorrt_double(monkeypatch, request.param) as world:
        yield world
        gc.collect()
        assert world.stack == []  # every context that was pushed was popped


@pytest.fixture
def plan(world):
    return plan_of(GRAPH, PROFILES, ("data",))


OPENING = [
    ("deserialize_cuda_engine", True, "TensorRT cannot load the plan"),
    ("create_execution_context", True, "TensorRT made no execution context"),
    ("set_optimization_profile_async", True, "could not choose optimisation profile 0"),
    ("set_input_shape", True, "does not take 'data' of shape"),
    ("infer_shapes", ["data"], "cannot tell the shapes of"),
    ("set_tensor_address", True, "takes no memory for"),
    ("execute_async_v3", True, "could not run the network"),
    ("output shape", Dims((-1, 5, 4, 3)), "its size depends on the picture"),
    ("location", TensorLocation.HOST, "is a shape that lies in host memory"),
]


@pytest.mark.parametrize(("call", "how", "message"), OPENING, ids=[row[0] for row in OPENING])
def test_a_failure_while_loading_is_told_and_leaves_nothing_behind(world, plan, call, how, message):
    before = set(world.live)
    world.failing[call] = how
    with pytest.raises(EngineError, match=message) as caught:
        open_tensorrt(*plan)
    assert re.search(
        "flowtrack (compile|inspect)|device `cuda`|export the network", str(caught.value)
    )
    if how is True:
        assert "TensorRT said: " in str(caught.value)
        assert "TensorRT said: nothing" not in str(caught.value)
    assert set(world.live) == before  # while somebody still holds the error
    world.failing.clear()
    np.testing.assert_array_equal(maps(open_tensorrt(*plan), crops(1)), maps(REFERENCE, crops(1)))


RUNNING = [
    ("memcpy_htod_async", "CUDA failed on Test GPU while running a network: it broke"),
    ("memcpy_dtoh_async", "CUDA failed on Test GPU while running a network: it broke"),
    ("synchronize", "CUDA failed on Test GPU while running a network: it broke"),
    ("cuGraphLaunch", "cuGraphLaunch failed: CUDA_ERROR_UNKNOWN it was"),
]


@pytest.mark.parametrize(("call", "message"), RUNNING)
def test_a_failure_while_running_is_told_and_the_next_run_is_right(world, plan, call, message):
    engine = open_tensorrt(*plan)
    cuda, driver = sys.modules["pycuda.driver"], sys.modules["cuda.bindings.driver"]
    broken = driver.CUresult.CUDA_ERROR_UNKNOWN if call.startswith("cu") else cuda.Error("it broke")
    world.failing[call] = broken
    with pytest.raises(EngineError, match=message):
        maps(engine, crops(6))
    world.failing.clear()
    np.testing.assert_array_equal(maps(engine, crops(6)), maps(REFERENCE, crops(6)))


def test_too_little_memory_is_told_with_what_to_do(world, plan):
    world.free_bytes = 5000
    with pytest.raises(EngineError, match=r"Test GPU has no memory left .* fewer --buckets"):
        open_tensorrt(*plan)


@pytest.mark.parametrize(
    "call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"]
)
def test_what_cannot_be_recorded_runs_without_a_graph_and_says_so(world, plan, call, caplog):
    world.failing[call] = sys.modules["cuda.bindings.driver"].CUresult.CUDA_ERROR_UNKNOWN
    with caplog.at_level(logging.WARNING):
        engine = open_tensorrt(*plan)
    assert caplog.text.count("runs without a CUDA graph") == len(BUCKETS)
    np.testing.assert_array_equal(maps(engine, crops(7)), maps(REFERENCE, crops(7)))
    assert world.calls["cuGraphLaunch"] == 0


def test_a_recording_that_fails_halfway_leaves_the_stream_usable(world, plan, caplog):
    def while_recording():
        return any(stream.recording is not None for stream in world.streams) or None

    world.failing["execute_async_v3"] = while_recording
    engine = open_tensorrt(*plan)
    assert caplog.text.count("runs without a CUDA graph") == len(BUCKETS)
    assert world.calls["cuStreamEndCapture"] == len(BUCKETS)
    assert world.calls["graphs destroyed"] == len(BUCKETS)
    np.testing.assert_array_equal(maps(engine, crops(7)), maps(REFERENCE, crops(7)))


def test_tensorrt_speaks_through_logging(world, caplog):
    import tensorrt as trt

    logger = library.trt_logger()
    with caplog.at_level(logging.DEBUG, "flowtrack.tensorrt"):
        for severity in trt.ILogger.Severity:
            logger.log(severity, f"it says {severity.name}")
    levels = {record.args[0]: record.levelname for record in caplog.records}
    assert levels == {
        "it says INTERNAL_ERROR": "DEBUG",
        "it says ERROR": "DEBUG",
        "it says WARNING": "WARNING",
        "it says INFO": "INFO",
        "it says VERBOSE": "DEBUG",
    }
    error = library.failed("It broke", "Mend it.")
    assert str(error) == "It broke. TensorRT said: it says INTERNAL_ERROR; it says ERROR. Mend it."
    assert "said: nothing" in str(library.failed("It broke", "Mend it."))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensorrt": "10.9.0.34"}, "TensorRT: the plan has 10.9.0.34, this machine has 1"),
        ({"gpu": "RTX 4090"}, "GPU: the plan has RTX 4090, this machine has Test GPU"),
        ({"compute_capability": "8.9"}, "compute capability: the plan has 8.9, this .* 8.6"),
        ({"platform": "Windows AMD64"}, "platform: the plan has Windows AMD64"),
    ],
)
def test_a_plan_of_another_machine_is_never_loaded(world, plan, change, message):
    data, own = plan
    other = replace(own, machine=replace(own.machine, **change))
    with pytest.raises(EngineError, match=f"{message}.*flowtrack compile BUNDLE --rebuild"):
        open_tensorrt(data, other)
    assert world.calls["deserialize_cuda_engine"] == 0


def test_a_version_compatible_plan_may_bring_its_code(monkeypatch):
    graph = GRAPH
    with tensorrt_double(monkeypatch, "10.16.1.11"):
        data, own = plan_of(graph, PROFILES, ("data",), version_compatible=True)
        strict, rigid = plan_of(graph, PROFILES, ("data",))
    with tensorrt_double(monkeypatch, "11.4.0.106"):
        engine = open_tensorrt(data, own)
        np.testing.assert_array_equal(maps(engine, crops(2)), maps(REFERENCE, crops(2)))
        engine.close()
        with pytest.raises(EngineError, match="not for this machine"):
            open_tensorrt(strict, rigid)


def test_weights_that_stream_get_a_budget_and_no_graph(world):
    engine = open_tensorrt(*plan_of(GRAPH, PROFILES, ("data",), weight_streaming=True))
    np.testing.assert_array_equal(maps(engine, crops(3)), maps(REFERENCE, crops(3)))
    assert world.calls["cuGraphLaunch"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"profiles": ({"other": ((1, 3),) * 3},), "batched": ("other",)},
        {"profiles": ({"data": PROFILES[0]["data"], "x": ((1,),) * 3},)},
    ],
)
def test_a_record_of_another_network_is_refused(plan, wrong):
    data, own = plan
    with pytest.raises(EngineError, match=r"the plan takes \['data'\], the file beside it speaks"):
        open_tensorrt(data, replace(own, **wrong))


def test_there_is_no_such_gpu(plan):
    with pytest.raises(OptionError, match="GPU 2 was asked for, this machine has 2: 0 to 1"):
        open_tensorrt(*plan, gpu=2)


def test_a_type_that_numpy_lacks_is_refused(world):
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=16)]
    graph = assemble({"x": ("float32", (1,))}, nodes, {"y": ("bfloat16", (1,))})
    data, own = plan_of(graph, ({"x": ((1,),) * 3},), ())
    with pytest.raises(EngineError, match=f"tensor 'y' is {DataType.BF16}, which numpy lacks"):
        open_tensorrt(data, own)


def test_the_driver_is_asked_before_anything_is_loaded(monkeypatch, tmp_path):
    """Without a driver, TensorRT would crash the process; it is not even imported."""

    def never(name):
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr(library, "cuda_driver_version", lambda: None)
    monkeypatch.setattr(library.importlib, "import_module", never)
    assert "no CUDA driver with a device answers; install the NVIDIA driver" in tensorrt_missing()
    own = Fingerprint("0" * 64, MACHINE, "fp32", PROFILES, ("data",))
    with pytest.raises(DependencyError, match="TensorRT cannot be used here: no CUDA driver"):
        open_tensorrt(b"", own)


def test_what_is_missing_is_told_with_the_command_that_mends_it(monkeypatch):
    with tensorrt_double(monkeypatch):
        assert tensorrt_missing() is None
        with monkeypatch.context() as patch:
            for name in ("pycuda", "cuda.bindings"):
                patch.setitem(sys.modules, name, None)
            patch.setattr(library, "_installed", lambda name: sys.modules.get(name) is not None)
            message = tensorrt_missing()
            assert message.startswith("pycuda, cuda-bindings are not installed; pip install")
            assert "flowtrack[tensorrt]" in message
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "pycuda.driver", None)
            assert "pycuda.driver is installed and cannot be loaded" in tensorrt_missing()
        monkeypatch.setattr(sys.modules["tensorrt"], "__version__", "9.3.0.1")
        assert "TensorRT 9.3.0.1 is installed, expected 10 or 11; pip install" in tensorrt_missing()


def test_a_package_without_its_parent_is_not_installed():
    assert not library._installed("no_such_package.inside")
    assert library._installed("numpy.linalg")


def test_cuda_that_does_not_start_is_told(monkeypatch):
    world = World()
    with tensorrt_double(monkeypatch, world=world):
        own = Fingerprint("0" * 64, MACHINE, "fp32", PROFILES, ("data",))
        world.failing["init"] = sys.modules["pycuda.driver"].Error("no CUDA-capable device")
        with pytest.raises(
            EngineError, match="failed on GPU 0 while starting CUDA: no CUDA-capable"
        ):
            open_tensorrt(b"", own)
