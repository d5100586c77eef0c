"""The three networks with their pre- and post-processing: what is exported, as PyTorch modules.

Inputs are uint8 pictures (N, H, W, 3), outputs are coordinates in pixels of those pictures. Only
operations that ONNX Runtime and TensorRT both have are used, and every shape but the batch (and
for flow the picture's size) is constant in the graph. Places are looked up in tables of pixels
instead of being divided out of indices: fewer operations, and exact in half precision too.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from flowtrack.errors import OptionError
from flowtrack.skeleton import Skeleton
from flowtrack.training.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterNetwork,
    FlowNet2S,
    Normalization,
    PoseNetwork,
)

Triple = tuple[float, float, float]

MAX_BOXES = 100
"""Peaks that the detector keeps (Zhou et al. 2019, section 4)."""

_QUARTER = 0.25  # cells, towards the higher neighbour (official lib/core/inference.py)


def check_size(height: int, width: int, multiple: int) -> None:
    """Refuse an input size that a network does not divide evenly.

    Raises:
        OptionError: a side is not a positive multiple of `multiple`.
    """
    if height < multiple or width < multiple or height % multiple or width % multiple:
        raise OptionError(
            f"input size is {width}x{height} (width x height) pixels, expected multiples of "
            f"{multiple}"
        )


def channels_first(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W); the cast comes first, as TensorRT demands."""
    return pictures.float().permute(0, 3, 1, 2)


def cell_places(rows: int, columns: int) -> torch.Tensor:
    """(rows * columns, 2): x, y of every cell, in cells, row by row."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=1).float()


class FlipAverage(nn.Module):
    """The flip test: mirror the input, and average its heatmaps with the plain ones.

    The mirrored heatmaps are mirrored back, left and right joints swap, and the whole moves right
    by one cell while column 0 keeps its value (official lib/core/function.py, SHIFT_HEATMAP).
    """

    mirror: torch.Tensor
    back: torch.Tensor
    partners: torch.Tensor

    def __init__(self, skeleton: Skeleton, rows: int, columns: int, width: int) -> None:
        """For pictures `width` pixels wide and heatmaps of `rows` x `columns` cells."""
        super().__init__()
        self.shape = (2, -1, len(skeleton), rows, columns)
        # Column j of the moved map is column max(j - 1, 0) of the map that was mirrored back.
        moved = (torch.arange(columns) - 1).clamp(min=0)
        self.register_buffer("mirror", torch.arange(width - 1, -1, -1), persistent=False)
        self.register_buffer("back", columns - 1 - moved, persistent=False)
        partners = torch.from_numpy(skeleton.flip_order.copy())
        self.register_buffer("partners", partners, persistent=False)

    def doubled(self, pixels: torch.Tensor) -> torch.Tensor:
        """(2 N, 3, H, W): the pictures (N, 3, H, W), then their mirror images."""
        return torch.cat((pixels, pixels.index_select(3, self.mirror)), dim=0)

    def forward(self, heatmaps: torch.Tensor) -> torch.Tensor:
        """(N, K, rows, columns) average of the heatmaps (2 N, ...) of `doubled` pictures."""
        plain, mirrored = heatmaps.reshape(self.shape).unbind(0)
        restored = mirrored.index_select(3, self.back).index_select(1, self.partners)
        averaged: torch.Tensor = (plain + restored) * 0.5
        return averaged


class KeypointDecoder(nn.Module):
    """Heatmaps to joints (official lib/core/inference.py, get_max_preds and get_final_preds).

    The first maximum, moved by a quarter cell towards the higher neighbour on each axis where
    1 < x < columns - 1 and 1 < y < rows - 1; (0, 0) where the maximum is not positive. Cell i
    lies at pixel stride * i. The score is the raw maximum.
    """

    places: torch.Tensor
    offsets: torch.Tensor
    neighbours: torch.Tensor
    lines: torch.Tensor

    def __init__(self, rows: int, columns: int, stride: int) -> None:
        """For heatmaps of `rows` x `columns` cells, `stride` pixels apart."""
        super().__init__()
        places = cell_places(rows, columns)
        x, y = places.unbind(1)
        inside = (x > 1) & (x < columns - 1) & (y > 1) & (y < rows - 1)
        offsets = inside.float().unsqueeze(1) * (_QUARTER * stride)
        steps = torch.tensor([1, columns, -1, -columns])  # right, below, left, above
        # Clamped: at the border there is no offset, so any cell will do. A table, since TensorRT
        # has no Clip of integers.
        around = torch.arange(rows * columns).unsqueeze(1) + steps
        neighbours = around.clamp(0, rows * columns - 1)
        self.register_buffer("places", places * stride, persistent=False)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("neighbours", neighbours, persistent=False)
        lines = torch.arange(rows * columns).reshape(rows, columns)
        self.register_buffer("lines", lines, persistent=False)

    def forward(self, heatmaps: torch.Tensor) -> torch.Tensor:
        """Keypoints (N, K, 3): x, y in pixels and score, of heatmaps (N, K, rows, columns)."""
        # The first maximum lies in the first line that reaches it. Searching the lines' maxima and
        # then one line costs a fraction of a search of all cells, which sorts on some runtimes.
        tops = heatmaps.amax(dim=3)
        score = tops.amax(dim=2, keepdim=True)
        line = functional.embedding(tops.argmax(dim=2), self.lines)
        cells = heatmaps.flatten(2)
        column = cells.gather(2, line).argmax(dim=2, keepdim=True)
        index = line.gather(2, column).squeeze(2)
        values = cells.gather(2, functional.embedding(index, self.neighbours))
        slope = values[..., :2] - values[..., 2:]
        moved = functional.embedding(index, self.places) + slope.sign() * functional.embedding(
            index, self.offsets
        )
        return torch.cat((moved * (score > 0).float(), score), dim=2)


class PeakDecoder(nn.Module):
    """Centre maps to boxes (Zhou et al. 2019, section 4; xingyizhou/CenterNet, ctdet_decode).

    Peaks are cells that equal the maximum of their 3x3 neighbourhood; the best become boxes of
    centre cell + offset and of the size predicted there. A place that holds no peak scores 0.
    """

    places: torch.Tensor

    def __init__(self, rows: int, columns: int, stride: int, max_boxes: int) -> None:
        """For maps of `rows` x `columns` cells, `stride` pixels apart."""
        super().__init__()
        self.stride = float(stride)
        self.max_boxes = min(max_boxes, rows * columns)
        self.register_buffer("places", cell_places(rows, columns), persistent=False)

    def forward(
        self, heatmap: torch.Tensor, size: torch.Tensor, offset: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, M, 4) xyxy in pixels and scores (N, M), best first.

        Args:
            heatmap: (N, 1, rows, columns) probability of a centre.
            size, offset: (N, 2, rows, columns) in cells.
        """
        highest = functional.max_pool2d(heatmap, 3, stride=1, padding=1)
        peaks = heatmap * (heatmap == highest).float()
        scores, index = peaks.flatten(1).topk(self.max_boxes, dim=1)
        shapes = torch.cat((offset, size * 0.5), dim=1).flatten(2).transpose(1, 2)
        chosen = shapes.gather(1, index.unsqueeze(2).expand(-1, -1, 4))
        centre = functional.embedding(index, self.places) + chosen[..., :2]
        half = chosen[..., 2:]
        return torch.cat((centre - half, centre + half), dim=2) * self.stride, scores


class PoseGraph(nn.Module):
    """Crops to keypoints: normalisation, network, optional flip test, decoding."""

    def __init__(
        self,
        network: PoseNetwork,
        skeleton: Skeleton,
        height: int,
        width: int,
        *,
        flip_test: bool = False,
    ) -> None:
        """A graph for crops of one size.

        Args:
            network: predicts as many heatmaps as the skeleton has joints.
            skeleton: tells which joints swap under mirroring.
            height, width: of the crops in pixels.
            flip_test: average the heatmaps with those of the mirrored crop.

        Raises:
            OptionError: size or number of joints does not fit the network.
        """
        super().__init__()
        check_size(height, width, network.trunk_stride)
        if len(skeleton) != network.joints:
            raise OptionError(
                f"skeleton {skeleton.name} has {len(skeleton)} joints, the network predicts "
                f"{network.joints}; choose the skeleton that it was trained on"
            )
        rows, columns = height // network.stride, width // network.stride
        self.normalization = Normalization()
        self.network = network
        self.flip = FlipAverage(skeleton, rows, columns, width) if flip_test else None
        self.decoder = KeypointDecoder(rows, columns, network.stride)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Keypoints (N, K, 3): x, y in crop pixels and score, of uint8 crops (N, H, W, 3)."""
        keypoints: torch.Tensor = self.decoder(self.heatmaps(crops))
        return keypoints

    def heatmaps(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, K, rows, columns) of uint8 crops (N, H, W, 3), averaged in the flip test."""
        pixels = self.normalization(channels_first(crops))
        heatmaps: torch.Tensor
        if self.flip is None:
            heatmaps = self.network(pixels)
        else:
            heatmaps = self.flip(self.network(self.flip.doubled(pixels)))
        return heatmaps


class DetectorGraph(nn.Module):
    """Pictures to boxes of people: normalisation, network, peaks."""

    def __init__(
        self,
        network: CenterNetwork,
        height: int,
        width: int,
        *,
        mean: Triple = IMAGENET_MEAN,
        std: Triple = IMAGENET_STD,
        person_class: int = 0,
        max_boxes: int = MAX_BOXES,
    ) -> None:
        """A graph for pictures of one size.

        Args:
            network: the detector.
            height, width: of the pictures in pixels.
            mean, std: of pixels / 255, in the pictures' channel order.
            person_class: the network's class of people.
            max_boxes: boxes per picture; fewer where the heatmap has fewer cells.

        Raises:
            OptionError: an argument does not fit the network.
        """
        super().__init__()
        check_size(height, width, network.trunk_stride)
        if not 0 <= person_class < network.classes or max_boxes < 1:
            raise OptionError(
                f"person_class is {person_class} and max_boxes {max_boxes}; expected a class below "
                f"{network.classes} and at least one box"
            )
        rows, columns = height // network.stride, width // network.stride
        self.normalization = Normalization(mean, std)
        self.network = network
        self.person_class = person_class
        self.decoder = PeakDecoder(rows, columns, network.stride, max_boxes)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, M, 4) xyxy in input pixels and scores (N, M), best first, of uint8 pictures."""
        boxes, scores = self.decoder(*self.maps(image))
        return boxes, scores

    def maps(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Probability (N, 1, rows, columns), size and offset (N, 2, rows, columns) of people."""
        logits, size, offset = self.network(self.normalization(channels_first(image)))
        if logits.shape[1] > 1:
            logits = logits[:, self.person_class : self.person_class + 1]
        return logits.sigmoid(), size, offset


class FlowGraph(nn.Module):
    """Two pictures to flow: normalisation and network, for any size that is a multiple of 64."""

    def __init__(self, network: FlowNet2S) -> None:
        """A graph around a flow network."""
        super().__init__()
        self.network = network

    def forward(self, previous: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        """(N, 2, H/4, W/4): dx, dy in input pixels, of uint8 pictures (N, H, W, 3)."""
        return self.network.quarter_flow(channels_first(previous), channels_first(current))
