"""Two runs, record by record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.records import HIGHER_IS_BETTER, Record, Report

NOTABLE = 1.1
"""Medians that differ by less than this factor are called equal: two runs never agree exactly."""

_MUST_AGREE = ("cpu", "cores", "python", "numpy", "numba", "onnxruntime", "opencv-python-headless")


@dataclass(frozen=True)
class Pair:
    """The same thing measured in two runs."""

    before: Record
    after: Record

    @property
    def ratio(self) -> float:
        """Median of the second run over that of the first."""
        first, second = self.before.summary.median, self.after.summary.median
        return second / first if first else float("inf")

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or nothing where the difference is within the noise."""
        if 1 / NOTABLE <= self.ratio <= NOTABLE:
            return ""
        more = self.ratio > 1
        return "better" if more == (self.before.unit in HIGHER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class Comparison:
    """All pairs, and remarks on what cannot be compared."""

    pairs: Sequence[Pair]
    remarks: Sequence[str]


def compare(before: Report, after: Report) -> Comparison:
    """Pair the records of two runs by benchmark, name and parameters."""
    first = {record.key: record for record in before.records}
    second = {record.key: record for record in after.records}
    pairs = [Pair(record, second[key]) for key, record in first.items() if key in second]
    remarks = [
        f"{name} differs: {before.environment.get(name)} in A, {after.environment.get(name)} in B"
        for name in _MUST_AGREE
        if before.environment.get(name) != after.environment.get(name)
    ]
    changed = {p.before.benchmark for p in pairs if p.before.networks != p.after.networks}
    remarks += [f"{name}: the networks are not the same files" for name in sorted(changed)]
    for label, here, there in (("A", first, second), ("B", second, first)):
        alone = sum(key not in there for key in here)
        if alone:
            remarks.append(f"{alone} records are in {label} only")
    return Comparison(pairs, remarks)
