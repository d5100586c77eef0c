"""`flowtrack fetch` with real networks, from a publisher on this machine to tracked people."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.test_commands import invoke
from tests.reference.poseval import JOINT_SETS, mota, read_posetrack17
from tests.zoo.publisher import publishing, serve, status
from tests.zoo.samples import HOST, Entry, publish, tiny_checkpoint, write_catalogue

REAL = Path(__file__).parents[2].parent / "shared" / "real"
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="real networks and videos (../shared/real) are not here"
)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A publisher of a real detector and real pose networks; it breaks off and stumbles."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    imagenet = "mean = [123.675, 116.28, 103.53], std = [58.395, 57.12, 57.375]"
    detector = Entry("nano", "detector", "onnx", (REAL / "nets/yolox_nano.onnx").read_bytes(),
                     'decode = "yolox"', 'height = 416, width = 416, color = "bgr"')  # fmt: skip
    pose = Entry(
        "simple", "pose", "onnx", (REAL / "nets/ultralight_simplepose_deploy.onnx").read_bytes(),
        'decode = "heatmap", skeleton = "coco-17"',
        f'height = 256, width = 192, color = "rgb", {imagenet}',
    )  # fmt: skip
    with publishing() as publisher:

        def fetch(*words, entries=(detector, pose)):
            write_catalogue(
                tmp_path / "shop.toml", entries,
                *[("pair", entries[0].name, entries[1].name)] * (len(entries) > 1),
            )  # fmt: skip
            publish(publisher, entries)
            broken = serve(stop_after=1_500_000)
            publisher.script[f"/{HOST}{detector.place}"] = [
                status(503, ("Retry-After", "0")),
                broken,
            ]
            return invoke(
                "fetch", *words, "--catalogue", tmp_path / "shop.toml", "--mirror",
                publisher.address, "--cache", tmp_path / "cache", "--json",
            )  # fmt: skip

        yield publisher, fetch, detector


def test_a_fetched_pair_tracks_four_overlapping_people(shop, tmp_path):
    """The same figure as of the bundle that is put together by hand (test_real_material.py)."""
    publisher, fetch, detector = shop
    path = tmp_path / "pair.bundle"
    done = fetch("pair", "--out", path)
    assert done.exit_code == 0, done.output
    assert publisher.ranges()[:3] == [None, None, "bytes=1500000-"]
    manifest = json.loads((path / "manifest.json").read_text())
    source = manifest["detector"]["file"]["source"]
    assert source["sha256"] == hashlib.sha256(detector.content).hexdigest()
    tracked = invoke("track", REAL / "bonn", "--bundle", path, "--out", tmp_path / "out",
                     "--formats", "posetrack")  # fmt: skip
    assert tracked.exit_code == 0, tracked.output
    truth = read_posetrack17(REAL / "bonn/posetrack17.json")
    found = read_posetrack17(tmp_path / "out/bonn.posetrack.json")
    counts = mota(truth, found, JOINT_SETS["body12"])
    assert counts.total >= 83.5
    assert counts.ids == 4


def test_a_checkpoint_in_mmposes_layout_joins_a_real_detector(shop, tmp_path):
    pytest.importorskip("torch", reason="checkpoints need torch")
    _, fetch, detector = shop
    untrained = tiny_checkpoint("keypoint_head", "posetrack18-17")
    path = tmp_path / "pair.zip"
    done = fetch("pair", "--out", path, entries=(detector, untrained))
    assert done.exit_code == 0, done.output
    tracked = invoke("track", REAL / "bonn", "--bundle", path, "--out", tmp_path / "out",
                     "--formats", "posetrack18", "--max-frames", "3", "--json")  # fmt: skip
    assert tracked.exit_code == 0, tracked.output
    assert json.loads(tracked.stdout)[0]["frames"] == 3
    manifest = json.loads(invoke("inspect", path, "--json").stdout)
    assert manifest["skeleton"] == "posetrack18-17"
    assert manifest["pose"]["file"]["source"]["layout"] == "mmpose-0.x"
    assert manifest["pose"]["file"]["parity"]["max_px"] <= 1e-3
