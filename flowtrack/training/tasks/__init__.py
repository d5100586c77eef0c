"""What is trained: a network with its data, loss and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from flowtrack.training.data.loader import Batch
from flowtrack.training.data.mixture import Mixture


class Task(Protocol):
    """What the trainer needs to know of a task.

    Attributes:
        network: with its starting weights.
        mixture: where samples come from, augmented.
        metric: name of the validation figure that decides which weights are best.
        higher_is_better: of that figure.
    """

    network: nn.Module
    mixture: Mixture
    metric: str
    higher_is_better: bool

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Scalars by name; `loss` is the one to minimise, the others are its parts."""

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Figures on held-out data; `network` is in evaluation mode."""

    def save(self, path: Path, network: nn.Module, **extra: Any) -> None:
        """Write a network's weights as a checkpoint that can be exported."""
