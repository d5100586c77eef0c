"""Time per stage of one frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up the wall-clock milliseconds spent in each named stage.

    Attributes:
        ms: milliseconds by stage, in the order in which the stages first ran.
    """

    __slots__ = ("ms",)

    def __init__(self) -> None:
        """Start with no stages."""
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a `with` block towards `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start) * 1e3
