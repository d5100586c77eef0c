"""The paper's pose network: a trunk and a few deconvolutions (Xiao et al. 2018, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from flowtrack.errors import OptionError
from flowtrack.training.models.deconv_network import DeconvNetwork
from flowtrack.training.models.efficientnet_lite import EfficientNetLiteTrunk
from flowtrack.training.models.resnet import ResNetTrunk

_FINAL_STD = 0.001  # of the last layer's initial weights (lib/models/pose_resnet.py, init_weights)


class PoseNetwork(DeconvNetwork):
    """A trunk, a few deconvolutions and a 1x1 convolution: one heatmap per joint from a crop.

    Classes derive from this and from a trunk. Key names are those of
    microsoft/human-pose-estimation.pytorch (lib/models/pose_resnet.py).

    Attributes:
        joints: heatmaps to predict.
    """

    joints: int

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Heatmaps.

        Args:
            crops: (N, 3, H, W) normalised pictures.

        Returns:
            (N, joints, H / stride, W / stride).
        """
        heatmaps: torch.Tensor = self.final_layer(self.features(crops))
        return heatmaps

    def _add_head(
        self, joints: int, deconv_channels: Sequence[int], deconv_kernel: int, laterals: bool
    ) -> None:
        """Put deconvolutions and heatmaps on the trunk."""
        if joints < 1:
            raise OptionError(f"joints is {joints}, expected at least 1")
        if len(deconv_channels) not in (2, 3):
            raise OptionError(
                f"deconv_channels is {list(deconv_channels)}, expected 2 or 3 deconvolutions"
            )
        self.joints = joints
        self._add_deconvolutions(deconv_channels, deconv_kernel, laterals)
        self.final_layer = nn.Conv2d(deconv_channels[-1], joints, 1)
        nn.init.normal_(self.final_layer.weight, std=_FINAL_STD)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]


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
            laterals: see `DeconvNetwork`; they start at zero.
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
