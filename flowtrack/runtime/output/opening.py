"""All writers of one clip together."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType, MappingProxyType

from flowtrack.errors import FlowtrackError, OptionError, OutputError
from flowtrack.runtime.drawing import DrawOptions, Painter
from flowtrack.runtime.output.jsonl import JsonLinesWriter
from flowtrack.runtime.output.mp4 import Mp4Writer, VideoOptions
from flowtrack.runtime.output.posetrack import PoseTrack17Writer, PoseTrack18Writer
from flowtrack.runtime.output.writer import Clip, ResultWriter, writing
from flowtrack.skeleton import Skeleton
from flowtrack.structs import ByteArray, TrackedFrame

SUFFIXES = MappingProxyType(
    {
        "posetrack": ".posetrack.json",
        "posetrack18": ".posetrack18.json",
        "jsonl": ".jsonl",
        "mp4": ".mp4",
    }
)
"""Every format by name, and the suffix of its file."""


class Writers(ResultWriter):
    """Several writers as one.

    Args:
        folder: where the files appear.
        writers: by format.
    """

    def __init__(self, folder: Path, writers: dict[str, ResultWriter]) -> None:
        super().__init__(folder)
        self.writers = MappingProxyType(dict(writers))

    @property
    def paths(self) -> dict[str, Path]:
        """The file of each format."""
        return {name: writer.path for name, writer in self.writers.items()}

    def close(self, *, complete: bool = True) -> None:
        """Publish every file; one that fails does not keep the others from it."""
        self._all(partial(_close, complete=complete))

    def discard(self) -> None:
        """Leave nothing behind."""
        self._all(_discard)

    def _add(self, frame: TrackedFrame, image: ByteArray) -> None:
        for writer in self.writers.values():
            writer.write(frame, image)

    def _all(self, action: Callable[[ResultWriter], None]) -> None:
        failed: FlowtrackError | None = None
        for writer in self.writers.values():
            try:
                action(writer)
            except FlowtrackError as error:
                failed = failed or error
        if failed is not None:
            raise failed


def _close(writer: ResultWriter, *, complete: bool) -> None:
    # A writer that failed at its first frame has nothing worth keeping.
    if complete or writer.frames:
        writer.close(complete=complete)
    else:
        writer.discard()


def _discard(writer: ResultWriter) -> None:
    writer.discard()


def open_writers(
    folder: str | Path,
    clip: Clip,
    skeleton: Skeleton,
    formats: Sequence[str] = ("posetrack", "jsonl"),
    *,
    draw: DrawOptions | None = None,
    video: VideoOptions | None = None,
) -> Writers:
    """Open the result files `folder/NAME.posetrack.json`, `.posetrack18.json`, `.jsonl`, `.mp4`.

    Files that are there already stay until the new ones are complete, and are then replaced.

    Args:
        folder: is made if it is missing.
        clip: the source, or a `NamedClip`.
        skeleton: of the poses that will be written.
        formats: names from `SUFFIXES`.
        draw, video: how the annotated video looks and is encoded; only with "mp4".

    Raises:
        OptionError: a format is unknown or named twice, or an option would be ignored.
        OutputError: the folder cannot be written, or a format cannot be made here.
    """
    folder = Path(folder)
    for name in formats:
        if name not in SUFFIXES:
            raise OptionError(f"unknown format {name!r}; known are {', '.join(SUFFIXES)}")
    if len(set(formats)) != len(formats):
        raise OptionError(f"formats {', '.join(formats)} repeat; name each once")
    if "mp4" not in formats and (draw is not None or video is not None):
        raise OptionError("drawing or video options are given, but no mp4; add it or omit them")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, expected a folder; name another one")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)

    makers: dict[str, Callable[[Path], ResultWriter]] = {
        "posetrack": lambda path: PoseTrack17Writer(path, skeleton, clip),
        "posetrack18": lambda path: PoseTrack18Writer(path, skeleton, clip),
        "jsonl": JsonLinesWriter,
        "mp4": lambda path: Mp4Writer(path, Painter(skeleton, draw).paint, clip.fps, video),
    }
    writers: dict[str, ResultWriter] = {}
    try:
        for name in formats:
            writers[name] = makers[name](folder / (clip.name + SUFFIXES[name]))
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise
    return Writers(folder, writers)


class StopRequest:
    """Whether the user asked to stop; see `interruptible`."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if a stop was asked for: call it where a frame is finished."""
        if self.requested:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[StopRequest]:
    """Within the block SIGINT (Ctrl-C) and SIGTERM ask to stop instead of breaking in anywhere.

    An exception in the middle of a write or a wait would leave half a frame or a broken lock, so
    the first signal only sets the request, and the loop over frames checks it. A second signal
    raises `KeyboardInterrupt` at once. A signal that is ignored stays ignored. Only the main thread
    receives signals; in another one this does nothing.
    """
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if request.requested:
            raise KeyboardInterrupt
        request.requested = True

    if current_thread() is not main_thread():
        yield request
        return
    before = {
        number: signal.signal(number, ask)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
