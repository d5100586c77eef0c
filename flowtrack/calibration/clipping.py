"""Which magnitude becomes 127: of histograms of |x|, by percentile, by squared error or by
information lost.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError
from flowtrack.jit import exact_jit
from flowtrack.structs import IntArray

Histogram = npt.NDArray[np.int64]

BINS = 2048
"""Bins of a histogram (S. Migacz, 8-bit inference with TensorRT, GTC 2017)."""

LEVELS = 128
"""Magnitudes that a signed byte tells apart, zero among them (the same)."""


def count_magnitudes(values: npt.NDArray[np.float32], largest: float, counts: Histogram) -> None:
    """Add the magnitudes of values to a histogram over 0 to `largest`.

    Args:
        values: of any shape; one beyond `largest` is counted in the last bin.
        largest: upper edge of the last bin, positive.
        counts: (bins,) int64, added to in place.
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    _count_magnitudes(flat, len(counts) / float(largest), counts)


@exact_jit
def _count_magnitudes(values, bins_per_unit, counts):  # type: ignore[no-untyped-def]
    last = len(counts) - 1
    for value in values:
        place = int(min(abs(float(value)) * bins_per_unit, float(last)))
        counts[place] += 1


def percentile_magnitude(counts: Histogram, largest: float, percentile: float) -> float:
    """The upper edge of the first bin up to which at least `percentile` per cent of values lie.

    Args:
        counts: (bins,) of magnitudes from 0 to `largest`.
        largest: upper edge of the last bin.
        percentile: above 0, at most 100.

    Raises:
        InputError: nothing was counted.
    """
    _check_counts(counts)
    within = np.cumsum(counts)
    # Whole numbers on both sides where it can be: 100 per cent is everything.
    first = int(np.searchsorted(within, math.ceil(int(within[-1]) * percentile / 100)))
    return largest * (first + 1) / len(counts)


def squared_error_magnitude(counts: Histogram, largest: float) -> float:
    """The magnitude to clip at so that rounding to 128 levels moves the values least.

    Of all numbers of bins kept, from `LEVELS` on, the one with the least sum of squares of what
    rounding, and clipping beyond, does to the middle of each bin (M. Nagel et al., A White Paper
    on Neural Network Quantization, 2021, section 3.1).

    Args:
        counts: (bins,) of magnitudes from 0 to `largest`, more bins than `LEVELS`.
        largest: upper edge of the last bin.

    Raises:
        InputError: nothing was counted.
    """
    _check_counts(counts)
    errors = np.empty(len(counts) - LEVELS + 1)
    _squared_errors(counts, LEVELS, errors)
    return largest * (LEVELS + int(errors.argmin())) / len(counts)


def entropy_magnitude(counts: Histogram, largest: float) -> float:
    """The magnitude to clip at so that 128 levels lose the least information.

    For each number of bins kept, the distribution with everything beyond them moved to the last
    of them is compared with the same bins merged into `LEVELS` levels and spread out again over
    those that were not empty; the Kullback-Leibler divergence between the two is least at the
    answer (S. Migacz, 8-bit inference with TensorRT, GTC 2017). The first bin takes the count of
    the second: it holds the zeros of rectified activations, which no scale rounds.

    Args:
        counts: (bins,) of magnitudes from 0 to `largest`, more bins than `LEVELS`.
        largest: upper edge of the last bin.

    Raises:
        InputError: nothing was counted.
    """
    _check_counts(counts)
    rated = counts.astype(np.float64)
    rated[0] = rated[1]
    if not rated.any():
        return largest
    divergences = np.empty(len(counts) - LEVELS + 1)
    _divergences(rated, LEVELS, divergences)
    return largest * (LEVELS + int(divergences.argmin())) / len(counts)


def _check_counts(counts: IntArray) -> None:
    if not counts.any():
        raise InputError("the histogram is empty, expected at least one value to choose by")


@exact_jit
def _squared_errors(counts, levels, out):  # type: ignore[no-untyped-def]
    """Error of keeping the first `levels`, `levels` + 1, ... bins, in squares of a bin's width."""
    for index in range(len(out)):
        step = (levels + index) / (levels - 1)
        error = 0.0
        for place in range(len(counts)):
            middle = place + 0.5
            level = min(np.rint(middle / step), levels - 1.0)
            error += counts[place] * (middle - level * step) ** 2
        out[index] = error


@exact_jit
def _divergences(counts, levels, out):  # type: ignore[no-untyped-def]
    """Divergence of keeping the first `levels`, `levels` + 1, ... bins."""
    total = counts.sum()
    beyond = total - counts[:levels].sum()
    for index in range(len(out)):
        kept = levels + index
        if index:
            beyond -= counts[kept - 1]
        out[index] = _divergence(counts, kept, levels, max(beyond, 0.0), total)


@exact_jit
def _divergence(counts, kept, levels, beyond, total):  # type: ignore[no-untyped-def]
    divergence = 0.0
    merged_total = total - beyond
    if merged_total <= 0.0:
        return np.inf
    for level in range(levels):
        start = level * kept // levels
        end = (level + 1) * kept // levels
        inside, used = 0.0, 0
        for place in range(start, end):
            inside += counts[place]
            used += counts[place] > 0
        for place in range(start, end):
            share = counts[place]
            if place == kept - 1:
                share += beyond
            if share == 0.0:
                continue
            if counts[place] == 0.0:  # only what was clipped lies here: no level tells it
                return np.inf
            spread = inside / used
            divergence += share / total * np.log(share / total / (spread / merged_total))
    return divergence
