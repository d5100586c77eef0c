"""`python -m benchmarks NAME [--out FILE.json] [--quick]`, `python -m benchmarks compare A B`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from benchmarks import engines, evaluation, kernels, rendering, stages, start, training, video
from benchmarks.compare import compare
from benchmarks.environment import describe_environment, load
from benchmarks.measure import FULL, QUICK, Effort
from benchmarks.records import Record, Report, Skipped
from benchmarks.table import show_comparison, show_report

Measure = Callable[[Effort], Iterator[Record]]

BENCHMARKS: Mapping[str, Measure] = MappingProxyType(
    {
        module.NAME: module.measure
        for module in (engines, evaluation, kernels, rendering, stages, start, training, video)
    }
)
"""Every benchmark by name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code is 0, or 2 for wrong use."""
    given = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    if given.name == "compare":
        try:
            before, after = Report.read(given.before), Report.read(given.after)
        except (OSError, ValueError) as error:
            console.print(f"cannot compare: {error}", style="red", markup=False)
            return 2
        show_comparison(compare(before, after), console)
        return 0
    names = list(BENCHMARKS) if given.name == "all" else [given.name]
    report = run(names, QUICK if given.quick else FULL, console)
    show_report(report, console)
    if given.out is not None:
        report.write(given.out)
        console.print(f"written to {given.out}", markup=False)
    return 0


def run(names: Sequence[str], effort: Effort, console: Console) -> Report:
    """Run benchmarks one after the other; one that cannot run here is skipped with its reason."""
    environment = describe_environment() | {"load_before": load()}
    records: list[Record] = []
    skipped: dict[str, str] = {}
    for name in names:
        with console.status(f"{name} ...") as status:
            try:
                for record in BENCHMARKS[name](effort):
                    records.append(record)
                    status.update(f"{name}: {record.name} ...")
            except Skipped as reason:
                skipped[name] = str(reason)
    return Report(environment | {"load_after": load()}, records, skipped)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in (*BENCHMARKS, "all"):
        command = commands.add_parser(name, help=f"measure {name}")
        command.add_argument("--out", type=Path, help="JSON file to write")
        command.add_argument("--quick", action="store_true", help="few samples: does it run?")
    command = commands.add_parser("compare", help="ratios of two JSON files, record by record")
    command.add_argument("before", type=Path, metavar="A.json")
    command.add_argument("after", type=Path, metavar="B.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
