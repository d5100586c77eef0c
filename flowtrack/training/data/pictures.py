"""Pictures of a data set, decoded once where memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from flowtrack.errors import SourceError
from flowtrack.structs import ByteArray


class PictureStore:
    """Pictures by number.

    Attributes:
        paths: of the files.
    """

    def __init__(self, paths: Sequence[Path], *, in_memory: bool = False) -> None:
        """Pictures that lie in files.

        Args:
            paths: of the files; they are read when a picture is asked for.
            in_memory: read and decode all of them now and keep them: about 0.5 MB a picture of
                COCO's size. Worker processes that are forked afterwards share them.

        Raises:
            SourceError: a picture is missing; with `in_memory` also: is damaged.
        """
        self.paths = tuple(paths)
        missing = [path for path in self.paths if not path.is_file()]
        if missing:
            raise SourceError(
                f"{missing[0]} is missing, and so are {len(missing) - 1} other pictures of "
                f"{len(self.paths)}; expected every picture that the annotations name"
            )
        self._decoded = [_read(path) for path in self.paths] if in_memory else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> ByteArray:
        """(H, W, 3) uint8 BGR; not to be written to.

        Raises:
            SourceError: the file is damaged, or has gone.
        """
        return _read(self.paths[index]) if self._decoded is None else self._decoded[index]


def _read(path: Path) -> ByteArray:
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if picture is None:
        raise SourceError(f"{path} is no readable picture, or is damaged")
    picture.flags.writeable = False  # it may be given out many times
    return np.ascontiguousarray(picture, np.uint8)
