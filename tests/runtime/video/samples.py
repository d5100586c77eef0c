"""Small videos whose frames tell their own number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)
BITS = 8
_CELL = 12


def numbered(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture that carries `number` as a row of black and white cells."""
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    image[_CELL:, :, 1] = np.linspace(40, 200, width, dtype=np.uint8)
    for bit in range(BITS):
        image[:_CELL, bit * _CELL : (bit + 1) * _CELL] = 255 if number >> bit & 1 else 0
    return image


def number_of(image: np.ndarray) -> int:
    """The number in a picture made by `numbered`."""
    row = image[_CELL // 2, :, 1]
    return sum((int(row[bit * _CELL + _CELL // 2]) > 127) << bit for bit in range(BITS))


def make_video(
    path: Path,
    count: int = 40,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    times_ms: Sequence[int] | None = None,
    pix_fmt: str = "yuv420p",
    rotation: float | None = None,
    muxer: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """`count` numbered frames at 25 fps, or at the given times."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        # AVI numbers its frames in units of the time base.
        base = Fraction(1, 25 if path.suffix == ".avi" else 1000)
        stream.codec_context.time_base = base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(number, size), format="bgr24")
            time_ms = times_ms[number] if times_ms is not None else number * 40
            frame.pts, frame.time_base = round(Fraction(time_ms, 1000) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[tuple[int, int, int]]:
    """(byte position, size, pts) of each packet in the order of decoding."""
    with av.open(str(path)) as container:
        return [
            (packet.pos, packet.size, packet.pts)
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]


def overwrite(path: Path, position: int, data: bytes) -> None:
    """Damage a file in place."""
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)
