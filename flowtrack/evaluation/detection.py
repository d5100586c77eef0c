"""COCO's average precision of boxes of one class at one overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation.sequences import Float64Array
from flowtrack.structs import BoolArray, checked

_RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which the precision is read (recThrs in cocodataset/cocoapi, cocoeval.py)."""


def average_precision(
    boxes: Sequence[npt.ArrayLike],
    scores: Sequence[npt.ArrayLike],
    truth: Sequence[npt.ArrayLike],
    crowd: Sequence[npt.ArrayLike] | None = None,
    *,
    iou: float = 0.5,
    limit: int = 100,
) -> float:
    """Average precision over pictures, as cocodataset/cocoapi's cocoeval.py counts it.

    A detection that finds nobody but lies in a crowd region (by the share of its own area) is
    neither right nor wrong.

    Args:
        boxes: of each picture the detections (N, 4), xyxy pixels.
        scores: of each picture (N,) confidence.
        truth: of each picture the people and crowd regions (M, 4), xyxy pixels.
        crowd: of each picture (M,) bool, true where a box of `truth` is a crowd region or is to be
            ignored; without it none is.
        iou: least overlap of a find.
        limit: so many detections of a picture count, the best.

    Returns:
        0 to 1; NaN if there is nobody to find.

    Raises:
        InputError: numbers of pictures differ, an array has the wrong shape, or holds NaN.
        OptionError: `iou` is not above 0 and up to 1, or `limit` not positive.
    """
    if not 0 < iou <= 1 or limit < 1:
        raise OptionError(f"iou is {iou}, limit {limit}; expected 0 < iou <= 1 and limit >= 1")
    counts = {len(boxes), len(scores), len(truth), len(truth if crowd is None else crowd)}
    if len(counts) > 1:
        raise InputError(f"numbers of pictures {sorted(counts)} differ, expected as many of each")
    score, right, people = [np.zeros(0)], [np.zeros(0, bool)], 0
    for picture, (found, confidence, there) in enumerate(zip(boxes, scores, truth, strict=True)):
        flags = np.zeros(len(np.asarray(there)), bool) if crowd is None else crowd[picture]
        kept, correct, count = _judged(picture, found, confidence, there, flags, iou, limit)
        score.append(kept)
        right.append(correct)
        people += count
    return _area(np.concatenate(score), np.concatenate(right), people)


def _judged(
    picture: int,
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    truth: npt.ArrayLike,
    crowd: npt.ArrayLike,
    iou: float,
    limit: int,
) -> tuple[Float64Array, BoolArray, int]:
    """Scores of the detections that count, whether each is right, and the number of people."""
    place = f"picture {picture}: "
    xyxy = _boxes(f"{place}boxes", boxes)
    score = checked(f"{place}scores", scores, (len(xyxy),), np.float64)
    there = _boxes(f"{place}truth", truth)
    ignored = checked(f"{place}crowd", crowd, (len(there),), np.bool_)
    if np.isnan(score).any():
        raise InputError(f"{place}a score is NaN, expected numbers")
    best_first = np.argsort(-score, kind="stable")[:limit]
    xyxy, score = xyxy[best_first], score[best_first]
    overlap = _overlap(xyxy, there, ignored)
    right = np.zeros(len(xyxy), bool)
    neither = (overlap[:, ignored] >= iou).any(axis=1)
    # Of equal overlaps the last counts, as in COCO: hence the columns in reverse.
    columns = np.flatnonzero(~ignored)[::-1]
    free = overlap[:, columns]
    for row in range(len(xyxy) if columns.size else 0):
        column = int(free[row].argmax())
        if free[row, column] >= iou:
            right[row] = True
            free[:, column] = -1.0
    counted = right | ~neither
    return score[counted], right[counted], len(columns)


def _boxes(name: str, value: npt.ArrayLike) -> Float64Array:
    # An empty list has no second axis.
    given = np.asarray(value, np.float64)
    boxes = checked(name, given.reshape(-1, 4) if given.size == 0 else given, ("N", 4), np.float64)
    if not np.isfinite(boxes).all():
        raise InputError(f"{name} hold values that are not finite, expected numbers")
    return boxes


def _overlap(boxes: Float64Array, truth: Float64Array, crowd: BoolArray) -> Float64Array:
    """(N, M) intersection over union; over the detection's own area for a crowd region."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    common = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    own = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=-1)[:, None]
    other = np.prod(np.clip(truth[:, 2:] - truth[:, :2], 0.0, None), axis=-1)
    whole = np.where(crowd, own, own + other - common)
    overlap: Float64Array = common / np.where(whole > 0, whole, 1.0)
    return overlap


def _area(score: Float64Array, right: BoolArray, people: int) -> float:
    """Precision averaged over the 101 recalls; at each the best that is had there or beyond."""
    if people == 0:
        return float("nan")
    hit = right[np.argsort(-score, kind="stable")]
    found = np.cumsum(hit)
    precision = found / np.arange(1, len(hit) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(found / people, _RECALLS)].mean())
