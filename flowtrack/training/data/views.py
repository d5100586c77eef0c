"""Views of pictures with everybody's box: what the detector learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from flowtrack.errors import OptionError
from flowtrack.schema import limits
from flowtrack.structs import BoolArray, ByteArray, FloatArray, IntArray
from flowtrack.training.data.augment import Looks, vary_looks
from flowtrack.training.data.people import People
from flowtrack.training.data.pictures import PictureStore

MOST_BOXES = 64
"""Boxes of a view; where there are more, the largest."""

NOBODY, PERSON, IGNORED = 0, 1, 2
"""`kind` of a box."""

_FILL = 114  # grey beyond the picture, as in the runtime's letterbox
_LEAST_SIDE_PX = 6.0  # smaller people are neither to be found nor to be missed
_LEAST_SEEN = 0.3  # nor are those of whom less lies in the view
_LOST_SIDE_PX = 2.0  # nothing of a person so small is left to see
_BILINEAR_LIMIT = 0.6  # of the scale; below, bilinear sampling would skip pixels


@dataclass(frozen=True)
class ViewOptions:
    """Augmentation of views.

    Attributes:
        zoom: smallest and largest magnification, relative to the whole picture just fitting in.
        shift: how far the view is moved: 0 not at all, the picture is in its middle; 1 anywhere
            where, along each side, the picture lies in the view or the view in the picture.
        flip: probability of a mirrored view.
        looks: colours and sharpness.
    """

    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    flip: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    looks: Looks = field(default_factory=Looks)

    def __post_init__(self) -> None:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise OptionError(f"zoom is {self.zoom}, expected two positive factors, rising")


LETTERBOX = ViewOptions()
"""No augmentation: the runtime's letterbox with the picture in its middle, to within a pixel, since
the runtime places pictures on whole pixels."""


class PeopleViews:
    """One view a picture.

    Attributes:
        people: as given.
        size: height and width of a view in pixels.
    """

    def __init__(
        self,
        people: People,
        pictures: PictureStore,
        size: tuple[int, int],
        options: ViewOptions = LETTERBOX,
    ) -> None:
        """Views of annotated pictures.

        Args:
            people: all of them; crowds are regions that do not count.
            pictures: of `people.paths`.
            size: height and width of a view in pixels.
            options: augmentation.
        """
        self.people = people
        self.size = size
        self._pictures = pictures
        self._options = options
        order = np.argsort(people.picture, kind="stable")
        starts = np.searchsorted(people.picture[order], np.arange(len(people.paths) + 1))
        self._members = [order[start:stop] for start, stop in pairwise(starts)]

    def __len__(self) -> int:
        return len(self.people.paths)

    def sample(self, index: int, rng: np.random.Generator) -> Mapping[str, Any]:
        """One augmented view.

        Returns:
            `view` (H, W, 3) uint8 BGR, `boxes` (64, 4) float32 xyxy in its pixels and cut to it,
            `kind` (64,) int64: PERSON for those that are to be found; IGNORED for crowds, and for
            people too small, or cut too much, to be found or missed; NOBODY for padding.
        """
        options = self._options
        picture = self._pictures[index]
        scale, left, top = self._placed(picture, rng)
        flip = bool(rng.uniform() < options.flip)
        view = self._drawn(picture, scale, left, top)
        members = self._members[index]
        boxes = self.people.boxes[members] * scale + np.tile((left, top), 2)
        if flip:
            view = np.ascontiguousarray(view[:, ::-1])
            boxes[:, [0, 2]] = self.size[1] - boxes[:, [2, 0]]
        boxes, kind = self._seen(boxes.astype(np.float32), self.people.crowd[members])
        return {"view": vary_looks(view, options.looks, rng), "boxes": boxes, "kind": kind}

    def _placed(self, picture: ByteArray, rng: np.random.Generator) -> tuple[float, float, float]:
        """Scale from picture to view, and where the picture's corner comes to lie."""
        low, high = self._options.zoom
        sides = np.array(picture.shape[1::-1], np.float64)
        window = np.array(self.size[::-1], np.float64)
        zoom = np.exp(rng.uniform(np.log(low), np.log(high)))
        scale = float((window / sides).min() * zoom)
        spare = window - sides * scale
        position = 0.5 + (rng.uniform(0, 1, 2) - 0.5) * self._options.shift
        left, top = spare * position
        return scale, float(left), float(top)

    def _drawn(self, picture: ByteArray, scale: float, left: float, top: float) -> ByteArray:
        height, width = self.size
        sides = np.array(picture.shape[1::-1])
        shrunk, left_to_do = picture, np.array([scale, scale])
        if scale < _BILINEAR_LIMIT:
            whole = np.maximum(1, np.rint(sides * scale)).astype(int)
            shrunk = cv2.resize(picture, whole.tolist(), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            left_to_do = sides * scale / whole  # nearly 1
        # Pixel centres are at halves: those of cv2.resize, as in the runtime's letterbox.
        offset = np.array([left, top]) + 0.5 * left_to_do - 0.5
        matrix = np.column_stack((np.diag(left_to_do), offset)).astype(np.float32)
        view = cv2.warpAffine(
            shrunk, matrix, (width, height), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(_FILL, _FILL, _FILL),
        )  # fmt: skip
        return np.asarray(view, np.uint8)

    def _seen(self, boxes: FloatArray, crowd: BoolArray) -> tuple[FloatArray, IntArray]:
        """Boxes cut to the view, and what to make of each."""
        height, width = self.size
        limit = np.array([width, height, width, height], np.float32)
        cut = np.clip(boxes, 0, limit)
        side, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
        share = side.prod(1) / np.maximum(whole.prod(1), 1e-6)
        learnt = (side.min(1, initial=np.inf) >= _LEAST_SIDE_PX) & (share >= _LEAST_SEEN) & ~crowd
        kept = side.min(1, initial=np.inf) >= _LOST_SIDE_PX
        order = np.flatnonzero(kept)
        order = order[np.argsort(-side[order].prod(1), kind="stable")][:MOST_BOXES]
        padded = np.zeros((MOST_BOXES, 4), np.float32)
        kind = np.full(MOST_BOXES, NOBODY, np.int64)
        padded[: len(order)] = cut[order]
        kind[: len(order)] = np.where(learnt[order], PERSON, IGNORED)
        return padded, kind
