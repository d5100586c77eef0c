"""In which order samples are drawn: from the seed and the sample's number alone.

No generator's state has to be stored for a training to be resumed: sample n is the same in any
process, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from flowtrack.errors import InputError
from flowtrack.structs import IntArray

_SLOTS = 100  # positions after which the pattern of sources repeats


class SampleSource(Protocol):
    """Samples by number."""

    def __len__(self) -> int:
        """How many different samples there are."""

    def sample(self, index: int, rng: np.random.Generator) -> Mapping[str, Any]:
        """Arrays by name, augmented by `rng`; every sample has the same names and shapes."""


class Mixture:
    """An endless sequence drawn from several sources, each shuffled anew in every pass.

    Attributes:
        sources: as given.
        epoch: different samples in all: what an epoch of a schedule means. By their shares, some
            sources are passed more often in it, others less often than once.
        seed: as given.
    """

    def __init__(
        self, sources: Sequence[SampleSource], shares: Sequence[float] | None = None, seed: int = 0
    ) -> None:
        """A mixture.

        Args:
            sources: at least one, none empty.
            shares: relative frequency of each source; None: in proportion to their lengths.
            seed: of the order and of every sample's augmentation, not negative.

        Raises:
            InputError: a source is empty, the shares do not fit, or the seed is negative.
        """
        lengths = [len(source) for source in sources]
        if not lengths or 0 in lengths:
            raise InputError(f"sources have lengths {lengths}, expected at least one, none empty")
        weights = np.asarray(lengths if shares is None else shares, np.float64)
        if weights.shape != (len(lengths),) or not (weights > 0).all():
            raise InputError(f"shares are {shares}, expected {len(lengths)} positive numbers")
        if seed < 0:
            raise InputError(f"seed is {seed}, expected a number from 0 on")
        self.sources = tuple(sources)
        self.epoch = sum(lengths)
        self._lengths = lengths
        self.seed = seed
        self._pattern = _pattern(weights / weights.sum())
        self._rank = [int((self._pattern[:i] == s).sum()) for i, s in enumerate(self._pattern)]
        self._counts = np.bincount(self._pattern, minlength=len(lengths))
        self._orders: dict[tuple[int, int], IntArray] = {}

    def locate(self, number: int) -> tuple[int, int]:
        """(source, index within it) of sample `number`."""
        turn, slot = divmod(number, len(self._pattern))
        source = int(self._pattern[slot])
        drawn = turn * int(self._counts[source]) + self._rank[slot]
        epoch, position = divmod(drawn, self._lengths[source])
        return source, int(self._order(source, epoch)[position])

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        """Sample `number` of the sequence, from 0 on without end."""
        source, index = self.locate(number)
        rng = np.random.default_rng((self.seed, number))
        return self.sources[source].sample(index, rng)

    def _order(self, source: int, epoch: int) -> IntArray:
        key = (source, epoch)
        if key not in self._orders:
            # Neighbouring numbers come from one pass or two; older orders are not needed again.
            for old in [k for k in self._orders if k[0] == source and abs(k[1] - epoch) > 1]:
                del self._orders[old]
            # The 1 keeps the order apart from the samples: a seed's trailing zeros do not count.
            rng = np.random.default_rng((self.seed, source, epoch, 1))
            self._orders[key] = rng.permutation(self._lengths[source])
        return self._orders[key]


def _pattern(shares: np.ndarray[Any, np.dtype[np.float64]]) -> IntArray:
    """Which source each slot draws from: at every slot the one that lags its share the most."""
    if len(shares) == 1:
        return np.zeros(1, np.int64)
    owed = np.zeros(len(shares))
    slots = np.empty(_SLOTS, np.int64)
    for i in range(_SLOTS):
        owed += shares
        slots[i] = np.argmax(owed)
        owed[slots[i]] -= 1
    missing = set(range(len(shares))) - set(slots.tolist())
    if missing:
        raise InputError(
            f"shares are {shares.round(4).tolist()}, expected at least {1 / _SLOTS} of the whole "
            "for each source"
        )
    return slots
