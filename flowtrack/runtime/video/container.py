"""Opening media with FFmpeg, and turning its errors and frames into ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from flowtrack.errors import SourceError
from flowtrack.runtime.video.orientation import orientation_of
from flowtrack.structs import ByteArray


@dataclass(frozen=True)
class OpenedMedia:
    """A container and the video stream to be read from it."""

    container: InputContainer
    stream: VideoStream

    def close(self) -> None:
        """Release the file or connection."""
        self.container.close()


def without_password(location: str) -> str:
    """A URL fit for messages and logs: `user:secret@` becomes `user:***@`."""
    return re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", location)


def open_media(
    location: str,
    *,
    shown: str,
    format_name: str | None = None,
    options: dict[str, str] | None = None,
    timeout_s: float | None = None,
    remedy: str = "check the file with a video player, or convert it anew",
) -> OpenedMedia:
    """Open a file, device or URL and choose its video stream.

    Args:
        location: for FFmpeg.
        shown: for messages.
        format_name: FFmpeg's name of the input format, None to recognise it.
        options: of FFmpeg's demuxer.
        timeout_s: how long opening and each read may take; None waits for ever.
        remedy: last part of the message when opening fails.

    Raises:
        SourceError: it cannot be opened, or has no video stream that can be decoded.
    """
    try:
        container = av.open(
            location, "r", format=format_name, options=options or {}, timeout=timeout_s
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"cannot open {shown}: {reason(error)}; {remedy}") from error
    streams = [s for s in container.streams.video if not _is_cover_art(s)]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        container.close()
        raise SourceError(
            f"{shown} has no video stream, only: {', '.join(kinds) or 'nothing'};"
            " expected a video: name another file"
        )
    stream = streams[0]
    if getattr(stream, "codec_context", None) is None:
        container.close()
        raise SourceError(f"{shown} uses a codec that this FFmpeg cannot decode; convert it anew")
    stream.thread_type = ThreadType.AUTO
    return OpenedMedia(container, stream)


def reason(error: Exception) -> str:
    """What went wrong, in words."""
    if isinstance(error, av.error.ExitError):
        return "no answer within the time limit"
    if isinstance(error, av.error.InvalidDataError):
        return "it is not media that FFmpeg understands, or it is damaged"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:1].lower() + str(text)[1:]


def average_fps(stream: VideoStream) -> float | None:
    """Average frames per second as the container tells it."""
    rate: Fraction | None = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


class Converter:
    """Decoded frames to upright 8-bit BGR; keeps FFmpeg's scaler between frames."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def image(self, frame: VideoFrame) -> ByteArray:
        """(H, W, 3) uint8 BGR as the frame is shown: turned, alpha dropped, any depth to 8 bits."""
        array = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        image: ByteArray = np.ascontiguousarray(array, np.uint8)
        return orientation_of(frame).apply(image)


def _is_cover_art(stream: VideoStream) -> bool:
    """A still picture beside the sound, as in music files."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)
