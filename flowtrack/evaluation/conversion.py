"""Poses of any known skeleton as the 15 joints that are counted, and back.

A joint that a skeleton lacks is derived where `flowtrack.skeleton` has a rule, and is missing
elsewhere. Joints that both have are taken over digit by digit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flowtrack.evaluation.sequences import NO_SCORE, Float64Array, PoseFrame
from flowtrack.skeleton import POSETRACK17_15, Skeleton, conversion_weights
from flowtrack.structs import BoolArray, checked


def joints15(
    xy: npt.ArrayLike, score: npt.ArrayLike, source: Skeleton
) -> tuple[Float64Array, Float64Array]:
    """Joints of `source` as the 15 of PoseTrack 2017.

    Args:
        xy: (N, K, 2) pixels; not finite where missing.
        score: (N, K).

    Returns:
        (N, 15, 2), NaN where missing, and (N, 15), `NO_SCORE` there; float64.
    """
    return _converted(xy, score, source, POSETRACK17_15)


def joints_of(frame: PoseFrame, target: Skeleton) -> tuple[Float64Array, Float64Array]:
    """The people of a frame in another skeleton: (N, K, 2) and (N, K), see `joints15`."""
    return _converted(frame.xy, frame.score, POSETRACK17_15, target)


def frame_of(
    track_id: npt.ArrayLike,
    xy: npt.ArrayLike,
    score: npt.ArrayLike,
    skeleton: Skeleton,
    *,
    head: npt.ArrayLike | None = None,
    name: str = "",
    ignore: Sequence[npt.ArrayLike] = (),
) -> PoseFrame:
    """A frame of poses of any skeleton; people without any of the 15 joints are left out.

    Args:
        track_id: (N,) int.
        xy: (N, K, 2); not finite where missing.
        score: (N, K).
        skeleton: of the poses, K joints.
        head: (N, 4) xyxy; unknown without.
        name: of the picture.
        ignore: polygons (V, 2).

    Raises:
        InputError: shapes or values that `PoseFrame` does not allow.
    """
    points, confidence = joints15(xy, score, skeleton)
    known: BoolArray = np.asarray(np.isfinite(points).all(axis=2))
    there = known.any(axis=1)
    ids = checked("track_id", track_id, (len(points),), np.int64)
    return PoseFrame.of(
        ids[there],
        points[there],
        score=confidence[there],
        head=None if head is None else np.asarray(head)[there],
        name=name,
        ignore=ignore,
    )


def _converted(
    xy: npt.ArrayLike, score: npt.ArrayLike, source: Skeleton, target: Skeleton
) -> tuple[Float64Array, Float64Array]:
    points = checked("xy", xy, ("N", len(source), 2), np.float64)
    confidence = checked("score", score, (len(points), len(source)), np.float64)
    out_xy = np.full((len(points), len(target), 2), np.nan)
    out_score = np.full(out_xy.shape[:2], NO_SCORE)
    for row, weights in enumerate(conversion_weights(source, target).astype(np.float64)):
        used = np.flatnonzero(weights)
        if used.size:
            out_xy[:, row] = np.einsum("j,njc->nc", weights[used], points[:, used])
            out_score[:, row] = confidence[:, used].min(axis=1)
    there = np.isfinite(out_xy).all(axis=2)
    out_xy[~there], out_score[~there] = np.nan, NO_SCORE
    return out_xy, out_score
