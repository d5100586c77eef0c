"""Networks that read whole frames: the same results, from a frame that is brought there once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from examples.puppets import clip, networks
from flowtrack.errors import BundleError
from flowtrack.export.frame_bundle import frame_bundle
from flowtrack.export.frame_graphs import frame_graph, frame_input
from flowtrack.runtime.bundle import open_bundle, write_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.runtime.engines import Engine, open_engine
from flowtrack.runtime.engines.base import DeviceArray
from flowtrack.runtime.flow import NetworkFlow
from flowtrack.runtime.manifest import FlowSpec, InputSpec, Manifest
from flowtrack.runtime.network import check_engine
from flowtrack.runtime.pipeline import build_pipeline, open_pipeline
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.skeleton import COCO_17
from flowtrack.structs import Boxes, Frame
from flowtrack.synthetic import ClipOptions, render_clip
from flowtrack.tracker.options import TrackerOptions
from tests.support.graphs import assemble, network_file, pooled_heatmaps, tiny_bundle

SIZE = (256, 320)
MANIFEST = tiny_bundle()[0]


class Device(Engine):
    """An engine with a memory of its own: what was placed there is read, and nothing else is."""

    def __init__(self, engine, uploads):
        self.engine = engine
        self.inputs, self.outputs, self.device = engine.inputs, engine.outputs, "a device"
        self.uploads = uploads

    def place(self, array):
        self.uploads.append(array.shape)
        return DeviceArray(array.dtype, array.shape, self.device, array.copy())

    def _run(self, feeds):
        frames = [value for value in feeds.values() if value.dtype == np.uint8]
        assert all(isinstance(value, DeviceArray) for value in frames), "a frame was not placed"
        plain = {
            name: value.handle if isinstance(value, DeviceArray) else value
            for name, value in feeds.items()
        }
        return self.engine.infer(plain)


def rendered(seed, count=8):
    options = clip.ClipOptions(SIZE[1], SIZE[0], frames=count, fps=8, seed=seed)
    return [Frame(i, i / 8, image) for i, (image, _) in enumerate(clip.render(options))]


def moving(spec):
    """A flow network that sees half of the difference of two pictures' colours."""
    shape = ("batch", 64, 64, 3)
    nodes = [
        helper.make_node("Cast", ["previous"], ["p"], to=1),
        helper.make_node("Cast", ["current"], ["c"], to=1),
        helper.make_node("Sub", ["c", "p"], ["d"]),
        helper.make_node("Transpose", ["d"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["small", "weights"], ["flow"]),
    ]
    weights = np.array([[0.02, 0, 0], [0, 0.02, 0]], np.float32).reshape(2, 3, 1, 1)
    return assemble(
        dict.fromkeys(spec.names, ("uint8", shape)),
        nodes,
        {"flow": ("float32", ("batch", 2, 8, 8))},
        {"weights": weights},
    )


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """Puppets' networks and a flow network in both forms: manifest and graphs by part."""
    folder = tmp_path_factory.mktemp("puppets")
    made = networks.build(folder, *SIZE)
    graphs = {part: (folder / f"{part}.onnx").read_bytes() for part in ("detector", "pose")}
    feeding = InputSpec(("previous", "current"), height=64, width=64)
    graphs["flow"] = moving(feeding)
    flow = FlowSpec("flow", network_file(graphs["flow"], "flow.onnx", feeding))
    manifest = Manifest("coco-17", made.detector, made.pose, flow)
    files = {manifest.files()[part].path: graph for part, graph in graphs.items()}
    bundle = write_bundle(folder / "plain", manifest, files)
    frames = [frame.image for frame in rendered(0, 4)]
    framed = frame_bundle(bundle, folder / "framed", frames)
    return {"pictures": bundle, "frame": framed}


def pipeline_of(bundle, uploads=None, options=None):
    engines = {part: open_engine(bundle.read(part), "cpu", 1) for part in bundle.manifest.files()}
    if uploads is not None:
        engines = {part: Device(engine, uploads) for part, engine in engines.items()}
    return build_pipeline(bundle.manifest, engines, options)


def assert_near(one, other):
    np.testing.assert_array_equal(one.tracks.id, other.tracks.id)
    np.testing.assert_allclose(one.boxes.xyxy, other.boxes.xyxy, atol=1.5)
    np.testing.assert_allclose(one.poses.xy, other.poses.xy, atol=1.5)
    if one.flow is not None:
        assert one.flow.scale == other.flow.scale
        np.testing.assert_allclose(one.flow.uv, other.flow.uv, atol=0.2)


def assert_same(one, other):
    np.testing.assert_array_equal(one.tracks.id, other.tracks.id)
    np.testing.assert_array_equal(one.poses.xy, other.poses.xy)
    np.testing.assert_array_equal(one.boxes.xyxy, other.boxes.xyxy)


def stepped(pipeline, frames):
    stream = pipeline.stream()
    return [pipeline.step(stream, frame) for frame in frames]


def test_both_forms_track_alike(forms):
    frames = rendered(0)
    for one, other in zip(*(stepped(pipeline_of(form), frames) for form in forms.values()),
                          strict=True):  # fmt: skip
        assert len(one.tracks) > 0
        assert_near(one, other)


@pytest.mark.parametrize(
    "options",
    [TrackerOptions(), TrackerOptions(flow_links="direct", queue=3),
     TrackerOptions(detect_every=3), TrackerOptions(similarity="bbox", propagate=False)],
)  # fmt: skip
def test_each_frame_is_placed_once_and_only_once(forms, options):
    uploads = []
    pipeline = pipeline_of(forms["frame"], uploads, options)
    frames = rendered(1)
    placed = stepped(pipeline, frames)
    assert uploads == [(*SIZE, 3)] * len(frames)
    assert all("upload" in tracked.timing_ms for tracked in placed)
    plain = stepped(pipeline_of(forms["frame"], options=options), frames)
    for one, other in zip(placed, plain, strict=True):
        assert_same(one, other)


def test_pictures_are_never_placed(forms):
    uploads = []
    pipeline = pipeline_of(forms["pictures"])
    pipeline.detector.engine = Device(pipeline.detector.engine, uploads)
    with pytest.raises(AssertionError, match="not placed"):
        pipeline.step(pipeline.stream(), rendered(0, 1)[0])
    assert uploads == []


def test_overlapped_and_batched_give_what_steps_give(forms):
    uploads = []
    pipeline = pipeline_of(forms["frame"], uploads)
    videos = [rendered(0), rendered(1)]
    steps = [stepped(pipeline, frames) for frames in videos]
    uploads.clear()
    overlapped = list(pipeline.run(videos[0]))
    assert len(uploads) == len(videos[0])
    for frame, (given, tracked), step in zip(videos[0], overlapped, steps[0], strict=True):
        assert given is frame  # not the copy that holds the device's memory
        assert_same(tracked, step)
    streams = [pipeline.stream() for _ in videos]
    for index, frames in enumerate(zip(*videos, strict=True)):
        for tracked, step in zip(pipeline.step_batch(streams, frames),
                                 (each[index] for each in steps), strict=True):  # fmt: skip
            assert_same(tracked, step)


def test_a_frame_that_its_owner_overwrites_is_remembered_as_it_was(forms):
    """Where nothing is uploaded, the flow keeps a copy of the frame before."""
    pipeline = pipeline_of(forms["frame"])
    first, second = rendered(0, 2)
    expected = stepped(pipeline, [first, second])[1].flow.uv
    buffer, stream = first.image.copy(), pipeline.stream()
    pipeline.step(stream, Frame(0, 0.0, buffer))
    buffer[:] = second.image
    np.testing.assert_array_equal(pipeline.step(stream, Frame(1, 0.1, buffer)).flow.uv, expected)


@pytest.mark.parametrize("batch", ["N", 3])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("counts", [(1, 0), (2, 5), (40, 1)])
def test_people_of_several_frames(batch, flip, counts):
    """Split, filled up and mirrored as crops are; frames without people are not read."""
    feeding = InputSpec(("data",), "float32", "nchw", scale=1 / 255, height=64, width=48,
                        batch=batch if isinstance(batch, int) else None)  # fmt: skip
    content = pooled_heatmaps(17, 64, 48, 4, batch)
    made = network_file(content, "pose.onnx", feeding)
    spec = replace(MANIFEST.pose, file=made, flip_test=flip)
    graph = frame_graph(content, "pose", replace(MANIFEST, pose=spec))
    framed = replace(spec, file=network_file(graph, "pose.onnx", frame_input("pose", feeding)))
    random = np.random.default_rng(0)
    frames = [Frame(k, 0.0, random.integers(0, 256, (*SIZE, 3), np.uint8)) for k in range(2)]
    boxes = []
    for count in counts:
        corner = random.uniform(-20, 250, (count, 2))
        xyxy = np.concatenate([corner, corner + random.uniform(10, 150, (count, 2))], 1)
        boxes.append(Boxes.detected(xyxy.astype(np.float32), np.ones(count, np.float32)))
    uploads, poses = [], []
    for each, data in ((spec, content), (framed, graph)):
        engine = open_engine(data, "cpu", 1)
        reader = Device(engine, uploads) if each is framed else engine
        poses.append(PoseEstimator(reader, each, COCO_17).estimate(frames, boxes))
    assert len(uploads) == sum(count > 0 for count in counts)
    for one, other in zip(*poses, strict=True):
        np.testing.assert_allclose(one.score, other.score, atol=0.01)
        same = np.isclose(one.xy, other.xy, atol=0.01, equal_nan=True)
        assert same.size == 0 or same.mean() > 0.9


def test_the_default_networks_track_a_rendered_clip_alike(tmp_path):
    shown = list(render_clip(ClipOptions(width=432, height=243, frames=10, people=3, seed=5)))
    frames = [Frame(frame.index, frame.time_s, frame.image) for frame in shown]
    bundle = open_bundle(default_bundle_path())
    framed = frame_bundle(bundle, tmp_path / "framed", [frame.image for frame in frames[:3]])
    plain, inside = (
        stepped(open_pipeline(each, device="cpu", threads=1), frames) for each in (bundle, framed)
    )
    alike = [
        (one, other)
        for one, other in zip(plain, inside, strict=True)
        if np.array_equal(one.tracks.id, other.tracks.id)
    ]
    assert len(alike) >= len(frames) - 1  # somebody may be at a threshold once
    distance = np.concatenate(
        [np.linalg.norm(one.poses.xy - other.poses.xy, axis=2).ravel() for one, other in alike]
    )
    assert np.isfinite(distance).sum() > 300
    assert np.nanmedian(distance) < 0.1
    assert np.nanquantile(distance, 0.95) < 3


@pytest.mark.parametrize(
    ("part", "feeding", "inputs", "message"),
    [
        ("pose", {}, {"frame": ("uint8", ("h", "w", 3)), "affine": ("float32", ("n", 3, 2))},
         "takes 'affine' as float32 of shape"),
        ("pose", {"batch": 2},
         {"frame": ("uint8", ("h", "w", 3)), "affine": ("float32", (4, 2, 3))}, r"\(2, 2, 3\)"),
        ("pose", {}, {"frame": ("uint8", ("b", "h", "w", 3)), "affine": ("float32", ("n", 2, 3))},
         "takes 'frame' as uint8 of shape"),
        ("pose", {}, {"frame": ("float32", ("h", "w", 3)), "affine": ("float32", ("n", 2, 3))},
         "as float32"),
        ("detector", {}, {"frame": ("uint8", (480, 640, 3))}, "480"),
        ("detector", {}, {"crops": ("uint8", ("h", "w", 3))}, "the manifest names"),
    ],
)  # fmt: skip
def test_networks_that_read_something_else_are_refused(part, feeding, inputs, message):
    names = ("frame", "affine") if part == "pose" else ("frame",)
    spec = InputSpec(names, color="bgr", height=64, width=48, form="frame", **feeding)
    nodes = [helper.make_node("Shape", [name], [f"s_{name}"]) for name in inputs]
    outputs = {f"s_{name}": ("int64", (len(shape),)) for name, (_, shape) in inputs.items()}
    with pytest.raises(BundleError, match=message):
        check_engine(part, open_engine(assemble(inputs, nodes, outputs), "cpu"), spec)


def test_flow_of_frames_is_read_in_frame_pixels(forms):
    frames = rendered(2, 2)
    fields = []
    for form in forms.values():
        flow = pipeline_of(form).flow
        assert isinstance(flow, NetworkFlow)
        fields.append(flow.between(*(flow.prepare(frame) for frame in frames)))
    assert np.abs(fields[0].uv).max() > 1
    np.testing.assert_allclose(fields[0].uv, fields[1].uv, atol=0.15)
