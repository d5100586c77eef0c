"""The trunk for small devices: published weights folded, frozen blocks, two networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from flowtrack.errors import CheckpointError, OptionError
from flowtrack.training.checkpoints import (
    load_backbone,
    load_detector,
    load_pose,
    save_detector,
    save_pose,
)
from flowtrack.training.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterLite,
    EfficientNetLiteTrunk,
    PoseLite,
    PoseResNet,
    folded_efficientnet_lite,
)
from flowtrack.training.recipe import DetectorRecipe, PoseRecipe, read_recipe

# Expansion, output channels, kernel and stride of all sixteen blocks, one by one.
BLOCKS = (
    (1, 16, 3, 1), (6, 24, 3, 2), (6, 24, 3, 1), (6, 40, 5, 2), (6, 40, 5, 1), (6, 80, 3, 2),
    (6, 80, 3, 1), (6, 80, 3, 1), (6, 112, 5, 1), (6, 112, 5, 1), (6, 112, 5, 1), (6, 192, 5, 2),
    (6, 192, 5, 1), (6, 192, 5, 1), (6, 192, 5, 1), (6, 320, 3, 1),
)  # fmt: skip


def published():
    """A classifier's weights, with statistics that matter, in the layout that is published."""
    torch.manual_seed(0)
    state = {}

    def convolution(name, norm, outputs, inputs, kernel):
        weight = torch.randn(outputs, inputs, kernel, kernel)
        state[f"{name}.weight"] = weight / (inputs * kernel * kernel) ** 0.5
        state[f"{norm}.weight"] = torch.rand(outputs) + 0.5
        state[f"{norm}.bias"] = torch.randn(outputs) * 0.2
        state[f"{norm}.running_mean"] = torch.randn(outputs) * 0.2
        state[f"{norm}.running_var"] = torch.rand(outputs) + 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    convolution("_conv_stem", "_bn0", 32, 3, 3)
    channels = 32
    for number, (expansion, outputs, kernel, _) in enumerate(BLOCKS):
        block, inner = f"_blocks.{number}", channels * expansion
        if expansion > 1:
            convolution(f"{block}._expand_conv", f"{block}._bn0", inner, channels, 1)
        convolution(f"{block}._depthwise_conv", f"{block}._bn1", inner, 1, kernel)
        convolution(f"{block}._project_conv", f"{block}._bn2", outputs, inner, 1)
        channels = outputs
    convolution("_conv_head", "_bn1", 8, 320, 1)
    state["_fc.weight"], state["_fc.bias"] = torch.zeros(3, 8), torch.zeros(3)
    return state


MEAN, STD = (torch.tensor(value)[:, None, None] for value in (IMAGENET_MEAN, IMAGENET_STD))


def unfolded(state, grey):
    """What the classifier's trunk computes of pictures with grey values 0 to 255.

    They are surrounded by ImageNet's mean colour, as by the padding of a folded network.
    """

    def step(x, name, norm, stride=1, groups=1, padding=None):
        weight = state[f"{name}.weight"]
        padding = weight.shape[-1] // 2 if padding is None else padding
        x = functional.conv2d(x, weight, None, stride, padding, 1, groups)
        statistics = (state[f"{norm}.running_mean"], state[f"{norm}.running_var"])
        affine = (state[f"{norm}.weight"], state[f"{norm}.bias"])
        return functional.batch_norm(x, *statistics, *affine, eps=1e-3)

    around = (255 * MEAN).repeat(len(grey), 1, grey.shape[2] + 2, grey.shape[3] + 2)
    around[..., 1:-1, 1:-1] = grey
    x = functional.relu6(step((around - 127) / 128, "_conv_stem", "_bn0", 2, padding=0))
    for number, (expansion, outputs, _, stride) in enumerate(BLOCKS):
        block, before = f"_blocks.{number}", x
        if expansion > 1:
            x = functional.relu6(step(x, f"{block}._expand_conv", f"{block}._bn0"))
        names = (f"{block}._depthwise_conv", f"{block}._bn1")
        x = functional.relu6(step(x, *names, stride, x.shape[1]))
        x = step(x, f"{block}._project_conv", f"{block}._bn2")
        if stride == 1 and before.shape[1] == outputs:
            x = x + before
    return x


def test_published_weights_compute_the_same_with_normalisation_folded_in():
    state = published()
    trunk = EfficientNetLiteTrunk().eval()
    trunk.load_state_dict(folded_efficientnet_lite(state))
    grey = torch.rand(2, 3, 96, 64) * 255
    with torch.no_grad():
        ours, theirs = trunk.levels((grey / 255 - MEAN) / STD)[-1], unfolded(state, grey)
    assert ours.shape == (2, 320, 3, 2)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("network", "shape"), [(PoseLite(5), (1, 5, 16, 24)), (CenterLite(2), (1, 2, 16, 24))]
)
def test_both_networks_work_at_a_quarter_of_the_resolution(network, shape):
    with torch.no_grad():
        out = network.eval()(torch.zeros(1, 3, 64, 96))
    assert (out if isinstance(out, torch.Tensor) else out.heatmap).shape == shape
    assert network.stride == 4


@pytest.mark.parametrize("network", [PoseLite(5), CenterLite()])
def test_a_backbone_fills_the_trunk_and_nothing_else(tmp_path, network):
    head = {k: v.clone() for k, v in network.state_dict().items() if "deconv" in k}
    torch.save(published(), tmp_path / "lite0.pth")
    load_backbone(network, tmp_path / "lite0.pth")
    after = network.state_dict()
    assert all(torch.equal(after[k], v) for k, v in folded_efficientnet_lite(published()).items())
    assert all(torch.equal(after[k], v) for k, v in head.items())


@pytest.mark.parametrize("gone", ["_conv_stem.weight", "_blocks.3._bn1.running_var"])
def test_a_backbone_with_a_weight_missing_is_refused(tmp_path, gone):
    state = published()
    del state[gone]
    torch.save(state, tmp_path / "lite0.pth")
    with pytest.raises(CheckpointError, match=gone.replace(".", r"\.")):
        load_backbone(PoseLite(5), tmp_path / "lite0.pth")


def test_a_backbone_of_another_kind_is_refused(tmp_path):
    torch.save(PoseResNet(18, width=0.25).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"no _conv_stem\.weight"):
        load_backbone(CenterLite(), tmp_path / "resnet.pth")


def test_checkpoints_tell_the_trunk(tmp_path):
    torch.manual_seed(1)
    pose, detector = PoseLite(5, deconv_channels=(10, 8)), CenterLite(head_channels=4)
    save_pose(tmp_path / "pose.pt", pose, skeleton="coco-17")
    save_detector(tmp_path / "detector.pt", detector)
    for loaded, saved in (
        (load_pose(tmp_path / "pose.pt").network, pose),
        (load_detector(tmp_path / "detector.pt").network, detector),
    ):
        assert type(loaded) is type(saved)
        theirs = saved.state_dict()
        assert all(torch.equal(v, theirs[k]) for k, v in loaded.state_dict().items())


def test_frozen_blocks_keep_their_weights():
    torch.manual_seed(2)
    network = PoseLite(3, deconv_channels=(8, 8, 8), frozen=3)
    before = {k: v.clone() for k, v in network.named_parameters()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 1.0)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    moved = {k for k, v in network.named_parameters() if not torch.equal(v, before[k])}
    kept = {k for k in before if k.startswith(("stem.", "blocks.0.", "blocks.1.", "blocks.2."))}
    assert kept.isdisjoint(moved)
    assert any(k.startswith("blocks.3.") for k in moved)


def test_more_frozen_blocks_than_there_are_are_refused():
    with pytest.raises(OptionError, match="frozen is 17, expected 0 to 16"):
        EfficientNetLiteTrunk(17)


@pytest.mark.parametrize(
    ("kind", "recipe", "change", "told"),
    [
        (PoseRecipe, "coco-pose", "network.frozen=2", "only the trunk efficientnet-lite0"),
        (DetectorRecipe, "coco-detector", "network.frozen=2", "only the trunk efficientnet-lite0"),
        (PoseRecipe, "default-pose", "network.width=0.5", "efficientnet-lite0 has no width"),
        (DetectorRecipe, "default-detector", "network.depth=50", "efficientnet-lite0 has no depth"),
    ],
)
def test_entries_that_the_trunk_would_ignore_are_refused(kind, recipe, change, told):
    with pytest.raises(OptionError, match=told):
        read_recipe(kind, recipe, [change])
