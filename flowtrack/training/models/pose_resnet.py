"""The paper's pose network: a ResNet and a few deconvolutions (Xiao et al. 2018, section 2)."""

from __future__ import annotations

import torch
from torch import nn

from flowtrack.errors import OptionError
from flowtrack.training.models.layers import deconvolutions
from flowtrack.training.models.resnet import ResNetTrunk

_FINAL_STD = 0.001  # of the last layer's initial weights (lib/models/pose_resnet.py, init_weights)


class PoseResNet(ResNetTrunk):
    """One heatmap per joint from a picture of one person.

    Fully convolutional: any input size whose sides are multiples of 32. Key names are those of
    microsoft/human-pose-estimation.pytorch (lib/models/pose_resnet.py).

    Attributes:
        joints: as given.
        stride: input pixels per heatmap cell: 4 with three deconvolutions, 8 with two.
    """

    def __init__(
        self,
        depth: int = 50,
        joints: int = 17,
        *,
        deconv_layers: int = 3,
        deconv_kernel: int = 4,
        deconv_channels: int = 256,
        width: float = 1.0,
    ) -> None:
        """A network with fresh weights; the defaults are the paper's ResNet-50 for COCO.

        Args:
            depth: 18, 34, 50, 101 or 152.
            joints: heatmaps to predict.
            deconv_layers: 2 or 3 (the paper's table 2).
            deconv_kernel: 2, 3 or 4 (the same table).
            deconv_channels: channels of every deconvolution.
            width: multiplies the trunk's channels.

        Raises:
            OptionError: an argument is out of range.
        """
        super().__init__(depth, width)
        if joints < 1:
            raise OptionError(f"joints is {joints}, expected at least 1")
        if deconv_layers not in (2, 3):
            raise OptionError(f"deconv_layers is {deconv_layers}, expected 2 or 3")
        self.joints = joints
        self.stride = self.trunk_stride >> deconv_layers
        self.deconv_layers = deconvolutions(
            self.trunk_channels, deconv_channels, deconv_layers, deconv_kernel
        )
        self.final_layer = nn.Conv2d(deconv_channels, joints, 1)
        nn.init.normal_(self.final_layer.weight, std=_FINAL_STD)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Heatmaps.

        Args:
            crops: (N, 3, H, W) normalised pictures.

        Returns:
            (N, joints, H / stride, W / stride).
        """
        heatmaps: torch.Tensor = self.final_layer(self.deconv_layers(self.trunk(crops)))
        return heatmaps
