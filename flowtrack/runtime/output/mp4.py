"""Annotated video: H.264 that plays in browsers, with the source's own times."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from flowtrack.errors import OptionError, OutputError
from flowtrack.runtime.output.writer import LOGGER, ResultWriter, partial_path, writing
from flowtrack.structs import ByteArray, TrackedFrame

Paint = Callable[[ByteArray, TrackedFrame], ByteArray]
"""Makes the picture to be encoded; it is used before the next call and must leave the first one."""

ENCODERS = ("libx264", "libopenh264")
"""FFmpeg's H.264 encoders that need no special hardware, best first."""

PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
"""x264's presets, fastest first."""

TICKS_PER_S = 90_000
"""Fine enough for any frame rate: 24, 25, 30 and 60 fps divide it, 30000/1001 fits to 0.01%."""

_KEY_FRAME_S = 2
_QUEUE_FRAMES = 8
_BT709 = 1
"""The number of BT.709 in all three of FFmpeg's colour enumerations."""


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How annotated video is encoded.

    Attributes:
        crf: constant quality, 0 (lossless) to 51 (worst); 23 is x264's default.
        preset: x264's trade of speed for size, `ultrafast` to `veryslow`.
    """

    crf: int = 23
    preset: str = "veryfast"

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise OptionError(f"crf is {self.crf}, expected 0 (best) to 51 (smallest)")
        if self.preset not in PRESETS:
            raise OptionError(f"preset is {self.preset!r}, expected one of {', '.join(PRESETS)}")


class Mp4Writer(ResultWriter):
    """Paints and encodes in a thread of its own; at most `_QUEUE_FRAMES` frames wait for it.

    The video begins at 0 whatever the time of the first frame; pictures of odd size are padded by
    one pixel. Without a single frame there is no file.

    Args:
        path: the file.
        paint: draws the results into a copy of the picture.
        fps: average rate, for the duration of the last frame and the encoder's budget.
        options: see `VideoOptions`.

    Raises:
        OutputError: this FFmpeg has no H.264 encoder, or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        paint: Paint,
        fps: float | None = None,
        options: VideoOptions | None = None,
    ) -> None:
        super().__init__(path)
        self._encoder = _Encoder(path, fps or 25.0, options or VideoOptions())
        self._paint = paint
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._waiting: deque[Future[None]] = deque()
        self._shape: tuple[int, ...] | None = None

    def _add(self, frame: TrackedFrame, image: ByteArray) -> None:
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            (height, width), first = image.shape[:2], self._shape
            raise OutputError(
                f"{self.path.name}: frame {frame.index} is {width}x{height} pixels, expected"
                f" {first[1]}x{first[0]} like the first; write one video per size"
            )
        if len(self._waiting) >= _QUEUE_FRAMES:
            self._waiting.popleft().result()
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._encode, frame, image))

    def _encode(self, frame: TrackedFrame, image: ByteArray) -> None:
        """Runs in the thread."""
        self._encoder.add(self._paint(image, frame), frame.time_s)

    def close(self, *, complete: bool = True) -> None:  # noqa: ARG002
        """Encode what waits and publish the file."""
        try:
            while self._waiting:
                self._waiting.popleft().result()
            self._thread.shutdown()
            self._encoder.publish()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing behind."""
        self._waiting.clear()
        self._thread.shutdown(cancel_futures=True)
        self._encoder.discard()


class _Encoder:
    """Pictures and times in, a file out; opened when the size of the first picture is known."""

    def __init__(self, path: Path, fps: float, options: VideoOptions) -> None:
        self._codec = choose_encoder()
        self._path = path
        self._partial = partial_path(path)
        self._fps = fps
        self._options = options
        self._opened: tuple[OutputContainer, VideoStream] | None = None
        self._reformatter = VideoReformatter()
        self._zero_s = 0.0
        self._last_tick = -1
        self._step = max(round(TICKS_PER_S / fps), 1)
        with writing(path):
            self._partial.touch()

    def add(self, image: ByteArray, time_s: float) -> None:
        """Encode one picture; times that do not ascend are moved on by a tick."""
        height, width = image.shape[:2]
        if self._opened is None:
            self._zero_s = time_s
        tick = max(round((time_s - self._zero_s) * TICKS_PER_S), self._last_tick + 1)
        if self._last_tick >= 0:
            self._step = tick - self._last_tick
        with self._translated():
            container, stream = self._opened or self._open(width, height)
            picture = self._picture(image)
            picture.pts, picture.time_base = tick, Fraction(1, TICKS_PER_S)
            # Only the last frame's counts: there is no next one to end it.
            picture.duration = self._step
            _mux(container, stream.encode(picture))
        self._last_tick = tick

    def publish(self) -> None:
        """Complete the file and give it its name."""
        if self._opened is None:
            LOGGER.warning("%s is not written: there was no frame", self._path)
            self.discard()
            return
        container, stream = self._opened
        with self._translated():
            _mux(container, stream.encode(None))
            container.close()
            self._partial.replace(self._path)
        self._opened = None

    def discard(self) -> None:
        """Leave nothing behind."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                opened[0].close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> tuple[OutputContainer, VideoStream]:
        # The index goes to the front, so that a browser can start before it has the whole file.
        container = av.open(
            f"file:{self._partial}", "w", format="mp4", options={"movflags": "+faststart"}
        )
        rate = Fraction(self._fps).limit_denominator(1001)
        options = {"crf": str(self._options.crf), "preset": self._options.preset}
        stream = container.add_stream(
            self._codec, rate=rate, options=options if self._codec == "libx264" else {}
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.time_base = Fraction(1, TICKS_PER_S)
        codec.flags |= Flags.frame_duration
        codec.gop_size = max(round(self._fps * _KEY_FRAME_S), 1)
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = ColorRange.MPEG
        self._opened = container, stream
        return self._opened

    def _picture(self, image: ByteArray) -> VideoFrame:
        height, width = image.shape[:2]
        if width % 2 or height % 2:
            padded = cv2.copyMakeBorder(
                image, 0, height % 2, 0, width % 2, borderType=cv2.BORDER_REPLICATE
            )
            image = np.ascontiguousarray(padded, np.uint8)
        picture = self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(image, format="bgr24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        picture.colorspace = picture.color_primaries = picture.color_trc = _BT709
        picture.color_range = ColorRange.MPEG
        return picture

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        with writing(self._path):
            try:
                yield
            except av.error.FFmpegError as error:
                raise OutputError(
                    f"cannot encode {self._path.name}: {error.strerror or error};"
                    " expected free disk space and a picture size that H.264 allows"
                ) from error


def choose_encoder() -> str:
    """The best H.264 encoder of this FFmpeg.

    Raises:
        OutputError: it has none.
    """
    for name in ENCODERS:
        if name in av.codecs_available:
            return name
    raise OutputError(
        f"this build of PyAV has no H.264 encoder, expected one of {', '.join(ENCODERS)};"
        " install a wheel (pip install --only-binary av --force-reinstall av) or leave out mp4"
    )


def _mux(container: OutputContainer, packets: list[Packet[VideoStream]]) -> None:
    for packet in packets:
        container.mux(packet)
