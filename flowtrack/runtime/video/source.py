"""What every source of frames has in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from types import TracebackType
from typing import Self

from flowtrack.errors import OptionError, SourceError
from flowtrack.structs import Frame

LOGGER = logging.getLogger("flowtrack")

MAX_PROBLEMS = 10_000
"""Problems that a source remembers; later ones are only logged, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Which frames of a source are wanted.

    Attributes:
        start_s: the first frame is the first one at or after this time.
        stride: take every n-th frame, counted from the first one.
        max_frames: stop after this many; frames that cannot be read count too.
        fps: frames per second of a clip of pictures, which carries no times of its own (25 where
            None); an error for sources that do carry times.
    """

    start_s: float = 0.0
    stride: int = 1
    max_frames: int | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        if not isfinite(self.start_s) or self.start_s < 0:
            raise OptionError(f"start is {self.start_s} s, expected 0 or a later time")
        if self.stride < 1:
            raise OptionError(f"stride is {self.stride}, expected 1 (every frame) or more")
        if self.max_frames is not None and self.max_frames < 1:
            raise OptionError(f"max_frames is {self.max_frames}, expected 1 or more, or none")
        if self.fps is not None and not (isfinite(self.fps) and self.fps > 0):
            raise OptionError(f"fps is {self.fps}, expected a positive number")

    def count(self, frames: int) -> int:
        """How many of `frames` frames (those from `start_s` on) are wanted."""
        wanted = -(-max(frames, 0) // self.stride)
        return wanted if self.max_frames is None else min(wanted, self.max_frames)

    def stop(self, first: int) -> int | None:
        """The index at which to stop when the first wanted frame has index `first`."""
        return None if self.max_frames is None else first + self.stride * self.max_frames


@dataclass(frozen=True, slots=True)
class Problem:
    """Wanted frames that could not be read.

    Attributes:
        indices: the indices of the frames; empty where a source ends early and it is unknown by
            how many frames.
        message: what happened, with the name of the source.
    """

    indices: range
    message: str


class Source(ABC):
    """A sequence of frames: a video, a folder of pictures, a camera, a stream.

    Iterating yields `Frame`s in order of time. Files and pictures can be iterated again and then
    start anew; live sources cannot. Frames that cannot be read are skipped: they leave a gap in
    `Frame.index`, an entry in `problems`, and a warning in the log named "flowtrack".

    Attributes:
        name: name without suffix, for output files.
        location: what was opened, for messages (passwords hidden).
        width, height: size of the frames in pixels as they are shown, None while unknown.
        fps: average frames per second, None where unknown.
        frame_count: how many frames iterating will yield, about; None where unknown.
        live: the source has no end and cannot be repeated.
        problems: what could not be read so far.
    """

    def __init__(self, name: str, location: str, options: SourceOptions) -> None:
        self.name = name
        self.location = location
        self.options = options
        self.width: int | None = None
        self.height: int | None = None
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.live = False
        self.problems: list[Problem] = []

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames in order of time.

        Raises:
            SourceError: nothing can be read (any more).
        """

    def frame_name(self, index: int) -> str:
        """Name of the picture with this index, as result files refer to it: `folder/file`.

        Made up for sources that are not pictures.
        """
        return f"{self.name}/{index:06d}.jpg"

    def close(self) -> None:  # noqa: B027 - pictures hold nothing
        """Release what the source holds. Iterating a file again opens it again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _report(self, indices: range, message: str) -> None:
        """Remember and log that the frames `indices` could not be read."""
        text = f"{self.location}: {message}"
        LOGGER.warning("%s", text)
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(indices, text))

    def _check_size(self, width: int, height: int, what: str) -> None:
        """Hold a frame's size against that of the first one.

        Raises:
            SourceError: they differ; flow cannot be computed from one size to another.
        """
        if self.width is None or self.height is None:
            self.width, self.height = width, height
        elif (width, height) != (self.width, self.height):
            raise SourceError(
                f"{what} is {width}x{height} pixels, but {self.location} began with"
                f" {self.width}x{self.height}; a clip needs one size: split it or resize it"
            )


def describe(indices: range) -> str:
    """`frame 7`, `frames 7-9`, or `frames 7, 9, 11` for a message."""
    if len(indices) == 1:
        return f"frame {indices[0]}"
    if indices.step == 1:
        return f"frames {indices[0]}-{indices[-1]}"
    return f"frames {indices[0]}, {indices[1]}, ... {indices[-1]}"


def strided(first: int, stride: int, low: int, high: int) -> range:
    """The multiples first, first + stride, ... that lie in [low, high)."""
    low = max(low, first)
    return range(low + (first - low) % stride, high, stride)
