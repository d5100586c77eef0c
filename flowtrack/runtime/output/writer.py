"""What every writer of results has in common: a file appears whole, or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from flowtrack.errors import FlowtrackError, InputError, OutputError
from flowtrack.structs import ByteArray, TrackedFrame

LOGGER = logging.getLogger("flowtrack")

KEEPING = (KeyboardInterrupt, SystemExit, FlowtrackError)
"""Exceptions after which the frames that were finished are kept."""


class Lost(Protocol):
    """Frames that a source could not deliver; `flowtrack.runtime.video.Problem` is one."""

    @property
    def indices(self) -> range:
        """The indices of the frames."""


class Clip(Protocol):
    """What writers must know of a source; `flowtrack.runtime.video.Source` is one."""

    @property
    def name(self) -> str:
        """Name of the result files, without suffix."""

    @property
    def fps(self) -> float | None:
        """Average frames per second, None where unknown."""

    @property
    def problems(self) -> Sequence[Lost]:
        """Frames that could not be read so far; grows while the source is read."""

    def frame_name(self, index: int) -> str:
        """`folder/file` of the picture with this index."""


@dataclass(frozen=True)
class NamedClip:
    """A clip whose frames do not come from a `Source`."""

    name: str
    fps: float | None = None
    problems: tuple[Lost, ...] = ()

    def frame_name(self, index: int) -> str:
        """A made-up `folder/file`."""
        return f"{self.name}/{index:06d}.jpg"


class ResultWriter(ABC):
    """Writes the results of one clip to one file.

    The file grows under a temporary name (`.NAME.partial`, in the same folder) and takes its own
    name in `close`. As a context manager it closes at the end, and also when the run is stopped
    (`KeyboardInterrupt`, `SystemExit`, any `FlowtrackError`) after at least one frame: the finished
    frames are kept and the file is valid. After any other exception nothing is left behind. Only a
    process that is killed outright leaves the temporary file.

    Attributes:
        path: where the file appears.
        frames: how many frames were written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self._last_index = -1

    def write(self, frame: TrackedFrame, image: ByteArray) -> None:
        """Add a frame.

        Args:
            frame: with an index above that of the frame before.
            image: (H, W, 3) uint8 BGR, the picture itself; must not be changed afterwards.

        Raises:
            InputError: the index does not ascend.
            OutputError: the disk is full, or the file cannot be written.
        """
        if frame.index <= self._last_index:
            raise InputError(
                f"frame {frame.index} comes after frame {self._last_index} in {self.path.name};"
                " expected ascending indices: one writer per pass over a source"
            )
        self._add(frame, image)
        self._last_index = frame.index
        self.frames += 1

    @abstractmethod
    def close(self, *, complete: bool = True) -> None:
        """Publish the file.

        Args:
            complete: the source was read to its end, so frames that it lost there count.

        Raises:
            OutputError: the file cannot be written; nothing is left behind.
        """

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing behind. Harmless after `close`."""

    @abstractmethod
    def _add(self, frame: TrackedFrame, image: ByteArray) -> None:
        """Add a frame whose index has been checked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        elif self.frames and isinstance(error, KEEPING):
            try:
                self.close(complete=False)
            except OutputError as second:
                # The first error is the cause and goes on; this one must not hide it.
                LOGGER.warning("%s", second)
        else:
            self.discard()


def partial_path(path: Path) -> Path:
    """Where a result file grows before it is published."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn system errors of the block into `OutputError`s about `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; expected a writable folder with free"
            " space: choose another one"
        ) from error


class GrowingFile:
    """A file that is written piece by piece and then published or discarded.

    A piece counts once `write` has returned: what an interrupt left of a half-written one is cut
    off when publishing.

    Args:
        path: where the file appears in the end. One that is there is replaced.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = partial_path(path)
        self._end = 0
        with writing(path):
            if path.is_dir():
                raise OutputError(f"{path} is a folder, expected a file name; remove the folder")
            # Unbuffered: after a full disk nothing may wait that would fail once more.
            self._file = self._partial.open("wb", buffering=0)

    def write(self, piece: str) -> None:
        """Append text, as UTF-8, and hand it to the system."""
        data = piece.encode()
        with writing(self.path):
            self._put(data)
        self._end += len(data)

    def publish(self, tail: str = "") -> None:
        """Append `tail` and give the file its name."""
        try:
            with writing(self.path):
                self._file.seek(self._end)
                self._file.truncate()
                self._put(tail.encode())
                os.fsync(self._file.fileno())
                self._file.close()
                self._partial.replace(self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written; does nothing after `publish`."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _put(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]
