"""Video files: true times, true indices, and as many frames as can be decoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from math import ceil

import av.error

from flowtrack.errors import OptionError, SourceError
from flowtrack.runtime.video.container import Converter, OpenedMedia, average_fps, open_media
from flowtrack.runtime.video.decoding import Decoding, key_frame_before, packet_ticks
from flowtrack.runtime.video.source import Source, SourceOptions, describe, strided
from flowtrack.structs import Frame

_DEFAULT_FPS = 25.0


class VideoSource(Source):
    """A video file, or one that a web server delivers.

    Times are the container's own, counted from the start of the stream. The index of a frame is its
    rank among all frames of the stream, decodable or not. Rotation stored by phones is applied; the
    pixel aspect ratio is not.

    Args:
        location: a path or URL.
        name, shown: see `Source.name` and `Source.location`.
        options: see `SourceOptions`.
        timeout_s: for URLs, how long opening and each read may take.

    Raises:
        SourceError: it cannot be opened, holds no video, or not one frame can be decoded.
        OptionError: `options.fps` is given.
    """

    def __init__(
        self,
        location: str,
        name: str,
        shown: str,
        options: SourceOptions,
        timeout_s: float | None = None,
    ) -> None:
        if options.fps is not None:
            raise OptionError(f"fps is {options.fps:g}, but {shown} has times of its own; omit it")
        super().__init__(name, shown, options)
        self._url = location
        self._timeout_s = timeout_s
        self._ready: tuple[Generator[Frame], Frame] | None = None
        media = self._open()
        self.fps = average_fps(media.stream)
        self.frame_count = _estimate(media, options)
        media.close()
        # The first frame tells the true size, and whether the file can be decoded at all.
        self._ready = self._begun()

    def __iter__(self) -> Iterator[Frame]:
        frames, first = self._ready or self._begun()
        self._ready = None
        try:
            yield first
            del first
            yield from frames
        finally:
            frames.close()

    def close(self) -> None:
        """Release the file; iterating opens it again."""
        if self._ready is not None:
            self._ready[0].close()
            self._ready = None

    def _begun(self) -> tuple[Generator[Frame], Frame]:
        """A fresh pass over the file and the first frame of it."""
        self.problems.clear()
        frames = self._frames()
        try:
            return frames, next(frames)
        except StopIteration:
            cause = self.problems[0].message if self.problems else "it ends before that"
            raise SourceError(
                f"{self.location}: no frame from {self.options.start_s:g} s on can be decoded"
                f" ({cause}); check the start time, or the file with a video player"
            ) from None

    def _open(self) -> OpenedMedia:
        return open_media(self._url, shown=self.location, timeout_s=self._timeout_s)

    def _frames(self) -> Generator[Frame]:
        """The wanted frames; reports those that are lost."""
        options, converter = self.options, Converter()
        media, decoding = self._at_start()
        first = 0 if options.start_s == 0 else None
        stop = None if first is None else options.stop(first)
        time_s = -1.0
        try:
            for frame, placed in decoding:
                time_s = self._time_s(decoding.seconds(placed), time_s, placed.index)
                if time_s < options.start_s - 1e-6:
                    continue
                if first is None:
                    first, stop = placed.index, options.stop(placed.index)
                lost = range(placed.index - placed.lost, placed.index)
                self._report_lost(first, lost, decoding.complaint)
                if stop is not None and placed.index >= stop:
                    return
                if (placed.index - first) % options.stride:
                    continue
                image = converter.image(frame)
                self._check_size(image.shape[1], image.shape[0], f"frame {placed.index}")
                yield Frame(placed.index, time_s, image)
                if stop is not None and placed.index + options.stride >= stop:
                    return
            self._report_end(decoding, first or 0, time_s)
        finally:
            media.close()

    def _time_s(self, told: float | None, before: float, index: int) -> float:
        """The time of a frame: one step after the last where the file tells nothing usable."""
        step = 1.0 / (self.fps or _DEFAULT_FPS)
        if told is None:
            return index * step
        return told if told > before else before + step

    def _wanted(self, first: int, indices: range) -> range:
        stop = self.options.stop(first)
        high = indices.stop if stop is None else min(stop, indices.stop)
        return strided(first, self.options.stride, indices.start, high)

    def _report_lost(self, first: int, indices: range, cause: str) -> None:
        if lost := self._wanted(first, indices):
            self._report(lost, f"{describe(lost)} skipped, cannot be decoded: {cause}")

    def _report_end(self, decoding: Decoding, first: int, last_s: float) -> None:
        """Report what is missing at the end of the file."""
        rest = decoding.rest()
        self._report_lost(first, rest, decoding.complaint)
        total = rest.stop + decoding.missing()
        length_s = decoding.length_s()
        if cut := self._wanted(first, range(rest.stop, total)):
            self._report(cut, f"ends early: nothing there of {describe(cut)} (of {total})")
        elif decoding.failure:
            self._report(range(0), f"ends early, after {last_s:.2f} s: {decoding.failure}")
        elif length_s is not None and length_s - last_s > 0.5 + 2.0 / (self.fps or _DEFAULT_FPS):
            self._report(range(0), f"ends early, after {last_s:.2f} s of {length_s:.2f} s")

    def _at_start(self) -> tuple[OpenedMedia, Decoding]:
        """The file, placed at the last key frame before `start_s`."""
        media = self._open()
        if self.options.start_s == 0:
            return media, Decoding(media)
        key_ticks, shown, packets = key_frame_before(media, self.options.start_s)
        if shown and _seek(media, key_ticks):
            return media, Decoding(media, shown, packets)
        # Nothing to skip, or the file cannot be entered in the middle.
        media.close()
        media = self._open()
        return media, Decoding(media)


def _seek(media: OpenedMedia, key_ticks: int) -> bool:
    """Go to the key frame with exactly this time; false if the file does not allow it."""
    try:
        media.container.seek(key_ticks, stream=media.stream)
        landed = next(iter(media.container.demux(media.stream)), None)
        if landed is None or packet_ticks(landed) != key_ticks:
            return False
        media.container.seek(key_ticks, stream=media.stream)
    except av.error.FFmpegError:
        return False
    return True


def _estimate(media: OpenedMedia, options: SourceOptions) -> int | None:
    """About how many frames the options select; None where the file tells nothing."""
    stream, container = media.stream, media.container
    fps = average_fps(stream)
    length_s: float | None = None
    if stream.duration is not None and stream.time_base is not None:
        length_s = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        length_s = container.duration / 1e6
    if length_s is None or fps is None:
        return options.count(stream.frames) if stream.frames and not options.start_s else None
    frames = round(length_s * fps)
    if stream.frames:
        frames = min(frames, stream.frames)
    return options.count(frames - ceil(options.start_s * fps - 0.01))
