"""The pictures of a COCO truth that are in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flowtrack.errors import InputError, SourceError
from flowtrack.evaluation.coco_files import CocoTruth
from flowtrack.structs import Frame, IntArray

# The boxes and joints of COCO lie in the picture as it is stored, whatever its EXIF orientation.
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True, slots=True)
class CocoSet:
    """A truth and the pictures of it that are there.

    Attributes:
        truth: annotated people.
        folder: that the truth's picture names are relative to.
        rows: (P,) int64 of `truth.pictures`: those that are there.
    """

    truth: CocoTruth
    folder: Path
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def pictures(self) -> IntArray:
        """(P,) int64 ids of the pictures that are there."""
        ids: IntArray = self.truth.pictures[self.rows]
        return ids

    @property
    def missing(self) -> int:
        """How many pictures of the truth are not there."""
        return len(self.truth.pictures) - len(self.rows)

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """Each picture with its id, in the truth's order.

        Raises:
            InputError: a picture has another size than the truth says.
            SourceError: a picture cannot be read.
        """
        for row in self.rows.tolist():
            yield int(self.truth.pictures[row]), self.frame(row)

    def frame(self, row: int) -> Frame:
        """The picture of a row of `truth.pictures`, see `frames`."""
        path = self.folder / self.truth.files[row]
        image = cv2.imread(str(path), _AS_STORED)
        if image is None:
            raise SourceError(f"{path} is no readable picture, or is damaged; get it again")
        frame = Frame(row, 0.0, np.asarray(image, np.uint8))
        width, height = self.truth.sizes[row].tolist()
        if width and height and (width, height) != (frame.width, frame.height):
            raise InputError(
                f"{path} is {frame.width} x {frame.height} pixels, {self.truth.name} says {width} "
                f"x {height}; expected the pictures that were annotated, at their full size"
            )
        return frame


def open_set(truth: CocoTruth, folder: str | Path, *, partial: bool = False) -> CocoSet:
    """Look for the pictures of a truth.

    Args:
        truth: annotated people.
        folder: that the truth's picture names are relative to.
        partial: take the pictures that are there, instead of insisting on all.

    Raises:
        InputError: pictures are missing, or, with `partial`, all of them are.
    """
    folder = Path(folder)
    there = np.array([bool(name) and (folder / name).is_file() for name in truth.files], np.bool_)
    if not there.all() and not (partial and there.any()):
        first = truth.files[int(there.argmin())] or "(one without a 'file_name')"
        remedy = "name another folder" if partial else "name another folder, or add --partial"
        raise InputError(
            f"{folder} lacks {(~there).sum()} of the {len(there)} pictures that {truth.name} "
            f"lists, the first is {first}; {remedy}"
        )
    return CocoSet(truth, folder, np.flatnonzero(there).astype(np.int64))
