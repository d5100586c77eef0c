"""What the networks are to predict, drawn for a whole batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch


def joint_heatmaps(
    joints: torch.Tensor, weight: torch.Tensor, size: tuple[int, int], stride: int, sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """A gaussian around each joint (official code, lib/dataset/JointsDataset.py).

    The centre is the cell nearest to the joint, int(x / stride + 0.5); the gaussian has its peak 1
    there and is cut to a square of 6 sigma + 1 cells.

    Args:
        joints: (N, K, 2) x, y in input pixels.
        weight: (N, K), 0 for joints that are not to be learnt.
        size: height and width of the heatmaps in cells.
        stride: input pixels per cell.
        sigma: of the gaussian in cells.

    Returns:
        (N, K, height, width) heatmaps and (N, K) weights: 0 also where no cell of the square lies
        on the heatmap.
    """
    height, width = size
    reach = int(3 * sigma)
    centre = torch.floor(joints / stride + 0.5)
    columns = _profile(centre[..., 0], width, sigma, reach)
    rows = _profile(centre[..., 1], height, sigma, reach)
    extent = torch.tensor([width, height], dtype=centre.dtype, device=centre.device)
    on_map = ((centre + reach >= 0) & (centre - reach < extent)).all(-1)
    return rows[..., :, None] * columns[..., None, :], weight * on_map


def _profile(centre: torch.Tensor, length: int, sigma: float, reach: int) -> torch.Tensor:
    distance = torch.arange(length, device=centre.device) - centre[..., None]
    value = torch.exp(-distance.square() / (2 * sigma * sigma))
    return value * (distance.abs() <= reach)


class CenterTargets(NamedTuple):
    """What the detector is to predict.

    Attributes:
        heatmap: (N, 1, H, W), 1 at the centre of each person, falling off around it.
        counted: (N, 1, H, W), 0 where the annotation cannot tell, else 1.
        cell: (N, M) int64, number of the cell of each person's centre, row by row.
        size: (N, M, 2) width and height in cells.
        offset: (N, M, 2) from the cell to the centre (x, y), in cells.
        person: (N, M) 1 for people, 0 for padding.
    """

    heatmap: torch.Tensor
    counted: torch.Tensor
    cell: torch.Tensor
    size: torch.Tensor
    offset: torch.Tensor
    person: torch.Tensor


def center_targets(
    boxes: torch.Tensor,
    person: torch.Tensor,
    ignored: torch.Tensor,
    size: tuple[int, int],
    stride: int,
) -> CenterTargets:
    """Targets of CenterNet (Zhou et al. 2019, section 3).

    Args:
        boxes: (N, M, 4) xyxy in input pixels.
        person: (N, M) bool, people that are to be found.
        ignored: (N, M) bool, regions in which finding somebody is neither right nor wrong.
        size: height and width of the maps in cells.
        stride: input pixels per cell.
    """
    height, width = size
    corners = boxes / stride
    centre = (corners[..., :2] + corners[..., 2:]) / 2
    extent = corners[..., 2:] - corners[..., :2]
    limit = torch.tensor([width - 1, height - 1], dtype=centre.dtype, device=centre.device)
    cell = centre.floor().clamp_min(0).minimum(limit)
    radius = peak_radius(extent[..., 0], extent[..., 1]).floor()
    sigma = (2 * radius + 1) / 6
    columns = _falloff(cell[..., 0], width, sigma, radius)
    rows = _falloff(cell[..., 1], height, sigma, radius)
    peaks = rows[..., :, None] * columns[..., None, :] * person[..., None, None]
    heatmap = peaks.amax(1, keepdim=True)
    row = torch.arange(height, device=boxes.device) + 0.5
    column = torch.arange(width, device=boxes.device) + 0.5
    in_rows = (row >= corners[..., 1:2]) & (row < corners[..., 3:4])
    in_columns = (column >= corners[..., 0:1]) & (column < corners[..., 2:3])
    region = in_rows[..., :, None] & in_columns[..., None, :] & ignored[..., None, None]
    counted = 1 - region.any(1, keepdim=True).float() * (heatmap < 1)
    number = (cell[..., 1] * width + cell[..., 0]).long()
    return CenterTargets(heatmap, counted, number, extent, centre - cell, person.float())


def peak_radius(width: torch.Tensor, height: torch.Tensor, overlap: float = 0.7) -> torch.Tensor:
    """How far a box's corners may move, in any way, with its IoU at `overlap` or above.

    The corners may both move outwards, both inwards, or both the same way (Law and Deng 2018,
    CornerNet, section 3.2); the smallest of the three distances that reach the overlap.
    """
    area, half = width * height, width + height
    same = (half - (half**2 - 4 * area * (1 - overlap) / (1 + overlap)).clamp_min(0).sqrt()) / 2
    inner = (half - (half**2 - 4 * (1 - overlap) * area).clamp_min(0).sqrt()) / 4
    outer = ((half**2 + 4 * area * (1 - overlap) / overlap).clamp_min(0).sqrt() - half) / 4
    return torch.minimum(torch.minimum(same, inner), outer)


def _falloff(
    cell: torch.Tensor, length: int, sigma: torch.Tensor, radius: torch.Tensor
) -> torch.Tensor:
    distance = torch.arange(length, device=cell.device) - cell[..., None]
    value = torch.exp(-distance.square() / (2 * sigma.square())[..., None])
    return value * (distance.abs() <= radius[..., None])
