"""Published files become the networks that the catalogue describes, or are refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from flowtrack.cli.fetch import convert
from flowtrack.errors import (
    BundleError,
    CheckpointError,
    DependencyError,
    DownloadError,
    OptionError,
)
from flowtrack.runtime import open_pipeline
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.preprocess import crop_matrices, crop_people, pack, to_source
from flowtrack.runtime.sidecar import read_sidecar
from flowtrack.structs import Boxes, Frame
from flowtrack.zoo import networks as zoo_networks
from flowtrack.zoo.assembly import already_there, assemble, bundle_options, write_network
from flowtrack.zoo.catalogue import load_catalogue
from flowtrack.zoo.networks import check_converters, obtain
from flowtrack.zoo.transfer import Patience
from tests.reference.decode import heatmap
from tests.zoo.samples import (
    HOST,
    publish,
    simcc,
    tiny_checkpoint,
    tiny_simcc,
    tiny_yolox,
    write_catalogue,
    yolox,
    zipped,
)


@pytest.fixture
def get(publisher, tmp_path):
    """Publishes an entry and obtains the network."""

    def obtained(entry):
        publish(publisher, [entry])
        catalogue = load_catalogue(write_catalogue(tmp_path / f"{entry.name}.toml", [entry]))
        return obtain(
            catalogue.networks[entry.name],
            tmp_path / "cache",
            mirror=publisher.address,
            patience=Patience(2.0, 1, 0.0),
        )

    return obtained


def test_an_onnx_file_is_kept_as_it_is_with_its_facts(get, tmp_path):
    entry = write_network(get(tiny_yolox()), tmp_path / "out.onnx")
    data = (tmp_path / "out.onnx").read_bytes()
    assert data == yolox()
    assert read_sidecar(tmp_path / "out.onnx", data) == entry
    assert (entry.input.names, entry.input.dtype, entry.input.layout) == (
        ("images",), "float32", "nchw",
    )  # fmt: skip
    assert (entry.input.color, entry.input.scale) == ("bgr", 1.0)
    assert entry.source["url"] == f"https://{HOST}/v1/tiny-yolox.onnx"
    assert entry.source["sha256"] == hashlib.sha256(data).hexdigest()
    assert entry.source["licence"] == "MIT"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out.onnx", "out.onnx.json", "cache", "tiny-yolox.toml"}


def test_the_wanted_member_comes_out_of_an_archive(get, tmp_path):
    entry = write_network(get(tiny_simcc()), tmp_path / "pose.onnx")
    assert (tmp_path / "pose.onnx").read_bytes() == simcc()
    assert entry.sha256 == hashlib.sha256(simcc()).hexdigest()
    assert entry.input.mean == (123.675, 116.28, 103.53)
    assert entry.source["sha256"] == hashlib.sha256(zipped(simcc())).hexdigest()


def test_another_graph_in_the_archive_is_refused(get, tmp_path):
    entry = replace(tiny_simcc(), content=zipped(simcc(128, 96)))
    with pytest.raises(DownloadError, match="another file than the catalogue"):
        write_network(get(entry), tmp_path / "pose.onnx")
    assert not (tmp_path / "pose.onnx").exists()


WRONG = {
    "size": (tiny_yolox, {"feed": 'height = 32, width = 64, color = "bgr"'}, "32x64"),
    "decode": (tiny_yolox, {"reading": 'decode = "rcnn"'}, "reads 3 outputs"),
    "class": (tiny_yolox, {"reading": 'decode = "yolox", person_class = 90'}, "reads"),
    "ratio": (
        tiny_simcc,
        {"reading": 'decode = "simcc", skeleton = "coco-17", simcc_ratio = 3'},
        "simcc_ratio",
    ),
    "skeleton": (tiny_simcc, {"reading": 'decode = "simcc", skeleton = "aic-14"'}, "14 joints"),
}


@pytest.mark.parametrize(("make", "change", "message"), WRONG.values(), ids=WRONG)
def test_a_network_that_is_not_what_the_catalogue_says_is_refused(
    get, tmp_path, make, change, message
):
    obtained = get(replace(make(), **change))
    with pytest.raises(BundleError, match=message):
        write_network(obtained, tmp_path / "net.onnx")
    assert not list(tmp_path.glob("net*"))


def frame():
    return Frame(0, 0.0, np.full((128, 128, 3), 90, np.uint8))


def test_a_bundle_reads_what_the_networks_say(get, tmp_path):
    detector, pose = get(tiny_yolox()), get(tiny_simcc())
    bundle = assemble(detector, pose, tmp_path / "x.bundle", combination="tiny")
    bundle.verify()
    manifest = open_bundle(tmp_path / "x.bundle").manifest
    assert manifest.made_from == {
        "command": "flowtrack fetch", "networks": ["tiny-yolox", "tiny-simcc"],
        "combination": "tiny",
    }  # fmt: skip
    assert manifest.flow is not None
    assert manifest.flow.decode == "dis"
    pipeline = open_pipeline(tmp_path / "x.bundle", device="cpu")
    boxes = pipeline.detector(frame(), StageClock())
    # Cell (2, 1) of stride 16 at offset 0.5: centre (40, 24), 24 x 48, in a picture twice as large.
    assert boxes.xyxy.tolist() == [pytest.approx([56, 0, 104, 96], abs=1e-3)]
    assert boxes.score.tolist() == [pytest.approx(0.95 * 0.9)]
    box = Boxes.detected([[0, 0, 96, 128]], [1.0])
    poses = pipeline.pose(frame(), box, StageClock())
    # The crop is 48 x 64 for a box of 96 x 128 enlarged by 1.25: 2.5 source pixels each.
    joints = np.arange(17)
    expected = (np.stack([2 * joints, 3 * joints], 1) - [24, 32]) * 2.5 + [48, 64]
    np.testing.assert_allclose(poses.xy[0], expected, atol=1e-3)
    np.testing.assert_allclose(poses.score[0], 0.7, atol=1e-6)


def test_what_enters_rtmpose_is_what_its_publisher_feeds(get):
    """(RGB - mean) / std, channels first (mmpose, PoseDataPreprocessor), for the real entry."""
    feed = load_catalogue().networks["rtmpose-t"].input
    network = replace(get(tiny_simcc()).network, input=replace(feed, height=64, width=48))
    obtained = replace(get(tiny_simcc()), network=network)
    spec = zoo_networks.as_onnx(obtained, obtained.file.path.with_name("x.onnx")).input
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3), np.uint8)
    rgb = picture[..., ::-1].astype(np.float64)
    expected = (rgb - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    np.testing.assert_allclose(pack(picture, spec), expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_the_same_bundle_is_known_again(get, tmp_path):
    detector, pose = get(tiny_yolox()), get(tiny_simcc())
    both = [detector.network, pose.network]
    path = tmp_path / "x.bundle"
    assert not already_there(path, both)
    assemble(detector, pose, path)
    assert already_there(path, both)
    moved = replace(pose.network, file=replace(pose.network.file, url="https://else.org/a.zip"))
    assert not already_there(path, [detector.network, moved])
    (path / "pose.onnx").write_bytes(b"damaged")
    assert not already_there(path, both)
    (path / "manifest.json").write_text("{")
    assert not already_there(path, both)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("yolox-m", ["--detector-decode", "yolox"]),
        ("td-hm-res50-256x192", ["--skeleton", "coco-17", "--pose-padding", "1.25"]),
        ("rtmpose-s", ["--skeleton", "coco-17", "--pose-decode", "simcc", "--pose-simcc-ratio",
                       "2", "--pose-padding", "1.25"]),
    ],
)  # fmt: skip
def test_options_for_taking_over_a_network(name, options):
    assert bundle_options(load_catalogue().networks[name]) == options


def test_without_pytorch_a_checkpoint_is_refused_before_the_download(monkeypatch):
    catalogue = load_catalogue()
    monkeypatch.setattr(zoo_networks, "find_spec", lambda name: None)
    check_converters(catalogue.select(["light"]))
    with pytest.raises(DependencyError, match=r"flowtrack\[export\]"):
        check_converters(catalogue.select(["paper"]))


def by_hand(path, crops):
    """(N, K, h, w) heatmaps of a checkpoint for BGR crops, in PyTorch."""
    import torch

    from flowtrack.training.checkpoints import load_pose

    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    pixels = (crops[..., ::-1] / 255.0 - mean) / std
    with torch.no_grad():
        return load_pose(path).network(torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float())


class TestCheckpoints:
    @pytest.fixture(autouse=True)
    def _torch(self):
        pytest.importorskip("torch", reason="checkpoints need torch")

    def test_a_checkpoint_becomes_a_graph_that_says_the_same(self, get, tmp_path):
        """The bundle equals the checkpoint run by hand: RGB, ImageNet, maximum, quarter offset."""
        obtained = get(tiny_checkpoint())
        bundle = assemble(get(tiny_yolox()), obtained, tmp_path / "b.zip", convert=convert)
        manifest = bundle.manifest
        assert manifest.pose.file.input.color == "rgb"
        assert manifest.pose.file.parity is not None
        assert manifest.pose.file.source["layout"] == "mmpose-1.x"
        assert manifest.pose.file.source["url"].startswith(f"https://{HOST}/")
        pipeline = open_pipeline(tmp_path / "b.zip", device="cpu")
        noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
        box = Boxes.detected([[0, 0, 64, 64]], [1.0])
        poses = pipeline.pose(Frame(0, 0.0, noise), box, StageClock())
        matrices = crop_matrices(box.xyxy, 64, 64, 1.25)
        maps = by_hand(obtained.file.path, crop_people(noise, matrices, 64, 64))
        joints = [heatmap(plane, 4.0, "quarter") for plane in maps[0]]
        score = np.array([score for _, score in joints])
        assert (score > 0).any()
        expected = to_source(np.array([[xy for xy, _ in joints]]), matrices)[0]
        np.testing.assert_allclose(poses.xy[0][score > 0], expected[score > 0], atol=0.02)
        np.testing.assert_allclose(poses.score[0], score, atol=1e-5)

    def test_a_checkpoint_that_is_none_is_refused(self, get, tmp_path):
        entry = replace(tiny_checkpoint(), content=b"not a checkpoint" * 100, sha256=None)
        with pytest.raises(CheckpointError):
            write_network(get(entry), tmp_path / "pose.onnx", convert)
        assert not list(tmp_path.glob("pose*"))

    def test_without_a_converter_it_is_refused(self, get, tmp_path):
        with pytest.raises(OptionError, match="convert"):
            write_network(get(tiny_checkpoint()), tmp_path / "pose.onnx")
