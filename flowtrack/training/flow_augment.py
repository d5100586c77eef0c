"""Augmentation of flow pairs as FlowNetS was trained with: geometry, relative motion, looks.

Both pictures are turned, scaled and cropped alike, the second one a little differently, and the
flow is updated by the same maps (Dosovitskiy et al. 2015, section 5.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.errors import OptionError
from flowtrack.schema import limits
from flowtrack.structs import BoolArray, ByteArray, FloatArray
from flowtrack.synthetic.chairs_motion import (
    Matrix,
    about,
    affine_grid,
    inverse,
    mapped,
    similarity,
)
from flowtrack.synthetic.chairs_textures import add_noise
from flowtrack.training.data.augment import Looks, vary_looks
from flowtrack.training.flow_data import FlowSample, FlowSource

_EDGE_PX = 2.0  # two surfaces meet where flows within 3 x 3 pixels differ by more
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_FAR = np.float32(1e6)  # px; stands for an unknown flow while resampling

_LOOKS = Looks(brightness=0.2, contrast=0.3, gamma=0.3, colour=1.0, blur=0.1)
_DIFFERENCE = Looks(brightness=0.04, contrast=0.04, gamma=0.04)


@dataclass(frozen=True)
class FlowAugmentOptions:
    """How pairs are varied; the defaults follow FlowNetS, with milder looks.

    Attributes:
        scale: smallest and largest enlargement of both pictures; more where the crop would
            otherwise not fit into the picture.
        rotation: largest rotation of both pictures in degrees.
        flip: probability of a mirrored pair, left to right.
        step_translation: standard deviation of the second picture's extra translation, as a share
            of the crop's width.
        step_rotation: standard deviation of its extra rotation in degrees.
        step_scale: standard deviation of its extra enlargement's logarithm.
        looks: colours and sharpness of both pictures alike; without noise.
        difference: what varies in the second picture besides; without noise.
        noise: largest standard deviation of either picture's noise in grey levels.
    """

    scale: tuple[float, float] = (0.9, 2.0)
    rotation: float = field(default=17.0, metadata=limits(minimum=0, maximum=180))
    flip: float = field(default=0.5, metadata=limits(minimum=0, maximum=1))
    step_translation: float = field(default=0.01, metadata=limits(minimum=0, maximum=1))
    step_rotation: float = field(default=0.7, metadata=limits(minimum=0, maximum=45))
    step_scale: float = field(default=0.01, metadata=limits(minimum=0, maximum=0.5))
    looks: Looks = _LOOKS
    difference: Looks = _DIFFERENCE
    noise: float = field(default=6.0, metadata=limits(minimum=0, maximum=40))

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            raise OptionError(f"scale is {self.scale}, expected (smallest, largest), above 0")
        for name in ("looks", "difference"):
            # The same numbers would draw the same noise for both pictures: a pattern that stands
            # still while everything else moves.
            if getattr(self, name).noise:
                raise OptionError(f"{name} has noise, expected none; give it as the option noise")


PLAIN_FLOW = FlowAugmentOptions(
    scale=(1.0, 1.0), rotation=0, flip=0, step_translation=0, step_rotation=0, step_scale=0,
    looks=Looks(), difference=Looks(), noise=0,
)  # fmt: skip
"""A random crop, and nothing else."""


@dataclass(frozen=True, slots=True)
class PairTransform:
    """Where the pixels of a crop lie in the source, (3, 3) affine maps.

    Attributes:
        first: from px of the crop to px of the first source picture.
        second: the same for the second picture.
    """

    first: Matrix
    second: Matrix


class AugmentedFlow:
    """Crops of one size from a source's pairs, varied at random."""

    def __init__(
        self, source: FlowSource, size: tuple[int, int], options: FlowAugmentOptions = PLAIN_FLOW
    ) -> None:
        """Augmented pairs.

        Args:
            source: of pairs.
            size: height and width of the crops in px.
            options: how they vary.

        Raises:
            OptionError: the size is not positive.
        """
        if min(size) < 1:
            raise OptionError(f"size is {size}, expected a height and width of 1 px or more")
        self.source = source
        self.size = size
        self.options = options

    def __len__(self) -> int:
        return len(self.source)

    def sample(self, index: int, rng: np.random.Generator) -> FlowSample:
        """A crop of pair `index`, varied by `rng`."""
        given = self.source.sample(index, rng)
        height, width = given["valid"].shape
        transform = draw_transform((height, width), self.size, self.options, rng)
        changed = transformed(given, transform, self.size)
        return _relit(changed, self.options, rng)


def draw_transform(
    source: tuple[int, int],
    size: tuple[int, int],
    options: FlowAugmentOptions,
    rng: np.random.Generator,
) -> PairTransform:
    """A random crop that lies within the first picture.

    Args:
        source: height and width of the pictures.
        size: height and width of the crop.
        options: how it varies.
        rng: decides.
    """
    angle = rng.uniform(-options.rotation, options.rotation)
    scale = float(np.exp(rng.uniform(*np.log(options.scale))))
    mirrored = rng.random() < options.flip
    # Extents between the centres of the outermost pixels, x first.
    room = np.array([source[1] - 1.0, source[0] - 1.0])
    crop = np.array([size[1] - 1.0, size[0] - 1.0])
    turned = np.abs(similarity(angle, 1.0, (0, 0))[:2, :2])
    scale = max(scale, float(np.max(turned @ crop / np.maximum(room, 1e-6))))
    slack = room - turned @ crop / scale
    centre = room / 2 + rng.uniform(-0.5, 0.5, 2) * slack
    to_middle = similarity(0, 1, (-crop[0] / 2, -crop[1] / 2))
    mirror = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    first = similarity(angle, 1 / scale, (centre[0], centre[1])) @ mirror @ to_middle
    x, y, turn, growth = rng.normal(0, 1, 4)
    shift = options.step_translation * size[1]
    step = similarity(
        options.step_rotation * turn,
        float(np.exp(options.step_scale * growth)),
        (shift * x, shift * y),
    )
    return PairTransform(first, first @ about((crop[0] / 2, crop[1] / 2), step))


def transformed(sample: FlowSample, transform: PairTransform, size: tuple[int, int]) -> FlowSample:
    """A crop of a pair with its exact flow.

    A point z of the first crop shows the source's point first(z), which moves to first(z) + uv and
    appears in the second crop at the inverse of `second`. Where the second crop leaves its picture
    it repeats the border; the flow there stays right.

    Args:
        sample: the pair.
        transform: where the crops lie.
        size: their height and width in px.
    """
    height, width = size
    back = inverse(transform.second)
    rows, columns, inside = _needed(transform.first, sample["valid"].shape, size)
    uv, valid = _resampled(
        sample["uv"][:, rows, columns], sample["valid"][rows, columns], inside, size
    )
    still = affine_grid(back @ transform.first - np.eye(3), 0, 0, width, height)
    linear = back[:2, :2].astype(np.float32)
    moved = np.stack(
        [still[row] + linear[row, 0] * uv[..., 0] + linear[row, 1] * uv[..., 1] for row in (0, 1)]
    )
    return {
        "previous": _warped(sample["previous"][rows, columns], inside, size),
        "current": _warped(sample["current"], transform.second, size),
        "uv": np.where(valid, moved, np.float32(0.0)),
        "valid": valid,
    }


def _needed(
    matrix: Matrix, source: tuple[int, ...], size: tuple[int, int]
) -> tuple[slice, slice, Matrix]:
    """The rows and columns of the source that a crop shows, and the map to px of that window."""
    right, bottom = size[1] - 1, size[0] - 1
    corners = mapped(matrix, [[0, 0], [right, 0], [0, bottom], [right, bottom]])
    # Two pixels more: what bilinear weights and the search for edges look at.
    low = np.maximum(np.floor(corners.min(axis=0)) - 2, 0).astype(int).tolist()
    high = np.ceil(corners.max(axis=0)).astype(int) + 3
    window = similarity(0, 1, (-low[0], -low[1])) @ matrix
    return slice(low[1], min(high[1], source[0])), slice(low[0], min(high[0], source[1])), window


def _resampled(
    uv: FloatArray, valid: BoolArray, matrix: Matrix, size: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], BoolArray]:
    """The flow at the pixels of a crop, (h, w, 2) and (h, w).

    Bilinear within a surface; across an edge that would invent a motion that nothing has, so there
    the nearest pixel's is taken, and beside unknown pixels too.
    """
    pixels = np.ascontiguousarray(np.where(valid, uv, _FAR).transpose(1, 2, 0))
    spread = cv2.morphologyEx(
        pixels, cv2.MORPH_GRADIENT, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE
    )
    # Several times as fast as max(axis=-1).
    edge = (np.maximum(spread[..., 0], spread[..., 1]) > _EDGE_PX).astype(np.uint8)
    nearest = _sampled(pixels, matrix, size, cv2.INTER_NEAREST)
    smooth = _sampled(pixels, matrix, size, cv2.INTER_LINEAR)
    at_edge = _sampled(edge, matrix, size, cv2.INTER_NEAREST)[..., None] > 0
    flow = np.where(at_edge, nearest, smooth)
    return flow, np.asarray(nearest[..., 0] < _FAR / 2)


def _sampled(
    values: npt.NDArray[Any], matrix: Matrix, size: tuple[int, int], how: int
) -> npt.NDArray[Any]:
    """The values at the pixels of a crop."""
    sampled = cv2.warpAffine(
        values, matrix[:2], (size[1], size[0]), flags=how | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(sampled)


def _warped(picture: ByteArray, matrix: Matrix, size: tuple[int, int]) -> ByteArray:
    # OpenCV warps four channels several times as fast as three.
    four = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA))
    warped = _sampled(four, matrix, size, cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR), np.uint8)


def _relit(sample: FlowSample, options: FlowAugmentOptions, rng: np.random.Generator) -> FlowSample:
    """The same pair in another light."""
    shared, own = rng.integers(2**63, size=2)
    # One seed for both pictures: they change alike.
    previous, current = (
        vary_looks(sample[name], options.looks, np.random.default_rng(shared))
        for name in ("previous", "current")
    )
    current = vary_looks(current, options.difference, np.random.default_rng(own))
    sigma = rng.uniform(0, options.noise)
    return {
        "previous": add_noise(previous, sigma, rng),
        "current": add_noise(current, sigma, rng),
        "uv": sample["uv"],
        "valid": sample["valid"],
    }
