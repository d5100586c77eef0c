"""Optimisation profiles: which shapes a plan is built for, from the manifest and the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowtrack.errors import ExportError, OptionError
from flowtrack.runtime.batching import BUCKETS
from flowtrack.runtime.engines import TensorSpec
from flowtrack.runtime.flow import reduced_side
from flowtrack.runtime.manifest import FlowSpec, InputSpec, Manifest
from flowtrack.runtime.plans import Shape, Shapes

Size = tuple[int, int]


@dataclass(frozen=True)
class FrameSizes:
    """Sizes (height, width) of the pictures that a network of free size will see.

    Attributes:
        least, tuned, most: smallest, usual and largest.
    """

    least: Size = (64, 64)
    tuned: Size = (1080, 1920)
    most: Size = (2160, 3840)

    def __post_init__(self) -> None:
        sides = zip(self.least, self.tuned, self.most, strict=True)
        if not all(0 < low <= usual <= high for low, usual, high in sides):
            raise OptionError(
                f"frame sizes are {self.least}, {self.tuned} and {self.most}; expected the "
                "smallest, the usual and the largest (height, width), each side ascending"
            )


def check_buckets(buckets: Sequence[int]) -> tuple[int, ...]:
    """Batch sizes in ascending order.

    Raises:
        OptionError: there are none, one occurs twice or is not positive.
    """
    if not buckets or min(buckets) < 1 or len(set(buckets)) != len(buckets):
        raise OptionError(
            f"buckets are {list(buckets)}, expected different positive batch sizes such as 1,2,4,8"
        )
    return tuple(sorted(buckets))


def profiles_for(
    manifest: Manifest,
    part: str,
    inputs: Sequence[TensorSpec],
    buckets: Sequence[int] = BUCKETS,
    frames: FrameSizes | None = None,
) -> tuple[tuple[Shapes, ...], tuple[str, ...]]:
    """The optimisation profiles of a network, and which of its inputs are batches.

    A profile has one batch size, least as largest, so that TensorRT tunes for it alone.

    Args:
        manifest: says how the network is fed.
        part: `detector`, `pose` or `flow`.
        inputs: of the graph, an axis that is no int is free.
        buckets: batch sizes of a pose network of free batch size.
        frames: sizes for inputs that leave theirs free.

    Raises:
        OptionError: the buckets are wrong.
        ExportError: an axis is free that is neither batch, height nor width.
    """
    spec = manifest.files()[part].input
    sizes = frames or FrameSizes()
    flow = manifest.flow if part == "flow" else None
    axes = {tensor.name: _axes(spec, tensor) for tensor in inputs}
    batched = tuple(
        tensor.name
        for tensor in inputs
        if axes[tensor.name].batch and not isinstance(tensor.shape[0], int)
    )
    counts = check_buckets(buckets) if part == "pose" else (1,)
    profiles = tuple(
        {tensor.name: _span(tensor, axes[tensor.name], count, spec, sizes, flow)
         for tensor in inputs}
        for count in (counts if batched else (1,))
    )  # fmt: skip
    return profiles, batched


@dataclass(frozen=True)
class _Axes:
    """Whether the first axis of an input is a batch, and which axes are height and width."""

    batch: bool
    sides: tuple[int, int] | None


def _axes(spec: InputSpec, tensor: TensorSpec) -> _Axes:
    """What the axes of an input mean; beside a frame, crop matrices come row by row."""
    rank = len(tensor.shape)
    if spec.form == "frame" and tensor.dtype != np.uint8:
        return _Axes(True, None)
    first = rank - 3  # of height, width and channels, in either order
    return _Axes(rank == 4, (first, first + 1) if spec.layout == "nhwc" else (first + 1, first + 2))


def _span(
    tensor: TensorSpec,
    axes: _Axes,
    count: int,
    spec: InputSpec,
    sizes: FrameSizes,
    flow: FlowSpec | None,
) -> tuple[Shape, ...]:
    """Least, tuned and largest shape of an input."""
    spans = []
    for axis, size in enumerate(tensor.shape):
        if isinstance(size, int):
            spans.append((size, size, size))
        elif axis == 0 and axes.batch:
            spans.append((count, count, count))
        elif axes.sides is not None and axis in axes.sides:
            spans.append(_side(axes.sides.index(axis), axes.batch, spec, sizes, flow))
        else:
            raise ExportError(
                f"input {tensor.name!r} has shape {tensor.shape}: axis {axis} is free and is "
                "neither batch, height nor width; export the network with a fixed size there"
            )
    least, tuned, most = zip(*spans, strict=True)
    return least, tuned, most


def _side(
    which: int, resized: bool, spec: InputSpec, sizes: FrameSizes, flow: FlowSpec | None
) -> tuple[int, int, int]:
    """Least, tuned and largest height (0) or width (1) of a picture whose graph leaves it free."""
    told = (spec.height, spec.width)[which]
    if told is not None and spec.form == "pictures":
        return told, told, told
    if flow is None or not resized:
        return sizes.least[which], sizes.tuned[which], sizes.most[which]
    # Flow in pictures sees the frame reduced; the longer side may be either.
    tuned = reduced_side(sizes.tuned[which], max(sizes.tuned), flow)
    longest = max(sizes.most)
    return flow.multiple, tuned, reduced_side(longest, longest, flow)
