"""`flowtrack calibrate int8`: what passes is written with its figures, what fails is not."""

from __future__ import annotations

import json

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from flowtrack.calibration import quantisation
from flowtrack.calibration.int8 import Int8Options, quantizable
from flowtrack.cli import app
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.synthetic import ClipOptions, render_clip

RUNNER = CliRunner()


def invoke(*arguments):
    result = RUNNER.invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    for frame in render_clip(ClipOptions(width=416, height=320, frames=12, people=3, seed=3)):
        cv2.imwrite(str(folder / f"{frame.index:03d}.png"), frame.image)
    return folder


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def convert(clip, out, *options):
    return invoke(
        "calibrate", "int8", "--frames", clip, "--count", 12, "--method", "minmax",
        "--part", "pose", "--device", "cpu", "--out", out, *options,
    )  # fmt: skip


def test_a_bundle_that_passes_is_written_with_its_record(clip, tmp_path, tables):
    names = [f"network.blocks.{place}.project/Conv" for place in (14, 15)]
    graph = open_bundle(default_bundle_path()).read("pose")
    layers = quantizable(graph, Int8Options())
    keep = [word for name in layers if name not in names for word in ("--keep", name)]
    out = tmp_path / "int8.bundle"
    done = convert(clip, out, *keep, "--table", tables, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["written"] is True
    assert told["layers"] == {"pose": len(set(names) & set(layers))}
    bundle = open_bundle(out)
    bundle.verify()
    file = bundle.manifest.files()["pose"]
    assert file.precision == "int8"
    record = file.parity["int8"]
    assert record["method"] == "minmax"
    assert record["figures"]["mean_oks"] >= 0.98
    assert "accepted" not in record
    assert bundle.manifest.files()["detector"].precision == "fp32"
    again = invoke("calibrate", "int8", "--frames", clip, "--bundle", out, "--out", tmp_path / "x")
    assert again.exit_code == 2
    assert "pose is int8, expected fp32" in " ".join(again.output.split())


def negating(tensor: str):
    """A `quantize` that takes the sign from the weights of a layer, where the graph has them."""
    real = quantisation.quantize

    def broken(model, table, options, only=None):
        content = onnx.load_model_from_string(real(model, table, options, only))
        for target in content.graph.initializer:
            if target.name == tensor:
                values = -numpy_helper.to_array(target)
                target.CopyFrom(numpy_helper.from_array(values, target.name))
        return content.SerializeToString()

    return broken


def test_what_fails_is_refused_and_leaves_nothing_unless_accepted(clip, tmp_path, monkeypatch):
    """The last layer, which is fp32 anyway: no layer that goes back mends it."""
    monkeypatch.setattr(quantisation, "quantize", negating("network.final_layer.weight.half"))
    out = tmp_path / "int8.bundle"
    done = convert(clip, out)
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "mean OKS of" in said
    assert "pose fails with up to 17 of its 51 layers in fp32, too" in said
    assert "--accept" in said
    assert list(tmp_path.iterdir()) == []
    done = convert(clip, out, "--accept", "only to see")
    assert done.exit_code == 0, done.output
    record = open_bundle(out).manifest.files()["pose"].parity["int8"]
    assert record["accepted"] == "only to see"
    assert record["fp32_islands"] == {}
    assert any("mean OKS" in failure for failure in record["failures"])


def test_a_layer_that_int8_breaks_goes_back_to_fp32(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(quantisation, "quantize", negating("network.blocks.8.project.weight.int8"))
    done = convert(clip, tmp_path / "int8.bundle", "--json")
    assert done.exit_code == 0, done.output
    assert "network.blocks.8.project/Conv stays fp32: the gate asked for it" in done.stderr
    told = json.loads(done.stdout)
    islands = told["fp32_islands"]["pose"]
    assert "network.blocks.8.project/Conv" in islands
    assert told["layers"] == {"pose": 51 - len(islands)}
    assert told["sensitivity"]["pose"]
    record = open_bundle(tmp_path / "int8.bundle").manifest.files()["pose"].parity["int8"]
    assert record["fp32_islands"] == islands
    assert record["layers"] == 51
    assert record["figures"]["mean_oks"] >= 0.98


def test_frames_that_show_nothing_are_refused(tmp_path):
    folder = tmp_path / "black"
    folder.mkdir()
    for place in range(6):
        cv2.imwrite(str(folder / f"{place}.png"), np.zeros((120, 160, 3), np.uint8))
    done = invoke("calibrate", "int8", "--frames", folder, "--out", tmp_path / "b")
    assert done.exit_code == 1
    assert "one colour all over" in done.output
    assert not (tmp_path / "b").exists()


def test_a_table_of_other_frames_is_refused(clip, tmp_path, tables):
    first = convert(clip, tmp_path / "a", "--table", tmp_path / "t", "--accept", "test")
    assert first.exit_code == 0, first.output
    mirrored = tmp_path / "mirrored"
    mirrored.mkdir()
    for path in sorted(clip.iterdir()):
        cv2.imwrite(str(mirrored / path.name), cv2.imread(str(path))[:, ::-1])
    done = convert(mirrored, tmp_path / "b", "--table", tmp_path / "t")
    assert done.exit_code == 1
    assert "measure again" in done.output
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--part", "hands"), "part is 'hands'"),
        (("--keep", "nobody"), "nobody"),
        (("--images", "."), "would be ignored without --truth"),
        (("--accept", " "), "--accept is empty"),
        (("--device", "npu"), "unknown device 'npu'"),
        (("--html", "."), "is a folder"),
    ],
)
def test_wrong_use_is_refused_before_work(clip, tmp_path, options, message):
    done = invoke("calibrate", "int8", "--frames", clip, "--out", tmp_path / "b", *options)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "b").exists()
