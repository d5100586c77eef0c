"""The person detector: CenterNet (Zhou et al. 2019) on the pose network's trunk and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from flowtrack.errors import OptionError
from flowtrack.training.models.deconv_network import DeconvNetwork
from flowtrack.training.models.efficientnet_lite import EfficientNetLiteTrunk
from flowtrack.training.models.resnet import ResNetTrunk

_HEAD_CHANNELS = 64  # of the hidden 3x3 layer for ResNets (xingyizhou/CenterNet, src/lib/opts.py)
_KERNEL = 4  # of the deconvolutions (msra_resnet.py)
_HEATMAP_BIAS = -2.19  # sigmoid 0.1 (Zhou et al. 2019; msra_resnet.py, init_weights)
_REGRESSION_STD = 0.001  # of the last layers' initial weights (same file)


class CenterMaps(NamedTuple):
    """What the detector predicts, at a quarter of the input's resolution.

    Attributes:
        heatmap: (N, classes, H/4, W/4) logits of a centre.
        size: (N, 2, H/4, W/4) width and height of the box centred here, in cells.
        offset: (N, 2, H/4, W/4) from the cell to the centre (x, y), in cells.
    """

    heatmap: torch.Tensor
    size: torch.Tensor
    offset: torch.Tensor


class CenterNetwork(DeconvNetwork):
    """A trunk, three deconvolutions and the heads of CenterNet.

    Classes derive from this and from a trunk. Key names are those of xingyizhou/CenterNet's `res_*`
    networks: the trunk, `deconv_layers.*`, and the heads `hm.{0,2}.*`, `wh.{0,2}.*`, `reg.{0,2}.*`.

    Attributes:
        classes: kinds of object; 1 finds people only.
        stride: input pixels per cell, 4.
    """

    stride = 4
    classes: int

    def forward(self, images: torch.Tensor) -> CenterMaps:
        """Centre maps.

        Args:
            images: (N, 3, H, W) normalised pictures, H and W multiples of 32.
        """
        features = self.features(images)
        return CenterMaps(self.hm(features), self.wh(features), self.reg(features))

    def _add_head(
        self, classes: int, deconv_channels: Sequence[int], head_channels: int, laterals: bool
    ) -> None:
        """Put deconvolutions and heads on the trunk."""
        if classes < 1 or head_channels < 1:
            raise OptionError(
                f"classes is {classes} and head_channels {head_channels}, expected at least 1"
            )
        self.classes = classes
        if len(deconv_channels) != 3:
            raise OptionError(
                f"deconv_channels is {list(deconv_channels)}, expected 3 deconvolutions"
            )
        self._add_deconvolutions(deconv_channels, _KERNEL, laterals)
        self.hm = _head(deconv_channels[-1], head_channels, classes)
        self.wh = _head(deconv_channels[-1], head_channels, 2)
        self.reg = _head(deconv_channels[-1], head_channels, 2)
        nn.init.constant_(self.hm.get_parameter("2.bias"), _HEATMAP_BIAS)
        for head in (self.wh, self.reg):
            nn.init.normal_(head.get_parameter("2.weight"), std=_REGRESSION_STD)
            nn.init.zeros_(head.get_parameter("2.bias"))


class CenterDetector(ResNetTrunk, CenterNetwork):
    """Centres, sizes and offsets of people, with a ResNet."""

    def __init__(
        self,
        depth: int = 18,
        classes: int = 1,
        *,
        deconv_channels: Sequence[int] = (256, 256, 256),
        head_channels: int = _HEAD_CHANNELS,
        laterals: bool = False,
        width: float = 1.0,
    ) -> None:
        """A detector with fresh weights.

        Args:
            depth: of the trunk: 18, 34, 50, 101 or 152.
            classes: kinds of object; 1 finds people only.
            deconv_channels: of each of the three deconvolutions.
            head_channels: channels of each head's hidden layer.
            laterals: see `DeconvNetwork`; they start at zero.
            width: multiplies the trunk's channels.

        Raises:
            OptionError: an argument is out of range.
        """
        super().__init__(depth, width)
        self._add_head(classes, deconv_channels, head_channels, laterals)


class CenterLite(EfficientNetLiteTrunk, CenterNetwork):
    """The same on a trunk for small devices, EfficientNet-Lite0."""

    def __init__(
        self,
        classes: int = 1,
        *,
        deconv_channels: Sequence[int] = (64, 64, 64),
        head_channels: int = _HEAD_CHANNELS,
        laterals: bool = False,
        frozen: int = 0,
    ) -> None:
        """A detector with fresh weights; see `CenterDetector` and `EfficientNetLiteTrunk`.

        Raises:
            OptionError: an argument is out of range.
        """
        super().__init__(frozen)
        self._add_head(classes, deconv_channels, head_channels, laterals)


def _head(in_channels: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, 1),
    )
