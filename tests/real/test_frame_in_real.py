"""Frame-in form on real material: networks of others and the default ones, on real video."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from flowtrack.export.frame_bundle import frame_bundle, frame_records
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.runtime.video import SourceOptions, open_source
from tests.cli.test_commands import invoke
from tests.reference.poseval import JOINT_SETS, mota, read_posetrack17

# Sides that are not whole multiples of the networks' inputs, and portrait.
CLIPS = ("video/pose2sim_multi_cam01.mp4", "video/mmaction2_demo_skeleton.mp4", "bonn")


@pytest.mark.parametrize("clip", CLIPS)
def test_the_default_networks_read_frames_of_real_video(real, tmp_path, clip, record_property):
    with open_source(real / clip, SourceOptions(max_frames=4)) as source:
        frames = [frame.image for frame in source]
    framed = frame_bundle(open_bundle(default_bundle_path()), tmp_path / "framed", frames)
    records = frame_records(framed)
    record_property("records", json.dumps(records))
    for record in records.values():
        assert record["grey_mean"] < 0.15
        assert record["grey_max"] <= 3
        assert record["median_px"] < 0.15
    assert records["pose"]["p99_px"] <= 4
    assert records["flow"]["p99_px"] < 0.05


@pytest.fixture(scope="module")
def foreign(real, tmp_path_factory):
    """YOLOX-nano and a small Simple-Baselines network, by others, in both forms."""
    folder = tmp_path_factory.mktemp("foreign")
    done = invoke(
        "bundle", folder / "plain", "--detector", real / "nets/yolox_nano.onnx",
        "--detector-decode", "yolox", "--pose", real / "nets/ultralight_simplepose_deploy.onnx",
        "--pose-decode", "heatmap", "--pose-mean", "imagenet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    done = invoke("export", "frame-in", "--bundle", folder / "plain", "--out", folder / "framed",
                  "--frames", real / "bonn", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["parity"]["pose"]["median_px"] <= 0.1
    return folder


def test_networks_of_others_track_real_people_as_well(real, foreign, tmp_path):
    truth = read_posetrack17(real / "bonn/posetrack17.json")
    totals = []
    for form in ("plain", "framed"):
        done = invoke("track", real / "bonn", "--bundle", foreign / form, "--out",
                      tmp_path / form, "--formats", "posetrack")  # fmt: skip
        assert done.exit_code == 0, done.output
        found = read_posetrack17(tmp_path / form / "bonn.posetrack.json")
        totals.append(mota(truth, found, JOINT_SETS["body12"]).total)
    assert totals[0] > 80
    assert abs(totals[0] - totals[1]) < 0.5


def test_the_same_pictures_reach_the_networks_at_every_scale(real, tmp_path):
    """Half, double and odd sizes of one real frame, through all three networks' samplers."""
    from flowtrack.export.frame_parity import grey_record

    image = cv2.imread(str(sorted((real / "bonn").glob("*.jpg"))[0]))
    sizes = [(270, 480), (1080, 1920), (541, 963), (2160, 3840), (97, 53)]
    frames = [
        np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)) for size in sizes
    ]
    manifest = open_bundle(default_bundle_path()).manifest
    for part in manifest.files():
        record = grey_record(part, manifest, frames)
        assert record["grey_mean"] < 0.15
        assert record["grey_max"] <= 3
