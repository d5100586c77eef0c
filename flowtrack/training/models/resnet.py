"""The ResNet trunk (He et al. 2016) in torchvision's layout.

Key names are torchvision's, and a bottleneck's stride lies on its 3x3 convolution.
"""

from __future__ import annotations

import torch
from torch import nn

from flowtrack.errors import OptionError
from flowtrack.training.models.layers import scaled_channels


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, figure 5 left)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        """A block that turns `in_channels` into `channels`."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, h, w) -> (N, channels, h / stride, w / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: torch.Tensor = self.relu(out + shortcut)
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut (He et al. 2016, figure 5 right)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        """A block that turns `in_channels` into four times `channels`."""
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, h, w) -> (N, 4 * channels, h / stride, w / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: torch.Tensor = self.relu(out + shortcut)
        return result


Block = type[BasicBlock] | type[Bottleneck]

# Blocks per stage (He et al. 2016, table 1).
_SPECIFICATIONS: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}

RESNET_DEPTHS = tuple(_SPECIFICATIONS)
"""The depths that exist."""

_STEM_CHANNELS = 64
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels before expansion, stride


class ResNetTrunk(nn.Module):
    """ResNet without pooling and classifier; networks with a head derive from it.

    Deriving keeps the key names of published checkpoints: `conv1.weight`, `bn1.*`,
    `layer{1-4}.{i}.conv{1-3}.weight`, `layer{1-4}.{i}.downsample.{0,1}.*`.

    Attributes:
        depth, width: as given.
        trunk_channels: channels of the last stage (2048 for 50, 101 and 152 at width 1).
        level_channels: channels at each `levels`.
    """

    trunk_stride = 32
    """Input pixels per cell of the last stage."""

    trunk_keys = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")
    """How the trunk's key names begin."""

    def __init__(self, depth: int, width: float = 1.0) -> None:
        """A trunk with weights drawn as in He et al. 2015 (fan-out).

        Args:
            depth: one of `RESNET_DEPTHS`.
            width: multiplies the channels of every layer.

        Raises:
            OptionError: no such depth, or a width that leaves no whole number of channels.
        """
        super().__init__()
        if depth not in _SPECIFICATIONS:
            raise OptionError(f"ResNet depth is {depth}, expected one of {list(RESNET_DEPTHS)}")
        block, counts = _SPECIFICATIONS[depth]
        self.depth = depth
        self.width = width
        channels = scaled_channels(_STEM_CHANNELS, width)
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        level_channels = []
        for stage, ((size, stride), count) in enumerate(zip(_STAGES, counts, strict=True), 1):
            inner = scaled_channels(size, width)
            blocks = []
            for index in range(count):
                blocks.append(block(channels, inner, stride if index == 0 else 1))
                channels = inner * block.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            level_channels.append(channels)
        self.trunk_channels = channels
        self.level_channels = tuple(level_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def levels(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) -> (N, channels, H / s, W / s) for s of 4, 8, 16, 32, sizes rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        found = []
        for stage in range(1, len(_STAGES) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            found.append(x)
        return tuple(found)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


def resnet_depth(blocks: tuple[int, ...], bottleneck: bool) -> int:
    """The depth of a ResNet whose four stages have so many blocks.

    Raises:
        OptionError: there is no such ResNet.
    """
    for depth, (block, counts) in _SPECIFICATIONS.items():
        if counts == blocks and (block is Bottleneck) == bottleneck:
            return depth
    kind = "bottleneck" if bottleneck else "basic"
    raise OptionError(
        f"no ResNet has {blocks} {kind} blocks; known are the depths {list(RESNET_DEPTHS)}"
    )
