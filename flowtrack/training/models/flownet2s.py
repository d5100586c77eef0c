"""FlowNet2S (Ilg et al. 2017) as in NVIDIA/flownet2-pytorch, and its relatives.

The encoder and decoder are FlowNetS of Dosovitskiy et al. 2015, figure 2.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from flowtrack.errors import InputError, OptionError
from flowtrack.training.models.layers import scaled_channels

_SLOPE = 0.1  # of LeakyReLU (networks/submodules.py)

# Encoder layers: channels, kernel, stride (networks/FlowNetS.py).
_ENCODER = {
    "conv1": (64, 7, 2),
    "conv2": (128, 5, 2),
    "conv3": (256, 5, 2),
    "conv3_1": (256, 3, 1),
    "conv4": (512, 3, 2),
    "conv4_1": (512, 3, 1),
    "conv5": (512, 3, 2),
    "conv5_1": (512, 3, 1),
    "conv6": (1024, 3, 2),
    "conv6_1": (1024, 3, 1),
}
_DECODER = {5: 512, 4: 256, 3: 128, 2: 64}  # channels of deconv<level>
_SKIPS = {5: 512, 4: 512, 3: 256, 2: 128}  # channels of the encoder at each level


class FlowNet2S(nn.Module):
    """Optical flow from two pictures.

    Key names are NVIDIA's (networks/FlowNetS.py): `conv1.0.weight` ... `deconv5.0.weight`,
    `predict_flow6.weight`, `upsampled_flow6_to_5.weight`.

    Attributes:
        width, div_flow: as given.
        fixed_mean: RGB means subtracted from pixels / 255; None where the pair's own are.
    """

    multiple = 64
    """Heights and widths are multiples of this, in pixels."""

    stride = 4
    """Input pixels per cell of the finest predicted flow."""

    def __init__(
        self,
        width: float = 1.0,
        *,
        decoder_bias: bool = True,
        batch_norm: bool = False,
        fixed_mean: tuple[float, float, float] | None = None,
        div_flow: float = 20.0,
    ) -> None:
        """A network with fresh weights; the defaults are NVIDIA's FlowNet2S.

        Args:
            width: multiplies the channels of every layer; 3/8 makes FlowNet2-s (Ilg et al. 2017,
                section 5).
            decoder_bias: biases in `deconv*` and `predict_flow*`; ClementPinard/FlowNetPytorch has
                none (models/util.py).
            batch_norm: batch normalisation instead of biases in the encoder (its `flownets_bn`).
            fixed_mean: of pixels / 255, in the order of the network's channels; None takes the
                mean of each channel over both pictures (NVIDIA's models.py).
            div_flow: pixels per unit of the predicted flow (both projects: 20).

        Raises:
            OptionError: the width leaves no whole number of channels, or div_flow is not positive.
        """
        super().__init__()
        if not div_flow > 0:
            raise OptionError(f"div_flow is {div_flow}, expected a positive number")
        self.width = width
        self.div_flow = div_flow
        self.fixed_mean = fixed_mean
        incoming = 6
        for name, (channels, kernel, stride) in _ENCODER.items():
            outgoing = scaled_channels(channels, width)
            self.add_module(name, _convolution(incoming, outgoing, kernel, stride, batch_norm))
            incoming = outgoing
        self.predict_flow6 = nn.Conv2d(incoming, 2, 3, padding=1, bias=decoder_bias)
        for level, channels in _DECODER.items():
            outgoing = scaled_channels(channels, width)
            deconv = nn.ConvTranspose2d(incoming, outgoing, 4, 2, padding=1, bias=decoder_bias)
            self.add_module(f"deconv{level}", nn.Sequential(deconv, _leaky()))
            upsampled = nn.ConvTranspose2d(2, 2, 4, 2, padding=1, bias=False)
            self.add_module(f"upsampled_flow{level + 1}_to_{level}", upsampled)
            incoming = scaled_channels(_SKIPS[level], width) + outgoing + 2
            predict = nn.Conv2d(incoming, 2, 3, padding=1, bias=decoder_bias)
            self.add_module(f"predict_flow{level}", predict)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                # ClementPinard/FlowNetPytorch, models/FlowNetS.py
                nn.init.kaiming_normal_(module.weight, _SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self, previous: torch.Tensor, current: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Flow from the previous picture to the current one.

        Args:
            previous, current: (N, 3, H, W) float pixels, 0 to 255, H and W multiples of 64.

        Returns:
            In training the flows of five levels, (N, 2, H/4, W/4) first and (N, 2, H/64, W/64)
            last, in pixels / `div_flow`; otherwise (N, 2, H, W) dx and dy in pixels.

        Raises:
            InputError: the pictures differ in size, or the size does not fit.
        """
        height, width = previous.shape[-2:]
        if previous.shape != current.shape or height % self.multiple or width % self.multiple:
            raise InputError(
                f"pictures have shapes {tuple(previous.shape)} and {tuple(current.shape)}, "
                f"expected the same (N, 3, H, W) twice with H and W multiples of {self.multiple}; "
                "resize them and scale the flow back"
            )
        if self.training:
            return self.pyramid(self.normalised(previous, current))
        quarter = self.quarter_flow(previous, current)
        return functional.interpolate(
            quarter, scale_factor=self.stride, mode="bilinear", align_corners=False
        )

    def quarter_flow(self, previous: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        """(N, 2, H/4, W/4): flow in input pixels, as predicted, without upsampling."""
        return self.pyramid(self.normalised(previous, current))[0] * self.div_flow

    def normalised(self, previous: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        """(N, 6, H, W): both pictures / 255 less their mean, one after the other."""
        first, second = previous / 255.0, current / 255.0
        if self.fixed_mean is None:
            mean = (_picture_mean(first) + _picture_mean(second)) * 0.5
        else:
            mean = torch.tensor(self.fixed_mean, dtype=first.dtype, device=first.device)
            mean = mean.view(1, 3, 1, 1)
        return torch.cat((first - mean, second - mean), dim=1)

    def pyramid(self, pair: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Flows of all levels, finest first, in pixels / `div_flow`.

        Args:
            pair: (N, 6, H, W) from `normalised`.
        """
        skips = {}
        features = pair
        for name in _ENCODER:
            features = self.get_submodule(name)(features)
            # The last layer of a level overwrites the ones before: conv2, conv3_1, conv4_1, conv5_1
            skips[int(name[4])] = features
        flow = self.predict_flow6(features)
        flows = [flow]
        for level in _DECODER:
            upsampled = self.get_submodule(f"upsampled_flow{level + 1}_to_{level}")(flow)
            deconvolved = self.get_submodule(f"deconv{level}")(features)
            features = torch.cat((skips[level], deconvolved, upsampled), dim=1)
            flow = self.get_submodule(f"predict_flow{level}")(features)
            flows.append(flow)
        return tuple(reversed(flows))


def _picture_mean(pictures: torch.Tensor) -> torch.Tensor:
    """(N, 3, 1, 1): mean of each channel."""
    # Along rows, then columns: summed in one go over 384x512 pixels, ONNX Runtime's float32 mean
    # is off by 6e-7, which moves the flow by a thousandth of a pixel.
    return pictures.mean(3, keepdim=True).mean(2, keepdim=True)


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(_SLOPE, inplace=True)


def _convolution(
    incoming: int, outgoing: int, kernel: int, stride: int, batch_norm: bool
) -> nn.Sequential:
    convolution = nn.Conv2d(
        incoming, outgoing, kernel, stride, padding=kernel // 2, bias=not batch_norm
    )
    if batch_norm:
        return nn.Sequential(convolution, nn.BatchNorm2d(outgoing), _leaky())
    return nn.Sequential(convolution, _leaky())
