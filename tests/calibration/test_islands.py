"""fp32 islands: as few as the gate asks for, a third at most, none where they do not mend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.calibration.islands import ConvertedNetwork, most_islands, with_islands
from flowtrack.calibration.sensitivity import Damage
from flowtrack.calibration.verdict import PartVerdict


class Network:
    """Passes once so many of its layers are back."""

    def __init__(self, layers: int, needed: int) -> None:
        self.layers, self.needed = layers, needed
        self.tried: list[tuple[str, ...]] = []
        self.ranked = 0

    def attempt(self, islands) -> ConvertedNetwork:
        self.tried.append(tuple(islands))
        failures = () if len(islands) >= self.needed else ("too coarse",)
        verdict, reasons = PartVerdict({}, failures), dict.fromkeys(islands, "asked")
        return ConvertedNetwork(b"", b"", verdict, self.layers, reasons)

    def rank(self) -> list[Damage]:
        """In blocks of two, the last layers first."""
        self.ranked += 1
        names = [f"layer {place}" for place in reversed(range(self.layers))]
        return [Damage(tuple(names[i : i + 2]), 1 / (1 + i)) for i in range(0, len(names), 2)]

    def run(self, tell=None):
        return with_islands(self.attempt, self.rank, self.layers, tell)


@given(st.integers(1, 200), st.integers(0, 100))
def test_the_first_of_1_3_7_layers_that_suffices(layers, needed):
    network = Network(layers, needed)
    found = network.run()
    most = layers // 3
    counts = [0]
    while counts[-1] < min(needed, most):
        counts.append(min(2 * counts[-1] + 1, most))
    assert [len(islands) for islands in network.tried] == counts
    assert len(found.islands) == (counts[-1] if counts[-1] >= needed else 0)
    assert bool(found.verdict.failures) == (counts[-1] < needed)
    assert network.ranked == bool(needed) == bool(found.ranked)
    order = [f"layer {place}" for place in reversed(range(layers))]
    assert all(islands == tuple(order[: len(islands)]) for islands in network.tried)


def test_what_is_done_is_told():
    told: list[str] = []
    Network(10, 2).run(told.append)
    assert told == [
        "comparing with fp32", "measuring what each layer costs",
        "comparing with 1 of 10 layers in fp32", "comparing with 3 of 10 layers in fp32",
    ]  # fmt: skip


@pytest.mark.parametrize(("layers", "most"), [(2, 0), (3, 1), (54, 18)])
def test_a_third_at_most(layers, most):
    assert most_islands(layers) == most
