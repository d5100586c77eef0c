"""ONNX Runtime on GPUs, against a double that computes on the CPU and refuses what a GPU would."""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import EngineError, InputError, OptionError
from flowtrack.runtime.engines import onnxruntime_cuda as cuda
from flowtrack.runtime.engines import onnxruntime_session as sessions
from flowtrack.runtime.engines import onnxruntime_tensorrt as tensorrt
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.engines.base import DeviceArray, TensorSpec
from flowtrack.runtime.engines.cuda_recording import Recording
from flowtrack.runtime.engines.driver import GpuInfo
from flowtrack.runtime.engines.onnxruntime import open_onnxruntime
from tests.support.graphs import assemble, helper, pooled_heatmaps
from tests.support.onnxruntime_double import Gpu, double

TWO = tuple(GpuInfo(index, f"Card {index}", "9.0", 80 << 30) for index in range(2))


@pytest.fixture
def gpu(request, monkeypatch, tmp_path):
    """Of ONNX Runtime 1.32, or of the version that is a parameter."""
    made = Gpu()
    module = double(made, getattr(request, "param", "1.32.0"))
    for place in (sessions, cuda, tensorrt):
        monkeypatch.setattr(place, "import_onnxruntime", lambda: module)
    monkeypatch.setattr(cuda, "gpus", lambda: TWO)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return made


@pytest.fixture(scope="module")
def doubling():
    """x (N, 3) -> twice (N, 3)."""
    nodes = [helper.make_node("Add", ["x", "x"], ["twice"])]
    return assemble({"x": ("float32", ("N", 3))}, nodes, {"twice": ("float32", ("N", 3))})


@pytest.fixture(scope="module")
def frames():
    """A frame of free size and rows -> every row plus the frame's sum."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["values"], to=1),
        helper.make_node("ReduceSum", ["values"], ["sum"], keepdims=0),
        helper.make_node("Add", ["affine", "sum"], ["moved"]),
    ]
    inputs = {"frame": ("uint8", ("H", "W", 3)), "affine": ("float32", ("N", 2, 3))}
    return assemble(inputs, nodes, {"moved": ("float32", ("N", 2, 3))})


def rows(count, start=0):
    return np.arange(start, start + 3 * count, dtype=np.float32).reshape(count, 3)


def test_shapes_are_recorded_the_second_time_and_replayed_from_then_on(gpu, doubling):
    engine = open_onnxruntime(doubling, "cuda", gpu=1)
    for start in range(4):
        found = engine.infer({"x": rows(2, start)})["twice"]
        np.testing.assert_array_equal(found, 2 * rows(2, start))
    assert gpu.runs == [(-1, "plain"), (1, "record"), (1, "replay"), (1, "replay")]
    assert engine.device == "ONNX Runtime 1.32.0, CUDAExecutionProvider, GPU 1"
    assert gpu.sessions[0]["CUDAExecutionProvider"] == {
        "device_id": "1",
        "enable_cuda_graph": "1",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "1",
    }


@pytest.mark.parametrize(
    ("count", "buckets"),
    [(1, [1]), (3, [4]), (5, [8]), (16, [16]), (17, [16, 1]), (37, [16, 16, 8])],
)
def test_batches_are_filled_up_and_split(gpu, doubling, count, buckets):
    engine = open_onnxruntime(doubling, "cuda")
    found = engine.infer({"x": rows(count)})["twice"]
    np.testing.assert_array_equal(found, 2 * rows(count))
    assert [key[0][0] for key in engine._shapes] == list(dict.fromkeys(buckets))
    assert len(gpu.runs) == len(buckets)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=8), graphs=st.booleans())
def test_any_order_of_batches_gives_what_the_cpu_gives(counts, graphs):
    model = pooled_heatmaps(2, 8, 8, 4)
    reference = open_engine(model, "cpu", 1)
    with pytest.MonkeyPatch.context() as patch:
        module = double(Gpu())
        for place in (sessions, cuda):
            patch.setattr(place, "import_onnxruntime", lambda: module)
        patch.setattr(cuda, "gpus", lambda: TWO)
        engine = open_onnxruntime(model, "cuda", graphs=graphs)
        kept = []
        for seed, count in enumerate(counts):
            fed = np.random.default_rng(seed).random((count, 3, 8, 8), np.float32)
            kept.append((fed, engine.infer({"data": fed})["maps"]))
    for fed, found in kept:  # results are nobody else's memory
        np.testing.assert_allclose(found, reference.infer({"data": fed})["maps"], rtol=1e-6)


@pytest.mark.parametrize("gpu", ["1.20.1", "1.25.0", "1.26.0", "1.32.0"], indirect=True)
@pytest.mark.parametrize("graphs", [True, False])
def test_a_frame_is_no_batch_and_is_read_where_it_lies(gpu, frames, graphs):
    one, other = (open_onnxruntime(frames, "cuda", graphs=graphs) for _ in range(2))
    frame = np.full((5, 4, 3), 2, np.uint8)
    affine = np.zeros((3, 2, 3), np.float32)
    later = np.arange(frame.size, dtype=np.uint8).reshape(frame.shape)[::-1, ::-1]
    placed = other.place(later)
    assert isinstance(placed, DeviceArray)
    assert (placed.shape, placed.dtype) == (frame.shape, frame.dtype)
    for _ in range(3):
        for fed, seen in ((frame, frame), (placed, later)):
            moved = one.infer({"frame": fed, "affine": affine})["moved"]
            np.testing.assert_array_equal(moved, np.full((3, 2, 3), seen.sum()))
    assert list(one._shapes) == [((5, 4, 3), (4, 2, 3))]
    turned = {"frame": np.zeros_like(frame), "affine": affine}
    assert not one.infer(turned)["moved"].any()


def test_rows_that_lie_on_the_gpu_run_as_they_are(gpu, doubling):
    engine = open_onnxruntime(doubling, "cuda")
    found = engine.infer({"x": engine.place(rows(3))})["twice"]
    np.testing.assert_array_equal(found, 2 * rows(3))


@pytest.mark.parametrize("where", ["another GPU", "another backend"])
def test_what_lies_elsewhere_is_refused(gpu, frames, where):
    engine = open_onnxruntime(frames, "cuda")
    frame = np.zeros((2, 2, 3), np.uint8)
    placed = open_onnxruntime(frames, "cuda", gpu=1).place(frame)
    if where == "another backend":
        placed = DeviceArray(placed.dtype, placed.shape, "GPU 0", object())
    with pytest.raises(InputError, match=r"'frame' lies on GPU .*place it with an engine of"):
        engine.infer({"frame": placed, "affine": np.zeros((1, 2, 3), np.float32)})


def test_batches_of_nobody_or_of_different_sizes_are_refused(gpu, doubling):
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"])]
    specs = {"a": ("float32", ("N", 3)), "b": ("float32", ("N", 3))}
    engine = open_onnxruntime(assemble(specs, nodes, {"sum": ("float32", ("N", 3))}), "cuda")
    with pytest.raises(InputError, match=r"batches of .*'a': 2, 'b': 3.*as many of each"):
        engine.infer({"a": rows(2), "b": rows(3)})
    with pytest.raises(InputError, match="at least one"):
        open_onnxruntime(doubling, "cuda").infer({"x": rows(0)})
    assert not gpu.runs


def test_without_graphs_every_run_is_plain(gpu, doubling):
    engine = open_onnxruntime(doubling, "cuda", graphs=False)
    for _ in range(3):
        engine.infer({"x": rows(2)})
    assert gpu.runs == [(-1, "plain")] * 3
    assert gpu.sessions[0]["CUDAExecutionProvider"]["enable_cuda_graph"] == "0"


def test_a_network_that_cannot_be_recorded_runs_without(gpu, doubling, caplog):
    gpu.refuse_graphs = True
    with caplog.at_level(logging.WARNING, "flowtrack.onnxruntime"):
        engine = open_onnxruntime(doubling, "cuda")
    assert "without CUDA graphs" in caplog.text
    assert "graph capture feature" in caplog.text
    for _ in range(3):
        np.testing.assert_array_equal(engine.infer({"x": rows(2)})["twice"], 2 * rows(2))
    assert gpu.runs == [(-1, "plain")] * 3


def test_a_spoilt_recording_opens_a_session_without_graphs(gpu, doubling, caplog):
    engine = open_onnxruntime(doubling, "cuda")
    engine.infer({"x": rows(2)})
    gpu.spoil_recording = True
    for start in range(3):
        found = engine.infer({"x": rows(2, start)})["twice"]
        np.testing.assert_array_equal(found, 2 * rows(2, start))
    assert [what for _, what in gpu.runs] == ["plain", "record", "plain", "plain", "plain"]
    assert [each["CUDAExecutionProvider"]["enable_cuda_graph"] for each in gpu.sessions] == [
        "1", "0",
    ]  # fmt: skip
    assert caplog.text.count("without CUDA graphs") == 1


def test_an_output_whose_size_depends_on_the_data_runs_without_graphs(gpu):
    """The second run finds other rows than the first, which no recording could hold."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
    ]
    model = assemble({"x": ("float32", (4,))}, nodes, {"places": ("int64", (1, "found"))})
    engine = open_onnxruntime(model, "cuda")
    for values in ([1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0]):
        found = engine.infer({"x": np.array(values, np.float32)})["places"]
        np.testing.assert_array_equal(found[0], np.flatnonzero(values))


def test_a_failing_run_is_an_engine_error(gpu, doubling):
    engine = open_onnxruntime(doubling, "cuda")
    gpu.fail = True
    with pytest.raises(EngineError, match=r"failed on ONNX Runtime .* GPU 0: CUDA failure 2: out"):
        engine.infer({"x": rows(1)})
    gpu.fail = False
    np.testing.assert_array_equal(engine.infer({"x": rows(1)})["twice"], 2 * rows(1))


def test_memory_is_bounded_in_shapes_and_graphs(gpu, frames, monkeypatch):
    monkeypatch.setattr(cuda, "MOST_GRAPHS", 2)
    monkeypatch.setattr(cuda, "MOST_SHAPES", 3)
    engine = open_onnxruntime(frames, "cuda")
    affine = np.zeros((1, 2, 3), np.float32)

    def run(side):
        frame = np.ones((side, 1, 3), np.uint8)
        moved = engine.infer({"frame": frame, "affine": affine})["moved"]
        np.testing.assert_array_equal(moved, np.full((1, 2, 3), 3 * side))

    for side in (1, 1, 2, 2, 3, 3, 3, 4, 5, 6, 7):
        run(side)
    graphs = {key[0][0]: bound.graph for key, bound in engine._shapes.items()}
    assert graphs == {1: 1, 2: 2, 5: -1, 6: -1, 7: -1}
    gpu.runs.clear()
    for side in (1, 2, 3):
        run(side)
    assert gpu.runs == [(1, "replay"), (2, "replay"), (-1, "plain")]


def test_the_provider_that_does_not_start_is_an_error(gpu, doubling):
    gpu.starts = frozenset({"CPUExecutionProvider"})
    with pytest.raises(EngineError, match=r"could not start CUDAExecutionProvider .* fell back"):
        open_onnxruntime(doubling, "cuda")
    gpu.starts = frozenset({"CPUExecutionProvider", "CUDAExecutionProvider"})
    with pytest.raises(EngineError, match=r"could not start TensorrtExecutionProvider .* fell"):
        open_onnxruntime(doubling, "ort-tensorrt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda", "gpu": 2}, "GPU 2 was asked for, this machine has 0: Card 0, 1: Card"),
        ({"device": "cpu", "gpu": 1}, "GPU 1 was asked for on device 'cpu'; take device cuda:1"),
        ({"device": "cpu", "graphs": True}, "CUDA graphs were asked for on device 'cpu'"),
        ({"device": "ort-tensorrt", "graphs": True}, "CUDA graphs were asked for on device 'ort"),
    ],
)
def test_options_that_cannot_be_met_are_refused(gpu, doubling, options, message):
    with pytest.raises(OptionError, match=message):
        open_onnxruntime(doubling, **options)
    assert not gpu.sessions


def test_threads_share_an_engine_and_wait_for_recordings(gpu, doubling):
    engines = [open_onnxruntime(doubling, "cuda") for _ in range(2)]
    gpu.during_recording = lambda: time.sleep(0.002)  # time for others to spoil it
    wrong = []

    def work(number):
        for turn in range(30):
            value = rows(1 + (number + turn) % 5, number)
            if not np.array_equal(engines[number % 2].infer({"x": value})["twice"], 2 * value):
                wrong.append(number)
            engines[0].place(value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert "record" in {what for _, what in gpu.runs}
    assert all(engine._graphs for engine in engines)


def test_threads_replay_what_one_of_them_recorded(gpu, doubling):
    engine = open_onnxruntime(doubling, "cuda")

    def work():
        np.testing.assert_array_equal(engine.infer({"x": rows(2)})["twice"], 2 * rows(2))

    for _ in range(4):  # one after the other, each new
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert gpu.runs == [(-1, "plain"), (1, "record"), (1, "replay"), (1, "replay")]


def test_nobody_else_uses_the_gpu_while_a_graph_is_recorded():
    gate, order = Recording(), []
    inside, go_on = threading.Event(), threading.Event()

    def run():
        with gate.shared():
            order.append("run begins")
            inside.set()
            go_on.wait(5)
            order.append("run ends")

    def record():
        with gate.alone():
            order.append("recorded")

    first = threading.Thread(target=run)
    first.start()
    assert inside.wait(5)
    with gate.shared():
        pass  # runs overlap
    second = threading.Thread(target=record)
    second.start()
    go_on.set()
    first.join(5)
    second.join(5)
    with gate.alone():
        order.append("again")
    assert order == ["run begins", "run ends", "recorded", "again"]


def test_what_preloading_prints_stays_off_the_terminal(gpu, doubling, capsys):
    cuda._load_libraries.cache_clear()
    open_onnxruntime(doubling, "cuda")
    assert capsys.readouterr().out == ""
    cuda._load_libraries.cache_clear()


def test_half_precision_goes_in_and_out(gpu):
    nodes = [helper.make_node("Add", ["x", "x"], ["twice"])]
    specs = {"x": ("float16", ("N", 3))}, {"twice": ("float16", ("N", 3))}
    engine = open_onnxruntime(assemble(specs[0], nodes, specs[1]), "cuda")
    for _ in range(3):
        found = engine.infer({"x": rows(3).astype(np.float16)})["twice"]
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, 2 * rows(3))


def test_tensorrt_keeps_engines_and_timings(gpu, doubling, tmp_path):
    engine = open_onnxruntime(doubling, "ort-tensorrt", gpu=1)
    np.testing.assert_array_equal(engine.infer({"x": rows(3)})["twice"], 2 * rows(3))
    given = gpu.sessions[-1]
    assert list(given) == [
        "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider",
    ]  # fmt: skip
    settings = given["TensorrtExecutionProvider"]
    assert settings["device_id"] == given["CUDAExecutionProvider"]["device_id"] == "1"
    assert given["CUDAExecutionProvider"]["enable_cuda_graph"] == "0"
    assert settings["trt_profile_min_shapes"] == "x:1x3"
    assert settings["trt_profile_opt_shapes"] == "x:4x3"
    assert settings["trt_profile_max_shapes"] == "x:16x3"
    for kind in ("engine", "timing"):
        assert settings[f"trt_{kind}_cache_enable"] == "1"
        assert settings[f"trt_{kind}_cache_path"].startswith(str(tmp_path))
    other = tensorrt.tensorrt_settings(pooled_heatmaps(2, 8, 8, 4), 0, (1, 2))
    assert other["trt_engine_cache_path"] != settings["trt_engine_cache_path"]
    assert other["trt_timing_cache_path"] == settings["trt_timing_cache_path"]
    assert not [name for name in settings if "fp16" in name or "int8" in name]


def test_tensorrt_without_a_cache_folder_says_so(gpu, doubling, monkeypatch, caplog):
    monkeypatch.setattr(tensorrt, "compiled_cache", lambda *_: None)
    assert "trt_engine_cache_enable" not in tensorrt.tensorrt_settings(doubling, 0, (1,))
    assert "set XDG_CACHE_HOME" in caplog.text


def test_tensorrt_reads_no_graph_that_is_not_there(gpu, tmp_path):
    with pytest.raises(EngineError, match=r"none\.onnx cannot be read"):
        open_onnxruntime(tmp_path / "none.onnx", "ort-tensorrt")


FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.uint8)


@pytest.mark.parametrize(
    ("specs", "least", "most"),
    [
        ([TensorSpec("x", FLOAT, (1, 3, 8, 8))], None, None),
        ([TensorSpec("x", FLOAT, ("N", 3, 8, 8))], "x:1x3x8x8", "x:16x3x8x8"),
        ([TensorSpec("x", BYTE, (1, "H", "W", 3))], "x:1x64x64x3", "x:1x2160x3840x3"),
        ([TensorSpec("x", FLOAT, (1, 3, None, None))], "x:1x3x64x64", "x:1x3x2160x3840"),
        (
            [TensorSpec("f", BYTE, ("H", "W", 3)), TensorSpec("a", FLOAT, ("N", 2, 3))],
            "f:64x64x3,a:1x2x3",
            "f:2160x3840x3,a:16x2x3",
        ),
        ([TensorSpec("x", FLOAT, ("N", "C", 8, 8))], None, None),
    ],
)
def test_profiles_span_what_is_free(specs, least, most):
    made = tensorrt.profile_settings(specs, (1, 2, 4, 8, 16))
    assert made.get("trt_profile_min_shapes") == least
    assert made.get("trt_profile_max_shapes") == most
    assert len(made) in (0, 3)
