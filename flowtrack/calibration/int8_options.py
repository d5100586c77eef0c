"""How a network is brought to INT8: the rule that chooses the scales, and what is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowtrack.errors import OptionError

Method = Literal["minmax", "entropy", "percentile", "mse"]

METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile", "mse")

DEFAULT_PERCENTILE = 99.99


@dataclass(frozen=True)
class Int8Options:
    """What INT8 can be asked for.

    Attributes:
        method: which magnitude becomes 127: `minmax`, the largest that was met; `entropy`, the one
            that loses the least information (Kullback-Leibler divergence); `percentile`, the one
            that all but a few values stay below; `mse`, the one that moves the values least.
        percentile: share of the values below, in percent; 99.99 if left out. Of `percentile` only.
        keep: names of nodes, or types of operators, that stay in higher precision besides what
            always does (see `flowtrack.calibration.layers`).
        last_layers: quantise the layers that no other follows, too.
        transposed: quantise transposed convolutions, too.
        correct_biases: let biases take back what rounding moves the means of channels by.
    """

    method: Method = "mse"
    percentile: float | None = None
    keep: tuple[str, ...] = ()
    last_layers: bool = False
    transposed: bool = False
    correct_biases: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise OptionError(f"method is {self.method!r}, expected one of {', '.join(METHODS)}")
        if self.percentile is None:
            if self.method == "percentile":
                object.__setattr__(self, "percentile", DEFAULT_PERCENTILE)
        elif self.method != "percentile":
            raise OptionError(
                f"percentile is {self.percentile}, and the method {self.method!r} takes none; "
                "leave it out"
            )
        elif not 50 < self.percentile <= 100:
            raise OptionError(
                f"percentile is {self.percentile}, expected more than 50 and at most 100"
            )
