"""Who is where in each frame of a clip, as arrays: ground truth and results alike.

Joints are the 15 of PoseTrack 2017, in the order of its ids (`flowtrack.skeleton.POSETRACK17_15`).
Everything here is float64, so that a joint at exactly the threshold falls on the side on which the
reference tool sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, OptionError
from flowtrack.skeleton import POSETRACK17_15
from flowtrack.structs import BoolArray, IntArray, checked

Float64Array = npt.NDArray[np.float64]

JOINTS = POSETRACK17_15.joints
"""Names of the joints, by PoseTrack 2017 id. poseval calls `head_bottom` the neck."""

NO_SCORE = -9999.0
"""Score of a joint whose file gives none (MIN_SCORE in poseval's eval_helpers.py)."""

JOINT_SETS: dict[str, tuple[str, ...]] = {
    "all": JOINTS,
    "shared13": tuple(joint for joint in JOINTS if joint not in ("head_bottom", "head_top")),
    "body12": JOINTS[:12],
}
"""Joints to report: all; those that COCO and PoseTrack both label; the same without the nose."""


@dataclass(frozen=True, slots=True)
class PoseFrame:
    """The people of one frame, annotated or predicted.

    Attributes:
        name: of the picture; may be empty.
        track_id: (N,) int64, unique within the frame.
        xy: (N, 15, 2) float64 pixels; not finite where there is no joint.
        score: (N, 15) float64 confidence of each joint.
        head: (N, 4) float64 head box, xyxy pixels; NaN where unknown. Needed in the truth only.
        ignore: polygons (V, 2), V >= 3, in which nothing is counted.
        labelled: whether the frame counts: somebody is noted in it, be it without any joints.
    """

    name: str
    track_id: IntArray
    xy: Float64Array
    score: Float64Array
    head: Float64Array
    ignore: tuple[Float64Array, ...] = ()
    labelled: bool = True

    def __post_init__(self) -> None:
        ids = checked("track_id", self.track_id, ("N",), np.int64)
        count, joints = len(ids), len(JOINTS)
        object.__setattr__(self, "track_id", ids)
        for name, shape in (
            ("xy", (count, joints, 2)), ("score", (count, joints)), ("head", (count, 4)),
        ):  # fmt: skip
            object.__setattr__(self, name, checked(name, getattr(self, name), shape, np.float64))
        if self.ignore:
            polygons = tuple(checked("ignore", p, ("V", 2), np.float64) for p in self.ignore)
            object.__setattr__(self, "ignore", polygons)
            if any(len(polygon) < 3 or not np.isfinite(polygon).all() for polygon in polygons):
                raise InputError("an ignore region is no polygon, expected 3 finite points or more")
        if len(set(ids.tolist())) != count:
            raise InputError(
                f"track ids {ids.tolist()} repeat, expected each person once in a frame"
            )
        if not np.isfinite(self.score).all() and not np.isfinite(self.score[self.present]).all():
            raise InputError("a joint has a score that is not finite, expected a number")
        if count and not self.labelled:
            raise InputError(f"an unlabelled frame has {count} people, expected none")

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def present(self) -> BoolArray:
        """(N, 15) true where a joint is there."""
        return np.isfinite(self.xy[..., 0]) & np.isfinite(self.xy[..., 1])

    @classmethod
    def of(
        cls,
        track_id: npt.ArrayLike,
        xy: npt.ArrayLike,
        *,
        score: npt.ArrayLike | None = None,
        head: npt.ArrayLike | None = None,
        name: str = "",
        ignore: Sequence[npt.ArrayLike] = (),
    ) -> Self:
        """A frame from arrays, which counts if there is somebody in it.

        Args:
            track_id: (N,) int.
            xy: (N, 15, 2); not finite where there is no joint.
            score: (N, 15); `NO_SCORE` without.
            head: (N, 4); unknown without.
            name: of the picture.
            ignore: polygons (V, 2).

        Raises:
            InputError: shapes or values that `PoseFrame` does not allow.
        """
        ids = checked("track_id", track_id, ("N",), np.int64)
        count = len(ids)
        return cls(
            name=name,
            track_id=ids,
            xy=np.asarray(xy, np.float64),
            score=np.asarray(
                np.full((count, len(JOINTS)), NO_SCORE) if score is None else score, np.float64
            ),
            head=np.asarray(np.full((count, 4), np.nan) if head is None else head, np.float64),
            ignore=tuple(np.asarray(polygon, np.float64) for polygon in ignore),
            labelled=count > 0,
        )


@dataclass(frozen=True, slots=True)
class PoseSequence:
    """One clip: its frames in order, without gaps.

    Attributes:
        name: of the clip; usually the file's.
        frames: one for every frame of the clip, also where nobody is.
        source: the file that it was read from, for messages; empty without one.
    """

    name: str
    frames: tuple[PoseFrame, ...]
    source: str = ""

    def __len__(self) -> int:
        return len(self.frames)

    def __str__(self) -> str:
        return self.source or self.name


def placed_frame(where: str, **parts: Any) -> PoseFrame:
    """A `PoseFrame` whose errors begin with where it stands, say file and frame."""
    try:
        return PoseFrame(**parts)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def starts(counts: npt.ArrayLike) -> IntArray:
    """(F + 1,) int64 where each of F runs begins that are `counts` (F,) long."""
    out: IntArray = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return out


def joint_rows(joints: str | Sequence[str]) -> IntArray:
    """Indices of joints, ascending.

    Args:
        joints: the name of a set in `JOINT_SETS`, or names of joints.

    Raises:
        OptionError: a name is unknown, or there is none.
    """
    if isinstance(joints, str):
        if joints not in JOINT_SETS:
            raise OptionError(f"unknown joint set {joints!r}; known are {', '.join(JOINT_SETS)}")
        joints = JOINT_SETS[joints]
    if unknown := sorted(set(joints) - set(JOINTS)):
        raise OptionError(f"unknown joints {', '.join(unknown)}; known are {', '.join(JOINTS)}")
    if not joints:
        raise OptionError("no joints are given, expected one or more")
    return np.array(sorted({JOINTS.index(joint) for joint in joints}), np.int64)
