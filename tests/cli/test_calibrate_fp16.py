"""`flowtrack calibrate fp16`: what passes is written, what fails is not, and wrong use."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from flowtrack.cli.calibrate import app
from flowtrack.export.half_network import judging_device
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.engines import choose_device
from flowtrack.runtime.pipeline import open_pipeline
from flowtrack.structs import Frame
from tests.evaluation.deployed.puppet_samples import make_bundle, write_clip
from tests.export.half_samples import blobs, bundle_with, pose_network

RUNNER = CliRunner()


def invoke(*arguments):
    result = RUNNER.invoke(app, ["fp16", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def place(tmp_path):
    """A bundle that can be half, and a clip for it."""
    bundle_with(pose_network(), tmp_path / "fp32")
    (tmp_path / "clip").mkdir()
    for frame in blobs(8):
        cv2.imwrite(str(tmp_path / "clip" / f"{frame.index}.png"), frame.image)
    return tmp_path


def arguments(place, *more):
    return [
        "--bundle", place / "fp32", "--frames", place / "clip", "--out", place / "fp16",
        "--part", "pose", *more,
    ]  # fmt: skip


def test_what_passes_is_written(place):
    done = invoke(*arguments(place, "--html", place / "page.html", "--sensitivity"))
    assert done.exit_code == 0, done.output
    assert "at least 0.98" in done.stdout
    written = open_bundle(place / "fp16")
    assert {p: f.precision for p, f in written.manifest.files().items()} == {
        "detector": "fp32", "pose": "fp16"
    }  # fmt: skip
    record = written.manifest.pose.file.parity["fp16"]
    assert record["frames"] == 4
    assert record["figures"]["mean_oks"] >= 0.98
    assert "accepted" not in record
    assert "What each layer costs: pose" in (place / "page.html").read_text()
    pipeline = open_pipeline(written, device="cpu")
    pipeline.step(pipeline.stream(), Frame(0, 0.0, np.zeros((64, 64, 3), np.uint8)))


def test_figures_as_json(place):
    done = invoke(*arguments(place, "--json", "--accept", "not needed"))
    facts = json.loads(done.stdout)
    assert facts["written"]
    assert facts["failures"] == []
    assert facts["device"] == judging_device(choose_device("auto")[0])
    assert facts["networks"] == {"pose": {"layers": 7, "fp32_islands": {}}}
    assert "--accept is not recorded" in done.stderr


@pytest.mark.parametrize("device", ["auto", "openvino"])
def test_what_fails_is_not_written_unless_accepted(place, device):
    bundle_with(pose_network(b=4000.0, c=-4000.0, d=4000.0, e=-4000.0), place / "fp32")
    before = sorted(path.name for path in place.iterdir())
    done = invoke(*arguments(place, "--device", device))
    assert done.exit_code == 1
    said = " ".join(done.stderr.split())
    assert "not written: pose: poses have a mean OKS of" in said
    assert "pose fails with up to 2 of its 7 layers in fp32, too" in said
    assert "layers that cost most are pose: " in said
    assert "name a reason with --accept" in said
    assert sorted(path.name for path in place.iterdir()) == before
    done = invoke(*arguments(place, "--accept", "a demonstration", "--json"))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["written"]
    record = open_bundle(place / "fp16").manifest.pose.file.parity["fp16"]
    assert record["accepted"] == "a demonstration"
    assert record["fp32_islands"] == {}
    assert record["failures"]


def test_puppets_are_tracked_as_before(tmp_path):
    (tmp_path / "set").mkdir()
    truth = write_clip(tmp_path / "set", "one", frames=6)
    make_bundle(tmp_path / "fp32")
    done = invoke(
        "--bundle", tmp_path / "fp32", "--frames", tmp_path / "set" / "one",
        "--out", tmp_path / "fp16.zip", "--truth", truth, "--joints", "shared13", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["figures"]["tracking"]
    assert figures["MOTA_fp32"] > 50
    assert figures["MOTA_converted"] >= figures["MOTA_fp32"] - 0.5
    record = open_bundle(tmp_path / "fp16.zip").manifest.detector.file.parity["fp16"]
    assert record["tracking"] == figures


def test_black_frames_are_refused(place):
    for path in (place / "clip").iterdir():
        cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    done = invoke(*arguments(place))
    assert done.exit_code == 1
    assert "one colour all over" in " ".join(done.stderr.split())
    assert not (place / "fp16").exists()


def test_a_converted_bundle_is_refused(place):
    assert invoke(*arguments(place)).exit_code == 0
    done = invoke("--bundle", place / "fp16", "--frames", place / "clip", "--out", place / "again")
    assert done.exit_code == 2
    assert "pose is fp16, expected fp32" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--joints", "all"], "would be ignored without --truth"),
        (["--accept", " "], "expected a reason"),
        (["--keep", "Cnv"], "keep names 'Cnv'"),
        (["--part", "flow"], "expected a network"),
        (["--device", "gpu"], "device"),
        (["--html", "."], "is a folder"),
    ],
)
def test_wrong_use_is_said(place, more, message):
    done = invoke(*arguments(place, *more))
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert not (place / "fp16").exists()
