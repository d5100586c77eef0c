"""Frame-in form of networks and bundles: every way of feeding and reading, and the gates."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from flowtrack.errors import ExportError
from flowtrack.export import frame_graphs, frame_parity, sampling
from flowtrack.export.frame_bundle import frame_bundle, frame_records
from flowtrack.export.frame_graphs import frame_graph, frame_input, sampling_graph
from flowtrack.runtime.bundle import write_bundle
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.flow import NetworkFlow
from flowtrack.runtime.manifest import FlowSpec, InputSpec, Letterbox
from flowtrack.runtime.pipeline import build_pipeline
from flowtrack.runtime.preprocess import crop_matrices, pack
from flowtrack.structs import Frame
from flowtrack.synthetic import ClipOptions, render_clip
from tests.cli.test_commands import invoke
from tests.reference import frame_in as reference
from tests.support.frames import HEIGHT, TENSORRT_HAS, WIDTH, manifest_of, pictured
from tests.support.graphs import assemble, blind_detector, network_file, tiny_bundle


def unity(shape, dtype="uint8"):
    """A pose network that gives its own input back: what is fed becomes visible."""
    cast = helper.make_node("Cast", ["crops"], ["seen"], to=onnx.TensorProto.FLOAT)
    return assemble({"crops": (dtype, shape)}, [cast], {"seen": ("float32", shape)})


FEEDING = [
    InputSpec(("crops",), height=HEIGHT, width=WIDTH),
    InputSpec(("crops",), color="bgr", height=HEIGHT, width=WIDTH),
    InputSpec(("crops",), layout="nchw", height=HEIGHT, width=WIDTH),
    InputSpec(
        ("crops",), "float32", "nchw", "rgb", 1 / 255, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3),
        height=HEIGHT, width=WIDTH,
    ),
    InputSpec(("crops",), "float16", "nhwc", "bgr", 1 / 255, height=HEIGHT, width=WIDTH),
    InputSpec(("crops",), "float32", "nchw", batch=2, height=HEIGHT, width=WIDTH),
]  # fmt: skip


@pytest.mark.parametrize("spec", FEEDING)
def test_every_way_of_feeding_is_redone_inside(spec):
    batch = spec.batch or "batch"
    shape = (batch, 3, HEIGHT, WIDTH) if spec.layout == "nchw" else (batch, HEIGHT, WIDTH, 3)
    content = unity(shape, spec.dtype)
    manifest = manifest_of()
    manifest = replace(
        manifest, pose=replace(manifest.pose, file=network_file(content, "p.onnx", spec))
    )
    engine = open_engine(frame_graph(content, "pose", manifest), "cpu", 1)
    image = pictured(4, 60, 50)
    matrices = crop_matrices([[5, 5, 30, 50], [-5, 9, 20, 33]], HEIGHT, WIDTH, 1.25)
    found = engine.infer({"frame": image, "affine": matrices})["seen"]
    crops = np.rint(reference.crops(image, matrices, HEIGHT, WIDTH)).astype(np.uint8)
    expected = pack(crops, spec).astype(np.float32)
    step = spec.scale / min(spec.std) if spec.dtype != "uint8" else 1.0
    np.testing.assert_allclose(found, expected, atol=step * 1.01)
    assert (np.abs(found - expected) < step / 100).mean() > 0.99


def test_a_network_that_does_not_cast_its_pictures_gets_bytes():
    shape = ("batch", HEIGHT, WIDTH, 3)
    content = assemble({"crops": ("uint8", shape)},
                       [helper.make_node("Identity", ["crops"], ["same"])],
                       {"same": ("uint8", shape)})  # fmt: skip
    graph = onnx.load_model_from_string(frame_graph(content, "pose", manifest_of()))
    kinds = {node.op_type: node for node in graph.graph.node}
    assert kinds["Identity"].input[0].startswith(sampling.PREFIX)
    engine = open_engine(graph.SerializeToString(), "cpu", 1)
    image = pictured(5, 30, 30)
    found = engine.infer({"frame": image, "affine": crop_matrices([[0, 0, 9, 9]], 24, 16, 1.0)})
    assert found["same"].dtype == np.uint8


def test_our_own_graphs_keep_no_bytes_between_nodes():
    """TensorRT takes uint8 only as input: all consumers of the input are casts."""
    content = unity(("batch", HEIGHT, WIDTH, 3))
    model = onnx.load_model_from_string(frame_graph(content, "pose", manifest_of()))
    for node in model.graph.node:
        if "frame" in node.input:
            assert node.op_type in ("Cast", "Shape")
        if node.op_type == "Cast":
            assert node.attribute[0].i != onnx.TensorProto.UINT8
    assert {node.op_type for node in model.graph.node} <= TENSORRT_HAS


def test_boxes_come_in_frame_pixels_whatever_the_precision():
    """Half precision is left before boxes get the coordinates of a large frame."""
    boxes = np.array([[4, 4, 20, 30], [0, 0, 48, 32]], np.float16)
    content = assemble(
        {"image": ("uint8", ("batch", 32, 48, 3))},
        [helper.make_node("Identity", ["kept"], ["boxes"]),
         helper.make_node("Identity", ["sure"], ["scores"])],
        {"boxes": ("float16", (1, 2, 4)), "scores": ("float16", (1, 2))},
        {"kept": boxes[None], "sure": np.array([[0.9, 0.5]], np.float16)},
    )  # fmt: skip
    spec = manifest_of(letterbox=Letterbox("center")).detector
    file = spec.file
    engine = open_engine(frame_graph(content, "detector", replace(manifest_of(), detector=spec)),
                         "cpu", 1)  # fmt: skip
    framed = replace(spec, file=replace(file, input=frame_input("detector", file.input)))
    plain = replace(spec, file=replace(file, input=replace(file.input, batch=1)))
    frame = Frame(0, 0.0, pictured(6, 2160, 3799))
    found = Detector(engine, framed)(frame)
    blind = open_engine(blind_detector(boxes, [0.9, 0.5], 32, 48), "cpu", 1)
    np.testing.assert_allclose(found.xyxy, Detector(blind, plain)(frame).xyxy, atol=0.01)
    assert engine.outputs[0].dtype == np.float32
    assert engine.outputs[0].shape == (1, 2, 4)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("unit", ["input", "grid"])
@pytest.mark.parametrize("size", [(32, 64), (None, None)])
def test_flow_comes_in_frame_pixels(layout, unit, size):
    """A network whose flow is how 4x4 pixels' mean colour changed: a grey level is a pixel."""
    shape = ("batch", size[0] or "rows", size[1] or "columns", 3)
    nodes = [
        helper.make_node("Cast", ["previous"], ["p"], to=1),
        helper.make_node("Cast", ["current"], ["c"], to=1),
        helper.make_node("Sub", ["c", "p"], ["d"]),
        helper.make_node("Transpose", ["d"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Slice", ["small", "zero", "two", "one"], ["uv"]),
        helper.make_node("Transpose", ["uv"], ["flow"],
                         perm=[0, 1, 2, 3] if layout == "nchw" else [0, 2, 3, 1]),
    ]  # fmt: skip
    sides = ("h", "w")
    content = assemble(
        {"previous": ("uint8", shape), "current": ("uint8", shape)}, nodes,
        {"flow": ("float32", ("b", 2, *sides) if layout == "nchw" else ("b", *sides, 2))},
        {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1])},
    )  # fmt: skip
    given_spec = InputSpec(("previous", "current"), height=size[0], width=size[1])
    before = FlowSpec("flow", network_file(content, "c.onnx", given_spec), layout, unit, 64, 16)
    manifest = replace(manifest_of(), flow=before)
    framed = frame_graph(content, "flow", manifest)
    after = replace(
        before, file=network_file(framed, "c.onnx", frame_input("flow", given_spec)), unit="input"
    )
    fields = []
    for spec, graph in ((before, content), (after, framed)):
        flow = NetworkFlow(open_engine(graph, "cpu", 1), spec)
        ends = [flow.prepare(Frame(k, 0.0, pictured(k, 90, 151))) for k in range(2)]
        fields.append(flow.between(*ends))
    assert fields[0].scale == fields[1].scale
    assert np.abs(fields[0].uv).max() > 10
    gain = 151 / 16 if unit == "grid" else 151 / 64
    np.testing.assert_allclose(fields[0].uv, fields[1].uv, atol=1.1 * gain)
    assert np.abs(fields[0].uv - fields[1].uv).mean() < 0.2 * gain


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_precision_stays_as_it_is(precision):
    """Half tensors and Q/DQ pairs behind the first cast: the same nodes, the same numbers."""
    shape = ("batch", HEIGHT, WIDTH, 3)
    if precision == "fp16":
        nodes = [helper.make_node("Cast", ["crops"], ["half"], to=onnx.TensorProto.FLOAT16),
                 helper.make_node("Mul", ["half", "gain"], ["out"])]  # fmt: skip
        stored, kind = {"gain": np.array(0.5, np.float16)}, "float16"
    else:
        nodes = [
            helper.make_node("Cast", ["crops"], ["grey"], to=onnx.TensorProto.FLOAT),
            helper.make_node("QuantizeLinear", ["grey", "scale", "zero"], ["small"]),
            helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["out"]),
        ]
        stored, kind = {"scale": np.array(2.0, np.float32), "zero": np.array(0, np.int8)}, "float32"
    content = assemble({"crops": ("uint8", shape)}, nodes, {"out": (kind, shape)}, stored)
    framed = frame_graph(content, "pose", manifest_of())
    kept = [node.op_type for node in onnx.load_model_from_string(framed).graph.node]
    assert kept[-len(nodes) :] == [node.op_type for node in nodes]
    image = pictured(8, 40, 40)
    matrices = crop_matrices([[3, 3, 30, 38]], HEIGHT, WIDTH, 1.25)
    made = open_engine(sampling_graph("pose", manifest_of()), "cpu", 1)
    crops = made.infer({"frame": image, "affine": matrices})["picture_0"][..., ::-1].copy()
    before = open_engine(content, "cpu", 1).infer({"crops": crops})
    after = open_engine(framed, "cpu", 1).infer({"frame": image, "affine": matrices})
    np.testing.assert_array_equal(before["out"], after["out"])


def test_old_operator_sets_are_converted():
    spec = InputSpec(("data",), "float32", "nchw", height=HEIGHT, width=WIDTH)
    graph = helper.make_graph(
        [helper.make_node("Relu", ["data"], ["same"])], "old",
        [helper.make_tensor_value_info("data", 1, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("same", 1, ["N", 3, HEIGHT, WIDTH])],
    )  # fmt: skip
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    manifest = manifest_of()
    manifest = replace(manifest, pose=replace(manifest.pose, file=network_file(b"", "p", spec)))
    engine = open_engine(frame_graph(old.SerializeToString(), "pose", manifest), "cpu", 1)
    assert [tensor.name for tensor in engine.inputs] == ["frame", "affine"]


@pytest.mark.parametrize(
    ("part", "spec", "message"),
    [
        ("pose", InputSpec(("frame", "affine"), color="bgr", height=4, width=4, form="frame"),
         "already"),
        ("detector", InputSpec(("image",)), "size"),
        ("detector", InputSpec(("image",), batch=4, height=64, width=64), "fixed to 4"),
        ("flow", InputSpec(("a", "b"), batch=2), "fixed to 2"),
    ],
)  # fmt: skip
def test_networks_without_a_frame_in_form_are_refused(part, spec, message):
    with pytest.raises(ExportError, match=message):
        frame_input(part, spec)


def test_a_file_that_is_no_graph_is_refused():
    with pytest.raises(ExportError, match="pose network cannot be read"):
        frame_graph(b"no graph", "pose", manifest_of())


@pytest.fixture(scope="module")
def walking():
    """Four frames of rendered people."""
    options = ClipOptions(width=320, height=240, frames=4, people=3, seed=2)
    return [frame.image for frame in render_clip(options)]


def test_a_bundle_becomes_a_frame_in_bundle(tmp_path, walking):
    manifest, files = tiny_bundle(flow=True)
    bundle = write_bundle(tmp_path / "plain", manifest, files)
    framed = frame_bundle(bundle, tmp_path / "framed.zip", walking)
    framed.verify()
    records = frame_records(framed)
    assert set(records) == {"detector", "pose", "flow"}
    for part, record in records.items():
        assert record["median_px"] <= record["limit_median_px"]
        assert record["grey_max"] <= 3
        assert framed.manifest.files()[part].input.form == "frame"
        assert manifest.files()[part].sha256 in record["against"]
    assert json.loads(framed.manifest.to_json())["pose"]["file"]["input"]["names"] == [
        "frame", "affine"
    ]  # fmt: skip


def test_a_wrong_graph_is_not_written(tmp_path, walking, monkeypatch):
    """Half a pixel aside, as with the corners aligned: the gate says so and nothing is written."""
    original = sampling.crops

    def aside(nodes, frame, affine, height, width):
        moved = nodes.add("Add", affine, nodes.constant([[0, 0, 0.5], [0, 0, 0.5]]))
        return original(nodes, frame, moved, height, width)

    monkeypatch.setattr(frame_graphs, "crops", aside)
    bundle = write_bundle(tmp_path / "plain", *tiny_bundle())
    with pytest.raises(ExportError, match="pictures of the frame-in pose graph differ"):
        frame_bundle(bundle, tmp_path / "framed", walking)
    assert not (tmp_path / "framed").exists()


def test_places_beyond_the_limit_are_refused(tmp_path, walking):
    """Another network's graph in place of the pose network's."""
    manifest, files = tiny_bundle()
    moved = replace(
        manifest, pose=replace(manifest.pose, box_padding=manifest.pose.box_padding * 1.2)
    )
    engines = {part: open_engine(files[file.path], "cpu", 1)
               for part, file in manifest.files().items()}  # fmt: skip
    pipelines = [build_pipeline(each, engines) for each in (manifest, moved)]
    frame_parity.place_record("pose", pipelines[0], pipelines[0], walking)
    with pytest.raises(ExportError, match="differs from the one that takes pictures"):
        frame_parity.place_record("pose", *pipelines, walking)


def test_frames_that_show_nothing_prove_nothing(tmp_path):
    manifest, files = tiny_bundle()
    blind = blind_detector([[4, 4, 40, 60]], [0.1], 64, 64)
    file = network_file(blind, "detector.onnx", manifest.detector.file.input)
    manifest = replace(manifest, detector=replace(manifest.detector, file=file))
    bundle = write_bundle(tmp_path / "plain", manifest, {**files, "detector.onnx": blind})
    with pytest.raises(ExportError, match="frames with people"):
        frame_bundle(bundle, tmp_path / "framed", [pictured(0, 64, 64)] * 2)
    with pytest.raises(ExportError, match="two or more"):
        frame_bundle(bundle, tmp_path / "framed", [pictured(0, 64, 64)])


def test_the_command(tmp_path, walking):
    write_bundle(tmp_path / "plain", *tiny_bundle(flow=True))
    (tmp_path / "frames").mkdir()
    for index, image in enumerate(walking):
        cv2.imwrite(str(tmp_path / "frames" / f"{index}.png"), image)
    done = invoke(
        "export", "frame-in", "--bundle", tmp_path / "plain", "--out", tmp_path / "framed",
        "--frames", tmp_path / "frames", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["parity"]) == {"detector", "pose", "flow"}
    again = invoke(
        "export", "frame-in", "--bundle", tmp_path / "framed", "--out", tmp_path / "twice"
    )
    assert again.exit_code == 1
    assert "already" in again.output
