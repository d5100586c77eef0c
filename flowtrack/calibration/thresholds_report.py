"""Chosen thresholds as tables, numbers and a page: the choice, what else was tried, and doubts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flowtrack.calibration.search import value_of
from flowtrack.calibration.thresholds import FLAT, Choice, Tried
from flowtrack.report import Curve, Report
from flowtrack.tracker.options import TrackerOptions

_SHOWN = 20.0
"""Percent of MOTA below the best down to which settings are shown in the trade-off."""


def figures_table(choice: Choice) -> list[list[str]]:
    """The heading, then a row of mAP and MOTA for the bundle's setting and for the choice."""
    before, after = choice.of(choice.start), choice.of(choice.options)
    held_out = {
        "leave-one-clip-out": ("chosen without the clip it is measured on", "before, clip by clip"),
        "split-half": ("chosen on the other half of the clip", "before, half by half"),
    }
    chosen, unchanged = held_out[choice.folds]
    return [
        ["setting", "mAP", "MOTA"],
        ["before", _cell(before.mean_ap), _cell(before.mota)],
        ["the choice", _cell(after.mean_ap), _cell(after.mota)],
        ["the choice, plain run", _cell(choice.plain.mean_ap), _cell(choice.plain.mota)],
        [chosen, _cell(choice.held_out.mean_ap), _cell(choice.held_out.mota)],
        [unchanged, _cell(choice.unchanged.mean_ap), _cell(choice.unchanged.mota)],
    ]


def options_table(choice: Choice) -> list[list[str]]:
    """The heading, then for each searched option its value and how much depends on it."""
    return [
        ["option", "before", "now", f"a step costs ({choice.objective})", "around it"],
        *(
            [
                name,
                _value(choice.start, name),
                _value(choice.options, name),
                f"{choice.cost(name):.2f}",
                _remark(choice, name),
            ]
            for name in choice.steps
            if choice.around(name)
        ),
    ]


def _remark(choice: Choice, name: str) -> str:
    remarks = ["flat" if choice.cost(name) <= FLAT else "sharp"]
    row = choice.around(name)
    if len({one.value for one in row}) == 1:
        return "without effect"
    if choice.options in (row[0].options, row[-1].options):
        remarks.append("at the edge")
    return ", ".join(remarks)


def as_dict(choice: Choice) -> dict[str, Any]:
    """The choice and what speaks for it, for JSON; null where there is no value."""
    return {
        "objective": choice.objective,
        "joints": choice.joints,
        "clips": choice.clips,
        "frames": choice.frames,
        "options": choice.searched(choice.options),
        "before": {"options": choice.searched(choice.start), **_figures(choice.of(choice.start))},
        "replayed": _figures(choice.of(choice.options)),
        "plain": {"mAP": _number(choice.plain.mean_ap), "MOTA": _number(choice.plain.mota)},
        "held_out": {
            "mAP": _number(choice.held_out.mean_ap),
            "MOTA": _number(choice.held_out.mota),
            "folds": choice.folds,
        },
        "unchanged": {
            "mAP": _number(choice.unchanged.mean_ap),
            "MOTA": _number(choice.unchanged.mota),
        },
        "helps": choice.helps,
        "cost_of_a_step": {name: round(choice.cost(name), 4) for name in choice.steps},
        "tried": [
            {"options": choice.searched(one.options), **_figures(one)} for one in choice.tried
        ],
    }


def thresholds_report(choice: Choice, data_set: str) -> Report:
    """A page with the choice, the trade-off between mAP and MOTA, and how both vary around it."""
    after = choice.of(choice.options)
    report = Report(
        "Thresholds of the tracker",
        f"{data_set}: {size(choice)}; MOTA {_cell(after.mota)}, mAP {_cell(after.mean_ap)}, "
        f"chosen by {choice.objective}.",
    )
    report.table(options_table(choice), "What was chosen")
    report.table(figures_table(choice), "What the choice is worth, in percent")
    report.paragraph(
        f"Flat: no step to the next value costs more than {FLAT} percent; at the edge: no value "
        "beyond it was tried. What was chosen on data looks better on the same data than "
        "elsewhere; the last two rows are measured on parts of the data that had no say in the "
        f"choice. {verdict(choice)}"
    )
    _add_trade_off(report, choice)
    for name in choice.steps:
        row = [one for one in choice.around(name) if _place(one, name) is not None]
        if len(row) > 1:
            places = [(_place(one, name) or 0.0, one) for one in row]
            report.plot(
                [
                    Curve("MOTA", [(place, one.mota) for place, one in places], marked=True),
                    Curve("mAP", [(place, one.mean_ap) for place, one in places], marked=True),
                ],
                x=name,
                y="%",
                caption=f"Around the choice: {name}",
            )
    return report


def size(choice: Choice) -> str:
    """How much the choice rests on, in words."""
    clips = f"{choice.clips} clip{'s' if choice.clips > 1 else ''}"
    return f"{clips}, {choice.frames} frames, {len(choice.tried)} settings tried"


def verdict(choice: Choice) -> str:
    """Whether to take the choice, in a sentence."""
    if choice.helps:
        return "Choosing is better there than the setting before."
    return "Choosing is no better there than the setting before: keep that one, or use more clips."


def _add_trade_off(report: Report, choice: Choice) -> None:
    after = choice.of(choice.options)
    best = max(one.mota for one in choice.tried)
    shown = [(one.mean_ap, one.mota) for one in choice.tried if one.mota >= best - _SHOWN]
    left_out = len(choice.tried) - len(shown)
    report.plot(
        [
            Curve("settings", scattered(shown), marked=True),
            Curve("best of both", frontier(choice.tried), marked=True),
            Curve("the choice", [(after.mean_ap, after.mota)], marked=True),
        ],
        x="mAP, %",
        y="MOTA, %",
        caption="The trade-off"
        + (f"; {left_out} settings with much lower MOTA are left out" if left_out else ""),
    )


def scattered(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points as a curve that does not join them."""
    gap = (math.nan, math.nan)
    return [point for pair in points for point in (pair, gap)]


def frontier(tried: Sequence[Tried]) -> list[tuple[float, float]]:
    """(mAP, MOTA) of the settings that none beats in both, by ascending mAP."""
    best: list[tuple[float, float]] = []
    for point in sorted({(one.mean_ap, one.mota) for one in tried}, reverse=True):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best[::-1]


def _place(one: Tried, name: str) -> float | None:
    """Where a setting stands on the axis of an option; None for one that is switched off."""
    value = value_of(one.options, name)
    return None if value is None else float(value)


def _figures(one: Tried) -> dict[str, float | None]:
    return {"mAP": _number(one.mean_ap), "MOTA": _number(one.mota)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"


def _value(options: TrackerOptions, name: str) -> str:
    value = value_of(options, name)
    return "off" if value is None else f"{value:g}"
