"""The page about tracked poses: figures by part and clip, curves, and the worst clips."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flowtrack.evaluation.bootstrap import Interval
from flowtrack.evaluation.figures import cell, named
from flowtrack.evaluation.hota import ALPHAS
from flowtrack.evaluation.posetrack import PARTS, PoseTrackScores
from flowtrack.evaluation.sequences import JOINTS, Float64Array
from flowtrack.report import Curve, Report

WORST = 10
"""So many clips are listed as the worst."""

_CURVE_POINTS = 400

NOTES = (
    "AP, MOTA, MOTP, precision and recall follow poseval's rules: MOTA leaves out the last "
    "labelled frame of each clip, and counts one miss and one false positive where one side has "
    "nobody. MOTP is 100 (1 - mean distance); what poseval prints with motmetrics 1.1 or later is "
    "something else.",
    "Corrected: the same with the last frame, and with the people who are there.",
    "IDF1 and HOTA count all labelled frames, joint by joint. A joint at the distance d of PCKh "
    "has the similarity 1 - d / 0.5, so LocA and HOTA are strict.",
)


def posetrack_report(
    scores: PoseTrackScores, lead: str, intervals: Mapping[str, Interval] | None = None
) -> Report:
    """The page.

    Args:
        scores: of the results.
        lead: what was measured, in a sentence.
        intervals: 95% intervals of some measures over clips, by measure.
    """
    report = Report("Tracked poses", lead)
    report.heading("By part of the body, in percent")
    report.table(scores.table())
    for text in NOTES:
        report.paragraph(text)
    if intervals:
        rows = [
            [named(measure), cell(found.value), cell(found.low), cell(found.high)]
            for measure, found in intervals.items()
        ]
        report.heading("How sure that is")
        caption = "95% intervals by drawing the clips anew"
        report.table([["", "value", "from", "to"], *rows], caption)
    report.heading("Joints: precision and recall")
    report.plot(
        _precision_curves(scores), x="recall", y="precision", caption="Joints of a part together"
    )
    report.heading("Tracks: HOTA by strictness")
    report.plot(_hota_curves(scores), x="similarity asked for", y="%", caption="Mean over joints")
    report.heading("Clips")
    if len(scores.clips) > 1:
        report.paragraph(_worst(scores))
    report.table(scores.clip_table())
    return report


def _precision_curves(scores: PoseTrackScores) -> list[Curve]:
    curves = []
    for part, names in PARTS.items():
        rows = np.array([row for row in scores.rows if JOINTS[row] in names], np.int64)
        if not rows.size:
            continue
        recall, precision = scores.detections.curve(rows)
        if not recall.size:
            continue
        shown = np.unique(np.linspace(0, recall.size - 1, _CURVE_POINTS).astype(np.int64))
        curves.append(Curve(part, _points(recall[shown], precision[shown])))
    return curves


def _hota_curves(scores: PoseTrackScores) -> list[Curve]:
    tables = {
        "HOTA": scores.hota.hota_by_alpha,
        "DetA": scores.hota.det_a_by_alpha,
        "AssA": scores.hota.ass_a_by_alpha,
    }
    curves = []
    for name, table in tables.items():
        chosen = table[:, scores.rows]
        known = chosen[:, ~np.isnan(chosen).any(axis=0)]
        if known.size:
            curves.append(Curve(name, _points(ALPHAS, 100 * known.mean(axis=1)), marked=True))
    return curves


def _points(x: Float64Array, y: Float64Array) -> list[tuple[float, float]]:
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _worst(scores: PoseTrackScores) -> str:
    by_mota = [
        (one.mota, clip.name) for one, clip in zip(scores.by_clip, scores.clips, strict=True)
    ]
    worst = sorted(pair for pair in by_mota if not np.isnan(pair[0]))[:WORST]
    return "Lowest MOTA: " + ", ".join(f"{name} ({cell(mota)})" for mota, name in worst) + "."
