"""Lower precision on real material: fp16 passes the gate, damaged networks do not."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flowtrack.calibration.feeds import record_feeds
from flowtrack.calibration.gate import Gate
from flowtrack.calibration.held_out import split_source
from flowtrack.export.half_network import half_network
from flowtrack.export.precision import half_graph, half_layers, half_tensors
from flowtrack.export.rehearsal import rehearsed
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.runtime.engines import open_engine
from tests.cli.test_commands import invoke

PARTS = ("detector", "pose")


@pytest.fixture(scope="module")
def judged(real, tmp_path_factory):
    """YOLOX-nano and a small Simple-Baselines network: a gate on real frames, and feeds."""
    folder = tmp_path_factory.mktemp("foreign")
    done = invoke(
        "bundle", folder / "fp32", "--detector", real / "nets/yolox_nano.onnx",
        "--detector-decode", "yolox", "--pose", real / "nets/ultralight_simplepose_deploy.onnx",
        "--pose-decode", "heatmap", "--pose-mean", "imagenet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    bundle = open_bundle(folder / "fp32")
    material = split_source(real / "bonn", 8)
    feeds = record_feeds(bundle, material.calibration_frames(), 4)
    return bundle, Gate(bundle, material.held_out_frames()), feeds


@pytest.mark.parametrize("part", PARTS)
def test_networks_of_others_pass_in_half_without_islands(judged, part, record_property):
    bundle, gate, feeds = judged
    made = half_network(bundle.read(part), gate, part, feeds[part])
    record_property("figures", json.dumps(made.verdict.figures))
    assert not made.verdict.failures
    assert made.islands == {}
    assert len(made.graph) < 0.55 * len(bundle.read(part))


def damaged(graph: bytes, layer: str, factor: float) -> bytes:
    """A graph in which the weights of one layer are scaled."""
    model = onnx.load_model_from_string(graph)
    (name,) = (node.input[1] for node in model.graph.node if node.name == layer)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return model.SerializeToString()


@pytest.mark.parametrize("factor", [-1.0, 1.5, 0.0])
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_layer_is_refused(judged, part, factor):
    bundle, gate, _ = judged
    graph = bundle.read(part)
    layers = half_layers(graph)
    found = gate.part(part, damaged(graph, layers[len(layers) // 3], factor))
    assert found.failures, found.figures


@pytest.mark.parametrize("name", ["nanodet_m_416", "cpm_aic14_192", "spynet_ltkong_chairs_384x512"])
def test_any_network_can_be_half(real, name):
    """The graph is valid, most of it is half, and its rehearsal gives nearly the same."""
    graph = (real / f"nets/{name}.onnx").read_bytes()
    content = half_graph(graph)
    source = onnx.load_model_from_string(graph).graph
    layers = [node for node in source.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")]
    assert len(half_layers(graph)) == len(layers)
    if "spynet" not in name:  # whose warping in between stays fp32
        assert len(half_tensors(graph)) > 0.9 * len(source.node)
    rng = np.random.default_rng(0)
    before, after = (open_engine(g, "cpu") for g in (graph, rehearsed(content)))
    feed = {s.name: rng.random([n if isinstance(n, int) else 1 for n in s.shape], np.float32)
            for s in before.inputs}  # fmt: skip
    given = after.infer(feed)
    for output, values in before.infer(feed).items():
        assert np.linalg.norm(given[output] - values) < 0.1 * np.linalg.norm(values), output


def test_the_default_networks_keep_positions_and_scores_in_fp32():
    bundle = open_bundle(default_bundle_path())
    for part in bundle.manifest.files():
        graph = onnx.load_model_from_string(half_graph(bundle.read(part))).graph
        half = set(half_tensors(bundle.read(part)))
        for node in graph.node:
            if node.op_type in ("TopK", "ArgMax", "Gather", "GatherElements", "Sigmoid", "Softmax"):
                assert not half & {name.removesuffix(".fp16") for name in node.output}, node.name
