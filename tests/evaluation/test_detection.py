"""COCO's average precision of boxes against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation.detection import average_precision


def overlap(a, b, crowd):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    own, other = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return common / (own if crowd else own + other - common)


def by_loops(boxes, scores, truth, crowd, iou, limit):
    """The rules one by one: greedy by score, people before crowds, last of equal overlaps."""
    verdicts, people = [], 0
    for found, confidence, there, ignored in zip(boxes, scores, truth, crowd, strict=True):
        people += sum(not flag for flag in ignored)
        used = set()
        ranked = sorted(range(len(found)), key=lambda d: (-confidence[d], d))[:limit]
        for d in ranked:
            best, which = iou, None
            for g, box in enumerate(there):
                value = overlap(found[d], box, False)
                if not ignored[g] and g not in used and value >= best:
                    best, which = value, g
            if which is not None:
                used.add(which)
                verdicts.append((confidence[d], True))
            elif not any(
                flag and overlap(found[d], box, True) >= iou
                for box, flag in zip(there, ignored, strict=True)
            ):
                verdicts.append((confidence[d], False))
    if not people:
        return math.nan
    verdicts.sort(key=lambda verdict: -verdict[0])
    recall, precision, hits = [], [], 0
    for rank, (_, right) in enumerate(verdicts, 1):
        hits += right
        recall.append(hits / people)
        precision.append(hits / rank)
    read = [
        max((p for r, p in zip(recall, precision, strict=True) if r >= at), default=0.0)
        for at in np.linspace(0, 1, 101)
    ]
    return sum(read) / 101


def some_boxes(rng, count):
    corner = rng.integers(0, 12, (count, 2))
    return np.concatenate([corner, corner + rng.integers(2, 9, (count, 2))], axis=1).astype(float)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.75]), st.sampled_from([2, 100]))
def test_agrees_with_plain_loops(seed, iou, limit):
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(rng.integers(1, 5)):
        there = some_boxes(rng, rng.integers(0, 5))
        near = there + rng.integers(-1, 2, there.shape)
        found = np.concatenate([near, some_boxes(rng, rng.integers(0, 4))])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        scores = rng.integers(0, 6, len(found)) / 5
        pictures.append((found, scores, there, rng.random(len(there)) < 0.25))
    columns = [list(column) for column in zip(*pictures, strict=True)]
    got = average_precision(*columns, iou=iou, limit=limit)
    assert got == pytest.approx(by_loops(*columns, iou, limit), nan_ok=True)


BOX, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ("boxes", "scores", "truth", "crowd", "want"),
    [
        ([BOX], [0.5], [BOX], [0], 1.0),
        ([BOX, BOX], [0.9, 0.8], [BOX], [0], 1.0),  # a duplicate after all are found
        ([FAR, BOX], [0.9, 0.8], [BOX], [0], 0.5),
        ([BOX], [0.9], [BOX, FAR], [0, 0], 51 / 101),  # recalls 0.00 to 0.50
        ([], [], [BOX], [0], 0.0),
        ([FAR, BOX], [0.9, 0.8], [BOX, [40, 40, 90, 90]], [0, 1], 1.0),  # in a crowd region
        ([BOX], [0.9], [[0, 0, 10, 20]], [0], 1.0),  # exactly one half
        ([BOX], [0.9], [[0, 0, 10, 20.01]], [0], 0.0),
    ],
)  # fmt: skip
def test_by_hand(boxes, scores, truth, crowd, want):
    got = average_precision([boxes], [scores], [truth], [np.array(crowd, bool)])
    assert got == pytest.approx(want)


def test_nobody_to_find_has_no_value():
    assert math.isnan(average_precision([[BOX]], [[1.0]], [[BOX]], [[True]]))
    assert math.isnan(average_precision([], [], []))


@pytest.mark.parametrize(
    ("error", "arguments", "options"),
    [
        (InputError, ([[BOX]], [], [[BOX]]), {}),
        (InputError, ([[BOX]], [[1.0, 2.0]], [[BOX]]), {}),
        (InputError, ([[BOX]], [[math.nan]], [[BOX]]), {}),
        (InputError, ([[[0, 0, math.inf, 1]]], [[1.0]], [[BOX]]), {}),
        (InputError, ([[BOX]], [[1.0]], [[[1, 2, 3]]]), {}),
        (InputError, ([[BOX]], [[1.0]], [[BOX]], [[True, False]]), {}),
        (OptionError, ([[BOX]], [[1.0]], [[BOX]]), {"iou": 0}),
        (OptionError, ([[BOX]], [[1.0]], [[BOX]]), {"limit": 0}),
    ],
)
def test_bad_input_is_refused(error, arguments, options):
    with pytest.raises(error):
        average_precision(*arguments, **options)
