"""The page about a COCO evaluation: numbers, curves, and the pictures that went worst."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import cv2
import numpy as np

from flowtrack.evaluation.coco import MEANINGS, CocoScores
from flowtrack.evaluation.coco_files import CocoResults
from flowtrack.evaluation.deployed.coco_set import CocoSet
from flowtrack.evaluation.sequences import Float64Array
from flowtrack.report import Curve, Report
from flowtrack.skeleton import COCO_17
from flowtrack.structs import BoolArray, ByteArray

WORST = 8
"""So many pictures are shown."""

_CURVES = (0, 2, 4, 6, 8, 9)  # thresholds 0.50, 0.60 ... 0.90, 0.95

Color = tuple[int, int, int]

# Blue, green, red; bluish green, vermilion and grey of Okabe and Ito ("Color Universal Design").
_TRUTH: Color = (115, 158, 0)
_RESULT: Color = (0, 94, 213)
_IGNORED: Color = (160, 160, 160)
_EDGE: Color = (255, 255, 255)


def coco_report(
    scores: CocoScores,
    results: CocoResults,
    pictures: CocoSet | None,
    lead: str,
    facts: Mapping[str, str],
) -> Report:
    """The page.

    Args:
        scores: of the results.
        results: what was evaluated.
        pictures: to show the worst of; None shows none.
        lead: what was measured, in a sentence.
        facts: about the run, by name.

    Raises:
        InputError, SourceError: a picture is bad, see `CocoSet.frames`.
    """
    measure, title = ("OKS", "keypoints") if scores.kind == "keypoints" else ("IoU", "person boxes")
    report = Report(f"COCO {title}", lead)
    report.table([["Measured", ""], *([name, value] for name, value in facts.items())])
    report.heading("Accuracy")
    rows = [[f"{name}: {MEANINGS[scores.kind][name]}", figure(value)]
            for name, value in scores.values.items()]  # fmt: skip
    report.table([["Number", "Value"], *rows])
    report.heading("Precision and recall")
    curves = [
        Curve(f"{measure} {scores.thresholds[row]:.2f}",
              list(zip(scores.recalls.tolist(), scores.precision[row].tolist(), strict=True)))
        for row in _CURVES
    ]  # fmt: skip
    report.plot(curves, x="recall", y="precision", caption=f"How strict {measure} is asked for")
    means = scores.precision.mean(axis=1)
    strictness = list(zip(scores.thresholds.tolist(), means.tolist(), strict=True))
    caption = "AP is the mean of these points"
    report.plot([Curve("AP", strictness, marked=True)], x=measure, y="AP", caption=caption)
    if pictures is not None:
        _add_worst(report, scores, results, pictures)
    return report


def figure(value: float) -> str:
    """A number of COCO as it is usually written: three decimals, a dash for none."""
    return f"{value:.3f}" if np.isfinite(value) else "\N{EN DASH}"


def _add_worst(report: Report, scores: CocoScores, results: CocoResults, pictures: CocoSet) -> None:
    loss = scores.loss
    worst = [int(row) for row in np.argsort(-loss, kind="stable")[:WORST] if loss[row] > 0]
    if not worst:
        return
    report.heading("Worst pictures")
    report.paragraph(
        "Ordered by what went wrong: 1 for each person missed or false positive, 1 less the "
        "similarity for each person found. Green: annotated; grey: need not be found; orange: "
        f"results scored {figure(scores.operating_score)} or more, which gives the best balance "
        "of precision and recall."
    )
    rows = dict(zip(pictures.pictures.tolist(), pictures.rows.tolist(), strict=True))
    for row in worst:
        picture = int(scores.pictures[row])
        image = pictures.frame(rows[picture]).image
        truth, found = pictures.truth, results.image_id == picture
        mine = truth.image_id == picture
        shown = found & (results.score >= scores.operating_score)
        drawn = image.copy()
        for ignored, color in ((True, _IGNORED), (False, _TRUTH)):
            chosen = mine & (truth.ignored == ignored)
            draw_people(drawn, truth.boxes, truth.keypoints, chosen, color)
        draw_people(drawn, results.boxes, results.keypoints, shown, _RESULT)
        name = PurePath(truth.files[rows[picture]]).name
        report.picture(drawn, f"{name}: {_outcome(scores, row)}")


def _outcome(scores: CocoScores, row: int) -> str:
    found, people, wrong = (
        int(column[row]) for column in (scores.found, scores.people, scores.false_positives)
    )
    text = f"{found} of {people} people found"
    if found:
        measure = "OKS" if scores.kind == "keypoints" else "IoU"
        text += f", mean {measure} {figure(float(scores.likeness[row]) / found)}"
    if wrong:
        text += f", {wrong} false positive{'s' if wrong > 1 else ''}"
    return text


def draw_people(
    image: ByteArray,
    boxes: Float64Array | None,
    keypoints: Float64Array | None,
    rows: BoolArray,
    color: Color,
) -> None:
    """Draw people over a picture: skeletons of joints with a score or visibility, else boxes.

    Args:
        image: (H, W, 3), is written.
        boxes: (N, 4) left, top, width, height.
        keypoints: (N, 17, 3) x, y and score or visibility.
        rows: (N,) who is drawn.
        color: of them.
    """
    thin = max(1, round(max(image.shape[:2]) / 400))
    if keypoints is None:
        assert boxes is not None  # results have either
        corners = np.stack([boxes[rows, :2], boxes[rows, :2] + boxes[rows, 2:]], axis=1)
        for first, last in _pixels(corners):
            cv2.rectangle(image, first, last, _EDGE, thin + 2, cv2.LINE_AA)
            cv2.rectangle(image, first, last, color, thin, cv2.LINE_AA)
        return
    for person in keypoints[rows]:
        there = person[:, 2] > 0
        points = _pixels(person[None, :, :2])[0]
        limbs = [(points[a], points[b]) for a, b in COCO_17.edges if there[a] and there[b]]
        for ink, width in ((_EDGE, thin + 2), (color, thin)):
            for start, end in limbs:
                cv2.line(image, start, end, ink, width, cv2.LINE_AA)
        for point, seen in zip(points, there, strict=True):
            if seen:
                cv2.circle(image, point, 2 * thin, color, cv2.FILLED, cv2.LINE_AA)


def _pixels(points: Float64Array) -> list[list[tuple[int, int]]]:
    """(N, M, 2) positions as OpenCV takes them; far outside they stay within its range."""
    whole = np.rint(np.clip(points, -1e4, 1e5)).astype(int)
    return [[(int(x), int(y)) for x, y in row] for row in whole.tolist()]
