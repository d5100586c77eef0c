"""Training of the person detector (CenterNet, Zhou et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from flowtrack.errors import CheckpointError
from flowtrack.evaluation.detection import average_precision
from flowtrack.skeleton import COCO_17
from flowtrack.structs import BoolArray, FloatArray
from flowtrack.training.checkpoint_file import read_checkpoint
from flowtrack.training.checkpoints import load_backbone, save_detector
from flowtrack.training.data.loader import Batch, first_batches, stack
from flowtrack.training.data.mixture import Mixture
from flowtrack.training.data.pictures import PictureStore
from flowtrack.training.data.sources import split_people
from flowtrack.training.data.views import IGNORED, LETTERBOX, NOBODY, PERSON, PeopleViews
from flowtrack.training.exported import is_exported, load_exported, measure_statistics
from flowtrack.training.losses import center_loss
from flowtrack.training.models import (
    CenterDetector,
    CenterLite,
    CenterMaps,
    CenterNetwork,
    Normalization,
)
from flowtrack.training.recipe import DetectorRecipe
from flowtrack.training.targets import center_targets

_VALIDATION_BATCH = 16
_MOST_VALIDATED = 300  # pictures of each source
_MOST_FOUND = 100


class DetectorTask:
    """See `Task`. The decisive figure is `ap50`."""

    metric = "ap50"
    higher_is_better = True

    def __init__(
        self, recipe: DetectorRecipe, data: Path, *, cache: Path | None, init: Path | None
    ) -> None:
        """A detector training.

        Args:
            recipe: what to train, and how.
            data: folder that the recipe's paths are relative to.
            cache: folder that keeps decoded pictures; None decodes them again and again.
            init: checkpoint of flowtrack's own to start from: of a detector, or of a pose network,
                whose trunk is taken over, and its deconvolutions where they fit. Or the ONNX file
                of an exported detector.

        Raises:
            SourceError: data is missing or damaged.
            CheckpointError: the starting weights do not fit.
        """
        options = recipe.network
        torch.manual_seed(recipe.seed)
        self.network: nn.Module = _network(recipe, data, init)
        self._normalization = Normalization()
        train, aside = split_people(recipe.data, recipe.validation, data, COCO_17)
        views = [
            PeopleViews(
                people,
                PictureStore(people.paths, cache=cache),
                options.input,
                recipe.augment,
            )
            for people in train
        ]
        size = options.validated or options.input
        self._held_out = {
            name: PeopleViews(people, PictureStore(people.paths), size, LETTERBOX)
            for name, people in aside.items()
        }
        self.mixture = Mixture(views, [source.share for source in recipe.data], recipe.seed)
        if init is not None and is_exported(init):
            first = first_batches(self.mixture)
            measure_statistics(self.network, (self._input(batch["view"]) for batch in first))

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """`loss` and its parts `centre`, `size` and `offset`."""
        maps: CenterMaps = network(self._input(batch["view"]))
        kind = batch["kind"]
        most = max(1, int((kind != NOBODY).sum(1).max()))  # the others are padding in every view
        boxes, kind = batch["boxes"][:, :most], kind[:, :most]
        size = (int(maps.heatmap.shape[-2]), int(maps.heatmap.shape[-1]))
        target = center_targets(boxes, kind == PERSON, kind == IGNORED, size, CenterNetwork.stride)
        return center_loss(maps, target)

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """`ap50`, the mean over the sources, and that of each source.

        Of each source the first 300 pictures count; sources that show nobody in them do not.
        """
        figures = {
            f"ap50_{name}": self._average_precision(network, views, device)
            for name, views in self._held_out.items()
        }
        figures = {name: value for name, value in figures.items() if not np.isnan(value)}
        if figures:
            figures = {"ap50": float(np.mean(list(figures.values()))), **figures}
        return figures

    def save(self, path: Path, network: nn.Module, **extra: Any) -> None:
        """A checkpoint that `flowtrack export detector` takes."""
        assert isinstance(network, CenterNetwork)
        save_detector(path, network, **extra)

    def _input(self, views: torch.Tensor) -> torch.Tensor:
        """(N, H, W, 3) uint8 BGR to the network's (N, 3, H, W) RGB."""
        rgb = views.permute(0, 3, 1, 2).flip(1).float()
        self._normalization.to(views.device)
        normalised: torch.Tensor = self._normalization(rgb)
        return normalised

    def _average_precision(
        self, network: nn.Module, views: PeopleViews, device: torch.device
    ) -> float:
        boxes: list[FloatArray] = []
        scores: list[FloatArray] = []
        truth: list[FloatArray] = []
        ignored: list[BoolArray] = []
        rng = np.random.default_rng(0)
        count = min(len(views), _MOST_VALIDATED)
        for start in range(0, count, _VALIDATION_BATCH):
            numbers = range(start, min(start + _VALIDATION_BATCH, count))
            batch = stack([views.sample(number, rng) for number in numbers])
            with torch.no_grad():
                found, score = peaks(network(self._input(batch["view"].to(device))))
            boxes.extend(found.cpu().numpy())
            scores.extend(score.cpu().numpy())
            for there, kind in zip(batch["boxes"].numpy(), batch["kind"].numpy(), strict=True):
                truth.append(there[kind != NOBODY])
                ignored.append(kind[kind != NOBODY] == IGNORED)
        return average_precision(boxes, scores, truth, ignored, iou=0.5)


def peaks(maps: CenterMaps) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes as flowtrack.export.graphs.PeakDecoder finds them.

    Args:
        maps: of pictures of people only.

    Returns:
        (N, M, 4) xyxy in input pixels and (N, M) scores, best first.
    """
    probability = maps.heatmap.float().sigmoid()
    highest = functional.max_pool2d(probability, 3, 1, 1)
    kept = (probability * (probability == highest)).flatten(1)
    score, cell = kept.topk(min(_MOST_FOUND, kept.shape[1]))
    width = maps.heatmap.shape[-1]
    index = cell[:, None].expand(-1, 2, -1)
    size = maps.size.float().flatten(2).gather(2, index).transpose(1, 2)
    offset = maps.offset.float().flatten(2).gather(2, index).transpose(1, 2)
    centre = torch.stack((cell % width, cell // width), -1) + offset
    boxes = torch.cat((centre - size / 2, centre + size / 2), -1)
    return boxes * CenterNetwork.stride, score


def _network(recipe: DetectorRecipe, data: Path, init: Path | None) -> CenterNetwork:
    options = recipe.network
    head: dict[str, Any] = {
        "deconv_channels": options.deconv_channels,
        "head_channels": options.head_channels,
        "laterals": options.laterals,
    }
    network: CenterLite | CenterDetector
    if options.trunk == "efficientnet-lite0":
        network = CenterLite(frozen=options.frozen, **head)
    else:
        network = CenterDetector(options.depth, width=options.width, **head)
    if init is None:
        if options.backbone:
            load_backbone(network, data / options.backbone)
        return network
    if is_exported(init):
        load_exported(init, network)
        return network
    given, own = read_checkpoint(init).state, network.state_dict()
    trunk = network.trunk_keys
    if _shapes(given, trunk) != _shapes(own, trunk):
        wanted = f"a ResNet-{options.depth} of width {options.width}"
        raise CheckpointError(
            f"{init} does not fit the recipe's network; expected a detector or a pose network with "
            f"{wanted if options.trunk == 'resnet' else options.trunk}"
        )
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict({**own, **fitting})
    return network


def _shapes(state: Mapping[str, torch.Tensor], prefixes: tuple[str, ...]) -> dict[str, torch.Size]:
    """Shapes by key of the tensors whose keys begin with one of the prefixes."""
    return {key: value.shape for key, value in state.items() if key.startswith(prefixes)}
