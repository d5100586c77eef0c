"""Pixels to network input: one owner for training and for the exported graphs."""

from __future__ import annotations

import torch
from torch import nn

from flowtrack.errors import OptionError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of pixels / 255 over ImageNet, RGB (torchvision; also the paper's code)."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of pixels / 255 over ImageNet, RGB."""


class Normalization(nn.Module):
    """(pixels / 255 - mean) / std, as one multiplication and one subtraction per pixel."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(
        self,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        """Normalisation of three channels, in the order in which the pictures carry them.

        Raises:
            OptionError: a standard deviation is not positive.
        """
        super().__init__()
        if not all(value > 0 for value in std):
            raise OptionError(f"std is {std}, expected three positive numbers")
        deviation = torch.tensor(std, dtype=torch.float64)
        scale = (1 / (255 * deviation)).float().view(1, 3, 1, 1)
        shift = (torch.tensor(mean, dtype=torch.float64) / deviation).float().view(1, 3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float pixels, 0 to 255, to the network's input."""
        return pixels * self.scale - self.shift
