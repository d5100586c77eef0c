"""The trunk of EfficientNet-Lite0: inverted residuals for small devices, normalisation folded in.

The table of blocks and the input's scale are those of tensorflow/tpu
(models/official/efficientnet/lite); key names are flowtrack's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from flowtrack.errors import OptionError
from flowtrack.training.models.normalization import IMAGENET_MEAN, IMAGENET_STD

_STEM_CHANNELS = 32
_EPSILON = 1e-3  # of its batch normalisation
_MEAN, _SCALE = 127.0, 128.0  # of grey values, as the published weights were trained


class _Stage(NamedTuple):
    """Blocks in a row: the first has the stride and changes the channels."""

    expansion: int
    channels: int
    kernel: int
    stride: int
    blocks: int


_STAGES = (
    _Stage(1, 16, 3, 1, 1),
    _Stage(6, 24, 3, 2, 2),
    _Stage(6, 40, 5, 2, 2),
    _Stage(6, 80, 3, 2, 3),
    _Stage(6, 112, 5, 1, 3),
    _Stage(6, 192, 5, 2, 4),
    _Stage(6, 320, 3, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler et al. 2018, figure 3)."""

    def __init__(self, in_channels: int, channels: int, stage: _Stage, stride: int) -> None:
        """A block that turns `in_channels` into `channels`."""
        super().__init__()
        inner = in_channels * stage.expansion
        self.expand = nn.Conv2d(in_channels, inner, 1) if stage.expansion > 1 else None
        self.depthwise = nn.Conv2d(
            inner, inner, stage.kernel, stride, stage.kernel // 2, groups=inner
        )
        self.project = nn.Conv2d(inner, channels, 1)
        self.shortcut = stride == 1 and in_channels == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, h, w) -> (N, channels, h / stride, w / stride)."""
        out = x if self.expand is None else functional.relu6(self.expand(x))
        out = self.project(functional.relu6(self.depthwise(out)))
        result: torch.Tensor = x + out if self.shortcut else out
        return result


class EfficientNetLiteTrunk(nn.Module):
    """EfficientNet-Lite0 without pooling and classifier; networks with a head derive from it.

    Batch normalisation is folded into the convolutions, as ImageNet left it: a third faster to
    train, and what is trained is what is exported. It is made for published weights (see
    `folded_efficientnet_lite`); from random ones it learns badly.

    Attributes:
        frozen: as given.
        trunk_channels: channels of the last stage.
        level_channels: channels at each `levels`.
    """

    trunk_stride = 32
    """Input pixels per cell of the last stage."""

    trunk_keys = ("stem.", "blocks.")
    """How the trunk's key names begin."""

    def __init__(self, frozen: int = 0) -> None:
        """A trunk with random weights.

        Args:
            frozen: how many of the first blocks, and with them the stem, keep their weights in
                training; the first three work at a quarter of the input's resolution and above.

        Raises:
            OptionError: there are not so many blocks.
        """
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1)
        blocks: list[nn.Module] = []
        ends: dict[int, tuple[int, int]] = {}  # at each resolution, the last block; its channels
        channels, resolution = _STEM_CHANNELS, 2
        for stage in _STAGES:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, stage.channels, stage, stride))
                channels = stage.channels
            resolution *= stage.stride
            ends[resolution] = (len(blocks) - 1, channels)
        if not 0 <= frozen <= len(blocks):
            raise OptionError(f"frozen is {frozen}, expected 0 to {len(blocks)} blocks")
        self.blocks = nn.ModuleList(blocks)
        self.frozen = frozen
        self.trunk_channels = channels
        self._level_ends, self.level_channels = zip(
            *(end for resolution, end in ends.items() if resolution >= 4), strict=True
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        if frozen:
            for part in (self.stem, *blocks[:frozen]):
                part.requires_grad_(False)

    def levels(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) -> (N, channels, H / s, W / s) for s of 4, 8, 16, 32, sizes rounded up.

        Each is what the last block of its resolution puts out.
        """
        x = functional.relu6(self.stem(x))
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self._level_ends:
                found.append(x)
        return tuple(found)


def folded_efficientnet_lite(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The trunk's weights from a classifier's in the layout of EfficientNet-Lite-PyTorch.

    Batch normalisation goes into the convolutions, and the input's scale, (grey - 127) / 128, into
    the first of them, which then takes pictures normalised like everybody else's.

    Args:
        published: `_conv_stem.weight`, `_bn0.*`, `_blocks.{i}._depthwise_conv.weight` and so on.

    Returns:
        Weights by the trunk's key names.

    Raises:
        KeyError: a weight is missing.
    """
    weight, bias = _folded(published, "_conv_stem", "_bn0")
    gain = torch.tensor([255 * std / _SCALE for std in IMAGENET_STD])
    shift = torch.tensor([(255 * mean - _MEAN) / _SCALE for mean in IMAGENET_MEAN])
    result = {
        "stem.weight": weight * gain[:, None, None],
        "stem.bias": bias + (weight.sum((2, 3)) * shift).sum(1),
    }
    for number in range(sum(stage.blocks for stage in _STAGES)):
        theirs, ours = f"_blocks.{number}", f"blocks.{number}"
        for norm, (old, new) in enumerate(
            (("_expand_conv", "expand"), ("_depthwise_conv", "depthwise"),
             ("_project_conv", "project"))
        ):  # fmt: skip
            if new == "expand" and f"{theirs}.{old}.weight" not in published:
                continue
            weight, bias = _folded(published, f"{theirs}.{old}", f"{theirs}._bn{norm}")
            result[f"{ours}.{new}.weight"], result[f"{ours}.{new}.bias"] = weight, bias
    return result


def _folded(
    state: Mapping[str, torch.Tensor], convolution: str, norm: str
) -> tuple[torch.Tensor, torch.Tensor]:
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _EPSILON).sqrt()
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return state[f"{convolution}.weight"] * scale[:, None, None, None], bias
