"""Records for people: a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.compare import Comparison
from benchmarks.records import Record, Report


def show_report(report: Report, console: Console) -> None:
    """All records of a run, one table a benchmark, and what was left out."""
    names = dict.fromkeys(record.benchmark for record in report.records)
    for name in names:
        console.print(_records(name, [r for r in report.records if r.benchmark == name]))
    for name, reason in report.skipped.items():
        console.print(f"{name} is left out: {reason}", markup=False)
    console.print(_line(report.environment), markup=False, style="dim")


def _records(title: str, records: Sequence[Record]) -> Table:
    table = Table(title=title, title_justify="left")
    _columns(table, ("what", "with"), ("median", "min", "p90", "p99"), ("", "limit"))
    for record in records:
        found = record.summary
        numbers = (found.median, found.min, found.p90, found.p99)
        table.add_row(
            record.name,
            _line(record.parameters),
            *(f"{value:.4g}" for value in numbers),
            record.unit,
            _limit(record),
        )
    return table


def _limit(record: Record) -> str:
    if record.within_limit is None:
        return ""
    return f"{'kept' if record.within_limit else '[red]BROKEN[/red]'} ({record.limit:g})"


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Medians of two runs and their quotient, and what hinders the comparison."""
    table = Table(title="B against A", title_justify="left")
    _columns(table, ("what", "with"), ("A", "B", "B / A"), ("", ""))
    for pair in comparison.pairs:
        table.add_row(
            f"{pair.before.benchmark}: {pair.before.name}",
            _line(pair.before.parameters),
            f"{pair.before.summary.median:.4g}",
            f"{pair.after.summary.median:.4g}",
            f"{pair.ratio:.3f}",
            pair.before.unit,
            pair.verdict,
        )
    console.print(table)
    for remark in comparison.remarks:
        console.print(remark, markup=False, style="yellow")


def _line(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _columns(table: Table, *groups: Sequence[str]) -> None:
    """Words, then numbers, then words."""
    for names, right in zip(groups, (False, True, False), strict=True):
        for name in names:
            table.add_column(name, justify="right" if right else "left")
