"""fp32 islands: layers of a converted network that go back, as many as the gate asks for.

A network that does not pass gets its most sensitive layers back in fp32, one, then two more, then
four more, until it passes. Where a third of its layers is not enough, the precision is not for this
network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowtrack.calibration.sensitivity import Damage
from flowtrack.calibration.verdict import PartVerdict

ASKED = "the gate asked for it"
"""Why a layer is an island, for the manifest."""

_LARGEST_SHARE = 1 / 3


@dataclass(frozen=True)
class ConvertedNetwork:
    """A network in lower precision and what the gate says of it.

    Attributes:
        graph: the converted ONNX graph.
        judged: what the gate was given: the graph itself, or one that imitates it on a CPU.
        verdict: of the gate.
        layers: how many layers could be converted.
        islands: those of them that were put back to fp32, each with the reason.
        ranked: what each layer costs, the worst first; empty where nobody had to ask.
    """

    graph: bytes
    judged: bytes
    verdict: PartVerdict
    layers: int
    islands: dict[str, str]
    ranked: tuple[Damage, ...] = ()

    def record(self) -> dict[str, Any]:
        """For the manifest, beside the gate's own record."""
        return {"layers": self.layers, "fp32_islands": self.islands}


def most_islands(layers: int) -> int:
    """How many of so many layers may be put back to fp32."""
    return int(layers * _LARGEST_SHARE)


def with_islands(
    attempt: Callable[[Sequence[str]], ConvertedNetwork],
    rank: Callable[[], Sequence[Damage]],
    layers: int,
    tell: Callable[[str], None] | None = None,
) -> ConvertedNetwork:
    """Convert a network with as few islands as let it pass.

    Args:
        attempt: converts all layers but those of these names, and asks the gate.
        rank: measures what each layer costs; called where the first attempt fails.
        layers: how many can be converted.
        tell: is told what is being done, in a few words.

    Returns:
        The first attempt that passes, or, where none does, the one without islands, since they cost
        speed and mend nothing.
    """
    say = tell or (lambda _: None)
    say("comparing with fp32")
    first = attempt(())
    if not first.verdict.failures:
        return first
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
            return replace(tried, ranked=ranked)
    return replace(first, ranked=ranked)
