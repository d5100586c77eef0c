"""How the figures of tracked poses are shown: tables, JSON, or a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flowtrack.cli.console import note, print_json, print_table

if TYPE_CHECKING:
    from flowtrack.evaluation.bootstrap import Interval
    from flowtrack.evaluation.posetrack import PoseTrackScores
    from flowtrack.report import Report

_INTERVALS = ("AP", "MOTA", "MOTA_corrected", "IDF1", "HOTA")


def show_poses(
    scores: PoseTrackScores,
    what: str,
    as_json: bool,
    html: Path | None,
    *,
    facts: Mapping[str, str] | None = None,
    illustrate: Callable[[Report], None] | None = None,
) -> None:
    """Print the figures, as tables or as JSON, and write the page if one is asked for.

    Args:
        scores: the figures.
        what: they are about, in a few words.
        as_json: print JSON.
        html: the page's file.
        facts: about the run, for JSON.
        illustrate: adds pictures to the page.
    """
    intervals = intervals_of(scores)
    if html is not None:
        from flowtrack.evaluation.posetrack_report import posetrack_report

        lead = f"{what}: mAP {scores.mean_ap:.1f}, MOTA {scores.mota:.1f} on {_size(scores)}"
        report = posetrack_report(scores, lead, intervals)
        if illustrate is not None:
            illustrate(report)
        report.write(html)
        note(f"wrote {html}")
    if as_json:
        rounded = {
            measure: {"low": round(found.low, 4), "high": round(found.high, 4)}
            for measure, found in intervals.items()
        }
        print_json({**(facts or {}), **scores.as_dict(), "intervals_95": rounded})
        return
    print_table(scores.table(), f"{what}, {_size(scores)}, in percent")
    if intervals:
        print_table(scores.clip_table(), "By clip")
        spans = [
            [measure.replace("_", ", "), *(f"{v:.1f}" for v in (one.value, one.low, one.high))]
            for measure, one in intervals.items()
        ]
        print_table([["", "value", "from", "to"], *spans], "95% intervals, clips drawn anew")


def intervals_of(scores: PoseTrackScores) -> dict[str, Interval]:
    """95% intervals over clips by measure; none of a single clip."""
    from flowtrack.evaluation.bootstrap import Bootstrap

    if len(scores.clips) < 2:
        return {}
    bootstrap = Bootstrap(len(scores.clips))
    return {measure: bootstrap.interval(scores, measure) for measure in _INTERVALS}


def _size(scores: PoseTrackScores) -> str:
    clips = len(scores.clips)
    return f"{clips} clip{'s' if clips > 1 else ''} with {scores.frames} labelled frames"
