"""The networks have the published sizes, key names, initial weights and outputs."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from flowtrack.errors import InputError, OptionError
from flowtrack.training.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterDetector,
    CenterLite,
    FlowNet2S,
    Normalization,
    PoseLite,
    PoseResNet,
)
from flowtrack.training.models.resnet import resnet_depth


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("depth", "count"), [(50, 33_999_697), (101, 52_991_825), (152, 68_635_473)]
)
def test_pose_resnet_has_the_published_number_of_parameters(depth, count):
    with torch.device("meta"):
        network = PoseResNet(depth)
    assert parameters(network) == count


def test_flownet2s_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert parameters(FlowNet2S()) == 38_676_506


def resnet_keys(counts, convolutions):
    """Key names of the trunk, written out."""

    def norm(prefix):
        kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return {f"{prefix}.{kind}" for kind in kinds}

    keys = {"conv1.weight"} | norm("bn1")
    for stage, count in enumerate(counts, 1):
        for block in range(count):
            prefix = f"layer{stage}.{block}"
            for i in range(1, convolutions + 1):
                keys |= {f"{prefix}.conv{i}.weight"} | norm(f"{prefix}.bn{i}")
            if block == 0 and (stage > 1 or convolutions == 3):
                keys |= {f"{prefix}.downsample.0.weight"} | norm(f"{prefix}.downsample.1")
    for index in (0, 3, 6):
        keys |= {f"deconv_layers.{index}.weight"} | norm(f"deconv_layers.{index + 1}")
    return keys


@pytest.mark.parametrize(
    ("depth", "counts", "convolutions"), [(18, (2, 2, 2, 2), 2), (50, (3, 4, 6, 3), 3)]
)
def test_pose_resnet_key_names(depth, counts, convolutions):
    with torch.device("meta"):
        keys = set(PoseResNet(depth).state_dict())
    assert keys == resnet_keys(counts, convolutions) | {"final_layer.weight", "final_layer.bias"}


def test_center_detector_key_names():
    with torch.device("meta"):
        keys = set(CenterDetector(18).state_dict())
    heads = {
        f"{head}.{layer}.{kind}"
        for head in ("hm", "wh", "reg")
        for layer in (0, 2)
        for kind in ("weight", "bias")
    }
    assert keys == resnet_keys((2, 2, 2, 2), 2) | heads


def test_a_bottleneck_strides_on_its_3x3_convolution():
    with torch.device("meta"):
        block = PoseResNet(50).get_submodule("layer2.0")
    assert block.conv1.stride == (1, 1)
    assert block.conv2.stride == (2, 2)
    assert block.downsample[0].stride == (2, 2)


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize(("layers", "stride"), [(2, 8), (3, 4)])
def test_pose_resnet_output_stride(kernel, layers, stride):
    network = PoseResNet(
        18, 5, deconv_channels=[12, 10, 8][:layers], deconv_kernel=kernel, width=0.25
    )
    assert network.stride == stride
    with torch.no_grad():
        heatmaps = network.eval()(torch.zeros(2, 3, 96, 64))
    assert heatmaps.shape == (2, 5, 96 // stride, 64 // stride)


def test_pose_resnet_initial_weights():
    torch.manual_seed(0)
    network = PoseResNet(18)
    for index in (0, 3, 6):
        weight = network.deconv_layers[index].weight
        assert weight.std().item() == pytest.approx(0.001, rel=0.02)
        assert network.deconv_layers[index].bias is None
    assert network.final_layer.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not network.final_layer.bias.any()
    assert all(m.momentum == 0.1 for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def resnet(depth, width):
    return lambda *args, **options: PoseResNet(depth, *args, width=width, **options)


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize(
    ("make", "ends"),
    [
        (PoseLite, ("blocks.2", "blocks.4", "blocks.10", "blocks.15")),
        (resnet(18, 0.25), ("layer1", "layer2", "layer3", "layer4")),
        (resnet(50, 0.125), ("layer1", "layer2", "layer3", "layer4")),
    ],
    ids=["lite", "18", "50"],
)
def test_laterals_add_what_the_trunk_had_at_that_resolution(make, ends, layers):
    torch.manual_seed(0)
    network = make(3, laterals=True, deconv_channels=[12, 10, 8][:layers]).eval()
    plain = make(3, deconv_channels=[12, 10, 8][:layers]).eval()
    plain.load_state_dict(
        {k: v for k, v in network.state_dict().items() if not k.startswith("laterals.")}
    )
    crops = torch.randn(2, 3, 64, 96)
    levels = {}
    for end in ends:
        network.get_submodule(end).register_forward_hook(
            lambda _module, _given, found, end=end: levels.update({end: found})
        )
    with torch.no_grad():
        assert torch.equal(network(crops), plain(crops))  # they start at zero
        for lateral in network.laterals:
            nn.init.normal_(lateral.weight)
        found = network(crops)
        assert not torch.allclose(found, plain(crops), rtol=0.1)
        x = levels[ends[3]]
        for index in range(layers):
            x = network.deconv_layers[3 * index + 1](network.deconv_layers[3 * index](x))
            weight = network.get_parameter(f"laterals.{index}.weight")[:, :, 0, 0]
            x = (x + torch.einsum("oc,nchw->nohw", weight, levels[ends[2 - index]])).clamp_min(0)
        torch.testing.assert_close(found, network.final_layer(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (lambda **options: CenterLite(deconv_channels=(12, 10, 8), **options), (112, 40, 24)),
        (
            lambda **options: CenterDetector(
                18, width=0.25, deconv_channels=(12, 10, 8), **options
            ),
            (64, 32, 16),
        ),
    ],
    ids=["lite", "18"],
)
def test_a_detector_has_the_same_laterals(make, channels):
    torch.manual_seed(0)
    detector, plain = make(laterals=True, head_channels=8).eval(), make(head_channels=8).eval()
    state = {k: v for k, v in detector.state_dict().items() if not k.startswith("laterals.")}
    plain.load_state_dict(state)
    assert tuple(lateral.in_channels for lateral in detector.laterals) == channels
    views = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for found, expected in zip(detector(views), plain(views), strict=True):
            assert torch.equal(found, expected)  # they start at zero
        for lateral in detector.laterals:
            before = detector.features(views)
            nn.init.normal_(lateral.weight)
            assert not torch.allclose(detector.features(views), before, rtol=0.1, atol=0)


def test_center_detector_maps_and_initial_biases():
    detector = CenterDetector(
        18, classes=3, deconv_channels=(16, 12, 8), head_channels=8, width=0.25
    ).eval()
    with torch.no_grad():
        maps = detector(torch.zeros(1, 3, 64, 96))
    assert maps.heatmap.shape == (1, 3, 16, 24)
    assert maps.size.shape == maps.offset.shape == (1, 2, 16, 24)
    assert torch.allclose(detector.hm[2].bias, torch.tensor(-2.19))
    assert not detector.wh[2].bias.any()
    assert not detector.reg[2].bias.any()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: PoseResNet(20), "20"),
        (lambda: PoseResNet(18, 0), "joints is 0"),
        (lambda: PoseResNet(18, deconv_channels=[8]), "expected 2 or 3 deconvolutions"),
        (lambda: PoseResNet(18, deconv_channels=[8] * 4), "expected 2 or 3 deconvolutions"),
        (lambda: PoseResNet(18, deconv_channels=[8, 0]), "one number above 0"),
        (lambda: CenterDetector(18, deconv_channels=[8, 8]), "expected 3 deconvolutions"),
        (lambda: PoseResNet(18, deconv_kernel=5), "deconv_kernel is 5"),
        (lambda: PoseResNet(18, width=0.3), "width 0.3"),
        (lambda: PoseResNet(18, width=0), "width 0"),
        (lambda: CenterDetector(18, classes=0), "classes is 0"),
        (lambda: FlowNet2S(0.01), "width 0.01"),
        (lambda: FlowNet2S(0.125, div_flow=0), "div_flow is 0"),
        (lambda: Normalization(std=(1.0, 0.0, 1.0)), "std"),
        (lambda: resnet_depth((2, 2, 2, 9), bottleneck=False), "(2, 2, 2, 9)"),
    ],
)
def test_options_out_of_range_are_refused(make, named):
    with pytest.raises(OptionError, match=re.escape(named)):
        make()


FLOW_LAYERS = {
    "conv1.0": (64, 6, 7, 7),
    "conv2.0": (128, 64, 5, 5),
    "conv3.0": (256, 128, 5, 5),
    "conv3_1.0": (256, 256, 3, 3),
    "conv4.0": (512, 256, 3, 3),
    "conv4_1.0": (512, 512, 3, 3),
    "conv5.0": (512, 512, 3, 3),
    "conv5_1.0": (512, 512, 3, 3),
    "conv6.0": (1024, 512, 3, 3),
    "conv6_1.0": (1024, 1024, 3, 3),
    "deconv5.0": (1024, 512, 4, 4),
    "deconv4.0": (1026, 256, 4, 4),
    "deconv3.0": (770, 128, 4, 4),
    "deconv2.0": (386, 64, 4, 4),
    "predict_flow6": (2, 1024, 3, 3),
    "predict_flow5": (2, 1026, 3, 3),
    "predict_flow4": (2, 770, 3, 3),
    "predict_flow3": (2, 386, 3, 3),
    "predict_flow2": (2, 194, 3, 3),
    "upsampled_flow6_to_5": (2, 2, 4, 4),
    "upsampled_flow5_to_4": (2, 2, 4, 4),
    "upsampled_flow4_to_3": (2, 2, 4, 4),
    "upsampled_flow3_to_2": (2, 2, 4, 4),
}
"""Weights of NVIDIA's FlowNet2S, from the table of its layers."""


def test_flownet2s_key_names_and_shapes():
    with torch.device("meta"):
        state = FlowNet2S().state_dict()
    weights = {key: tuple(value.shape) for key, value in state.items() if key.endswith("weight")}
    assert weights == {f"{name}.weight": shape for name, shape in FLOW_LAYERS.items()}
    biased = {name for name in FLOW_LAYERS if not name.startswith("upsampled")}
    assert {key for key in state if key.endswith("bias")} == {f"{name}.bias" for name in biased}


def plain_flownet(state, previous, current, mean=None):
    """FlowNet2S step by step with bare functions: the oracle."""
    both = torch.stack([previous, current], dim=2)
    if mean is None:
        normal = (both - both.flatten(2).mean(2)[:, :, None, None, None]) / 255
    else:
        normal = both / 255 - torch.tensor(mean)[None, :, None, None, None]
    x = torch.cat([normal[:, :, 0], normal[:, :, 1]], dim=1)

    def conv(name, x, stride):
        weight = state[f"{name}.0.weight"]
        padding = (weight.shape[-1] - 1) // 2
        x = functional.conv2d(x, weight, state.get(f"{name}.0.bias"), stride, padding)
        return functional.leaky_relu(x, 0.1)

    def deconv(name, x):
        x = functional.conv_transpose2d(
            x, state[f"{name}.0.weight"], state.get(f"{name}.0.bias"), 2, 1
        )
        return functional.leaky_relu(x, 0.1)

    def predict(level, x):
        name = f"predict_flow{level}"
        return functional.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), 1, 1)

    def upsampled(name, x):
        return functional.conv_transpose2d(x, state[f"{name}.weight"], None, 2, 1)

    c2 = conv("conv2", conv("conv1", x, 2), 2)
    c3 = conv("conv3_1", conv("conv3", c2, 2), 1)
    c4 = conv("conv4_1", conv("conv4", c3, 2), 1)
    c5 = conv("conv5_1", conv("conv5", c4, 2), 1)
    c6 = conv("conv6_1", conv("conv6", c5, 2), 1)
    f6 = predict(6, c6)
    x5 = torch.cat([c5, deconv("deconv5", c6), upsampled("upsampled_flow6_to_5", f6)], 1)
    f5 = predict(5, x5)
    x4 = torch.cat([c4, deconv("deconv4", x5), upsampled("upsampled_flow5_to_4", f5)], 1)
    f4 = predict(4, x4)
    x3 = torch.cat([c3, deconv("deconv3", x4), upsampled("upsampled_flow4_to_3", f4)], 1)
    f3 = predict(3, x3)
    x2 = torch.cat([c2, deconv("deconv2", x3), upsampled("upsampled_flow3_to_2", f3)], 1)
    return predict(2, x2), f3, f4, f5, f6


@pytest.mark.parametrize("decoder_bias", [True, False])
@pytest.mark.parametrize("mean", [None, (0.411, 0.432, 0.45)])
def test_flownet2s_computes_what_the_step_by_step_form_does(decoder_bias, mean):
    torch.manual_seed(1)
    network = FlowNet2S(1 / 8, decoder_bias=decoder_bias, fixed_mean=mean)
    for parameter in network.parameters():  # so that forgotten biases show
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
    previous, current = torch.rand(2, 2, 3, 64, 128) * 255
    with torch.no_grad():
        expected = plain_flownet(network.state_dict(), previous, current, mean)
        flows = network.train()(previous, current)
        full = network.eval()(previous, current)
        quarter = network.quarter_flow(previous, current)
    sizes = [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, *size) for size in sizes]
    for flow, want in zip(flows, expected, strict=True):
        torch.testing.assert_close(flow, want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(quarter, 20 * expected[0], rtol=1e-4, atol=1e-4)
    want = functional.interpolate(20 * expected[0], (64, 128), mode="bilinear", align_corners=False)
    torch.testing.assert_close(full, want, rtol=1e-4, atol=1e-4)


def test_flownet2s_width_scales_the_channels():
    with torch.device("meta"):
        state = FlowNet2S(3 / 8).state_dict()
    assert state["conv6_1.0.weight"].shape == (384, 384, 3, 3)
    assert state["deconv4.0.weight"].shape == (192 + 192 + 2, 96, 4, 4)


def test_flownet2s_with_batch_norm_has_no_encoder_bias():
    keys = set(FlowNet2S(1 / 8, batch_norm=True, decoder_bias=False).state_dict())
    assert "conv1.1.running_mean" in keys
    assert not any(key.endswith(".0.bias") or key == "predict_flow2.bias" for key in keys)


@pytest.mark.parametrize("shapes", [((1, 3, 64, 100),) * 2, ((1, 3, 64, 64), (1, 3, 64, 128))])
def test_flownet2s_refuses_sizes_that_do_not_fit(shapes):
    with pytest.raises(InputError, match="multiples of 64"):
        FlowNet2S(1 / 8)(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_normalization_is_that_of_imagenet():
    pixels = torch.randint(0, 256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(2)).float()
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    want = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(Normalization()(pixels), want, rtol=0, atol=2e-6)
