"""The statistics of a set of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Order statistics, in the unit of the samples; `median` is the 50th percentile."""

    min: float
    median: float
    p90: float
    p99: float


def summarise(samples: Sequence[float]) -> Summary:
    """The statistics that every record carries.

    Raises:
        ValueError: there are no samples, or one is not finite.
    """
    return Summary(
        min=percentile(samples, 0.0),
        median=percentile(samples, 50.0),
        p90=percentile(samples, 90.0),
        p99=percentile(samples, 99.0),
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value that `percent` of the samples do not exceed.

    Linear between neighbours: sorted sample i of n lies at 100 i / (n - 1) percent.

    Raises:
        ValueError: there are no samples, one is not finite, or `percent` is not in 0..100.
    """
    if not samples or not all(math.isfinite(sample) for sample in samples):
        raise ValueError(f"{len(samples)} samples, expected at least one and only finite ones")
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"percent is {percent}, expected 0 to 100")
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100.0
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Quotients of samples that were taken side by side, pair by pair.

    What slows the machine down for a while slows both of a pair, so their quotient stays.

    Raises:
        ValueError: there are not as many of both, or one of `below` is not positive.
    """
    if len(above) != len(below):
        raise ValueError(f"{len(above)} samples against {len(below)}, expected pairs")
    if not all(value > 0 for value in below):
        raise ValueError("a sample to divide by is not positive")
    return [a / b for a, b in zip(above, below, strict=True)]
