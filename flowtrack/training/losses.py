"""What training minimises for poses and boxes."""

from __future__ import annotations

import torch
from torch.nn import functional

from flowtrack.training.models import CenterMaps
from flowtrack.training.targets import CenterTargets


def joint_loss(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The paper's loss: mean over joints of half the mean squared error of weighted heatmaps.

    Args:
        predicted, target: (N, K, H, W) heatmaps.
        weight: (N, K); both maps of a joint are multiplied by it (official code,
            lib/core/loss.py, JointsMSELoss).

    Returns:
        A scalar.
    """
    difference = (predicted - target) * weight[:, :, None, None]
    return 0.5 * difference.square().mean()


def center_loss(
    maps: CenterMaps, target: CenterTargets, *, size_weight: float = 0.1, offset_weight: float = 1.0
) -> dict[str, torch.Tensor]:
    """CenterNet's losses (Zhou et al. 2019, section 3, equations 1 to 4).

    Args:
        maps: what the network predicts.
        target: what it should.
        size_weight, offset_weight: as in the paper.

    Returns:
        `loss`, the weighted sum, and its parts `centre`, `size` and `offset`.
    """
    people = target.person.sum().clamp_min(1)
    logits = maps.heatmap.float()
    probability = logits.sigmoid()
    peak = (target.heatmap >= 1).float()
    hit = functional.logsigmoid(logits) * (1 - probability).square() * peak
    away = (1 - target.heatmap) ** 4 * target.counted * (1 - peak)
    miss = functional.logsigmoid(-logits) * probability.square() * away
    centre = -(hit + miss).sum() / people
    size = _at_centres(maps.size, target.size, target) / people
    offset = _at_centres(maps.offset, target.offset, target) / people
    return {
        "loss": centre + size_weight * size + offset_weight * offset,
        "centre": centre,
        "size": size,
        "offset": offset,
    }


def _at_centres(
    predicted: torch.Tensor, wanted: torch.Tensor, target: CenterTargets
) -> torch.Tensor:
    """Sum of absolute differences at the people's centres."""
    index = target.cell[:, None].expand(-1, 2, -1)
    values = predicted.float().flatten(2).gather(2, index).transpose(1, 2)
    return ((values - wanted).abs() * target.person[..., None]).sum()
