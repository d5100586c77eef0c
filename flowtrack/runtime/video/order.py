"""Which frame of a video came out of the decoder: its index and its time, though some are lost.

A decoder swallows what it cannot decode, so counting its frames would shift every index after a
damaged place. Packets are therefore written down as they go in, and each frame is looked up when
it comes out.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a decoded frame belongs.

    Attributes:
        index: 0-based position among the frames of the stream.
        ticks: presentation time in units of the stream's time base, None where unknown.
        lost: how many frames right before this one did not come out whole.
    """

    index: int
    ticks: int | None
    lost: int


class Order(ABC):
    """Tells the index of decoded frames.

    Args:
        first: index of the first packet that goes in.
    """

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._damaged = 0
        self._complaints = 0

    @abstractmethod
    def packet(self, pts: int | None, dts: int | None) -> None:
        """A packet is about to go in."""

    def complaint(self) -> None:
        """The decoder, or a check before it, refused a packet."""
        self._complaints += 1

    def frame(self, pts: int | None) -> Placed:
        """The place of a frame that came out whole."""
        lost, ticks = self._take(pts)
        placed = Placed(self._next + lost, ticks, lost + self._damaged)
        self._next, self._damaged = placed.index + 1, 0
        return placed

    def damaged(self, pts: int | None) -> None:
        """A frame came out, but damaged: it counts as lost."""
        lost, _ = self._take(pts)
        self._next += lost + 1
        self._damaged += lost + 1

    def rest(self) -> range:
        """The frames at the end that did not come out whole."""
        return range(self._next - self._damaged, self._next + self._outstanding())

    @abstractmethod
    def _take(self, pts: int | None) -> tuple[int, int | None]:
        """Cross out a frame that came out: how many before it did not, and its time."""

    @abstractmethod
    def _outstanding(self) -> int:
        """How many frames went in and did not come out."""


class TimestampOrder(Order):
    """For containers with presentation times: a frame's index is the rank of its time.

    Args:
        first: index of the first packet that goes in.
        one_to_one: each packet holds exactly one frame that is shown. Where that is not certain
            (interlaced fields, VP8's hidden frames), frames only count as lost after a complaint.
    """

    def __init__(self, first: int = 0, *, one_to_one: bool = True) -> None:
        super().__init__(first)
        self._one_to_one = one_to_one
        self._waiting: list[int] = []

    def packet(self, pts: int | None, dts: int | None) -> None:
        """A packet is about to go in."""
        ticks = pts if pts is not None else dts
        if ticks is not None:
            heapq.heappush(self._waiting, ticks)

    def _take(self, pts: int | None) -> tuple[int, int | None]:
        lost = 0
        # Frames come out in order of time: whatever is earlier will not come any more.
        while pts is not None and self._waiting and self._waiting[0] < pts:
            heapq.heappop(self._waiting)
            lost += 1
        if self._waiting and (pts is None or self._waiting[0] == pts):
            pts = heapq.heappop(self._waiting)
        return self._believed(lost), pts

    def _outstanding(self) -> int:
        return self._believed(len(self._waiting))

    def _believed(self, lost: int) -> int:
        if self._one_to_one:
            return lost
        lost = min(lost, self._complaints)
        self._complaints -= lost
        return lost


class ArrivalOrder(Order):
    """For containers without presentation times (AVI, bare streams): frames come out in order.

    The n-th frame to be shown has the n-th decoding time; every complaint is a lost frame.
    """

    def __init__(self, first: int = 0) -> None:
        super().__init__(first)
        self._times: deque[int | None] = deque()

    def packet(self, pts: int | None, dts: int | None) -> None:  # noqa: ARG002
        """A packet is about to go in."""
        self._times.append(dts)

    def _take(self, pts: int | None) -> tuple[int, int | None]:  # noqa: ARG002
        lost, self._complaints = self._complaints, 0
        ticks: int | None = None
        for _ in range(lost + 1):
            ticks = self._times.popleft() if self._times else None
        return lost, ticks

    def _outstanding(self) -> int:
        return min(self._complaints, len(self._times))
