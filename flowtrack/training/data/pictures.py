"""Pictures of a data set, decoded once where there is a folder to keep them in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np

from flowtrack.errors import SourceError
from flowtrack.structs import ByteArray


class PictureStore:
    """Pictures by number.

    Attributes:
        paths: of the files.
    """

    def __init__(self, paths: Sequence[Path], *, cache: Path | None = None) -> None:
        """Pictures that lie in files; each is read when it is asked for.

        Args:
            paths: of the files.
            cache: folder in which decoded pictures are kept, about 0.5 MB for one of COCO's size;
                it is made if it is not there. All processes of a machine share what it holds, also
                in memory: the system keeps the files there for as long as there is room. A picture
                that has changed since is decoded anew.

        Raises:
            SourceError: a picture is missing, or the folder cannot be made.
        """
        self.paths = tuple(paths)
        missing = [path for path in self.paths if not path.is_file()]
        if missing:
            raise SourceError(
                f"{missing[0]} is missing, and so are {len(missing) - 1} other pictures of "
                f"{len(self.paths)}; expected every picture that the annotations name"
            )
        self._kept = None if cache is None else [_place(cache, path) for path in self.paths]
        if cache is not None:
            try:
                cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SourceError(f"{cache} cannot be made: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> ByteArray:
        """(H, W, 3) uint8 BGR; not to be written to.

        Raises:
            SourceError: the file is damaged, or has gone; or no decoded picture can be kept.
        """
        if self._kept is None:
            return _read(self.paths[index])
        place = self._kept[index]
        # What is not there yet, or damaged, is decoded below.
        with suppress(OSError, ValueError, EOFError):
            return np.asarray(np.load(place, mmap_mode="r"))
        picture = _read(self.paths[index])
        _keep(picture, place)
        return picture


def _place(cache: Path, path: Path) -> Path:
    """Where a picture is kept once it is decoded: elsewhere after the file has changed."""
    state = path.stat()
    key = f"{path.absolute()} {state.st_size} {state.st_mtime_ns}"
    return cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"


def _keep(picture: ByteArray, place: Path) -> None:
    """Write it under another name first, so that nobody reads the half of it."""
    draft = place.with_suffix(f".{uuid4().hex}")
    try:
        with draft.open("wb") as file:
            np.save(file, picture)
        draft.replace(place)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise SourceError(
            f"decoded pictures cannot be kept in {place.parent}: {error.strerror}; make room, or "
            "train without that folder"
        ) from error


def _read(path: Path) -> ByteArray:
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if picture is None:
        raise SourceError(f"{path} is no readable picture, or is damaged")
    picture.flags.writeable = False  # as those that are kept
    return np.ascontiguousarray(picture, np.uint8)
