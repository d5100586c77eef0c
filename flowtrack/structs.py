"""What crosses the boundaries: one checked, frozen object of arrays per frame, not per person.

Coordinates are source-image pixels (the centre of the top-left pixel is (0, 0)), arrays are
float32 unless said. A joint whose coordinates are not finite is *missing*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

DETECTED = 0
"""`Boxes.origin` of a box that came from the person detector."""
PROPAGATED = 1
"""`Boxes.origin` of a box around joints that the flow carried here from the frame before."""
NO_TRACK = -1
"""`Tracks.id` of people who neither continue a track nor may start one."""


def checked(
    name: str, value: npt.ArrayLike, shape: Sequence[int | str], dtype: type[np.generic]
) -> npt.NDArray[Any]:
    """`value` as a contiguous array of `dtype`, its shape held against `shape`.

    `shape` mixes sizes and names: a name stands for any size and is shown in the message.

    Raises:
        InputError: the number of axes or a fixed size differs, or the values are of another kind
            (text, or fractions where whole numbers are expected).
    """
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is not an array of {dtype.__name__}: {error}") from error
    if given.size and not np.can_cast(given.dtype, dtype, "same_kind"):
        raise InputError(f"{name} is an array of {given.dtype}, expected {dtype.__name__}")
    array: npt.NDArray[Any] = given.astype(dtype, order="C", copy=False)
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        want_text = "(" + ", ".join(str(size) for size in shape) + ")"
        raise InputError(f"{name} has shape {array.shape}, expected {want_text}")
    return array


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: 0-based position in the source; gaps mark frames that could not be decoded.
        time_s: presentation time in seconds from the start of the source.
        image: (H, W, 3) uint8 BGR.
    """

    index: int
    time_s: float
    image: ByteArray

    def __post_init__(self) -> None:
        if not isinstance(self.image, np.ndarray) or self.image.dtype != np.uint8:
            kind = getattr(self.image, "dtype", type(self.image).__name__)
            raise InputError(f"image is {kind}, expected a uint8 array (H, W, 3) in BGR order")
        object.__setattr__(self, "image", checked("image", self.image, ("H", "W", 3), np.uint8))
        if min(self.image.shape) == 0:
            raise InputError(f"image has shape {self.image.shape}, expected at least one pixel")
        if self.index < 0:
            raise InputError(f"frame index is {self.index}, expected 0 or more")
        if not np.isfinite(self.time_s):
            raise InputError(f"frame time is {self.time_s} s, expected a finite number")

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes around people in one frame.

    Attributes:
        xyxy: (N, 4) left, top, right, bottom.
        score: (N,) confidence.
        origin: (N,) int8, `DETECTED` or `PROPAGATED`.
    """

    xyxy: FloatArray
    score: FloatArray
    origin: npt.NDArray[np.int8]

    def __post_init__(self) -> None:
        xyxy = checked("xyxy", self.xyxy, ("N", 4), np.float32)
        count = len(xyxy)
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "score", checked("score", self.score, (count,), np.float32))
        origin = checked("origin", self.origin, (count,), np.int8)
        if ((origin != DETECTED) & (origin != PROPAGATED)).any():
            raise InputError(
                f"origin holds {sorted(set(origin.tolist()))}, expected {DETECTED} (detected) or "
                f"{PROPAGATED} (propagated)"
            )
        object.__setattr__(self, "origin", origin)

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Self:
        """The boxes chosen by a slice, a mask or an array of indices."""
        return type(self)(self.xyxy[rows], self.score[rows], self.origin[rows])

    @classmethod
    def empty(cls) -> Self:
        """No boxes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int8))

    @classmethod
    def detected(cls, xyxy: npt.ArrayLike, score: npt.ArrayLike) -> Self:
        """Boxes that came from a detector."""
        boxes = checked("xyxy", xyxy, ("N", 4), np.float32)
        scores = checked("score", score, (len(boxes),), np.float32)
        return cls(boxes, scores, np.full(len(boxes), DETECTED, np.int8))

    @classmethod
    def propagated(cls, xyxy: npt.ArrayLike, score: npt.ArrayLike) -> Self:
        """Boxes around joints that the flow carried from the frame before."""
        boxes = checked("xyxy", xyxy, ("N", 4), np.float32)
        scores = checked("score", score, (len(boxes),), np.float32)
        return cls(boxes, scores, np.full(len(boxes), PROPAGATED, np.int8))


@dataclass(frozen=True, slots=True)
class FlowField:
    """Optical flow from one frame to another, on a grid that may be coarser than the image.

    Cell centres and pixel centres are aligned as in a resize with half-pixel centres: source
    position x lies at grid position (x + 0.5) * scale - 0.5.

    Attributes:
        uv: (2, h, w) displacement (dx, dy) in *source* pixels, defined on the first frame.
        scale: (sx, sy), grid cells per source pixel: (w / W, h / H).
        from_index, to_index: the frames that the flow leads from and to.
    """

    uv: FloatArray
    scale: tuple[float, float]
    from_index: int
    to_index: int

    def __post_init__(self) -> None:
        uv = checked("uv", self.uv, (2, "h", "w"), np.float32)
        if min(uv.shape) == 0:
            raise InputError(f"uv has shape {uv.shape}, expected at least one cell")
        if len(self.scale) != 2 or not all(np.isfinite(s) and s > 0 for s in self.scale):
            raise InputError(f"flow scale is {self.scale}, expected two positive numbers")
        object.__setattr__(self, "uv", uv)


@dataclass(frozen=True, slots=True)
class Poses:
    """The poses of all people of one frame.

    Attributes:
        xy: (N, K, 2) joint positions; not finite where the joint is missing.
        score: (N, K) joint confidence.
        box: (N, 4) the box that the pose was estimated in, xyxy.
        box_score: (N,) confidence of that box.
    """

    xy: FloatArray
    score: FloatArray
    box: FloatArray
    box_score: FloatArray

    def __post_init__(self) -> None:
        xy = checked("xy", self.xy, ("N", "K", 2), np.float32)
        count, joints = xy.shape[:2]
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "score", checked("score", self.score, (count, joints), np.float32))
        object.__setattr__(self, "box", checked("box", self.box, (count, 4), np.float32))
        object.__setattr__(
            self, "box_score", checked("box_score", self.box_score, (count,), np.float32)
        )

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Self:
        """The poses chosen by a slice, a mask or an array of indices."""
        return type(self)(self.xy[rows], self.score[rows], self.box[rows], self.box_score[rows])

    @classmethod
    def empty(cls, joints: int) -> Self:
        """No poses of a skeleton with `joints` joints."""
        return cls(
            np.zeros((0, joints, 2), np.float32),
            np.zeros((0, joints), np.float32),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
        )

    @property
    def missing(self) -> BoolArray:
        """(N, K) true where a joint has no usable position or no usable score."""
        usable: BoolArray = np.isfinite(self.xy).all(axis=-1) & np.isfinite(self.score)
        return ~usable

    @property
    def instance_score(self) -> FloatArray:
        """(N,) box score times the mean score of the joints that are there; 0 without any."""
        there = ~self.missing
        total = np.where(there, self.score, 0.0).sum(axis=1)
        mean: FloatArray = self.box_score * total / np.maximum(there.sum(axis=1), 1)
        return mean.astype(np.float32)

    def without_joints_below(self, threshold: float) -> Self:
        """The same poses with every joint scored below `threshold` made missing (NaN)."""
        low = ~(self.score >= np.float32(threshold)) | self.missing
        xy = np.where(low[..., None], np.float32(np.nan), self.xy)
        return type(self)(xy, self.score, self.box, self.box_score)

    def within(self, width: int, height: int) -> Self:
        """The same poses with every joint outside a picture of that size made missing (NaN)."""
        low, high = np.float32(-0.5), np.array([width - 0.5, height - 0.5], np.float32)
        inside: BoolArray = np.asarray(((self.xy >= low) & (self.xy < high)).all(axis=-1))
        xy = np.where(inside[..., None], self.xy, np.float32(np.nan))
        return type(self)(xy, self.score, self.box, self.box_score)


@dataclass(frozen=True, slots=True)
class Tracks:
    """Who is who: aligned row by row with the `Poses` it was made from.

    Attributes:
        id: (N,) int64, unique within a frame but for `NO_TRACK`.
        age: (N,) int64, frames since the track was born (0 = born in this frame).
        similarity: (N,) similarity of the link that gave the id; NaN where the track is new.
    """

    id: IntArray
    age: IntArray
    similarity: FloatArray

    def __post_init__(self) -> None:
        ids = checked("id", self.id, ("N",), np.int64)
        count = len(ids)
        object.__setattr__(self, "id", ids)
        object.__setattr__(self, "age", checked("age", self.age, (count,), np.int64))
        object.__setattr__(
            self, "similarity", checked("similarity", self.similarity, (count,), np.float32)
        )

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Self:
        """The tracks chosen by a slice, a mask or an array of indices."""
        return type(self)(self.id[rows], self.age[rows], self.similarity[rows])

    @classmethod
    def empty(cls) -> Self:
        """No tracks."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """Everything known about one frame after tracking.

    Attributes:
        index, time_s: of the frame, see `Frame`.
        poses: people in ascending order of id; joints below the drop threshold are missing.
        tracks: ids, row by row.
        boxes: the unified boxes that poses were estimated in, with their origin.
        flow: flow from the frame before, or None (first frame, or flow not used).
        timing_ms: milliseconds by stage, in the order in which the stages ran.
    """

    index: int
    time_s: float
    poses: Poses
    tracks: Tracks
    boxes: Boxes = field(default_factory=Boxes.empty)
    flow: FlowField | None = None
    timing_ms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.poses) != len(self.tracks):
            raise InputError(
                f"{len(self.poses)} poses come with {len(self.tracks)} tracks, expected as many"
            )
        if len(np.unique(self.tracks.id)) != len(self.tracks):
            raise InputError(f"ids {self.tracks.id.tolist()} repeat within frame {self.index}")
