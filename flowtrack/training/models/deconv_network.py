"""What pose network and detector share: a trunk whose features deconvolutions bring up again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from flowtrack.training.models.layers import deconvolutions


class DeconvNetwork(nn.Module, ABC):
    """A trunk and a few deconvolutions (Xiao et al. 2018, section 2).

    Fully convolutional: any input size whose sides are multiples of 32. Classes derive from this
    and from a trunk, and add what predicts from the features. Key names are those of
    microsoft/human-pose-estimation.pytorch, `deconv_layers.*`. Laterals, `laterals.*`, are not the
    paper's: each deconvolution's output is joined by what the trunk had at that resolution (Lin et
    al. 2017, figure 3).

    Attributes:
        stride: input pixels per cell of the features: 4 with three deconvolutions, 8 with two.
        laterals: 1x1 convolutions of the trunk's features, one for each deconvolution, or None.
    """

    trunk_stride: int
    trunk_channels: int
    level_channels: tuple[int, ...]
    stride: int
    laterals: nn.ModuleList | None

    @abstractmethod
    def levels(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) -> (N, channels, H / s, W / s) for s of 4, 8, 16, 32."""

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, channels of the last deconvolution, H / stride, W / stride)."""
        *lower, x = self.levels(pictures)
        if self.laterals is None:
            deconvolved: torch.Tensor = self.deconv_layers(x)
            return deconvolved
        layers = iter(self.deconv_layers)
        for lateral, level in zip(self.laterals, reversed(lower), strict=False):
            x = next(layers)(x)  # transposed convolution
            x = next(layers)(x) + lateral(level)  # batch normalisation
            x = next(layers)(x)  # ReLU
        return x

    def _add_deconvolutions(self, channels: Sequence[int], kernel: int, laterals: bool) -> None:
        """Put deconvolutions on the trunk; see `deconvolutions` for what they may be."""
        self.stride = self.trunk_stride >> len(channels)
        self.deconv_layers = deconvolutions(self.trunk_channels, channels, kernel)
        self.laterals = None
        if laterals:
            self.laterals = nn.ModuleList(
                nn.Conv2d(lower, joined, 1, bias=False)
                for lower, joined in zip(self.level_channels[-2::-1], channels, strict=False)
            )
            for lateral in self.laterals:  # so that they can be added to a trained network
                nn.init.zeros_(lateral.weight)  # type: ignore[arg-type]
