"""Small networks whose outputs are as lively as those of trained ones."""

from __future__ import annotations

import torch
from torch import nn

from flowtrack.training.models import CenterDetector, FlowNet2S, PoseResNet


def lively(network: nn.Module, *shape: int) -> nn.Module:
    """Batch statistics from random pictures: fresh ones let signals fade or explode."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.normal_(module.bias, std=0.2, generator=generator)
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, *shape, generator=generator) * 2)
    return network.eval()


def pose(joints: int = 17, **options) -> PoseResNet:
    torch.manual_seed(7)
    return lively(
        PoseResNet(18, joints, width=0.25, deconv_channels=(16, 16, 16), **options), 96, 64
    )


def detector(**options) -> CenterDetector:
    torch.manual_seed(8)
    return lively(CenterDetector(18, width=0.25, deconv_channels=(16, 16, 16), **options), 96, 128)


def flow(**options) -> FlowNet2S:
    torch.manual_seed(9)
    return FlowNet2S(1 / 8, **options).eval()
