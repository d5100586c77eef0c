"""A network trained on from its ONNX file: the same function, and statistics fit for training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from flowtrack.errors import CheckpointError
from flowtrack.export import export_flow, export_pose
from flowtrack.export.storage import store_half
from flowtrack.training.exported import load_exported, measure_statistics
from flowtrack.training.models import FlowNet2S, PoseResNet


def lived(seed: int, **options) -> PoseResNet:
    """A network whose batch normalisations have statistics and slopes of their own."""
    torch.manual_seed(seed)
    network = PoseResNet(18, 3, deconv_channels=(16, 16, 16), width=0.25, **options)
    for lateral in network.laterals or ():
        nn.init.normal_(lateral.weight, std=0.3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    network.train()
    for _ in range(60):
        network(torch.randn(8, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    network = lived(0)
    export_pose(network, folder / "pose.onnx", height=64, width=64, skeleton=_three())
    store_half(folder / "pose.onnx", folder / "half.onnx")
    return network, folder


def _three():
    from flowtrack.skeleton import COCO_17, Skeleton

    return Skeleton("three", COCO_17.joints[:3], COCO_17.sigmas[:3], ())


def fresh() -> PoseResNet:
    torch.manual_seed(9)
    return PoseResNet(18, 3, deconv_channels=(16, 16, 16), width=0.25).eval()


@pytest.mark.parametrize(("name", "tolerance"), [("pose.onnx", 1e-5), ("half.onnx", 2e-3)])
def test_the_same_function_in_evaluation(exported, name, tolerance):
    original, folder = exported
    network = fresh()
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = original(picture)
        load_exported(folder / name, network)
        assert torch.allclose(network(picture), wanted, atol=tolerance * float(wanted.abs().max()))
        measure_statistics(network, [torch.randn(8, 3, 64, 64) for _ in range(4)])
        after = network(picture)
    assert torch.allclose(after, wanted, atol=(tolerance + 1e-5) * float(wanted.abs().max()))


def test_measured_statistics_make_training_mode_agree_with_evaluation(exported):
    _, folder = exported
    network = fresh()
    load_exported(folder / "pose.onnx", network)
    batch = torch.randn(16, 3, 64, 64)
    with torch.no_grad():
        before = copy.deepcopy(network).train()(batch) - network(batch)
        measure_statistics(network, [batch])
        after = copy.deepcopy(network).train()(batch) - network(batch)
    assert after.abs().max() < 0.1 * before.abs().max()


def test_laterals_too(tmp_path):
    network = lived(4, laterals=True)
    export_pose(network, tmp_path / "pose.onnx", height=64, width=64, skeleton=_three())
    copied = PoseResNet(18, 3, deconv_channels=(16, 16, 16), width=0.25, laterals=True).eval()
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = network(picture)
        load_exported(tmp_path / "pose.onnx", copied)
        measure_statistics(copied, [torch.randn(8, 3, 64, 64)])
        found = copied(picture)
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_laterals_that_a_graph_does_not_have_are_zero(exported):
    original, folder = exported
    torch.manual_seed(9)
    network = PoseResNet(18, 3, deconv_channels=(16, 16, 16), width=0.25, laterals=True).eval()
    for lateral in network.laterals:
        nn.init.normal_(lateral.weight)
    load_exported(folder / "pose.onnx", network)
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = original(picture)
        assert torch.allclose(network(picture), wanted, atol=1e-5 * float(wanted.abs().max()))


def test_flow_networks_too(tmp_path):
    torch.manual_seed(1)
    network = FlowNet2S(0.125).eval()
    export_flow(network, tmp_path / "flow.onnx", height=64, width=64)
    torch.manual_seed(2)
    copied = FlowNet2S(0.125).eval()
    load_exported(tmp_path / "flow.onnx", copied)
    for name, value in network.state_dict().items():
        assert torch.allclose(copied.state_dict()[name], value, atol=1e-6), name


def test_another_architecture_is_refused(exported):
    _, folder = exported
    with pytest.raises(CheckpointError, match=r"expected \(32, 3, 7, 7\)"):
        load_exported(
            folder / "pose.onnx", PoseResNet(18, 3, deconv_channels=(16, 16, 16), width=0.5)
        )
    (folder / "text.onnx").write_text("no graph")
    with pytest.raises(CheckpointError, match="no readable ONNX"):
        load_exported(folder / "text.onnx", fresh())
