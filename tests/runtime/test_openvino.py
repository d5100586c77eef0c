"""OpenVINO gives what ONNX Runtime gives, from any thread, whatever lies in its cache."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from flowtrack.errors import DependencyError, EngineError, InputError
from flowtrack.runtime import open_pipeline
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.engines import openvino as backend
from flowtrack.runtime.engines.openvino import open_openvino, openvino_installed
from flowtrack.structs import Frame
from flowtrack.synthetic import ClipOptions, render_clip
from tests.support.graphs import assemble, constant, helper

pytestmark = pytest.mark.skipif(
    not openvino_installed(), reason="openvino is not installed: pip install 'flowtrack[openvino]'"
)

RNG = np.random.default_rng


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flowtrack" / "openvino"


def sums() -> bytes:
    """Of (N, 3) uint8 `a` and float32 `b`: sum and difference."""
    nodes = [
        helper.make_node("Cast", ["a"], ["a_float"], to=1),
        helper.make_node("Add", ["a_float", "b"], ["sum"]),
        helper.make_node("Sub", ["a_float", "b"], ["difference"]),
    ]
    shape = ("N", 3)
    return assemble(
        {"a": ("uint8", shape), "b": ("float32", shape)},
        nodes,
        {"sum": ("float32", shape), "difference": ("float32", shape)},
    )


def feeds(count: int, value: int = 5):
    return {"a": np.full((count, 3), value, np.uint8), "b": np.full((count, 3), 2, np.float32)}


def test_names_types_and_shapes_are_those_of_the_graph():
    engine, like = open_openvino(sums(), threads=1), open_engine(sums(), "cpu", 1)
    for ours, theirs in ((engine.inputs, like.inputs), (engine.outputs, like.outputs)):
        assert [(t.name, t.dtype) for t in ours] == [(t.name, t.dtype) for t in theirs]
        assert [t.shape for t in ours] == [(None, 3)] * 2
    assert engine.fixed_batch is None
    assert engine.device.startswith("OpenVINO")


@pytest.mark.parametrize("count", [1, 4, 2])
def test_outputs_come_by_name_for_any_batch(count):
    outputs = open_openvino(sums(), threads=1).infer(feeds(count))
    np.testing.assert_array_equal(outputs["sum"], np.full((count, 3), 7))
    np.testing.assert_array_equal(outputs["difference"], np.full((count, 3), 3))


def test_outputs_are_the_callers_own_and_inputs_may_lie_in_pieces():
    engine = open_openvino(sums(), threads=1)
    first = engine.infer(feeds(2, 5))["sum"]
    pieces = {name: np.repeat(array, 2, axis=1)[:, ::2] for name, array in feeds(2, 9).items()}
    np.testing.assert_array_equal(engine.infer(pieces)["sum"], np.full((2, 3), 11))
    np.testing.assert_array_equal(first, np.full((2, 3), 7))


def test_wrong_inputs_are_refused_before_the_backend():
    engine = open_openvino(sums(), threads=1)
    with pytest.raises(InputError, match="has shape"):
        engine.infer({**feeds(1), "b": np.zeros((1, 4), np.float32)})


@pytest.mark.parametrize("part", ["detector", "pose", "flow"])
def test_networks_give_what_onnx_runtime_gives(part):
    """fp32 on both sides: sums are taken in another order, and that is all."""
    data = open_bundle(default_bundle_path()).read(part)
    ours, theirs = open_openvino(data, threads=1), open_engine(data, "cpu", 1)
    # Noise would decide between cells that are equal but for rounding.
    side = max(max(tensor.shape[1:3]) for tensor in theirs.inputs)
    image = next(iter(render_clip(ClipOptions(width=side, height=side, frames=1)))).image
    inputs = {}
    for shift, tensor in enumerate(theirs.inputs):
        height, width = tensor.shape[1:3]
        picture = np.roll(image, 3 * shift, axis=1)[:height, :width]
        inputs[tensor.name] = np.repeat(picture[None], 2 if part == "pose" else 1, axis=0)
    expected, found = theirs.infer(inputs), ours.infer(inputs)
    assert expected.keys() == found.keys()
    if part == "detector":
        # Of two cells that are equal but for rounding either may be a maximum, or the first.
        rows, others = (np.dstack([o["boxes"], o["scores"]])[0] for o in (expected, found))
        nearest = [np.abs(others - row).max(axis=1).min() for row in rows]
        assert np.mean(np.array(nearest) < 5e-3) > 0.98
        return
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=2e-3, rtol=1e-4)


def test_a_pipeline_tracks_as_on_onnx_runtime():
    frames = [Frame(f.index, f.time_s, f.image) for f in render_clip(ClipOptions(frames=6))]
    results = {}
    for device in ("cpu", "openvino"):
        pipeline = open_pipeline(default_bundle_path(), device=device, threads=1)
        results[device] = [tracked for _, tracked in pipeline.run(frames)]
        assert ("OpenVINO" in pipeline.device) is (device == "openvino")
    for cpu, other in zip(results["cpu"], results["openvino"], strict=True):
        np.testing.assert_array_equal(cpu.tracks.id, other.tracks.id)
        # Of two cells of a heatmap that are equal but for rounding, either may win.
        same = np.isclose(cpu.poses.xy, other.poses.xy, atol=0.02, equal_nan=True)
        assert same.mean() > 0.97


def test_threads_do_not_disturb_each_other():
    engine = open_openvino(sums(), threads=1)
    wrong = []

    def work(value: int) -> None:
        for count in (1, 3, 2) * 10:
            got = engine.infer(feeds(count, value))["sum"]
            if not (got.shape == (count, 3) and (got == value + 2).all()):
                wrong.append((value, got))

    workers = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_the_compiled_form_is_kept_by_content(cache):
    open_openvino(sums(), threads=1)
    (folder,) = cache.iterdir()
    (blob,) = folder.iterdir()
    blob.write_bytes(blob.read_bytes()[:40])  # what a full disk leaves behind
    for _ in range(2):
        outputs = open_openvino(sums(), threads=1).infer(feeds(1))
        np.testing.assert_array_equal(outputs["sum"], np.full((1, 3), 7))
    open_openvino(constant({"x": ("uint8", (1,))}, {"y": np.ones(2, np.float32)}), threads=1)
    assert len(list(cache.iterdir())) == 2


def test_nothing_is_kept_where_nothing_should_or_can_be(cache, tmp_path, monkeypatch):
    open_openvino(sums(), threads=1, cached=False)
    assert not cache.exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    outputs = open_openvino(sums(), threads=1).infer(feeds(1))
    np.testing.assert_array_equal(outputs["sum"], np.full((1, 3), 7))


def test_broken_graphs_are_named(tmp_path):
    with pytest.raises(EngineError, match="cannot load graph"):
        open_openvino(b"junk")
    path = tmp_path / "junk.onnx"
    with pytest.raises(EngineError, match=r"junk\.onnx cannot be read"):
        open_openvino(path)
    path.write_bytes(b"junk")
    with pytest.raises(EngineError, match=r"cannot load .*junk\.onnx"):
        open_openvino(path)


def test_a_missing_package_is_said_with_its_remedy(monkeypatch):
    monkeypatch.setattr(backend, "openvino_installed", lambda: False)
    with pytest.raises(DependencyError, match=r"pip install 'flowtrack\[openvino\]'"):
        open_engine(sums(), "openvino")


def test_bfloat16_needs_a_cpu_that_has_it(monkeypatch):
    class Core:
        @staticmethod
        def get_property(device, name):
            return ["FP32", "INT8"] if name == "OPTIMIZATION_CAPABILITIES" else []

    monkeypatch.setattr(backend, "_core", Core)
    with pytest.raises(EngineError, match=r"no bfloat16.*take device openvino"):
        open_engine(sums(), "openvino-bf16")


def test_bfloat16_is_taken_only_when_asked_for():
    """A product of 1 + 2^-7 with itself is what bfloat16, with 8 bits, cannot hold."""
    weights = np.full((64, 64), 1 + 2**-7, np.float32)
    data = assemble(
        {"x": ("float32", ("N", 64))},
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"y": ("float32", ("N", 64))},
        {"w": weights},
    )
    x = {"x": np.full((4, 64), 1 + 2**-12, np.float32)}
    exact = 64 * (1 + 2**-7) * (1 + 2**-12)
    np.testing.assert_allclose(open_openvino(data, "f32", 1).infer(x)["y"], exact, rtol=1e-6)
    core = backend.import_openvino().Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16")
    rough = open_openvino(data, "bf16", 1).infer(x)["y"]
    np.testing.assert_allclose(rough, exact, rtol=1e-2)
    assert np.abs(rough / exact - 1).max() > 1e-5


def test_a_signal_after_the_engines_are_gone_is_an_interrupt():
    """Plugins that are unloaded while their threads run would crash the process."""
    program = """
import gc, signal
from flowtrack.runtime import open_pipeline
from flowtrack.runtime.default import default_bundle_path
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for jobs behind "&"
pipeline = open_pipeline(default_bundle_path(), device="openvino", threads=1)
del pipeline
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
