"""One pass over a video: each frame that decodes whole, with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from flowtrack.runtime.video.container import OpenedMedia, reason
from flowtrack.runtime.video.order import ArrivalOrder, Order, Placed, TimestampOrder

_NO_PTS = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "vc1"})
"""FFmpeg's names of formats without presentation times; AVI has decoding times only."""

_COUNTED = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name of the format whose index tells the exact number of packets."""

_PROGRESSIVE = (0, 1)
"""AVFieldOrder: unknown, progressive. With any other, a packet may hold a single field."""


class Decoding:
    """Iterates over the (frame, place) pairs of a video that decode whole.

    Args:
        media: placed where decoding shall begin.
        shown_before: how many frames precede that place.
        packets_before: how many packets precede it, those that are never shown included.

    Attributes:
        complaint: why frames were lost most recently.
        failure: why reading stopped before the end of the file; empty if it did not.
    """

    def __init__(self, media: OpenedMedia, shown_before: int = 0, packets_before: int = 0) -> None:
        self.complaint = "it did not come out of the decoder"
        self.failure = ""
        self._media = media
        self._packets = packets_before
        self._zero: int | None = media.stream.start_time
        codec = media.stream.codec_context
        if media.container.format.name in _NO_PTS:
            self._order: Order = ArrivalOrder(shown_before)
        else:
            fields = getattr(codec, "field_order", None)  # PyAV tells from 18.1 on
            whole = fields in _PROGRESSIVE and codec.name != "vp8"
            self._order = TimestampOrder(shown_before, one_to_one=whole)

    def __iter__(self) -> Iterator[tuple[VideoFrame, Placed]]:
        for packet in self._packets_in():
            for frame in self._frames_out(packet):
                if frame.is_corrupt:
                    self.complaint = "damaged data"
                    self._order.damaged(frame.pts)
                else:
                    yield frame, self._order.frame(frame.pts)

    def seconds(self, placed: Placed) -> float | None:
        """Time of a frame from the start of the stream; None where the file does not tell."""
        base = self._media.stream.time_base
        if placed.ticks is None or base is None:
            return None
        if self._zero is None:
            self._zero = placed.ticks
        return float((placed.ticks - self._zero) * base)

    def rest(self) -> range:
        """The frames at the end that did not decode whole."""
        return self._order.rest()

    def missing(self) -> int:
        """How many packets the file should hold beyond those that were there, if it tells."""
        if self._media.container.format.name != _COUNTED:
            return 0
        return max(self._media.stream.frames - self._packets, 0)

    def length_s(self) -> float | None:
        """The length that the file announces, None where it does not or only guesses."""
        container, stream = self._media.container, self._media.stream
        if "matroska" not in container.format.name:
            return None
        tag = re.match(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
        if tag:
            hours, minutes, seconds = (float(part) for part in tag.groups())
            return 3600.0 * hours + 60.0 * minutes + seconds
        if container.duration is not None and len(container.streams) == 1:
            return container.duration / 1e6
        return None

    def _packets_in(self) -> Iterator[Packet[VideoStream] | None]:
        """Packets fit for the decoder, then None to make it hand out what it still holds."""
        try:
            for packet in self._media.container.demux(self._media.stream):
                if packet.size == 0:
                    continue
                self._packets += 1
                if not packet.is_discard:
                    self._order.packet(packet.pts, packet.dts)
                if packet.is_corrupt:
                    self._refuse("the data is cut off or damaged")
                    continue
                yield packet
        except av.error.FFmpegError as error:
            self.failure = reason(error)
        yield None

    def _frames_out(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            return self._media.stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self._refuse(reason(error))
            return []

    def _refuse(self, why: str) -> None:
        self.complaint = why
        self._order.complaint()


def key_frame_before(media: OpenedMedia, start_s: float) -> tuple[int, int, int]:
    """The last key frame at or before a time, by reading packets without decoding them.

    Returns:
        Its time in ticks, the number of frames shown before it, the number of packets before it.
    """
    stream = media.stream
    zero: int | None = stream.start_time
    best = (zero or 0, 0, 0)
    shown = packets = 0
    try:
        for packet in media.container.demux(stream):
            ticks = packet_ticks(packet)
            if packet.size == 0 or ticks is None or stream.time_base is None:
                continue
            zero = ticks if zero is None else zero
            seconds = float((ticks - zero) * stream.time_base)
            if packet.is_keyframe and not packet.is_discard and seconds <= start_s:
                best = (ticks, shown, packets)
            elif packet.is_keyframe and seconds > start_s:
                break
            shown += not packet.is_discard
            packets += 1
    except av.error.FFmpegError:
        pass  # The pass that decodes meets the same place and reports it.
    return best


def packet_ticks(packet: Packet[VideoStream]) -> int | None:
    """Presentation time of a packet, or its decoding time where it has none."""
    return packet.pts if packet.pts is not None else packet.dts
