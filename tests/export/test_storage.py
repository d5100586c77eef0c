"""Weights stored as float16: half the bytes, float32 arithmetic, nothing lost unseen."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="export needs torch")

from flowtrack.cli.export import _stored
from flowtrack.errors import ExportError
from flowtrack.export import ExportedNetwork, export_detector, export_flow, export_pose, storage
from flowtrack.export.storage import store_half
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import InputSpec
from flowtrack.runtime.sidecar import read_sidecar
from flowtrack.skeleton import COCO_17
from tests.cli.test_commands import invoke
from tests.export import networks


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return {
        "pose": export_pose(networks.pose(), folder / "pose.onnx", skeleton=COCO_17,
                            height=96, width=64).path,
        "detector": export_detector(networks.detector(), folder / "detector.onnx",
                                    height=96, width=128).path,
        "flow": export_flow(networks.flow(), folder / "flow.onnx", opset=20).path,
    }  # fmt: skip


KINDS = ("pose", "detector", "flow")


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_about_half_as_large_and_gives_nearly_the_same(exported, kind, tmp_path):
    stored = store_half(exported[kind], tmp_path / "half.onnx")
    assert 0.45 < stored.path.stat().st_size / exported[kind].stat().st_size < 0.7
    assert stored.sha256 == hashlib.sha256(stored.path.read_bytes()).hexdigest()
    assert stored.record["median_px"] < 0.02
    assert stored.record["median_px"] <= stored.record["p99_px"] <= stored.record["max_px"]
    # The weights were rounded: it shows, if not in joints, which lie on quarters of a cell.
    assert stored.record["max_px" if kind == "flow" else "max_score_difference"] > 0
    assert stored.record["bytes"] == stored.path.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["half.onnx"]


@pytest.mark.parametrize("kind", KINDS)
def test_everything_but_the_large_constants_stays(exported, kind, tmp_path):
    stored = store_half(exported[kind], tmp_path / "half.onnx")
    before, after = onnx.load(exported[kind]), onnx.load(stored.path)
    count = stored.record["stored"]
    assert list(after.graph.node)[count:] == list(before.graph.node)
    assert {node.op_type for node in list(after.graph.node)[:count]} == {"Cast"}
    assert after.opset_import == before.opset_import
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    halved = {c.name.removesuffix(".half"): c for c in after.graph.initializer}
    for constant in before.graph.initializer:
        values, other = (
            numpy_helper.to_array(constant),
            numpy_helper.to_array(halved[constant.name]),
        )
        large = values.dtype == np.float32 and values.size >= storage.SMALLEST
        assert other.dtype == (np.float16 if large else values.dtype)
        np.testing.assert_array_equal(values.astype(other.dtype), other)
    props = {entry.key: entry.value for entry in after.metadata_props}
    assert props["flowtrack.weights"] == "fp16"
    assert {e.key for e in before.metadata_props} < set(props)


def test_the_arithmetic_is_that_of_rounded_float32_weights(exported, tmp_path):
    """The stored graph equals, bit for bit, a float32 graph whose weights are the rounded ones."""
    stored = store_half(exported["flow"], tmp_path / "half.onnx")
    model = onnx.load(exported["flow"])
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.size >= storage.SMALLEST:
            rounded = values.astype(np.float16).astype(np.float32)
            constant.CopyFrom(numpy_helper.from_array(rounded, constant.name))
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.integers(0, 256, (1, 64, 64, 3), np.uint8) for name in ("previous", "current")
    }
    got = open_engine(stored.path, "cpu").infer(feeds)["flow"]
    want = open_engine(model.SerializeToString(), "cpu").infer(feeds)["flow"]
    np.testing.assert_array_equal(got, want)


def test_casts_are_carried_out_while_loading(exported, tmp_path):
    import onnxruntime

    stored = store_half(exported["pose"], tmp_path / "half.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(str(stored.path), options, providers=["CPUExecutionProvider"])

    def casts(path):
        return sum(node.op_type == "Cast" for node in onnx.load(path).graph.node)

    assert casts(tmp_path / "loaded.onnx") == casts(exported["pose"]) < casts(stored.path)


def test_it_may_take_its_own_place_but_not_twice(exported, tmp_path):
    path = tmp_path / "pose.onnx"
    path.write_bytes(exported["pose"].read_bytes())
    assert store_half(path, path).path == path
    with pytest.raises(ExportError, match="stored that way already"):
        store_half(path, path)


def graph(path, weights, name="w"):
    """A picture times a table of weights: `flow` uint8 in, float32 out."""
    weights = np.asarray(weights, np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", name], ["flow"]),
    ]
    shape = ["batch", *weights.shape]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info("flow", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(weights, name)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, path)
    return path


def test_a_weight_too_large_is_named(tmp_path):
    weights = np.full((32, 32, 3), 0.5)
    weights[3, 4, 1] = -7e4
    path = graph(tmp_path / "a.onnx", weights, "head.weight")
    with pytest.raises(ExportError, match=r"'head\.weight' reaches 7e\+04.*65504"):
        store_half(path, tmp_path / "b.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_weights_too_small_stay_float32(tmp_path):
    path = graph(tmp_path / "a.onnx", np.full((32, 32, 3), 1e-9))
    with pytest.raises(ExportError, match="no float32 weights"):
        store_half(path, tmp_path / "b.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(
        numpy_helper.from_array(np.full(storage.SMALLEST, 0.3, np.float32), "other")
    )
    onnx.save(model, path)
    stored = store_half(path, tmp_path / "b.onnx")
    assert (stored.record["stored"], stored.record["kept_fp32"]) == (1, ["w"])


def test_a_graph_that_moves_too_far_is_refused(tmp_path):
    weights = np.random.default_rng(0).uniform(100, 200, (32, 32, 3))  # times pixels: 3 px off
    path = graph(tmp_path / "a.onnx", weights)
    with pytest.raises(ExportError, match="px away in the median"):
        store_half(path, path)
    assert onnx.load(path).graph.initializer[0].data_type == TensorProto.FLOAT
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ExportError, match="cannot be read"):
        store_half(tmp_path / "nowhere.onnx", tmp_path / "b.onnx")
    (tmp_path / "a.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ExportError, match="no ONNX graph"):
        store_half(tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_the_command_stores_half_and_vouches_for_that_file(tmp_path):
    path = tmp_path / "flow.onnx"
    done = invoke(
        "export", "flow", path, "--random-weights", "--width-factor", "0.125", "--size", "64x64",
        "--weights", "fp16", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["storage"]["weights"] == "fp16"
    assert record["max_px"] <= 1e-3  # of the graph against PyTorch, before it was stored
    entry = read_sidecar(path, path.read_bytes())  # raises where the hash is another file's
    assert entry.parity["storage"] == record["storage"]
    assert entry.sha256 == record["sha256"]


def test_the_command_leaves_nothing_where_storing_fails(tmp_path):
    path = graph(tmp_path / "flow.onnx", np.full((32, 32, 3), 1e5))
    exported = ExportedNetwork(path, "", InputSpec(("image",)), {})
    with pytest.raises(ExportError, match="beyond the largest float16"):
        _stored(exported, "fp16", None)
    assert not list(tmp_path.iterdir())
