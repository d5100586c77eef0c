"""INT8 of real networks on real frames: the command of docs/precision.md passes the gate."""

from __future__ import annotations

import json

import onnx
import pytest

from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.engines.openvino import openvino_installed
from tests.cli.test_commands import invoke
from tests.real.test_real_material import make


@pytest.fixture(scope="module")
def fp32(real, tmp_path_factory):
    return make(tmp_path_factory.mktemp("int8") / "fp32.bundle")


def calibrate(real, fp32, out, *arguments):
    parts = [word for part in ("detector", "pose") for word in ("--part", part)]
    device = "openvino" if openvino_installed() else "cpu"
    return invoke(
        "calibrate", "int8", "--bundle", fp32, "--frames", real / "bonn", "--count", "60",
        "--out", out, "--device", device, *parts, *arguments, "--json",
    )  # fmt: skip


def test_the_gate_puts_layers_of_the_detector_back(real, fp32, tmp_path, record_property):
    out = tmp_path / "int8.bundle"
    done = calibrate(real, fp32, out)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    record_property("figures", json.dumps(found))
    islands = found["fp32_islands"]
    assert 0 < len(islands["detector"]) < 20
    assert not islands["pose"]
    written = open_bundle(out)
    for part, least in (("detector", 85), ("pose", 55)):
        nodes = onnx.load_model_from_string(written.read(part)).graph.node
        rounded = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
        layers = [node for node in nodes if node.op_type in ("Conv", "ConvTranspose")]
        quantised = {node.name for node in layers if set(node.input[:2]) <= rounded}
        assert len(quantised) == found["layers"][part] >= least
        assert not quantised & islands[part].keys()
        assert len(written.read(part)) < 0.5 * len(open_bundle(fp32).read(part))


def test_what_islands_do_not_mend_is_refused_with_the_layers_that_cost_most(real, fp32, tmp_path):
    """Entropy clips what detectors live on."""
    done = calibrate(real, fp32, tmp_path / "int8.bundle", "--method", "entropy")
    assert done.exit_code != 0
    said = " ".join(done.output.split())
    assert "not written" in said
    assert "detector fails with up to 34 of its 104 layers in fp32, too" in said
    assert "The layers that cost most are detector: Conv_" in said
    assert not (tmp_path / "int8.bundle").exists()
