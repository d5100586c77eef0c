"""Cameras and network streams: read as fast as they deliver, frames dropped rather than late."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread

import av.error
from av.codec.context import ThreadType
from av.device import enumerate_input_devices
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from flowtrack.errors import OptionError, SourceError
from flowtrack.runtime.video.container import (
    Converter,
    OpenedMedia,
    average_fps,
    open_media,
    reason,
)
from flowtrack.runtime.video.source import Source, SourceOptions, describe
from flowtrack.structs import Frame

HELD_FRAMES = 4
"""Decoded frames that wait for a slow consumer; the oldest is dropped for a newer one."""


class LiveSource(Source):
    """A camera or network stream.

    A thread of its own reads and decodes. If frames arrive faster than they are taken, the oldest
    waiting one is dropped: indices keep counting and `dropped` tells how many. It can be iterated
    only once.

    Args:
        media: what was opened; the source closes it.
        name, location: see `Source`.
        options: see `SourceOptions`; a start time has no meaning here.

    Raises:
        OptionError: `start_s` or `fps` is given.
    """

    def __init__(
        self, media: OpenedMedia, name: str, location: str, options: SourceOptions
    ) -> None:
        if options.start_s or options.fps is not None:
            media.close()
            given = "start_s" if options.start_s else "fps"
            raise OptionError(f"{given} is set, but {location} is live; omit it")
        super().__init__(name, location, options)
        self.live = True
        self.fps = average_fps(media.stream)
        self.frame_count = options.max_frames
        self.dropped = 0
        # Threads that decode several frames at once hold each back by as many frames.
        media.stream.thread_type = ThreadType.SLICE
        self._media = media
        self._waiting: deque[tuple[int, float, VideoFrame]] = deque()
        self._changed = Condition()
        self._stopped = False
        self._ended: str | None = None
        self._failure = ""
        self._started = False
        self._reader = Thread(target=self._read, name=f"read {name}", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        if self._started:
            raise SourceError(f"{self.location} is live and was read before; open it again")
        self._started = True
        self._reader.start()
        converter, taken = Converter(), 0
        try:
            while (item := self._next()) is not None:
                index, time_s, picture = item
                image = converter.image(picture)
                self._check_size(image.shape[1], image.shape[0], f"frame {index}")
                yield Frame(index, time_s, image)
                taken += 1
                if taken == self.options.max_frames:
                    return
            if taken == 0 and not self._stopped:
                raise SourceError(
                    f"{self.location}: no frame arrived ({self._ended});"
                    " check that the camera or server is sending"
                )
            if not self._stopped:
                self._report(range(0), f"ended after {taken} frames: {self._ended}")
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading and release the device or connection."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._started:
            # Reading has a time limit of its own; the daemon thread ends with it.
            self._reader.join(timeout=2.0)
        else:
            self._media.close()

    def _next(self) -> tuple[int, float, VideoFrame] | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._stopped or self._ended is not None
            )
            return self._waiting.popleft() if self._waiting and not self._stopped else None

    def _read(self) -> None:
        """Runs in the thread: decode until stopped or until the stream ends."""
        clock = _Clock(self._media.stream.time_base)
        index, ended = 0, "the sender closed it"
        try:
            for packet in self._packets():
                if self._stopped:
                    break
                try:
                    pictures = self._media.stream.codec_context.decode(packet)
                except av.error.InvalidDataError as error:
                    if index:  # Before the first key frame nothing can be decoded: no loss.
                        lost = range(index, index + 1)
                        self._report(lost, f"{describe(lost)} cannot be decoded: {reason(error)}")
                        index += 1
                    continue
                for picture in pictures:
                    self._offer(index, clock.seconds(picture.pts), picture)
                    index += 1
        except av.error.EOFError:
            pass  # The decoder had handed out everything already.
        except (av.error.FFmpegError, OSError) as error:
            ended = reason(error)
        finally:
            self._media.close()
            with self._changed:
                self._ended = self._failure or ended
                self._changed.notify_all()

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Packets until the stream ends or breaks, then None for what the decoder still holds."""
        try:
            for packet in self._media.container.demux(self._media.stream):
                if packet.size:
                    yield packet
        except (av.error.FFmpegError, OSError) as error:
            self._failure = reason(error)
        yield None

    def _offer(self, index: int, time_s: float, picture: VideoFrame) -> None:
        if index % self.options.stride:
            return
        with self._changed:
            if len(self._waiting) == HELD_FRAMES:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((index, time_s, picture))
            self._changed.notify_all()


class _Clock:
    """Seconds since the first frame, by the sender's stamps, or by ours where it has none."""

    def __init__(self, time_base: object) -> None:
        self._tick_s = float(time_base) if time_base else 0.0  # type: ignore[arg-type]
        self._zero: int | None = None
        self._began_s = time.monotonic()
        self._last_s = -1.0

    def seconds(self, pts: int | None) -> float:
        if self._zero is None:
            self._zero, self._began_s = pts, time.monotonic()
        if pts is None or self._zero is None or not self._tick_s:
            now_s = time.monotonic() - self._began_s
        else:
            now_s = (pts - self._zero) * self._tick_s
        # A sender that restarts its stamps must not make time run backwards.
        self._last_s = max(now_s, self._last_s + 1e-3) if self._last_s >= 0 else max(now_s, 0.0)
        return self._last_s


def open_camera(number: int, name: str, options: SourceOptions, timeout_s: float) -> LiveSource:
    """The camera with this number, through V4L2, AVFoundation or DirectShow.

    Raises:
        SourceError: there is no such camera, or it is in use.
    """
    shown = f"camera {number}"
    location, driver = _camera_location(number)
    media = open_media(
        location,
        shown=f"{shown} ({location})",
        format_name=driver,
        timeout_s=timeout_s,
        remedy="check that it is connected, that nothing else uses it, and that you may read it",
    )
    return LiveSource(media, name, shown, options)


def open_stream(
    url: str, name: str, shown: str, options: SourceOptions, timeout_s: float
) -> LiveSource:
    """A live stream from the network.

    Raises:
        SourceError: nobody answers there, or no video comes.
    """
    return LiveSource(open_url(url, shown, timeout_s), name, shown, options)


def open_url(url: str, shown: str, timeout_s: float) -> OpenedMedia:
    """Connect to a URL; RTSP through TCP where the server can.

    Raises:
        SourceError: nobody answers there, or no video comes.
    """
    return open_media(
        url,
        shown=shown,
        options={"rtsp_flags": "prefer_tcp"} if url.lower().startswith("rtsp") else {},
        timeout_s=timeout_s,
        remedy="check the address, that the sender runs, and that no firewall is in between",
    )


def _camera_location(number: int) -> tuple[str, str]:
    """FFmpeg's name of a camera, and of the driver to open it with."""
    if sys.platform == "darwin":
        return str(number), "avfoundation"
    if sys.platform == "win32":
        cameras = [d for d in enumerate_input_devices("dshow") if "video" in d.media_types]
        if number >= len(cameras):
            raise SourceError(
                f"there is no camera {number}; this machine has {len(cameras)}, counted from 0"
            )
        return f"video={cameras[number].name}", "dshow"
    return f"/dev/video{number}", "v4l2"
