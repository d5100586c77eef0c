"""Which frames of a source calibrate, and which are held out to judge by.

Moments are spread over the source, each of two frames in a row, so that flow sees the motion that
it will see later. Every second moment is held out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowtrack.errors import InputError, OptionError
from flowtrack.runtime.video import SourceOptions, open_source
from flowtrack.structs import Frame

_FEWEST = 4  # two moments: one to calibrate on, one to judge by


@dataclass(frozen=True)
class Material:
    """Frames of a video or of a folder of pictures.

    Attributes:
        source: as `open_source` takes it; read anew for each use, so that memory stays bounded.
        calibration, held_out: positions in the source, ascending.
    """

    source: str | Path
    calibration: tuple[int, ...]
    held_out: tuple[int, ...]

    def calibration_frames(self) -> Iterator[Frame]:
        """The frames to measure ranges on."""
        return self._frames(self.calibration)

    def held_out_frames(self) -> list[Frame]:
        """The frames to judge by, all in memory."""
        return list(self._frames(self.held_out))

    def _frames(self, positions: tuple[int, ...]) -> Iterator[Frame]:
        wanted = set(positions)
        with open_source(self.source, SourceOptions(max_frames=positions[-1] + 1)) as opened:
            for place, frame in enumerate(opened):
                if place in wanted:
                    yield frame


def split_source(source: str | Path, count: int) -> Material:
    """Choose frames of a source.

    Args:
        source: a video, or a folder of pictures.
        count: frames to choose, one half for each use.

    Raises:
        OptionError: `count` is below 4, or the source is live.
        SourceError: it cannot be opened or read.
        InputError: it has fewer than 4 frames.
    """
    if count < _FEWEST:
        raise OptionError(f"count is {count}, expected {_FEWEST} frames or more: half of them are "
                          "held out")  # fmt: skip
    with open_source(source) as opened:
        if opened.live:
            raise OptionError(
                f"{opened.location} is live and cannot be read twice; record a video of it and "
                "calibrate on that"
            )
        total = sum(1 for _ in opened)  # what a container says of itself may be wrong
    if total < _FEWEST:
        raise InputError(f"{source} has {total} frames, expected {_FEWEST} or more")
    starts = moments(total, count)
    calibration, held_out = (
        tuple(place for start in chosen for place in (start, start + 1))
        for chosen in (starts[::2], starts[1::2])
    )
    return Material(source, calibration, held_out)


def moments(total: int, count: int) -> list[int]:
    """Positions of the first frames of moments, an even number of them, spread over all frames."""
    pairs = min(count, total) // 4 * 2
    return [(total - 2) * place // (pairs - 1) if pairs > 1 else 0 for place in range(pairs)]
