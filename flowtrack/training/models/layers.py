"""Layers that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from flowtrack.errors import OptionError

# Kernel size -> (padding, output padding) with which a stride-2 transposed convolution doubles its
# input exactly (microsoft/human-pose-estimation.pytorch, lib/models/pose_resnet.py).
_DOUBLING = {2: (0, 0), 3: (1, 1), 4: (1, 0)}

DECONV_KERNELS = tuple(_DOUBLING)
"""Kernel sizes that `deconvolutions` takes."""

_DECONV_STD = 0.001  # of the normal distribution of initial weights (same file)


def scaled_channels(channels: int, width: float) -> int:
    """`channels` times the width multiplier `width`.

    Raises:
        OptionError: the product is not a positive whole number.
    """
    scaled = channels * width
    if not (scaled >= 1 and scaled == int(scaled)):
        raise OptionError(
            f"width {width} makes {scaled} of {channels} channels, expected a whole number; "
            "take a multiple of 1/64 such as 0.25, 0.375 or 0.5"
        )
    return int(scaled)


def deconvolutions(in_channels: int, channels: Sequence[int], kernel: int) -> nn.Sequential:
    """Several times transposed convolution (stride 2, no bias), batch normalisation, ReLU.

    The head of Simple Baselines (Xiao et al. 2018, section 2), of which CenterNet makes use too
    (Zhou et al. 2019, section 5.1). Weights are drawn from N(0, 0.001).

    Args:
        in_channels: channels that come in.
        channels: of each layer; every one doubles the resolution.
        kernel: one of `DECONV_KERNELS`.

    Raises:
        OptionError: no such kernel, no layer, or a number of channels below 1.
    """
    if kernel not in _DOUBLING:
        raise OptionError(f"deconv_kernel is {kernel}, expected one of {list(DECONV_KERNELS)}")
    if not channels or min(channels) < 1:
        raise OptionError(
            f"deconv_channels is {list(channels)}, expected one number above 0 for each layer"
        )
    padding, output_padding = _DOUBLING[kernel]
    layers: list[nn.Module] = []
    for out_channels in channels:
        deconv = nn.ConvTranspose2d(
            in_channels,
            out_channels,
            kernel,
            stride=2,
            padding=padding,
            output_padding=output_padding,
            bias=False,
        )
        nn.init.normal_(deconv.weight, std=_DECONV_STD)
        layers += [deconv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
        in_channels = out_channels
    return nn.Sequential(*layers)
