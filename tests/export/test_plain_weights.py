"""Casts of constants are carried out for TensorRT, and nothing else changes."""

import importlib.util

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flowtrack.errors import DependencyError
from flowtrack.export.plain_weights import with_plain_weights
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.runtime.engines import open_engine
from tests.support.graphs import assemble, pooled_heatmaps

BUNDLE = open_bundle(default_bundle_path())


def casts_of_constants(graph):
    model = onnx.load_from_string(graph).graph
    stored = {tensor.name for tensor in model.initializer}
    return [node.name for node in model.node if node.op_type == "Cast" and node.input[0] in stored]


@pytest.mark.parametrize("part", ["detector", "pose", "flow"])
def test_the_default_networks_compute_the_same(part):
    before = BUNDLE.read(part)
    after = with_plain_weights(before)
    assert len(casts_of_constants(before)) > 10
    assert casts_of_constants(after) == []
    onnx.checker.check_model(after, full_check=True)
    random = np.random.default_rng(0)
    engines = [open_engine(graph, "cpu", 1) for graph in (before, after)]
    feeds = {
        spec.name: random.integers(0, 256, (1, *spec.shape[1:]), np.uint8)
        for spec in engines[0].inputs
    }
    expected, found = (engine.infer(feeds) for engine in engines)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_graph_without_such_casts_stays_the_file_that_it_is():
    graph = pooled_heatmaps(5, 16, 12, 4)
    assert with_plain_weights(graph) is graph


def test_constants_that_others_read_stay_and_outputs_keep_their_nodes():
    half = np.arange(3, dtype=np.float16)
    nodes = [
        helper.make_node("Cast", ["half"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "wide"], ["y"]),
        helper.make_node("Cast", ["shown"], ["given"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["half"], ["z"]),
    ]
    graph = assemble(
        {"x": ("float32", (3,))},
        nodes,
        {"y": ("float32", (3,)), "given": ("float32", (3,)), "z": ("float16", (3,))},
        {"half": half, "shown": half},
    )
    model = onnx.load_from_string(with_plain_weights(graph)).graph
    assert [node.op_type for node in model.node] == ["Add", "Cast", "Identity"]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.initializer}
    assert sorted(constants) == ["half", "shown", "wide"]
    assert constants["wide"].dtype == np.float32
    found = open_engine(with_plain_weights(graph), "cpu", 1).infer({"x": np.ones(3, np.float32)})
    np.testing.assert_array_equal(found["y"], half + 1)


def test_without_onnx_the_remedy_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    with pytest.raises(DependencyError, match=r"onnx is not installed; pip install 'flowtrack\["):
        with_plain_weights(b"")
