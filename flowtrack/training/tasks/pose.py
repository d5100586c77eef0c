"""Training of the pose network (Xiao et al. 2018, section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from flowtrack.errors import CheckpointError, SourceError
from flowtrack.skeleton import Skeleton, skeleton_named
from flowtrack.structs import BoolArray, FloatArray
from flowtrack.training.checkpoints import load_backbone, load_pose, save_pose
from flowtrack.training.data.crops import PLAIN, PersonCrops
from flowtrack.training.data.loader import Batch, first_batches, stack
from flowtrack.training.data.mixture import Mixture
from flowtrack.training.data.pictures import PictureStore
from flowtrack.training.data.sources import split_people
from flowtrack.training.exported import is_exported, load_exported, measure_statistics
from flowtrack.training.losses import joint_loss
from flowtrack.training.models import Normalization, PoseLite, PoseNetwork, PoseResNet
from flowtrack.training.recipe import PoseRecipe
from flowtrack.training.targets import joint_heatmaps

_VALIDATION_BATCH = 64
_MOST_VALIDATED = 1000  # people of each source
_AREA = 0.53  # of a person's segment, relative to its box (CrowdPose and MMPose)
_THRESHOLDS = np.arange(0.5, 0.951, 0.05)  # of OKS (COCO)
_NEAR = 0.1  # of a diagonal


class PoseTask:
    """See `Task`. The decisive figure is `ar`: COCO's average recall with given boxes."""

    metric = "ar"
    higher_is_better = True

    def __init__(
        self, recipe: PoseRecipe, data: Path, *, cache: Path | None, init: Path | None
    ) -> None:
        """A pose training.

        Args:
            recipe: what to train, and how.
            data: folder that the recipe's paths are relative to.
            cache: folder that keeps decoded pictures; None decodes them again and again.
            init: checkpoint to start from, of any layout that `load_pose` knows; its last layer is
                left out if the number of joints differs, and laterals that it does not have start
                at zero. Or an exported ONNX file.

        Raises:
            SourceError: data is missing or damaged, or shows nobody with joints.
            CheckpointError: the starting weights do not fit.
        """
        options = recipe.network
        self.skeleton = skeleton_named(options.skeleton)
        torch.manual_seed(recipe.seed)
        self.network: nn.Module = _network(recipe, len(self.skeleton.joints), data, init)
        self._normalization = Normalization()
        self._size = options.input
        self._sigma = options.sigma
        train, aside = split_people(recipe.data, recipe.validation, data, self.skeleton)
        crops = []
        for source, people in zip(recipe.data, train, strict=True):
            learnt = people.with_joints(source.least_joints)
            if not len(learnt):
                raise SourceError(
                    f"{data / source.annotations} has nobody to train on; expected people with at "
                    f"least {source.least_joints} labelled joints"
                )
            store = PictureStore(learnt.paths, cache=cache)
            crops.append(
                PersonCrops(learnt, store, options.input, recipe.augment,
                            hidden_weight=source.hidden_weight,
                            absent_weight=source.absent_weight)
            )  # fmt: skip
        self._held_out: dict[str, PersonCrops] = {}
        for name, people in aside.items():
            some = people.with_joints(1)
            some = some.select(np.arange(min(len(some), _MOST_VALIDATED)))
            if len(some):
                store = PictureStore(some.paths)
                self._held_out[name] = PersonCrops(some, store, options.input, PLAIN)
        self.mixture = Mixture(crops, [source.share for source in recipe.data], recipe.seed)
        if init is not None and is_exported(init):
            first = first_batches(self.mixture)
            measure_statistics(self.network, (self._input(batch["crop"]) for batch in first))

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """`loss`: the joint-weighted mean squared error of the heatmaps."""
        predicted = network(self._input(batch["crop"]))
        size = (int(predicted.shape[-2]), int(predicted.shape[-1]))
        target, weight = joint_heatmaps(
            batch["joints"], batch["weight"], size, self._size[0] // size[0], self._sigma
        )
        absent = batch["absent"]
        target = target * (absent == 0)[:, :, None, None]
        return {"loss": joint_loss(predicted.float(), target, weight + absent)}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """`ar` and `pck`, the mean over the sources, and `ar` of each source.

        `ar` is the average recall over OKS 0.5 to 0.95 with one prediction for each annotated box;
        `pck` the share of joints that are off by less than a tenth of the diagonal of a square as
        large as the box. Of each source the first 1000 people count.
        """
        figures: dict[str, float] = {}
        recalls, shares = [], []
        for name, crops in self._held_out.items():
            oks, hits = self._score(network, crops, device)
            figures[f"ar_{name}"] = float((oks[:, None] >= _THRESHOLDS).mean())
            recalls.append(figures[f"ar_{name}"])
            shares.append(hits)
        if recalls:
            figures = {"ar": float(np.mean(recalls)), "pck": float(np.mean(shares)), **figures}
        return figures

    def save(self, path: Path, network: nn.Module, **extra: Any) -> None:
        """A checkpoint that `flowtrack export pose` takes."""
        assert isinstance(network, PoseNetwork)
        save_pose(path, network, skeleton=self.skeleton.name, **extra)

    def _input(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, H, W, 3) uint8 BGR to the network's (N, 3, H, W) RGB."""
        rgb = crops.permute(0, 3, 1, 2).flip(1).float()
        self._normalization.to(crops.device)
        normalised: torch.Tensor = self._normalization(rgb)
        return normalised

    def _score(
        self, network: nn.Module, crops: PersonCrops, device: torch.device
    ) -> tuple[FloatArray, float]:
        """OKS of each held-out person, and the share of joints that are near."""
        oks, near, labelled = [], 0.0, 0.0
        rng = np.random.default_rng(0)
        for start in range(0, len(crops), _VALIDATION_BATCH):
            numbers = range(start, min(start + _VALIDATION_BATCH, len(crops)))
            batch = stack([crops.sample(number, rng) for number in numbers])
            with torch.no_grad():
                maps = network(self._input(batch["crop"].to(device))).float().cpu()
            distance = (_decoded(maps, self._size) - batch["joints"]).norm(dim=-1).numpy()
            counted, area = batch["weight"].numpy() > 0, batch["area"].numpy()
            oks.append(_oks(distance, counted, _AREA * area, self.skeleton))
            near += float((counted & (distance < _NEAR * np.sqrt(2 * area)[:, None])).sum())
            labelled += float(counted.sum())
        return np.concatenate(oks), near / max(labelled, 1.0)


def _network(recipe: PoseRecipe, joints: int, data: Path, init: Path | None) -> PoseNetwork:
    options = recipe.network
    head: dict[str, Any] = {
        "deconv_channels": options.deconv_channels,
        "deconv_kernel": options.deconv_kernel,
        "laterals": options.laterals,
    }
    network: PoseLite | PoseResNet
    if options.trunk == "efficientnet-lite0":
        network = PoseLite(joints, frozen=options.frozen, **head)
    else:
        network = PoseResNet(options.depth, joints, width=options.width, **head)
    if options.backbone and init is None:
        load_backbone(network, data / options.backbone)
    if init is not None and is_exported(init):
        load_exported(init, network)
    elif init is not None:
        _start_from(network, init)
    return network


def _start_from(network: PoseNetwork, init: Path) -> None:
    loaded = load_pose(init)
    state, own = loaded.network.state_dict(), network.state_dict()
    if loaded.color == "bgr":  # we train on RGB
        first = next(iter(state))  # the first convolution's weight
        state[first] = state[first].flip(1)
    if state["final_layer.weight"].shape != own["final_layer.weight"].shape:
        state = {**state, **{k: v for k, v in own.items() if k.startswith("final_layer.")}}
    if not any(key.startswith("laterals.") for key in state):
        state = {**state, **{k: v for k, v in own.items() if k.startswith("laterals.")}}
    shapes, wanted = ({k: v.shape for k, v in s.items()} for s in (state, own))
    if shapes != wanted:
        misfits = sorted(k for k in {*shapes, *wanted} if shapes.get(k) != wanted.get(k))
        raise CheckpointError(
            f"{init} does not fit the recipe's network: {', '.join(misfits[:4])}; expected the "
            "same depth, width, deconvolutions and laterals"
        )
    network.load_state_dict(state)


def _decoded(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, K, 2) x, y in input pixels, as flowtrack.export.graphs.KeypointDecoder finds them."""
    height, width = maps.shape[-2:]
    best = maps.flatten(2).argmax(-1)
    y, x = best // width, best % width
    across = torch.nn.functional.pad(maps, (1, 1, 1, 1), mode="replicate").flatten(2)
    row = width + 2

    def at(dy: int, dx: int) -> torch.Tensor:
        return across.gather(2, ((y + 1 + dy) * row + x + 1 + dx)[..., None])[..., 0]

    inner = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    shift = torch.stack((at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)), -1).sign() * 0.25
    cell = torch.stack((x, y), -1) + shift * inner[..., None]
    found = maps.flatten(2).amax(-1) > 0
    return cell * (size[0] / height) * found[..., None]


def _oks(
    distance: FloatArray, labelled: BoolArray, area: npt.NDArray[Any], skeleton: Skeleton
) -> FloatArray:
    """(N,) similarity of given and predicted joints (COCO's keypoint evaluation).

    Args:
        distance: (N, K) between them in pixels.
        labelled: (N, K), which joints count.
        area: (N,) of each person in square pixels.
        skeleton: of the joints.
    """
    variance = (2 * skeleton.sigmas) ** 2
    exponent = distance**2 / (2 * variance * np.maximum(area, 1e-6)[:, None])
    similarity = np.where(labelled, np.exp(-exponent), 0).sum(1) / np.maximum(labelled.sum(1), 1)
    return np.asarray(similarity, np.float32)
