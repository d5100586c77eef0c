"""A verdict as a table, as JSON, and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flowtrack.calibration.islands import most_islands
from flowtrack.calibration.sensitivity import Damage, add_sensitivity, sensitivity_dict
from flowtrack.calibration.verdict import Limits, Verdict
from flowtrack.report import Report

Rankings = Mapping[str, Sequence[Damage]]
"""The sensitivity of layers by part."""


def verdict_table(verdict: Verdict) -> list[list[str]]:
    """The heading, then a row for each figure, with its limit where it has one."""
    rows = [["part", "figure", "value", "limit"]]
    for part, found in verdict.parts.items():
        for name, value in found.figures.items():
            limit = _limit(part, name, found.figures, verdict.limits)
            rows.append([part, name.replace("_", " "), _cell(value), limit])
    return rows


def verdict_dict(verdict: Verdict, ranked: Rankings) -> dict[str, Any]:
    """Everything for JSON."""
    return {
        "frames": verdict.frames,
        "device": verdict.device,
        "limits": asdict(verdict.limits),
        "figures": {part: found.figures for part, found in verdict.parts.items()},
        "failures": verdict.failures,
        "sensitivity": {part: sensitivity_dict(damages) for part, damages in ranked.items()},
    }


def verdict_report(title: str, verdict: Verdict, ranked: Rankings) -> Report:
    """A page with the figures, what failed, and what each layer costs."""
    state = "failed" if verdict.failures else "passed"
    report = Report(title, f"{state} on {verdict.frames} held-out frames, on {verdict.device}.")
    report.table(verdict_table(verdict), "Converted networks against fp32")
    for failure in verdict.failures:
        report.paragraph(failure)
    for part, damages in ranked.items():
        add_sensitivity(report, part, damages)
    return report


def worst_layers(ranked: Rankings, most: int = 3) -> str:
    """The most sensitive layers of each part, in words."""
    return "; ".join(
        f"{part}: " + ", ".join(f"{damage.name} ({100 * damage.loss:.1f}%)"
                                for damage in damages[:most])
        for part, damages in ranked.items()
        if damages
    )  # fmt: skip


def refusal(verdict: Verdict, layers: Mapping[str, int], ranked: Rankings, advice: str) -> str:
    """Why nothing is written, what was tried, and what to do.

    Args:
        verdict: with failures.
        layers: how many layers of each part can be converted.
        ranked: what they cost.
        advice: the last sentence.
    """
    failed = [part for part in layers if verdict.parts[part].failures]
    tried = [
        f" {part} fails with up to {most_islands(layers[part])} of its {layers[part]} layers in "
        "fp32, too."
        for part in failed
        if most_islands(layers[part])
    ]
    worst = worst_layers({part: ranked[part] for part in failed if part in ranked})
    named = f" The layers that cost most are {worst}." if worst else ""
    return f"not written: {'; '.join(verdict.failures)}.{''.join(tried)}{named} {advice}"


def _limit(part: str, name: str, figures: Mapping[str, Any], limits: Limits) -> str:
    if name == "MOTA_converted":
        return f"at most {limits.mota_drop:g} less"
    if name in ("lost", "invented"):
        return f"at most {limits.changed_boxes * figures['boxes']:.1f}"
    if (part, name) == ("flow", "mean_px"):
        return f"at most {_cell(figures['limit_px'])}"
    floors = {"mean_oks": limits.mean_oks, "median_iou": limits.median_iou}
    return f"at least {floors[name]:g}" if name in floors else ""


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
