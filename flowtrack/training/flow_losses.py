"""How far a predicted flow is from the true one: end-point error, at one scale and at many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from flowtrack.errors import InputError, OptionError

LEVEL_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)
"""Weights of the losses of FlowNetS's flows, finest first (flownet2-pytorch, losses.py)."""

DIV_FLOW = 20.0
"""Pixels per unit of the predicted flow (flownet2-pytorch and FlowNetPytorch)."""


def end_point_error(
    predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean Euclidean distance between two flows.

    Args:
        predicted, truth: (N, 2, H, W).
        valid: (N, H, W) bool, the pixels that count; None counts all. What the truth holds at
            others, NaN included, has no influence.

    Returns:
        The mean over all counted pixels of all samples, in the unit of the flows; 0 without any.

    Raises:
        InputError: the shapes do not fit.
    """
    _check(predicted, truth, valid)
    if valid is None:
        return _length(predicted - truth).mean()
    difference = torch.where(valid[:, None], predicted - truth, 0.0)
    return (_length(difference) * valid).sum() / valid.sum().clamp(min=1)


class MultiScaleLoss(torch.nn.Module):
    """The training loss of FlowNetS: a weighted sum of the end-point errors of all levels.

    At each level the truth is averaged over the area of a cell; the error of a level is summed
    over the cells of a sample and averaged over the samples (FlowNetPytorch, multiscaleloss.py),
    or averaged over both (flownet2-pytorch, losses.py).

    Attributes:
        weights: of the levels, finest first.
        div_flow: pixels per unit of the predicted flows.
        reduction: "mean" over the cells of a level, or "sum" over those of a sample.
    """

    def __init__(
        self,
        weights: Sequence[float] = LEVEL_WEIGHTS,
        *,
        div_flow: float = DIV_FLOW,
        reduction: str = "mean",
    ) -> None:
        """A loss.

        Raises:
            OptionError: a weight is negative or none is positive, `div_flow` is not positive, or
                the reduction is unknown.
        """
        super().__init__()
        if not weights or min(weights) < 0 or max(weights) <= 0:
            raise OptionError(f"weights are {tuple(weights)}, expected 0 or more, one above 0")
        if not div_flow > 0:
            raise OptionError(f"div_flow is {div_flow}, expected a positive number")
        if reduction not in ("mean", "sum"):
            raise OptionError(f"reduction is {reduction!r}, expected 'mean' or 'sum'")
        self.weights = tuple(weights)
        self.div_flow = div_flow
        self.reduction = reduction

    def forward(
        self,
        predicted: Sequence[torch.Tensor],
        truth: torch.Tensor,
        valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss of a batch.

        Args:
            predicted: flows of all levels, finest first, (N, 2, H/s, W/s) each with a whole s, in
                px of the input / `div_flow`: what `FlowNet2S` returns in training.
            truth: (N, 2, H, W) in px of the input.
            valid: (N, H, W) bool, the pixels whose truth is known; None: all. The truth of a cell
                is the mean of its known pixels; a cell without any does not count.

        Returns:
            A number.

        Raises:
            InputError: the levels are not as many as the weights, or a shape does not fit.
        """
        if len(predicted) != len(self.weights):
            raise InputError(
                f"{len(predicted)} flows for {len(self.weights)} weights, expected one each"
            )
        _check(truth, truth, valid)
        total = truth.new_zeros(())
        for flow, weight in zip(predicted, self.weights, strict=True):
            target, known = area_average(truth / self.div_flow, valid, flow.shape[-2:])
            error = end_point_error(flow, target, known)
            if self.reduction == "sum":
                counted = flow[:, 0].numel() if known is None else known.sum()
                error = error * counted / len(flow)
            total = total + weight * error
        return total


def area_average(
    flow: torch.Tensor, valid: torch.Tensor | None, size: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A flow on a coarser grid, each cell the mean of the known pixels that it covers.

    Args:
        flow: (N, 2, H, W).
        valid: (N, H, W) bool, or None where all is known.
        size: (h, w) of the grid; they divide H and W.

    Returns:
        (N, 2, h, w), 0 where nothing is known, and (N, h, w) bool, where something is; None if
        `valid` is None.

    Raises:
        InputError: the sizes do not divide.
    """
    height, width = flow.shape[-2:]
    if size[0] < 1 or size[1] < 1 or height % size[0] or width % size[1]:
        raise InputError(
            f"a flow of {height} x {width} px cannot be averaged to {tuple(size)} cells; expected "
            "numbers that divide them"
        )
    cell = (height // size[0], width // size[1])
    if valid is None:
        return functional.avg_pool2d(flow, cell), None
    mask = valid[:, None]
    share = functional.avg_pool2d(mask.to(flow.dtype), cell)
    mean = functional.avg_pool2d(torch.where(mask, flow, 0.0), cell)
    known = share[:, 0] > 0
    return mean / torch.where(share > 0, share, 1.0), known


def _length(vectors: torch.Tensor) -> torch.Tensor:
    """(N, H, W) lengths of (N, 2, H, W) vectors; the gradient at 0 is 0, not NaN."""
    lengths: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return lengths


def _check(predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor | None) -> None:
    if predicted.shape != truth.shape or truth.ndim != 4 or truth.shape[1] != 2:
        raise InputError(
            f"flows have shapes {tuple(predicted.shape)} and {tuple(truth.shape)}, expected the "
            "same (N, 2, H, W) twice"
        )
    if valid is not None and (
        valid.dtype != torch.bool or valid.shape != (len(truth), *truth.shape[-2:])
    ):
        raise InputError(
            f"valid is {valid.dtype} of shape {tuple(valid.shape)}, expected bool of shape "
            f"{(len(truth), *truth.shape[-2:])}"
        )
