"""INT8 of real networks on real frames: the command of docs/precision.md passes the gate."""

from __future__ import annotations

import json

import onnx
import pytest

from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.engines.openvino import openvino_installed
from tests.cli.test_commands import invoke
from tests.real.test_real_material import make

KEPT = ("Conv_44", "Conv_47", "Conv_70")


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


def test_three_layers_kept_pass_the_gate(real, fp32, tmp_path, record_property):
    kept = [word for layer in KEPT for word in ("--keep", layer)]
    out = tmp_path / "int8.bundle"
    done = calibrate(real, fp32, out, "--method", "mse", "--keep-biases", *kept)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    record_property("figures", json.dumps(found))
    written = open_bundle(out)
    for part, least in (("detector", 100), ("pose", 55)):
        nodes = onnx.load_model_from_string(written.read(part)).graph.node
        rounded = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
        layers = [node for node in nodes if node.op_type in ("Conv", "ConvTranspose")]
        assert sum(set(node.input[:2]) <= rounded for node in layers) >= least, part
        assert len(written.read(part)) < 0.5 * len(open_bundle(fp32).read(part))


def test_all_layers_are_refused_with_those_that_cost_most(real, fp32, tmp_path):
    done = calibrate(real, fp32, tmp_path / "int8.bundle")
    assert done.exit_code != 0
    assert "not written" in done.output
    assert "--keep" in done.output
    assert not (tmp_path / "int8.bundle").exists()
