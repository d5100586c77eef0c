"""A task that trains within milliseconds, and what a test may do with it.

`torchrun ... -m tests.training.toys OUT` trains it in several processes and prints the names of the
threads that each is left with.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from flowtrack.training.checkpoint_file import write_checkpoint
from flowtrack.training.data.mixture import Mixture
from flowtrack.training.recipe import Schedule
from flowtrack.training.trainer import Trainer, TrainerOptions

SCHEDULE = Schedule(samples=240, batch=8, learning_rate=0.02, validations=3)
"""Thirty steps."""


class Stopped(Exception):  # noqa: N818 - what a killed training would not even say
    """The training was interrupted."""


class Gratings:
    """Small pictures and how bright each is; augmented, so that every sample is new."""

    def __init__(self, count: int = 50) -> None:
        self.pictures = np.random.default_rng(1).normal(size=(count, 2, 6, 6)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        picture = self.pictures[index] + rng.normal(scale=0.1, size=(2, 6, 6)).astype(np.float32)
        return {"picture": picture, "wanted": picture.mean((1, 2))}


class Toy:
    """A `Task`.

    Attributes:
        seen: the loss of every part of a batch so far.
    """

    metric = "error"

    def __init__(
        self,
        *,
        norm: bool = True,
        seed: int = 0,
        stop_at: int | None = None,
        higher_is_better: bool = False,
    ) -> None:
        """Ready to be trained.

        Args:
            norm: with batch normalisation.
            seed: of weights and order.
            stop_at: raise `Stopped` when so many losses were computed.
            higher_is_better: of the figure.
        """
        torch.manual_seed(seed)
        between: nn.Module = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.network: nn.Module = nn.Sequential(
            nn.Conv2d(2, 4, 3), between, nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
        )
        self.mixture = Mixture([Gratings(), Gratings(20)], [0.7, 0.3], seed)
        self.higher_is_better = higher_is_better
        self.seen: list[float] = []
        self._stop_at = stop_at

    def losses(self, network: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if len(self.seen) == self._stop_at:
            raise Stopped
        difference = network(batch["picture"]) - batch["wanted"]
        loss = difference.square().mean()
        self.seen.append(float(loss.detach()))
        return {"loss": loss, "largest": difference.abs().max()}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        assert not network.training
        source = self.mixture.sources[0]
        samples = [source.sample(i, np.random.default_rng(i)) for i in range(8)]
        pictures = torch.from_numpy(np.stack([sample["picture"] for sample in samples]))
        wanted = torch.from_numpy(np.stack([sample["wanted"] for sample in samples]))
        with torch.no_grad():
            found = network(pictures.to(device)).cpu()
        return {"error": float((found - wanted).abs().mean())}

    def save(self, path: Path, network: nn.Module, **extra: Any) -> None:
        write_checkpoint(path, network.state_dict(), {"kind": "toy"}, **extra)


def trained(out: Path, schedule: Schedule = SCHEDULE, *, resume: bool = False, **toy: Any) -> Toy:
    """A toy after its training."""
    task = Toy(**toy)
    Trainer(task, schedule, TrainerOptions(out, device="cpu", workers=0, resume=resume)).run()
    return task


if __name__ == "__main__":
    trained(Path(sys.argv[1]), replace(SCHEDULE, accumulate=2), norm=False)
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    sys.stdout.write(f"threads: {names}\n")
