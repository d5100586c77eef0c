"""Training of FlowNet2S (Ilg et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from flowtrack.errors import OptionError
from flowtrack.evaluation.flow_pairs import find_pairs
from flowtrack.synthetic import CAMERAS, ClipOptions, render_clip
from flowtrack.synthetic.chairs import ChairsOptions
from flowtrack.training.checkpoints import load_flow, save_flow
from flowtrack.training.data.loader import Batch, stack
from flowtrack.training.data.mixture import Mixture
from flowtrack.training.data.sources import free_name
from flowtrack.training.exported import is_exported, load_exported
from flowtrack.training.flow_augment import AugmentedFlow
from flowtrack.training.flow_data import (
    ChairsPairs,
    FlowPool,
    FlowSource,
    PairFolder,
    pairs_of_clip,
    whole,
)
from flowtrack.training.flow_losses import MultiScaleLoss, end_point_error
from flowtrack.training.models import FlowNet2S
from flowtrack.training.recipe import FlowRecipe, PairSource

_MOST_VALIDATED = 200  # pairs of each source
_CLIP_FRAMES = 13  # of one camera and one set of people
_CLIP_FPS = 12.5  # twice the motion of an ordinary video
_CLIP_PEOPLE = 6  # at most


class FlowTask:
    """See `Task`. The decisive figure is `epe`, in pixels."""

    metric = "epe"
    higher_is_better = False

    def __init__(self, recipe: FlowRecipe, data: Path, *, init: Path | None) -> None:
        """A flow training.

        Args:
            recipe: what to train, and how.
            data: folder that the recipe's paths are relative to.
            init: checkpoint to start from, or an exported ONNX file.

        Raises:
            SourceError: data is missing or damaged.
            CheckpointError: the starting weights cannot be read.
            OptionError: they do not fit the recipe.
        """
        torch.manual_seed(recipe.seed)
        self.network: nn.Module = _network(recipe.network.width, init)
        self._loss = MultiScaleLoss(reduction=recipe.network.reduction)
        self._held_out: dict[str, FlowSource] = {}
        crops = []
        for number, source in enumerate(recipe.data):
            train, aside = _split(source, data, recipe.seed + number)
            crops.append(AugmentedFlow(train, recipe.network.input, recipe.augment))
            if aside is not None:
                self._held_out[free_name(_name(source), self._held_out)] = aside
        for number, source in enumerate(recipe.validation):
            seed = recipe.seed + len(recipe.data) + number
            self._held_out[free_name(_name(source), self._held_out)] = _pairs(source, data, seed)
        self.mixture = Mixture(crops, [source.share for source in recipe.data], recipe.seed)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """`loss`: of all levels; `epe`: of the finest, in input pixels at a quarter of the size."""
        previous, current = (_input(batch[name]) for name in ("previous", "current"))
        flows = [flow.float() for flow in network(previous, current)]
        truth, valid = batch["uv"], batch["valid"]
        loss: torch.Tensor = self._loss(flows, truth, valid)
        return {"loss": loss}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """`epe`, the mean over the sources, that of each source and that of zero flow."""
        assert isinstance(network, FlowNet2S)
        figures: dict[str, float] = {}
        means = []
        for name, pairs in self._held_out.items():
            ours, still = [], []
            for index in range(min(len(pairs), _MOST_VALIDATED)):
                sample = pairs.sample(index, np.random.default_rng(index))
                batch = {k: v.to(device) for k, v in stack([sample]).items()}
                truth, valid = batch["uv"], batch["valid"]
                found = predicted(network, _input(batch["previous"]), _input(batch["current"]))
                ours.append(float(end_point_error(found, truth, valid)))
                still.append(float(end_point_error(torch.zeros_like(truth), truth, valid)))
            figures[f"epe_{name}"] = float(np.mean(ours))
            figures[f"zero_{name}"] = float(np.mean(still))
            means.append(figures[f"epe_{name}"])
        return {"epe": float(np.mean(means)), **figures} if means else figures

    def save(self, path: Path, network: nn.Module, **extra: Any) -> None:
        """A checkpoint that `flowtrack export flow` takes."""
        assert isinstance(network, FlowNet2S)
        save_flow(path, network, **extra)


@torch.no_grad()
def predicted(network: FlowNet2S, previous: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
    """Flow of pictures of any size: they are resized to multiples of 64, the flow back.

    Args:
        network: in evaluation mode.
        previous, current: (N, 3, H, W) float RGB, 0 to 255.

    Returns:
        (N, 2, H, W) in pixels of the pictures given.
    """
    size = previous.shape[-2:]
    fitting = [max(1, round(side / network.multiple)) * network.multiple for side in size]
    resized = [
        functional.interpolate(picture, fitting, mode="bilinear", align_corners=False)
        for picture in (previous, current)
    ]
    flow = network(*resized)
    if list(size) != fitting:
        flow = functional.interpolate(flow, size, mode="bilinear", align_corners=False)
    scale = torch.tensor([size[1] / fitting[1], size[0] / fitting[0]], device=flow.device)
    scaled: torch.Tensor = flow * scale.view(1, 2, 1, 1)
    return scaled


def _input(pictures: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 BGR to the network's (N, 3, H, W) RGB, 0 to 255."""
    return pictures.permute(0, 3, 1, 2).flip(1).float()


def _name(source: PairSource) -> str:
    folder = Path(source.folders[0]).name if source.kind == "pairs" and source.folders else ""
    return folder or source.kind


def _pairs(source: PairSource, data: Path, seed: int) -> FlowSource:
    """All pairs of a source; drawn ones have seeds of their own for each recipe seed."""
    folders = tuple(data / folder for folder in source.folders)
    height, width = source.size
    pairs: FlowSource
    if source.kind == "pairs":
        if len(folders) != 1:
            raise OptionError(f"folders is {source.folders}, expected one folder with pairs")
        pairs = PairFolder(find_pairs(folders[0]))
    elif source.kind == "chairs":
        options = ChairsOptions(
            width, height, scale=source.scale, motion=source.motion, backgrounds=folders
        )
        pairs = ChairsPairs(options, source.count, first_seed=seed * 10_000_000)
    else:
        return FlowPool(_clips(source, folders, seed))
    return FlowPool(whole(pairs, seed)) if source.kept else pairs


def _clips(source: PairSource, folders: Sequence[Path], seed: int) -> Any:
    """Pairs of neighbouring frames of rendered clips."""
    height, width = source.size
    drawn, clip = 0, 0
    while drawn < source.count:
        options = ClipOptions(
            width=width, height=height, frames=_CLIP_FRAMES, fps=_CLIP_FPS,
            people=1 + clip % _CLIP_PEOPLE, camera=CAMERAS[clip % len(CAMERAS)],
            seed=seed * 100_000 + clip, backgrounds=folders[0] if folders else None,
        )  # fmt: skip
        for sample in pairs_of_clip(render_clip(options)):
            if drawn < source.count:
                drawn += 1
                yield sample
        clip += 1


class _Part:
    """Some of a source's pairs."""

    def __init__(self, pairs: FlowSource, numbers: Sequence[int]) -> None:
        self._pairs, self._numbers = pairs, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        return self._pairs.sample(self._numbers[index], rng)


def _split(source: PairSource, data: Path, seed: int) -> tuple[FlowSource, FlowSource | None]:
    """Pairs to train on, and those held out: the last ones."""
    pairs = _pairs(source, data, seed)
    aside = round(len(pairs) * source.held_out)
    if not aside:
        return pairs, None
    count = len(pairs) - aside
    if count < 1:
        raise OptionError(f"{source.kind}: all {len(pairs)} pairs are held out")
    return _Part(pairs, range(count)), _Part(pairs, range(count, len(pairs)))


def _network(width: float, init: Path | None) -> FlowNet2S:
    if init is None:
        return FlowNet2S(width)
    if is_exported(init):
        network = FlowNet2S(width)
        load_exported(init, network)
        return network
    network = load_flow(init).network
    if network.width != width:
        raise OptionError(f"{init} has width {network.width}, expected the recipe's {width}")
    return network
