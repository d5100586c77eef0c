"""Pictures as a clip: a folder, a glob pattern, or a single picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

import cv2
import numpy as np

from flowtrack.errors import SourceError
from flowtrack.runtime.video.source import Source, SourceOptions, describe, strided
from flowtrack.structs import ByteArray, Frame

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jp2", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
    | {".pbm", ".pgm", ".pnm", ".ppm"}
)
"""Suffixes of files that count as pictures, in lower case."""

PICTURE_FPS = 25.0
"""Assumed for pictures, which carry no times."""


def is_picture(path: Path) -> bool:
    """Whether a file counts as a picture: by suffix, hidden files excluded."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def natural_key(path: Path) -> tuple[object, ...]:
    """Sorts 2.jpg before 10.jpg; equal numbers (2, 02) in order of their text."""
    parts = re.split(r"(\d+)", str(path))
    numbered = tuple((1, int(p), "") if p.isdecimal() else (0, 0, p.casefold()) for p in parts)
    return (*numbered, (2, 0, str(path)))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order.

    Raises:
        SourceError: there are none, or the folder may not be read.
    """
    try:
        found = sorted(filter(is_picture, folder.iterdir()), key=natural_key)
    except OSError as error:
        raise SourceError(
            f"cannot read the folder {folder}: {error.strerror}; check that you may (ls -ld)"
        ) from error
    if not found:
        raise SourceError(f"the folder {folder} holds no pictures, expected .jpg, .png or the like")
    return found


def read_picture(path: str | Path) -> ByteArray:
    """One picture as 8-bit BGR, as OpenCV's `IMREAD_COLOR` users expect it.

    The EXIF orientation is applied, grey becomes BGR, 16 bits are scaled to 8, and an alpha channel
    is dropped: the stored colour counts, however transparent.

    Returns:
        (H, W, 3) uint8.

    Raises:
        SourceError: the file cannot be read, is no picture, or is cut off.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror or error}; expected a readable picture"
        ) from error
    if not data:
        raise SourceError(f"{path} is empty, expected a picture; copy it anew")
    if _jpeg_is_cut_off(data):
        raise SourceError(f"{path} is cut off: the JPEG has no end; copy it anew")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be decoded as a picture: {error.err}") from error
    if image is None:
        raise SourceError(f"{path} is not a picture that OpenCV can decode, or it is damaged")
    decoded: ByteArray = np.ascontiguousarray(image, np.uint8)
    return decoded


def _jpeg_is_cut_off(data: bytes) -> bool:
    """Whether a JPEG lacks its end mark; OpenCV would fill the missing part with grey."""
    if not data.startswith(b"\xff\xd8"):
        return False
    at = 2
    # Step over the segments before the first scan: they may hold a whole thumbnail, end included.
    while data[at : at + 1] == b"\xff" and data[at : at + 2] != b"\xff\xda":
        padding = data[at + 1 : at + 2] == b"\xff"
        at += 1 if padding else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) < 0


class PictureSource(Source):
    """Pictures as one clip, `index / fps` seconds apart.

    Pictures that cannot be read are reported and skipped. All must have the same size.

    Args:
        paths: the pictures, in order.
        name, location: see `Source`.
        options: see `SourceOptions`.

    Raises:
        SourceError: `start_s` lies after the last picture.
    """

    def __init__(
        self, paths: Sequence[Path], name: str, location: str, options: SourceOptions
    ) -> None:
        super().__init__(name, location, options)
        self.paths = tuple(paths)
        self.fps = PICTURE_FPS if options.fps is None else options.fps
        self._rate = self.fps
        self._first = ceil(options.start_s * self._rate - 1e-6)
        if self._first >= len(self.paths):
            raise SourceError(
                f"{location}: start is {options.start_s:g} s, but the last of {len(self.paths)}"
                f" pictures is at {(len(self.paths) - 1) / self._rate:g} s (at {self._rate:g} fps)"
            )
        self.frame_count = options.count(len(self.paths) - self._first)

    def frame_name(self, index: int) -> str:
        """`folder/file` of the picture."""
        path = self.paths[index]
        return f"{path.absolute().parent.name}/{path.name}"

    def __iter__(self) -> Iterator[Frame]:
        self.problems.clear()
        options = self.options
        stop = options.stop(self._first)
        end = len(self.paths) if stop is None else min(stop, len(self.paths))
        readable = 0
        for index in strided(self._first, options.stride, self._first, end):
            path = self.paths[index]
            try:
                image = read_picture(path)
            except SourceError as error:
                indices = range(index, index + 1)
                self._report(indices, f"{describe(indices)} skipped: {error}")
                continue
            self._check_size(image.shape[1], image.shape[0], str(path))
            readable += 1
            yield Frame(index, index / self._rate, image)
        if not readable:
            cause = self.problems[0].message if self.problems else "there are none"
            raise SourceError(
                f"{self.location}: none of the pictures can be read; the first: {cause}"
            )
