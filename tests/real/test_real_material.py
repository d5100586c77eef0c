"""Real networks on real video: the commands of the documentation, and how well they track."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import invoke
from tests.reference.poseval import JOINT_SETS, mota, read_posetrack17

REAL = Path(__file__).parents[2].parent / "shared" / "real"
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="real networks and videos (../shared/real) are not here"
)


def make(path, *flow):
    """The bundle of the documentation's example."""
    done = invoke(
        "bundle", path, "--skeleton", "coco-17",
        "--detector", REAL / "nets/yolox_nano.onnx", "--detector-decode", "yolox",
        "--pose", REAL / "nets/ultralight_simplepose_deploy.onnx", "--pose-decode", "heatmap",
        "--pose-color", "rgb", "--pose-mean", "imagenet", *flow,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make(tmp_path_factory.mktemp("real") / "real.bundle", "--flow", "dis")


def tracked(bundle, out, *arguments):
    """poseval's counts on bonn/ over the 12 joints that COCO and the truth share."""
    done = invoke("track", REAL / "bonn", "--bundle", bundle, "--out", out, *arguments)
    assert done.exit_code == 0, done.output
    truth = read_posetrack17(REAL / "bonn/posetrack17.json")
    return mota(truth, read_posetrack17(out / "bonn.posetrack.json"), JOINT_SETS["body12"])


def test_the_defaults_track_four_overlapping_people(bundle, tmp_path):
    counts = tracked(bundle, tmp_path, "--similarity", "multi_flow")
    assert counts.total >= 83.5
    assert counts.total_switches <= 3
    assert counts.ids == 4
    assert {path.name for path in tmp_path.iterdir()} == {
        "bonn.posetrack.json", "bonn.jsonl", "bonn.mp4"
    }  # fmt: skip


def test_without_propagation_by_box_overlap(bundle, tmp_path, record_property):
    counts = tracked(
        bundle, tmp_path, "--similarity", "bbox", "--no-propagate", "--formats", "posetrack"
    )
    record_property("mota", counts.total)
    assert 80 <= counts.total < 83.5
    assert counts.total_switches > 3


@pytest.mark.parametrize(
    "arguments",
    [["--nms-iou", "0.4"], ["--joint-threshold", "0.3"], ["--box-threshold", "0.4"],
     ["--pose-nms", "0.5"], ["--oks-area", "joints"], ["--queue", "5"],
     ["--min-similarity", "0.3"], ["--flow-links", "direct"]],
    ids=" ".join,
)  # fmt: skip
def test_no_threshold_is_fitted_to_this_clip(bundle, tmp_path, arguments):
    counts = tracked(bundle, tmp_path, "--formats", "posetrack", *arguments)
    assert counts.total >= 83.0
    assert counts.total_switches <= 3


def test_a_flow_network_takes_the_place_of_dis(tmp_path):
    network = REAL / "nets/spynet_ltkong_chairs_384x512.onnx"
    bundle = make(tmp_path / "spynet.bundle", "--flow", network, "--flow-range", "1")
    done = invoke(
        "track", REAL / "bonn", "--bundle", bundle, "--out", tmp_path, "--max-frames", "4",
        "--formats", "jsonl,mp4", "--draw-flow", "colors", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (summary,) = json.loads(done.stdout)
    assert (summary["frames"], summary["people"]) == (4, 4)


@pytest.mark.parametrize("video", sorted(REAL.glob("video/*")), ids=lambda path: path.stem)
def test_every_video_runs(bundle, tmp_path, video):
    done = invoke(
        "track", video, "--bundle", bundle, "--out", tmp_path, "--max-frames", "12", "--json"
    )
    assert done.exit_code == 0, done.output
    (summary,) = json.loads(done.stdout)
    assert summary["frames"] == 12
    assert (tmp_path / f"{video.stem}.mp4").stat().st_size > 1000


def test_a_frame_without_people_of_a_cnn_with_other_joints(tmp_path):
    """A network with 14 joints refuses the skeleton of 17, and takes its own."""
    networks = [
        "--detector", REAL / "nets/yolox_nano.onnx", "--detector-decode", "yolox",
        "--pose", REAL / "nets/cpm_aic14_192.onnx", "--pose-decode", "heatmap",
        "--pose-color", "bgr",
    ]  # fmt: skip
    refused = invoke("bundle", tmp_path / "a.bundle", *networks)
    assert refused.exit_code == 1
    assert "skeleton" in refused.output
    accepted = invoke("bundle", tmp_path / "b.bundle", *networks, "--skeleton", "aic-14")
    assert accepted.exit_code == 0, accepted.output


def test_exports_are_compared_on_real_pictures(tmp_path):
    pytest.importorskip("torch", reason="export needs torch")
    pose = invoke(
        "export", "pose", tmp_path / "pose.onnx", "--random-weights", "--depth", "18",
        "--size", "128x96", "--images", REAL / "coco_mini/val2017", "--json",
    )  # fmt: skip
    assert pose.exit_code == 0, pose.output
    flow = invoke(
        "export", "flow", tmp_path / "flow.onnx", "--random-weights", "--width-factor", "0.125",
        "--size", "128x192", "--images", REAL / "bonn", "--json",
    )  # fmt: skip
    assert flow.exit_code == 0, flow.output
    for record in (json.loads(pose.stdout), json.loads(flow.stdout)):
        assert record["max_px"] <= 1e-3
        assert "0 images" not in record["inputs"]
