"""How far an estimated optical flow is from the true one, as Sintel, KITTI and Middlebury count.

Every figure is a mean over pixels whose true flow is known. Of a set of pairs it can be taken over
the pairs (the mean of the pairs' means, as most papers report it) or over all their pixels at once
(as KITTI's Fl); pairs of one size with all pixels known give the same both ways.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError
from flowtrack.flo import known
from flowtrack.structs import FloatArray, FlowField, IntArray, checked

Float64Array = npt.NDArray[np.float64]

FIGURES = (
    "epe", "fl", "beyond_1px", "beyond_3px", "beyond_5px",
    "epe_s0_10", "epe_s10_40", "epe_s40", "epe_matched", "epe_occluded",
)  # fmt: skip
"""What is counted of a pair, or of many:

- `epe`: end-point error, the distance between estimated and true end point, px.
- `fl`: share of outliers, %: off by more than 3 px and by more than 5 % of the true motion (KITTI
  2015, Menze and Geiger 2015, section 5).
- `beyond_1px`, `_3px`, `_5px`: share of pixels off by more than that, %.
- `epe_s0_10`, `_s10_40`, `_s40`: end-point error of pixels that move less than 10 px, 10 to 40 px,
  and 40 px or more (Sintel, Butler et al. 2012).
- `epe_matched`, `epe_occluded`: end-point error of pixels that the second picture shows, and of
  those that it does not (Sintel); only where a mask says which are which.
"""

_SPEEDS_PX = (10.0, 40.0)
_BEYOND_PX = (1.0, 3.0, 5.0)
_OUTLIER_PX, _OUTLIER_SHARE = 3.0, 0.05
_BINS_PER_ROOT_PX = 20  # bins are even in the root of the error: fine where errors are small
_BINS = 600  # the last one begins at 897 px and has no end


@dataclass(frozen=True, slots=True)
class FlowErrors:
    """The errors of one pair.

    Attributes:
        name: of the pair.
        total, count: (10,) by `FIGURES`: sum of the errors (or 100 a pixel beyond the limit), and
            number of pixels that it is over.
        histogram: (600,) pixels by error; bin i begins at (i / 20)^2 px.
    """

    name: str
    total: Float64Array
    count: IntArray
    histogram: npt.NDArray[np.int32]

    @property
    def figures(self) -> dict[str, float]:
        """By `FIGURES`; NaN where no pixel is of the kind."""
        return _divided(self.total, self.count)

    @property
    def epe(self) -> float:
        """Mean end-point error, px."""
        return self.figures["epe"]

    @property
    def pixels(self) -> int:
        """How many pixels are known."""
        return int(self.count[0])


class TrueFlow:
    """The true flow of a pair, made ready to be held against estimates."""

    def __init__(self, name: str, uv: npt.ArrayLike, visible: npt.ArrayLike | None = None) -> None:
        """Take the truth of a pair.

        Args:
            name: of the pair.
            uv: (2, H, W) dx and dy in px; not finite or beyond 1e9 where it is unknown.
            visible: (H, W) bool, true where the second picture shows what the pixel shows; None
                where nobody knows.

        Raises:
            InputError: a shape does not fit, or no pixel is known.
        """
        self.name = name
        self._uv = checked("true flow", uv, (2, "H", "W"), np.float32)
        self._known = known(self._uv)
        if not self._known.any():
            raise InputError("the true flow is known at no pixel, expected it at one or more")
        self._everywhere = bool(self._known.all())
        u, v = self._true = self._picked(self._uv)
        self._speed = np.sqrt(u * u + v * v)
        self._kind = np.searchsorted(_SPEEDS_PX, self._speed, side="right")
        self._masked = visible is not None
        if visible is not None:
            mask = checked("visible", visible, self._uv.shape[1:], np.bool_)
            self._kind = self._kind + 3 * self._picked(mask)

    def _picked(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(..., P) the values (..., H, W) of the known pixels."""
        if self._everywhere:  # a look, where picking would be a copy
            return values.reshape(*values.shape[:-2], -1)
        return values[..., self._known]

    def errors(self, estimate: npt.ArrayLike) -> FlowErrors:
        """The errors of an estimate.

        Args:
            estimate: (2, H, W) dx and dy in px, finite wherever the truth is known.

        Raises:
            InputError: it has another shape, or is unknown where the truth is known.
        """
        flow = checked("estimated flow", estimate, self._uv.shape, np.float32)
        found = self._picked(flow)
        if not known(found).all():
            y, x = np.argwhere(self._known & ~known(flow))[0]
            raise InputError(
                f"the estimated flow is {flow[:, y, x].tolist()} at x {x}, y {y}, expected finite "
                "numbers wherever the true flow is known"
            )
        du, dv = found - self._true
        error = np.sqrt(du * du + dv * dv)
        outlier = (error > _OUTLIER_PX) & (error > _OUTLIER_SHARE * self._speed)
        limits = [np.count_nonzero(error > limit) for limit in _BEYOND_PX]
        total, count = self._by_kind(error)
        shares = 100.0 * np.array([np.count_nonzero(outlier), *limits])
        bins = np.minimum(np.sqrt(error) * _BINS_PER_ROOT_PX, _BINS - 1).astype(np.int64)
        return FlowErrors(
            self.name,
            np.concatenate((total[:1], shares, total[1:])),
            np.concatenate((count[:1].repeat(5), count[1:])),
            np.bincount(bins, minlength=_BINS).astype(np.int32),
        )

    def _by_kind(self, error: FloatArray) -> tuple[Float64Array, IntArray]:
        """(6,) sums and counts: all pixels, three speeds, matched and occluded."""
        cells = np.bincount(self._kind, error, minlength=6).reshape(2, 3)
        sizes = np.bincount(self._kind, minlength=6).reshape(2, 3)
        rows = [
            np.concatenate(([part.sum()], part.sum(axis=0), part.sum(axis=1)[::-1]))
            for part in (cells, sizes)
        ]
        if not self._masked:  # which pixels are matched is not known
            rows = [np.append(row[:4], (0, 0)) for row in rows]
        return rows[0], rows[1].astype(np.int64)


def at_full_size(field: FlowField, height: int, width: int) -> FloatArray:
    """Flow at every pixel of its picture, (2, H, W) in px.

    Bilinear between the centres of the field's cells, which are aligned as `FlowField` says; as
    at the border of a resized picture, the outermost cells go on to the edge.

    Args:
        field: on any grid.
        height, width: of the picture.

    Raises:
        InputError: the field is of a picture of another size.
    """
    cells = field.uv.shape[2], field.uv.shape[1]
    if (round(width * field.scale[0]), round(height * field.scale[1])) != cells:
        raise InputError(
            f"a flow of {cells[0]} x {cells[1]} cells with scale {field.scale} does not cover a "
            f"picture of {width} x {height} px; expected the size of the picture it was made from"
        )
    planes = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in field.uv
    ]
    return np.asarray(np.stack(planes), np.float32)


@dataclass(frozen=True)
class FlowScores:
    """The errors of a method on a set of pairs, one pair or more.

    Attributes:
        pairs: in the order of the set.
    """

    pairs: tuple[FlowErrors, ...]

    def __post_init__(self) -> None:
        if not self.pairs:
            raise InputError("there are no pairs, expected one or more to average over")

    @property
    def over_pairs(self) -> dict[str, float]:
        """By `FIGURES`: the mean of the pairs' means, of the pairs that have such pixels.

        NaN where there are none.
        """
        rows = np.array([list(pair.figures.values()) for pair in self.pairs])
        there = np.isfinite(rows)
        return _divided(np.where(there, rows, 0.0).sum(axis=0), there.sum(axis=0))

    @property
    def over_pixels(self) -> dict[str, float]:
        """By `FIGURES`: the mean over all pixels of all pairs; NaN where there are none."""
        return _divided(
            np.sum([pair.total for pair in self.pairs], axis=0),
            np.sum([pair.count for pair in self.pairs], axis=0),
        )

    @property
    def epe(self) -> float:
        """The headline: mean of the pairs' mean end-point errors, px."""
        return self.over_pairs["epe"]

    @property
    def fl(self) -> float:
        """Mean of the pairs' shares of outliers, %."""
        return self.over_pairs["fl"]

    @property
    def pixels(self) -> int:
        """How many pixels are known, of all pairs."""
        return sum(pair.pixels for pair in self.pairs)

    def groups(self) -> dict[str, FlowScores]:
        """Scores of the parts of the set: of pairs whose names begin with the same folder."""
        parts: dict[str, list[FlowErrors]] = {}
        for pair in self.pairs:
            folder, slash, _ = pair.name.partition("/")
            parts.setdefault(folder if slash else "", []).append(pair)
        return {name: FlowScores(tuple(pairs)) for name, pairs in parts.items()}

    def worst(self, count: int) -> list[int]:
        """Indices of the pairs with the largest end-point errors, the worst one first."""
        order = sorted(range(len(self.pairs)), key=lambda index: -self.pairs[index].epe)
        return order[:count]

    def cumulative(self) -> list[tuple[float, float]]:
        """(error in px, % of all pixels with a smaller error), up to the largest error."""
        histogram = np.sum([pair.histogram for pair in self.pairs], axis=0)
        end = int(np.flatnonzero(histogram)[-1]) + 1
        share = 100.0 * np.cumsum(histogram[:end]) / histogram.sum()
        limits = np.square(np.arange(1, end + 1) / _BINS_PER_ROOT_PX)
        return [(0.0, 0.0), *zip(limits.tolist(), share.tolist(), strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; None where no pixel is of the kind."""
        groups = self.groups()
        return {
            "mean_over_pairs": _rounded(self.over_pairs),
            "mean_over_pixels": _rounded(self.over_pixels),
            "groups": {
                name: {"pairs": len(part.pairs), **_rounded(part.over_pairs)}
                for name, part in (groups.items() if len(groups) > 1 else ())
            },
            "pairs": [
                {"name": pair.name, "pixels": pair.pixels, **_rounded(pair.figures)}
                for pair in self.pairs
            ],
        }


def _rounded(figures: dict[str, float]) -> dict[str, float | None]:
    """Figures for JSON: six digits after the point, None for NaN."""
    return {name: None if math.isnan(value) else round(value, 6) for name, value in figures.items()}


def _divided(total: Float64Array, count: npt.NDArray[Any]) -> dict[str, float]:
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return dict(zip(FIGURES, means.tolist(), strict=True))
