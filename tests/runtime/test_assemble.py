"""Bundles from network files: facts are read from the graphs, and tried before they are written."""

import dataclasses

import cv2
import numpy as np
import pytest

from flowtrack.errors import BundleError, EngineError, OptionError
from flowtrack.runtime.assemble import IMAGENET, Feeding, describe_network, trial_run
from flowtrack.runtime.bundle import open_bundle, write_bundle
from flowtrack.runtime.manifest import DetectorSpec, FlowSpec, InputSpec, Manifest, PoseSpec
from flowtrack.runtime.pipeline import open_pipeline
from flowtrack.structs import Frame
from tests.support.graphs import blind_detector, constant, pooled_heatmaps, tiny_bundle

ONE = {"y": np.zeros((1, 2), np.float32)}


def saved(folder, data, name="net.onnx"):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("dtype", "shape", "want"),
    [
        ("uint8", ("N", 480, 640, 3), InputSpec(("x",), "uint8", "nhwc", height=480, width=640)),
        ("float32", (1, 3, 64, 48),
         InputSpec(("x",), "float32", "nchw", batch=1, height=64, width=48)),
        ("float16", (4, 3, "H", "W"), InputSpec(("x",), "float16", "nchw", batch=4)),
        ("float32", (3, "H", "W"), InputSpec(("x",), "float32", "nchw", batch=1)),
        ("uint8", (32, 64, 3), InputSpec(("x",), "uint8", "nhwc", batch=1, height=32, width=64)),
    ],
)  # fmt: skip
def test_facts_are_read_from_the_graph(tmp_path, dtype, shape, want):
    entry = describe_network(saved(tmp_path, constant({"x": (dtype, shape)}, ONE)), "detector")
    assert entry.input == want
    assert entry.path == "detector.onnx"
    assert entry.precision == ("fp16" if dtype == "float16" else "fp32")
    assert entry.source == {"file": "net.onnx"}


def test_facts_that_the_graph_does_not_tell_are_given(tmp_path):
    graph = saved(tmp_path, constant({"x": ("float32", (1, 3, "H", "W"))}, ONE))
    entry = describe_network(graph, "pose", IMAGENET, (64, 48))
    assert (entry.input.height, entry.input.width) == (64, 48)
    assert (entry.input.scale, entry.input.mean) == (1 / 255, (0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("inputs", "part"),
    [
        ({"x": ("float32", (1, 5))}, "detector"),
        ({"x": ("float32", (1, 4, 8, 8))}, "detector"),
        ({"x": ("int64", (1, 8, 8, 3))}, "detector"),
        ({"x": ("uint8", (8, 8, 3)), "k": ("int64", (1,))}, "detector"),
        ({"x": ("uint8", (1, 8, 8, 3))}, "flow"),
        (dict.fromkeys("ab", ("uint8", (1, 8, 8, 3))), "pose"),
    ],
)
def test_inputs_that_are_no_pictures_are_refused(tmp_path, inputs, part):
    with pytest.raises(BundleError, match=rf"{part} network .* takes .*expected . picture"):
        describe_network(saved(tmp_path, constant(inputs, ONE)), part)


def test_what_would_be_ignored_is_refused(tmp_path):
    graph = saved(tmp_path, constant({"x": ("uint8", (1, 64, 48, 3))}, ONE))
    for feeding in (IMAGENET, Feeding(scale=0.5), Feeding(std=(2.0, 2.0, 2.0))):
        with pytest.raises(OptionError, match="would be ignored"):
            describe_network(graph, "pose", feeding)
    with pytest.raises(OptionError, match="has the height 64, 32 was asked for"):
        describe_network(graph, "pose", None, (32, 48))


def test_files_that_are_no_networks_are_refused(tmp_path):
    with pytest.raises(BundleError, match="no pose network at"):
        describe_network(tmp_path / "missing.onnx", "pose")
    with pytest.raises(EngineError, match="cannot load"):
        describe_network(saved(tmp_path, b"junk"), "pose")


@pytest.mark.parametrize("flow", [False, True])
def test_a_good_bundle_passes_its_trial(tmp_path, flow):
    manifest, files = tiny_bundle(flow)
    times = trial_run(manifest, files)
    assert {name.split(".")[0] for name in times} == {"detector", "pose", "flow"}
    paths = {name: saved(tmp_path, data, name.replace("/", "_")) for name, data in files.items()}
    assert set(trial_run(manifest, paths)) == set(times)


def test_a_trial_without_flow():
    manifest, files = tiny_bundle()
    times = trial_run(dataclasses.replace(manifest, flow=None), files)
    assert not any(name.startswith("flow") for name in times)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skeleton": "posetrack17-15"}, "joints; correct `skeleton`"),
        ({"pose": {"decode": "simcc"}}, "decode 'simcc' reads 2 outputs"),
        ({"pose": {"decode": "keypoints"}}, "decode 'keypoints'"),
        ({"detector": {"decode": "yolox"}}, "decode 'yolox' reads 1 outputs"),
        ({"flow": {"layout": "nhwc"}}, "correct `layout`"),
    ],
)
def test_a_wrong_fact_shows_in_the_trial(change, message):
    manifest, files = tiny_bundle(flow=True)
    changes = {
        name: dataclasses.replace(getattr(manifest, name), **value)
        if isinstance(value, dict)
        else value
        for name, value in change.items()
    }
    with pytest.raises(BundleError, match=message):
        trial_run(dataclasses.replace(manifest, **changes), files)


def test_from_files_to_tracks(tmp_path):
    """The way of `flowtrack bundle`, on tiny networks."""
    files = {
        "detector.onnx": saved(tmp_path, blind_detector([[4, 4, 40, 60]], [0.9], 64, 64), "d.onnx"),
        "pose.onnx": saved(tmp_path, pooled_heatmaps(17, 64, 48, 4), "p.onnx"),
    }
    manifest = Manifest(
        "coco-17",
        DetectorSpec(describe_network(files["detector.onnx"], "detector"), "boxes"),
        PoseSpec(describe_network(files["pose.onnx"], "pose", IMAGENET), "heatmap"),
        FlowSpec("dis", max_side=64),
    )
    trial_run(manifest, files)
    bundle = open_bundle(write_bundle(tmp_path / "b.zip", manifest, files).path)
    loaded = open_pipeline(bundle, device="cpu", threads=1)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    tracked = [result for _, result in loaded.run(Frame(i, i / 25, image) for i in range(3))]
    assert [frame.tracks.id.tolist() for frame in tracked] == [[0], [0], [0]]


def test_real_networks(real, tmp_path):
    """YOLOX-nano, a Simple-Baselines pose network and DIS find and keep the people of a clip."""
    nets = real / "nets"
    files = {
        "detector.onnx": nets / "yolox_nano.onnx",
        "pose.onnx": nets / "ultralight_simplepose_deploy.onnx",
    }
    detector = describe_network(files["detector.onnx"], "detector", Feeding(color="bgr"))
    pose = describe_network(files["pose.onnx"], "pose", IMAGENET)
    assert (detector.input.height, detector.input.width, detector.input.layout) == (
        416, 416, "nchw",
    )  # fmt: skip
    assert (pose.input.height, pose.input.width, pose.input.batch) == (256, 192, 1)
    manifest = Manifest(
        "coco-17", DetectorSpec(detector, "yolox"), PoseSpec(pose, "heatmap"), FlowSpec("dis")
    )
    times = trial_run(manifest, files)
    assert all(times[f"{part}.engine"] > 0 for part in ("detector", "pose", "flow"))
    loaded = open_pipeline(write_bundle(tmp_path / "b", manifest, files), device="cpu", threads=2)
    images = [cv2.imread(str(path)) for path in sorted((real / "bonn").glob("*.jpg"))[:4]]
    tracked = [
        result for _, result in loaded.run(Frame(i, i / 25, im) for i, im in enumerate(images))
    ]
    assert len(tracked) == 4
    assert all(len(frame.tracks) >= 2 for frame in tracked)
    assert set(tracked[0].tracks.id) & set(tracked[3].tracks.id)
