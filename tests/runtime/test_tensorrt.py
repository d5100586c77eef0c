"""Running plans, over doubles of TensorRT and CUDA that compute and refuse wrong orders."""

import gc
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import EngineError, InputError
from flowtrack.runtime.batching import Part, split_batch
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.engines.tensorrt import open_tensorrt
from flowtrack.runtime.engines.tensorrt.contexts import MOST_FREE_SHAPES
from tests.support.graphs import assemble, helper
from tests.support.tensorrt_double import calls, tensorrt_double
from tests.support.tensorrt_plans import BUCKETS, GRAPH, PROFILES, crops, maps, plan_of


@pytest.fixture(params=["10.16.1.11", "11.4.0.106"])
def world(request, monkeypatch):
    with tensorrt_double(monkeypatch, request.param) as world:
        yield world
        gc.collect()
        assert world.stack == []  # every context that was pushed was popped


@pytest.fixture
def plan(world):
    return plan_of(GRAPH, PROFILES, ("data",))


REFERENCE = open_engine(GRAPH, "cpu", 1)


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "no graphs"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 11])
def test_every_batch_gives_what_the_graph_gives(plan, graphs, count):
    engine = open_tensorrt(*plan, graphs=graphs)
    np.testing.assert_array_equal(maps(engine, crops(count)), maps(REFERENCE, crops(count)))


def test_profiles_may_come_in_any_order(world):
    engine = open_tensorrt(*plan_of(GRAPH, PROFILES[::-1], ("data",)))
    for count in (1, 3, 7):
        np.testing.assert_array_equal(maps(engine, crops(count)), maps(REFERENCE, crops(count)))


def test_names_types_and_shapes_are_told(plan):
    engine = open_tensorrt(*plan)
    (data,), (found,) = engine.inputs, engine.outputs
    assert (data.name, data.dtype, data.shape) == ("data", np.float32, (None, 3, 16, 12))
    assert (found.name, found.shape) == ("maps", (None, 5, 4, 3))
    assert engine.fixed_batch is None
    assert "Test GPU (GPU 0)" in engine.device
    with pytest.raises(InputError, match="is float64, the graph takes float32"):
        maps(engine, np.zeros((1, 3, 16, 12)))


@given(st.integers(1, 100), st.sets(st.integers(1, 20), min_size=1))
def test_a_batch_is_split_into_buckets(count, buckets):
    parts = split_batch(count, tuple(buckets))
    rows = [row for part in parts for row in range(part.start, part.start + part.count)]
    assert rows == list(range(count))
    assert [part.bucket for part in parts[:-1]] == [max(buckets)] * (len(parts) - 1)
    for part in parts:
        assert part.bucket in buckets
        assert part.count <= part.bucket
        assert not [size for size in buckets if part.count <= size < part.bucket]


def test_split_batch_by_hand():
    assert split_batch(19, (1, 2, 4, 8, 16)) == [Part(0, 16, 16), Part(16, 3, 4)]
    assert split_batch(3, (4, 1)) == [Part(0, 3, 4)]


def test_contexts_and_graphs_are_made_once_and_then_only_launched(world, plan):
    calls(world)
    engine = open_tensorrt(*plan)
    opening = calls(world)
    assert opening["cuGraphInstantiate"] == len(BUCKETS)
    # Scratch memory once for all contexts; input and output once for all buckets.
    assert opening["mem_alloc"] == 1 + 2
    assert opening["pinned"] == 2
    for count in (1, 2, 3, 4, 9):
        maps(engine, crops(count))
    running = calls(world)
    runs = 1 + 1 + 1 + 1 + 3
    assert running["cuGraphLaunch"] == running["synchronize"] == runs
    assert running["push"] == 5
    for never in ("create_execution_context", "execute_async_v3", "mem_alloc", "pinned"):
        assert running[never] == 0


def test_only_the_rows_of_the_batch_travel_and_the_rest_is_zero(world, plan):
    engine = open_tensorrt(*plan)
    maps(engine, crops(4, seed=1))
    sent = []
    real = sys.modules["pycuda.driver"].memcpy_htod_async
    sys.modules["pycuda.driver"].memcpy_htod_async = lambda dest, src, stream: (
        sent.append((int(dest), src.nbytes)), real(dest, src, stream)
    )  # fmt: skip
    maps(engine, crops(3))
    row = 3 * 16 * 12 * 4
    ((address, nbytes),) = sent
    assert nbytes == 3 * row
    assert bytes(world.at(address + 3 * row, row, "the filling")) == bytes(row)


def test_results_belong_to_the_caller(plan):
    engine = open_tensorrt(*plan)
    first = maps(engine, crops(2))
    kept = first.copy()
    maps(engine, crops(2, seed=5))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # and may be written to


def test_inputs_may_lie_in_any_order_of_memory(plan):
    engine = open_tensorrt(*plan)
    turned = np.ascontiguousarray(crops(3).transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    assert not turned.flags.c_contiguous
    np.testing.assert_array_equal(maps(engine, turned), maps(REFERENCE, turned))


@pytest.mark.parametrize("count", [1, 3, 6])
def test_placed_inputs_are_read_where_they_lie(world, plan, count):
    one, other = open_tensorrt(*plan), open_tensorrt(*plan)
    placed = one.place(crops(count))
    assert (placed.shape, placed.dtype, placed.device) == ((count, 3, 16, 12), np.float32, "GPU 0")
    calls(world)
    for engine in (one, other):  # the copy is still under way when the first one is asked
        np.testing.assert_array_equal(maps(engine, placed), maps(REFERENCE, crops(count)))
    assert calls(world)["memcpy_htod_async"] == 0


def test_memory_of_placed_arrays_is_used_again(world, plan):
    engine = open_tensorrt(*plan)
    del engine
    engine = open_tensorrt(*plan)
    for seed in range(20):
        placed = engine.place(crops(2, seed))
        np.testing.assert_array_equal(maps(engine, placed), maps(REFERENCE, crops(2, seed)))
    del placed
    live = len(world.live)
    many = [engine.place(crops(2)) for _ in range(9)]
    most = len(world.live)
    assert most > live
    calls(world)
    del many
    gc.collect()
    assert len(world.live) <= live + 4
    assert calls(world)["pinned freed"] == most - len(world.live)
    engine.place(crops(2))
    assert calls(world)["mem_alloc"] == 0
    for count in range(1, 30):  # other sizes take the place of those that are not used any more
        engine.place(crops(count))
    assert len(world.live) <= live + 4


def test_an_array_of_another_gpu_is_refused(plan, world):
    here = open_tensorrt(*plan)
    there = open_tensorrt(*plan_of(GRAPH, PROFILES, ("data",), gpu=1), gpu=1)
    with pytest.raises(InputError, match="lies on GPU 1, this network runs on GPU 0; place it"):
        maps(here, there.place(crops(1)))
    for engine in (here, there):
        np.testing.assert_array_equal(maps(engine, crops(3)), maps(REFERENCE, crops(3)))
    assert {stream.gpu for stream in world.streams} == {0, 1}


def test_each_engine_has_a_stream_of_its_own_that_does_not_wait_for_others(plan, world):
    open_tensorrt(*plan)
    streams = len(world.streams)
    engines = [open_tensorrt(*plan) for _ in range(3)]
    assert len(world.streams) == streams + len(engines)
    assert {stream.flags for stream in world.streams} == {1}


def test_threads_share_engines(plan):
    engines = [open_tensorrt(*plan) for _ in range(2)]
    wrong = []

    def work(seed):
        batch = crops(1 + seed, seed)
        expected = maps(REFERENCE, batch)
        for turn in range(15):
            if (maps(engines[(seed + turn) % 2], batch) != expected).any():
                wrong.append(seed)
            if (maps(engines[seed % 2], engines[turn % 2].place(batch)) != expected).any():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_closing_gives_everything_back(world, plan):
    first = open_tensorrt(*plan)
    first.place(crops(1))
    before = set(world.live)
    calls(world)
    engine = open_tensorrt(*plan)
    maps(engine, crops(3))
    engine.close()
    engine.close()
    found = calls(world)
    assert set(world.live) == before
    assert found["pinned freed"] == found["pinned"]
    assert found["graphs destroyed"] == 2 * found["cuGraphInstantiate"]
    with pytest.raises(EngineError, match="was closed; open the bundle again"):
        maps(engine, crops(1))
    np.testing.assert_array_equal(maps(first, crops(1)), maps(REFERENCE, crops(1)))


def test_an_engine_that_nobody_holds_frees_its_memory(world, plan):
    first = open_tensorrt(*plan)
    before = set(world.live)
    engine = open_tensorrt(*plan)
    assert set(world.live) > before
    del engine
    gc.collect()
    assert set(world.live) == before
    del first


def framed():
    """A network of frame-in form: rows of matrices moved by the mean of a frame of any size."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["bright"], to=1),
        helper.make_node("ReduceMean", ["bright"], ["mean"], axes=[0, 1, 2], keepdims=0),
        helper.make_node("Add", ["affine", "mean"], ["moved"]),
    ]
    inputs = {"frame": ("uint8", ("H", "W", 3)), "affine": ("float32", ("N", 2, 3))}
    return assemble(inputs, nodes, {"moved": ("float32", ("N", 2, 3))})


SPAN = ((8, 8, 3), (32, 48, 3), (64, 64, 3))


def test_frames_of_any_size_go_with_batches_of_any_size(world):
    profiles = tuple({"frame": SPAN, "affine": ((n, 2, 3),) * 3} for n in (1, 2))
    engine = open_tensorrt(*plan_of(framed(), profiles, ("affine",)))
    graph = open_engine(framed(), "cpu", 1)
    random = np.random.default_rng(3)
    for height, width, count in ((32, 48, 1), (8, 64, 2), (64, 8, 3), (9, 9, 5), (32, 48, 2)):
        frame = random.integers(0, 256, (height, width, 3), np.uint8)
        affine = random.normal(0, 1, (count, 2, 3)).astype(np.float32)
        expected = graph.infer({"frame": frame, "affine": affine})["moved"]
        for fed in (frame, engine.place(frame)):
            found = engine.infer({"frame": fed, "affine": affine})["moved"]
            np.testing.assert_array_equal(found, expected)
    frame, affine = np.zeros((65, 20, 3), np.uint8), np.zeros((1, 2, 3), np.float32)
    message = r"'frame': \(65, 20, 3\).*the plan takes .*\(64, 64, 3\).*--frame-size"
    with pytest.raises(EngineError, match=message):
        engine.infer({"frame": frame, "affine": affine})
    with pytest.raises(InputError, match="expected as many of each, at least one"):
        engine.infer({"frame": frame, "affine": affine[:0]})


def test_contexts_of_sizes_long_gone_are_dropped(world):
    profiles = ({"frame": SPAN, "affine": ((1, 2, 3),) * 3},)
    engine = open_tensorrt(*plan_of(framed(), profiles, ("affine",)))
    graph = open_engine(framed(), "cpu", 1)
    affine = np.ones((1, 2, 3), np.float32)
    kept = MOST_FREE_SHAPES + 1
    for side in [*range(8, 40), *range(8, 40)]:
        feeds = {"frame": np.full((side, 8, 3), side, np.uint8), "affine": affine}
        found = engine.infer(feeds)["moved"]
        np.testing.assert_array_equal(found, graph.infer(feeds)["moved"])
    made, dropped = world.calls["cuGraphInstantiate"], world.calls["graphs destroyed"]
    assert made - (dropped - made) == kept
    calls(world)
    engine.infer(feeds)
    assert world.calls["cuGraphInstantiate"] == 0


def test_a_network_without_a_batch_runs_as_it_is(world):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    graph = assemble({"x": ("float16", (2, 3))}, nodes, {"y": ("float16", (2, 3))})
    engine = open_tensorrt(*plan_of(graph, ({"x": ((2, 3),) * 3},), ()))
    fed = np.arange(6, dtype=np.float16).reshape(2, 3)
    np.testing.assert_array_equal(engine.infer({"x": fed})["y"], fed)


def test_a_batch_is_neither_split_nor_filled_up_where_outputs_have_no_rows(world):
    nodes = [helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)]
    graph = assemble({"x": ("float32", ("N", 3))}, nodes, {"total": ("float32", ())})
    whole = assemble(
        {"x": ("float32", ("N", 3))},
        [helper.make_node("ReduceMax", ["x"], ["most"], axes=[0], keepdims=1)],
        {"most": ("float32", (1, 3))},
    )
    profiles = tuple({"x": ((size, 3),) * 3} for size in (2, 4))
    engine = open_tensorrt(*plan_of(whole, profiles, ("x",)))
    fed = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(engine.infer({"x": fed})["most"], fed[1:])
    for count in (1, 3, 8):
        with pytest.raises(InputError, match=r"output 'most' .* only batches of \[2, 4\] can be"):
            engine.infer({"x": np.zeros((count, 3), np.float32)})
    scalar = open_tensorrt(*plan_of(graph, profiles, ("x",)))
    assert scalar.infer({"x": fed})["total"] == 15
