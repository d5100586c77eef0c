"""Checkpoints of every known project load by key name, and everything else is refused by name."""

from __future__ import annotations

import datetime
import pickle
import re
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from flowtrack.errors import CheckpointError
from flowtrack.training import checkpoint_file
from flowtrack.training.checkpoints import (
    load_backbone,
    load_detector,
    load_flow,
    load_pose,
    save_detector,
    save_flow,
    save_pose,
)
from flowtrack.training.models import IMAGENET_MEAN, CenterDetector, FlowNet2S, PoseResNet


def small_pose(**changes):
    torch.manual_seed(3)
    options = {"deconv_channels": (8, 8, 8), "width": 0.25, **changes}
    network = PoseResNet(options.pop("depth", 18), options.pop("joints", 5), **options)
    for key, value in network.state_dict().items():  # fresh statistics would hide a lost buffer
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    return network.eval()


def small_flow(**changes):
    torch.manual_seed(4)
    network = FlowNet2S(1 / 8, **changes)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter)
    return network.eval()


def small_detector(**changes):
    torch.manual_seed(5)
    return CenterDetector(
        18, deconv_channels=(12, 10, 8), head_channels=4, width=0.25, **changes
    ).eval()


def same(state, other):
    return state.keys() == other.keys() and all(
        torch.equal(state[key], other[key]) for key in state
    )


def official(state):
    return OrderedDict(state)


def official_training(state):
    prefixed = {f"module.{key}": value for key, value in state.items()}
    return {"epoch": 140, "model": "pose_resnet", "state_dict": prefixed, "perf": np.float64(0.7)}


def without_counters(state):
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def mmpose(head):
    def wrap(state):
        def name(key):
            is_head = key.startswith(("deconv_layers", "final_layer"))
            return f"{head}.{key}" if is_head else f"backbone.{key}"

        meta = {
            "mmpose_version": "1.0.0",
            "time": "20220923",
            "dataset_meta": {"sigmas": np.array([0.026, 0.079]), "num_keypoints": 17},
            "best_score": np.float32(0.718),
            "date": datetime.datetime(2022, 9, 23, 12, 0, 0),
        }
        renamed = OrderedDict((name(key), value) for key, value in state.items())
        renamed["data_preprocessor.mean"] = torch.zeros(3, 1, 1)
        return {"meta": meta, "state_dict": renamed}

    return wrap


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("wrap", "layout", "color"),
    [
        (official, "official", "bgr"),
        (official_training, "official", "bgr"),
        (without_counters, "official", "bgr"),
        (mmpose("keypoint_head"), "mmpose-0.x", "rgb"),
        (mmpose("head"), "mmpose-1.x", "rgb"),
    ],
)
def test_pose_layouts(tmp_path, wrap, layout, color, zipped):
    network = small_pose()
    path = tmp_path / "pose.pth"
    torch.save(wrap(network.state_dict()), path, _use_new_zipfile_serialization=zipped)
    loaded = load_pose(path)
    assert (loaded.layout, loaded.color, loaded.skeleton) == (layout, color, None)
    assert same(loaded.network.state_dict(), network.state_dict())
    assert not loaded.network.training
    assert load_pose(path, color="rgb").color == "rgb"


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 34, "joints": 14},
        {"depth": 50, "width": 0.125},
        {"depth": 101, "width": 0.0625},
        {"depth": 152, "width": 0.0625},
        {"deconv_channels": (10, 8), "deconv_kernel": 3},
        {"deconv_kernel": 2, "deconv_channels": (16, 12, 8)},
        {"deconv_channels": (10, 8), "laterals": True},
    ],
    ids=str,
)
def test_pose_architecture_follows_from_the_tensors(tmp_path, options):
    network = small_pose(**options)
    path = tmp_path / "pose.pth"
    torch.save(network.state_dict(), path)
    found = load_pose(path).network
    for name in ("depth", "width", "joints", "stride"):
        assert getattr(found, name) == getattr(network, name), name
    assert (found.laterals is None) == (network.laterals is None)
    crops = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(found(crops), network(crops))


def test_own_pose_checkpoint(tmp_path):
    network = small_pose()
    save_pose(tmp_path / "own.pt", network, skeleton="posetrack17-15", color="bgr", epoch=3)
    loaded = load_pose(tmp_path / "own.pt")
    assert (loaded.layout, loaded.color, loaded.skeleton) == ("flowtrack", "bgr", "posetrack17-15")
    assert same(loaded.network.state_dict(), network.state_dict())
    assert checkpoint_file.read_checkpoint(tmp_path / "own.pt").extra["epoch"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["own.pt"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    network = small_pose()
    path = tmp_path / "own.pt"
    save_pose(path, network, skeleton="coco-17")
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        save_pose(path, network, skeleton="coco-17", bad=lambda: None)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["own.pt"]
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_pose(tmp_path / "nowhere" / "own.pt", network, skeleton="coco-17")


@pytest.mark.parametrize(
    ("options", "extra", "layout", "mean", "div_flow"),
    [
        ({}, {"epoch": 1, "best_EPE": np.float64(1.8)}, "nvidia", None, 20.0),
        ({"decoder_bias": False}, {"arch": "flownets", "div_flow": 10}, "clement-pinard",
         (0.411, 0.432, 0.45), 10.0),
        ({"decoder_bias": False, "batch_norm": True}, {}, "clement-pinard",
         (0.411, 0.432, 0.45), 20.0),
    ],
)  # fmt: skip
def test_flow_layouts(tmp_path, options, extra, layout, mean, div_flow):
    network = small_flow(**options)
    path = tmp_path / "flow.pth.tar"
    torch.save({"state_dict": network.state_dict(), **extra}, path)
    loaded = load_flow(path)
    assert (loaded.layout, loaded.color) == (layout, "rgb")
    assert (loaded.network.fixed_mean, loaded.network.div_flow) == (mean, div_flow)
    assert loaded.network.width == 1 / 8
    assert same(loaded.network.state_dict(), network.state_dict())
    assert load_flow(path, color="bgr").color == "bgr"


def test_own_flow_checkpoint(tmp_path):
    network = small_flow(fixed_mean=(0.1, 0.2, 0.3), div_flow=5.0)
    save_flow(tmp_path / "own.pt", network, color="bgr")
    loaded = load_flow(tmp_path / "own.pt")
    assert (loaded.layout, loaded.color) == ("flowtrack", "bgr")
    assert (loaded.network.fixed_mean, loaded.network.div_flow) == ((0.1, 0.2, 0.3), 5.0)
    assert same(loaded.network.state_dict(), network.state_dict())


def test_detector_layouts(tmp_path):
    network = small_detector(classes=3)
    torch.save({"epoch": 1, "state_dict": network.state_dict()}, tmp_path / "theirs.pth")
    loaded = load_detector(tmp_path / "theirs.pth")
    assert (loaded.layout, loaded.color, loaded.network.classes) == ("centernet", "bgr", 3)
    assert loaded.mean[0] == pytest.approx(0.40789654)
    assert same(loaded.network.state_dict(), network.state_dict())

    save_detector(tmp_path / "own.pt", network)
    loaded = load_detector(tmp_path / "own.pt")
    assert (loaded.layout, loaded.color, loaded.mean) == ("flowtrack", "rgb", IMAGENET_MEAN)


def test_detector_architecture_follows_from_the_tensors(tmp_path):
    network = small_detector(laterals=True)
    save_detector(tmp_path / "own.pt", network)
    found = load_detector(tmp_path / "own.pt").network
    views = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert all(map(torch.equal, found(views), network(views)))
    assert len(found.laterals) == len(network.laterals) == 3


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_backbone_fills_the_trunk_only(tmp_path, prefix):
    donor, network = small_pose(), small_detector()
    head = {key: value.clone() for key, value in network.state_dict().items() if "deconv" in key}
    trunk = {k: v for k, v in donor.state_dict().items() if not k.startswith(("deconv", "final"))}
    classifier = "head.fc" if prefix else "fc"
    state = {f"{prefix}{key}": value for key, value in trunk.items()}
    state |= {f"{classifier}.weight": torch.zeros(1000, 128), f"{classifier}.bias": torch.zeros(9)}
    torch.save(state, tmp_path / "resnet.pth")
    load_backbone(network, tmp_path / "resnet.pth")
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in trunk.items())
    assert all(torch.equal(after[key], value) for key, value in head.items())


def test_backbone_refuses_a_head(tmp_path):
    torch.save(small_pose().state_dict(), tmp_path / "pose.pth")
    with pytest.raises(CheckpointError, match=r"unknown deconv_layers\.0\.weight"):
        load_backbone(small_detector(), tmp_path / "pose.pth")


def dropped(key):
    def change(state):
        del state[key]

    return change


def added(key):
    def change(state):
        state[key] = torch.zeros(2)

    return change


def reshaped(key, shape):
    def change(state):
        state[key] = torch.zeros(shape)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dropped("layer3.1.bn2.running_var"), ["missing layer3.1.bn2.running_var"]),
        (dropped("layer2.0.downsample.0.weight"), ["missing layer2.0.downsample.0.weight"]),
        (dropped("final_layer.weight"), ["no final_layer.weight"]),
        (dropped("conv1.weight"), ["no conv1.weight"]),
        (dropped("deconv_layers.3.weight"), ["no deconv_layers.3.weight"]),
        (added("attention.weight"), ["unknown attention.weight"]),
        (reshaped("layer1.0.conv2.weight", (16, 16, 5, 5)),
         ["layer1.0.conv2.weight is (16, 16, 5, 5), expected (16, 16, 3, 3)"]),
        (reshaped("final_layer.weight", (5, 8)), ["final_layer.weight has shape (5, 8)"]),
        (reshaped("deconv_layers.0.weight", (128, 8, 5, 5)), ["deconv_kernel is 5"]),
        (added("layer4.7.conv1.weight"), ["no ResNet has (2, 2, 2, 8) basic blocks"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, change, words):
    state = small_pose().state_dict()
    change(state)
    torch.save(state, tmp_path / "pose.pth")
    with pytest.raises(CheckpointError) as caught:
        load_pose(tmp_path / "pose.pth")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (dropped("conv4_1.0.bias"), "missing conv4_1.0.bias"),
        (added("conv_redir.0.weight"), "unknown conv_redir.0.weight"),
        (dropped("conv1.0.weight"), "no conv1.0.weight"),
        (reshaped("deconv3.0.weight", (2, 2, 4, 4)), "deconv3.0.weight is (2, 2, 4, 4), expected"),
    ],
)
def test_what_does_not_fit_a_flow_network_is_named(tmp_path, change, word):
    state = small_flow().state_dict()
    change(state)
    torch.save({"state_dict": state}, tmp_path / "flow.pth")
    with pytest.raises(CheckpointError, match=re.escape(word)):
        load_flow(tmp_path / "flow.pth")


def test_networks_of_the_wrong_kind_are_refused(tmp_path):
    save_pose(tmp_path / "pose.pt", small_pose(), skeleton="coco-17")
    save_flow(tmp_path / "flow.pt", small_flow())
    with pytest.raises(CheckpointError, match=r"no conv1\.0\.weight"):
        load_flow(tmp_path / "pose.pt")
    with pytest.raises(CheckpointError, match="'flow' network, expected a 'pose' network"):
        load_pose(tmp_path / "flow.pt")
    with pytest.raises(CheckpointError, match=r"no hm\.0\.weight"):
        load_detector(tmp_path / "pose.pt")


class Bomb:
    """Pickles as a call that creates a file."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["meta", "state"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, place, zipped):
    trace = tmp_path / "trace"
    bomb = Bomb(Path.touch, trace)
    content = {"state_dict": small_pose().state_dict(), "meta": {}}
    content["meta" if place == "meta" else "state_dict"]["x"] = bomb
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"refused.*nothing was run"):
        load_pose(tmp_path / "evil.pth")
    assert not trace.exists()


@pytest.mark.parametrize("call", [exec, eval, __import__], ids=["exec", "eval", "import"])
def test_calls_of_builtins_are_refused_and_named(tmp_path, call):
    trace = tmp_path / "trace"
    content = {"state_dict": {"x": Bomb(call, f"open({str(trace)!r}, 'w')")}}
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=call.__name__):
        load_pose(tmp_path / "evil.pth")
    assert not trace.exists()


def test_getattr_in_a_checkpoint_reaches_nothing(tmp_path):
    # getattr is read as a placeholder, so what it leads to can't be called either.
    class Chain:
        def __reduce__(self):
            return getattr, (Path(tmp_path / "trace"), "touch")

    torch.save({"state_dict": small_pose().state_dict(), "x": Chain()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="refused"):
        load_pose(tmp_path / "evil.pth")
    assert not (tmp_path / "trace").exists()


def test_a_plain_pickle_that_runs_code_is_refused(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"x": Bomb(Path.touch, trace)}))
    with pytest.raises(CheckpointError):
        load_pose(path)
    assert not trace.exists()


def test_training_logs_of_mmengine_are_skipped(tmp_path, monkeypatch):
    """A training checkpoint holds HistoryBuffer objects; reading them needs no MMEngine."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self):
            self._log_history, self._count_history = np.arange(3.0), np.ones(3)
            self._statistics_methods = {"mean": np.float64(1.0)}

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer
    network = small_pose()
    content = mmpose("head")(network.state_dict())
    content["message_hub"] = {"log_scalars": OrderedDict(loss=HistoryBuffer())}
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    torch.save(content, tmp_path / "epoch.pth")
    monkeypatch.undo()
    loaded = load_pose(tmp_path / "epoch.pth")
    assert same(loaded.network.state_dict(), network.state_dict())


def test_numpy_names_of_version_1_are_read(tmp_path):
    network = small_pose()
    torch.save(official_training(network.state_dict()), tmp_path / "new.pth",
               _use_new_zipfile_serialization=False)  # fmt: skip
    content = (tmp_path / "new.pth").read_bytes()
    assert b"numpy._core.multiarray" in content
    old = content.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
    (tmp_path / "old.pth").write_bytes(old)
    assert same(load_pose(tmp_path / "old.pth").network.state_dict(), network.state_dict())


def test_the_list_of_safe_names_is_left_as_it_was(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save(small_pose().state_dict(), tmp_path / "pose.pth")
    load_pose(tmp_path / "pose.pth")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "damaged"),
        (b"<html>quota exceeded</html>" * 50, "damaged"),
        (b"\x00\xff" * 300, "damaged"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, word):
    path = tmp_path / "pose.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=word):
        load_pose(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("keep", [0.2, 0.9, 0.999])
def test_truncated_files(tmp_path, keep, zipped):
    path = tmp_path / "pose.pth"
    torch.save(small_pose().state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_pose(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([1, 2], "holds a list"),
        ({"state_dict": {}}, "no tensors"),
        ({"weights": {"a": torch.zeros(1)}}, "not tensors: weights"),
        ({"state_dict": {"conv1.weight": [1.0]}}, "not tensors: conv1.weight"),
        ({"state_dict": {"conv1.weight": np.zeros(3)}}, "not tensors: conv1.weight"),
    ],
)
def test_contents_that_are_no_state_dicts(tmp_path, content, word):
    torch.save(content, tmp_path / "pose.pth")
    with pytest.raises(CheckpointError, match=word):
        load_pose(tmp_path / "pose.pth")


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="is not a file"):
        load_pose(tmp_path / "pose.pth")
