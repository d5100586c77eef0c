"""fp32 islands: layers of a converted network that go back, as many as the gate asks for.

A network that does not pass gets its most sensitive layers back in fp32, one, then two more, then
four more, until it passes. Where a third of its layers is not enough, the precision is not for this
network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from flowtrack.calibration.sensitivity import Damage
from flowtrack.calibration.verdict import PartVerdict

ASKED = "the gate asked for it"
"""Why a layer is an island, for the manifest."""

_LARGEST_SHARE = 1 / 3


class Tried(Protocol):
    """A converted network that was held against the gate."""

    @property
    def verdict(self) -> PartVerdict:
        """What the gate says."""


Attempt = TypeVar("Attempt", bound=Tried)


def most_islands(layers: int) -> int:
    """How many of so many layers may be put back to fp32."""
    return int(layers * _LARGEST_SHARE)


def with_islands(
    attempt: Callable[[Sequence[str]], Attempt],
    rank: Callable[[], Sequence[Damage]],
    layers: int,
    tell: Callable[[str], None] | None = None,
) -> tuple[Attempt, tuple[Damage, ...]]:
    """Convert a network with as few islands as let it pass.

    Args:
        attempt: converts all layers but those of these names, and asks the gate.
        rank: measures what each layer costs; called where the first attempt fails.
        layers: how many can be converted.
        tell: is told what is being done, in a few words.

    Returns:
        The first attempt that passes, or, where none does, the one without islands, since they cost
        speed and mend nothing; and the ranking, empty where nobody had to ask.
    """
    say = tell or (lambda _: None)
    say("comparing with fp32")
    first = attempt(())
    if not first.verdict.failures:
        return first, ()
    say("measuring what each layer costs")
    ranked = tuple(rank())
    sensitive = [layer for damage in ranked for layer in damage.layers]
    most, step, count = min(most_islands(layers), len(sensitive)), 1, 0
    while count < most:
        count = min(count + step, most)
        step *= 2
        say(f"comparing with {count} of {layers} layers in fp32")
        tried = attempt(sensitive[:count])
        if not tried.verdict.failures:
            return tried, ranked
    return first, ranked
