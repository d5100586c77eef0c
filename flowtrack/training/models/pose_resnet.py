"""The paper's pose network: a trunk and a few deconvolutions (Xiao et al. 2018, section 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from flowtrack.errors import OptionError
from flowtrack.training.models.efficientnet_lite import EfficientNetLiteTrunk
from flowtrack.training.models.layers import deconvolutions
from flowtrack.training.models.resnet import ResNetTrunk

_FINAL_STD = 0.001  # of the last layer's initial weights (lib/models/pose_resnet.py, init_weights)


class PoseNetwork(nn.Module, ABC):
    """A trunk, a few deconvolutions and a 1x1 convolution: one heatmap per joint from a crop.

    Fully convolutional: any input size whose sides are multiples of 32. Classes derive from this
    and from a trunk. Key names are those of microsoft/human-pose-estimation.pytorch
    (lib/models/pose_resnet.py). Laterals are not the paper's: each deconvolution's output is
    joined by what the trunk had at that resolution (Lin et al. 2017, figure 3).

    Attributes:
        joints: heatmaps to predict.
        stride: input pixels per heatmap cell: 4 with three deconvolutions, 8 with two.
        laterals: 1x1 convolutions of the trunk's features, one for each deconvolution, or None.
    """

    trunk_stride: int
    trunk_channels: int
    level_channels: tuple[int, ...]
    joints: int
    stride: int
    laterals: nn.ModuleList | None

    @abstractmethod
    def levels(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) -> (N, channels, H / s, W / s) for s of 4, 8, 16, 32."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Heatmaps.

        Args:
            crops: (N, 3, H, W) normalised pictures.

        Returns:
            (N, joints, H / stride, W / stride).
        """
        *lower, features = self.levels(crops)
        if self.laterals is None:
            features = self.deconv_layers(features)
        else:
            layers = iter(self.deconv_layers)
            for lateral, level in zip(self.laterals, reversed(lower), strict=False):
                features = next(layers)(features)  # transposed convolution
                features = next(layers)(features) + lateral(level)  # batch normalisation
                features = next(layers)(features)  # ReLU
        heatmaps: torch.Tensor = self.final_layer(features)
        return heatmaps

    def _add_head(
        self,
        joints: int,
        deconv_channels: Sequence[int],
        deconv_kernel: int,
        laterals: bool,
    ) -> None:
        """Put deconvolutions and heatmaps on the trunk."""
        if joints < 1:
            raise OptionError(f"joints is {joints}, expected at least 1")
        if len(deconv_channels) not in (2, 3):
            raise OptionError(
                f"deconv_channels is {list(deconv_channels)}, expected 2 or 3 deconvolutions"
            )
        self.joints = joints
        self.stride = self.trunk_stride >> len(deconv_channels)
        self.deconv_layers = deconvolutions(self.trunk_channels, deconv_channels, deconv_kernel)
        self.final_layer = nn.Conv2d(deconv_channels[-1], joints, 1)
        nn.init.normal_(self.final_layer.weight, std=_FINAL_STD)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]
        self.laterals = None
        if laterals:
            self.laterals = nn.ModuleList(
                nn.Conv2d(lower, channels, 1, bias=False)
                for lower, channels in zip(
                    self.level_channels[-2::-1], deconv_channels, strict=False
                )
            )
            for lateral in self.laterals:  # so that they can be added to a trained network
                nn.init.zeros_(lateral.weight)  # type: ignore[arg-type]


class PoseResNet(ResNetTrunk, PoseNetwork):
    """The paper's network."""

    def __init__(
        self,
        depth: int = 50,
        joints: int = 17,
        *,
        deconv_channels: Sequence[int] = (256, 256, 256),
        deconv_kernel: int = 4,
        laterals: bool = False,
        width: float = 1.0,
    ) -> None:
        """A network with fresh weights; the defaults are the paper's ResNet-50 for COCO.

        Args:
            depth: 18, 34, 50, 101 or 152.
            joints: heatmaps to predict.
            deconv_channels: of each deconvolution, of which there are 2 or 3 (the paper's table 2).
            deconv_kernel: 2, 3 or 4 (the same table).
            laterals: see `PoseNetwork`; they start at zero.
            width: multiplies the trunk's channels.

        Raises:
            OptionError: an argument is out of range.
        """
        super().__init__(depth, width)
        self._add_head(joints, deconv_channels, deconv_kernel, laterals)


class PoseLite(EfficientNetLiteTrunk, PoseNetwork):
    """The paper's head on a trunk for small devices, EfficientNet-Lite0."""

    def __init__(
        self,
        joints: int = 17,
        *,
        deconv_channels: Sequence[int] = (64, 64, 64),
        deconv_kernel: int = 4,
        laterals: bool = False,
        frozen: int = 0,
    ) -> None:
        """A network with fresh weights; see `PoseResNet` and `EfficientNetLiteTrunk`.

        Raises:
            OptionError: an argument is out of range.
        """
        super().__init__(frozen)
        self._add_head(joints, deconv_channels, deconv_kernel, laterals)
