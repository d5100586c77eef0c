"""Exported files: contract, cleanliness, parity record, and nothing left behind on failure."""

from __future__ import annotations

import copy
import hashlib
import json

import numpy as np
import onnx
import pytest
import torch

from flowtrack.errors import ExportError, InputError, OptionError
from flowtrack.export import export_detector, export_flow, export_pose, onnx_export, parity
from flowtrack.export.graphs import DetectorGraph, FlowGraph, PoseGraph
from flowtrack.export.parity_inputs import batches, followers, pictures
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import InputSpec
from flowtrack.skeleton import COCO_17, POSETRACK17_15
from flowtrack.training.models import FlowNet2S, PoseResNet
from tests.export import networks

IMAGES = [
    np.random.default_rng(5).integers(0, 256, (60 + 7 * i, 80, 3), np.uint8) for i in range(3)
]

ALLOWED = {
    "Cast", "Transpose", "Mul", "Sub", "Add", "Div", "Conv", "ConvTranspose", "Relu", "LeakyRelu",
    "Sigmoid", "MaxPool", "ReduceMax", "ReduceMean", "ArgMax", "TopK", "Gather", "GatherElements",
    "Reshape", "Unsqueeze", "Squeeze", "Expand", "Slice", "Concat", "Sign", "Greater",
    "Equal",
}  # fmt: skip
"""Operations that TensorRT 10 lists as supported with the types used (Clip of integers is not)."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One of each kind, exported once."""
    folder = tmp_path_factory.mktemp("exported")
    return {
        "pose": export_pose(networks.pose(), folder / "pose.onnx", skeleton=COCO_17,
                            height=96, width=64, images=IMAGES),
        "flipped": export_pose(networks.pose(15), folder / "flipped.onnx",
                               skeleton=POSETRACK17_15, height=64, width=96, color="bgr",
                               flip_test=True),
        "detector": export_detector(networks.detector(), folder / "detector.onnx",
                                    height=96, width=128, images=IMAGES),
        "flow": export_flow(networks.flow(), folder / "flow.onnx", images=IMAGES),
        "fixed": export_flow(networks.flow(), folder / "fixed.onnx", height=64, width=128),
    }  # fmt: skip


KINDS = ("pose", "flipped", "detector", "flow", "fixed")

CONTRACTS = {
    "pose": ({"crops": ("batch", 96, 64, 3)}, {"keypoints": ("batch", 17, 3)}),
    "flipped": ({"crops": ("batch", 64, 96, 3)}, {"keypoints": ("batch", 15, 3)}),
    "detector": (
        {"image": ("batch", 96, 128, 3)},
        {"boxes": ("batch", 100, 4), "scores": ("batch", 100)},
    ),
    "flow": (
        dict.fromkeys(("previous", "current"), ("batch", "height", "width", 3)),
        {"flow": ("batch", 2, "flow_height", "flow_width")},
    ),
    "fixed": (
        dict.fromkeys(("previous", "current"), ("batch", 64, 128, 3)),
        {"flow": ("batch", 2, 16, 32)},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_contract(exported, kind):
    engine = open_engine(exported[kind].path, "cpu")
    inputs, outputs = CONTRACTS[kind]
    assert {spec.name: tuple(spec.shape) for spec in engine.inputs} == inputs
    assert {spec.name: tuple(spec.shape) for spec in engine.outputs} == outputs
    assert all(spec.dtype == np.uint8 for spec in engine.inputs)
    assert all(spec.dtype == np.float32 for spec in engine.outputs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_clean(exported, kind):
    result = exported[kind]
    content = result.path.read_bytes()
    assert result.sha256 == hashlib.sha256(content).hexdigest()
    model = onnx.load_from_string(content)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version <= 10
    assert model.producer_name == "flowtrack"
    assert not model.functions
    assert not any(constant.external_data for constant in model.graph.initializer)
    for word in (b".py", b"site-packages", b"stack_trace", b"torch.onnx"):
        assert word not in content, word
    nodes = model.graph.node
    assert {node.op_type for node in nodes} <= ALLOWED
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    assert all(name.rpartition("/")[2].startswith(node.op_type)
               for name, node in zip(names, nodes, strict=True))  # fmt: skip
    convolutions = [name for name in names if name.endswith("Conv")]
    assert convolutions
    assert all(name.startswith("network.") for name in convolutions)
    assert not any("weight_bias" in name for node in nodes for name in node.input)
    used = {name for node in nodes for name in node.input}
    assert {constant.name for constant in model.graph.initializer} <= used


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_cast_before_anything_else(exported, kind):
    graph = onnx.load(exported[kind].path).graph
    for picture in graph.input:
        readers = [node.op_type for node in graph.node if picture.name in node.input]
        assert readers == ["Cast"]


def test_metadata(exported):
    model = onnx.load(exported["flipped"].path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert entries["flowtrack.contract"] == "pose"
    assert entries["flowtrack.skeleton"] == "posetrack17-15"
    assert entries["flowtrack.joints"].split(",") == list(POSETRACK17_15.joints)
    assert entries["flowtrack.size"] == "96x64"
    assert entries["flowtrack.color"] == "bgr"
    assert entries["flowtrack.flip_test"] == "True"
    sizes = onnx.load(exported["flow"].path).metadata_props
    assert {entry.key: entry.value for entry in sizes}["flowtrack.size"] == "free"


def test_input_specs(exported):
    assert exported["pose"].input == InputSpec(("crops",), height=96, width=64)
    assert exported["flipped"].input == InputSpec(("crops",), color="bgr", height=64, width=96)
    assert exported["detector"].input == InputSpec(("image",), height=96, width=128)
    assert exported["flow"].input == InputSpec(("previous", "current"))
    assert exported["fixed"].input == InputSpec(("previous", "current"), height=64, width=128)


@pytest.mark.parametrize("kind", KINDS)
def test_the_parity_record(exported, kind):
    record = exported[kind].parity
    assert json.loads(json.dumps(record)) == record
    assert record["limit_px"] == 1e-3
    assert 0 <= record["mean_px"] <= record["max_px"] <= 1e-3
    assert record["batch_sizes"][0] == 1
    assert record["batch_sizes"][-1] > 1
    assert set(record["versions"]) == {"torch", "onnx", "onnxruntime"}
    total = record.get("joints", record.get("boxes", np.inf))
    assert record["ambiguous"] <= 0.1 * total  # otherwise the comparison shows little
    entry = exported[kind].network_file("x.onnx", {"checkpoint": "a.pth"})
    assert (entry.sha256, entry.parity) == (exported[kind].sha256, record)


def test_own_images_are_compared_too(exported):
    assert exported["pose"].parity["samples"] == 4 + len(IMAGES)
    assert exported["pose"].parity["inputs"].endswith("3 images")
    assert exported["flow"].parity["sizes"] == ["128x256", "192x128"]


def test_batches_give_what_single_pictures_give(exported):
    engine = open_engine(exported["flipped"].path, "cpu")
    crops = np.random.default_rng(6).integers(0, 256, (5, 64, 96, 3), np.uint8)
    together = engine.infer({"crops": crops})["keypoints"]
    for row, crop in zip(together, crops, strict=True):
        alone = engine.infer({"crops": crop[None]})["keypoints"][0]
        np.testing.assert_allclose(row[:, 2], alone[:, 2], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(row, alone, atol=1e-3)


def test_flow_takes_every_size(exported):
    engine = open_engine(exported["flow"].path, "cpu")
    network = networks.flow()
    for height, width in ((64, 64), (64, 320), (192, 128)):
        pair = np.random.default_rng(7).integers(0, 256, (2, 1, height, width, 3), np.uint8)
        flow = engine.infer(dict(zip(("previous", "current"), pair, strict=True)))["flow"]
        planes = [torch.from_numpy(picture).permute(0, 3, 1, 2).float() for picture in pair]
        with torch.no_grad():
            want = network.quarter_flow(*planes).numpy()
        assert flow.shape == (1, 2, height // 4, width // 4)
        np.testing.assert_allclose(flow, want, atol=1e-3)


def test_the_network_is_left_as_it_was(tmp_path):
    network = networks.flow().double().train()
    before = copy.deepcopy(network.state_dict())
    export_flow(network, tmp_path / "flow.onnx", height=64, width=64)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float64
        assert torch.equal(value, before[key])


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export_flow(networks.flow(), tmp_path / name, height=64, width=64)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_flow_network_with_batch_norm_and_fixed_means(tmp_path):
    network = networks.flow(decoder_bias=False, batch_norm=True, fixed_mean=(0.4, 0.4, 0.4))
    result = export_flow(network, tmp_path / "flow.onnx", height=64, width=64)
    assert result.parity["max_px"] <= 1e-3


class Skewed:
    """An engine whose graph is off by a little."""

    def __init__(self, engine, skew):
        self.engine, self.skew = engine, skew
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def infer(self, feeds):
        result = {name: value.copy() for name, value in self.engine.infer(feeds).items()}
        self.skew(result)
        return result


def skew_joint(result):
    result["keypoints"][-1, 9, 0] += 0.01


def skew_score(result):
    result["keypoints"][-1, 3, 2] *= 1.1


def lose_joint(result):
    result["keypoints"][0, 0] = np.nan


def skew_box(result):
    result["boxes"][-1, 2, 3] += 0.01


def lose_box(result):
    result["scores"][:, 50:] = 0.0


def invent_box(result):
    result["boxes"][0, 99] = (1.0, 2.0, 3.0, 4.0)


def unsort(result):
    result["scores"][:] = result["scores"][:, ::-1].copy()


def skew_flow(result):
    result["flow"][0, 1, 2, 3] += 0.01


@pytest.mark.parametrize(
    ("kind", "skew", "words"),
    [
        ("pose", skew_joint, ["0.01 px", "left_wrist", "limit of 0.001"]),
        ("pose", skew_score, ["reach", "left_ear"]),
        ("pose", lose_joint, ["nan px", "picture 0", "nose"]),
        ("detector", skew_box, ["px"]),
        ("detector", lose_box, ["px"]),
        ("detector", invent_box, ["px"]),
        ("detector", unsort, ["not sorted"]),
        ("fixed", skew_flow, ["0.01 px", "picture 0"]),
    ],
)
def test_a_graph_that_differs_is_refused(exported, kind, skew, words):
    engine = Skewed(open_engine(exported[kind].path, "cpu"), skew)
    with pytest.raises(ExportError) as caught:
        compared(kind, engine)
    for word in words:
        assert word in str(caught.value)


def compared(kind, engine):
    if kind == "pose":
        graph = PoseGraph(networks.pose(), COCO_17, 96, 64).eval()
        crops, _ = pictures(96, 64, None, "rgb")
        return parity.pose_parity(graph, engine, batches(crops), COCO_17)
    if kind == "detector":
        frames, _ = pictures(96, 128, None, "rgb")
        graph = DetectorGraph(networks.detector(), 96, 128).eval()
        return parity.detector_parity(graph, engine, batches(frames))
    frames, _ = pictures(64, 128, None, "rgb")
    pairs = list(zip(batches(frames), batches(followers(frames)), strict=True))
    return parity.flow_parity(FlowGraph(networks.flow()).eval(), engine, pairs)


@pytest.mark.parametrize("kind", ["pose", "detector", "fixed"])
def test_a_graph_that_is_equal_passes(exported, kind):
    engine = Skewed(open_engine(exported[kind].path, "cpu"), lambda result: None)
    assert compared(kind, engine)["max_px"] <= 1e-3


def test_a_refused_export_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(
        onnx_export, "open_engine", lambda *arguments: Skewed(open_engine(*arguments), skew_flow)
    )
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"what was there before")
    with pytest.raises(ExportError, match=r"0\.01 px"):
        export_flow(networks.flow(), path, height=64, width=64)
    assert [entry.name for entry in tmp_path.iterdir()] == ["graph.onnx"]
    assert path.read_bytes() == b"what was there before"


def test_joints_that_hang_on_rounding_are_counted_not_hidden():
    heatmaps = np.full((1, 4, 6, 6), -1.0, np.float32)
    heatmaps[0, :, 3, 3] = 1.0
    heatmaps[0, :, 3, 2] = 0.5  # a clear slope along both axes
    heatmaps[0, :, 2, 3] = 0.5
    heatmaps[0, 1, 4, 4] = 1.0 - 1e-5  # a second peak as high
    heatmaps[0, 2, 3, 4] = 0.5 + 1e-5  # the slope along x is gone
    heatmaps[0, 3] -= 1.0  # whether the peak is positive is chance
    reach = parity._reach(heatmaps)
    assert parity._ambiguous_joints(heatmaps, reach)[0].tolist() == [False, True, True, True]
    keypoints = np.zeros((1, 4, 3), np.float32)
    keypoints[0, :, :2] = [[11, 11], [16, 16], [12, 11], [0, 0]]  # the other choice each time
    assert (parity._value_gap(heatmaps, keypoints, 4) <= parity.AMBIGUOUS * reach).all()
    keypoints[0, 1, :2] = 4.0, 4.0  # a place that is no peak at all
    assert parity._value_gap(heatmaps, keypoints, 4)[0, 1] > 1.0


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda p: export_flow(networks.flow(), p / "a.bin"), OptionError, "onnx"),
        (lambda p: export_flow(networks.flow(), p / "no" / "a.onnx"), ExportError, "folder"),
        (lambda p: export_flow(networks.flow(), p / "a.onnx", height=64), OptionError, "both"),
        (lambda p: export_flow(networks.flow(), p / "a.onnx", height=64, width=100),
         OptionError, "100x64"),
        (lambda p: export_flow(networks.flow(), p / "a.onnx", opset=9), OptionError, "opset is 9"),
        (lambda p: export_flow(networks.flow(), p / "a.onnx", color="gray"), OptionError, "gray"),
        (lambda p: export_flow(networks.flow(), p / "a.onnx", images=[np.zeros((4, 4))]),
         InputError, "image 0"),
        (lambda p: export_pose(networks.pose(5), p / "a.onnx", skeleton=COCO_17),
         OptionError, "17 joints"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused_before_work(tmp_path, call, error, word):
    with pytest.raises(error, match=word):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_later_opset_can_be_asked_for(tmp_path):
    export_flow(networks.flow(), tmp_path / "a.onnx", height=64, width=64, opset=20)
    assert onnx.load(tmp_path / "a.onnx").opset_import[0].version == 20


def test_the_papers_pose_network_at_full_size(tmp_path):
    torch.manual_seed(0)
    result = export_pose(networks.lively(PoseResNet(50), 64, 64), tmp_path / "pose.onnx",
                         skeleton=COCO_17)  # fmt: skip
    assert result.path.stat().st_size == pytest.approx(4 * 33_999_697, rel=0.01)
    assert result.parity["max_px"] <= 1e-3


def test_the_papers_flow_network_at_full_size(tmp_path):
    torch.manual_seed(0)
    result = export_flow(FlowNet2S(), tmp_path / "flow.onnx", height=384, width=512)
    assert result.path.stat().st_size == pytest.approx(4 * 38_676_506, rel=0.01)
    assert result.parity["max_px"] <= 1e-3
    # The mean over a whole picture must not be the weak spot (it was 0.0011 px).
    assert result.parity["max_px"] <= 3e-4
