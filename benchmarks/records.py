"""Sample sets and the JSON files they are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.summary import Summary, summarise

SCHEMA_VERSION = 1

Unit = Literal["ms", "frames/s", "samples/s", "MB", "px", "share", "times"]

HIGHER_IS_BETTER = frozenset({"frames/s", "samples/s", "times"})
"""Units in which more is better; in the others less is."""


@dataclass(frozen=True)
class Record:
    """One sample set.

    Attributes:
        benchmark: the benchmark that it belongs to.
        name: what was measured.
        parameters: what it was measured with; tells records of one name apart.
        unit: of the samples. `share` is a part of 1, `times` a quotient of two records' samples.
        samples: in the order in which they were taken.
        limit: the median must not be above this (not below, where higher is better).
        networks: SHA-256 of the networks that ran, by part.
    """

    benchmark: str
    name: str
    parameters: Mapping[str, Any]
    unit: Unit
    samples: Sequence[float]
    limit: float | None = None
    networks: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> Summary:
        """Statistics of the samples."""
        return summarise(self.samples)

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes records of two runs comparable."""
        return self.benchmark, self.name, json.dumps(dict(self.parameters), sort_keys=True)

    @property
    def within_limit(self) -> bool | None:
        """Whether the median keeps to the limit; None where there is no limit."""
        if self.limit is None:
            return None
        median = self.summary.median
        return median >= self.limit if self.unit in HIGHER_IS_BETTER else median <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """The record with its statistics as JSON values; six digits are kept."""
        return {
            "benchmark": self.benchmark,
            "name": self.name,
            "parameters": dict(self.parameters),
            "unit": self.unit,
            **{key: _digits(value) for key, value in asdict(self.summary).items()},
            "limit": self.limit,
            "networks": dict(self.networks),
            "samples": [_digits(sample) for sample in self.samples],
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Record:
        """A record from JSON values; statistics are made anew from the samples."""
        return Record(
            benchmark=values["benchmark"],
            name=values["name"],
            parameters=values["parameters"],
            unit=values["unit"],
            samples=tuple(values["samples"]),
            limit=values["limit"],
            networks=values["networks"],
        )


@dataclass(frozen=True)
class Report:
    """All records of one run.

    Attributes:
        environment: where and with what they were taken, see `describe_environment`.
        records: the sample sets.
        skipped: reasons by name of what could not be measured here.
    """

    environment: Mapping[str, str | int | float]
    records: Sequence[Record]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write JSON with one line a record, so that two files can be compared by eye too."""
        head = {
            "schema_version": SCHEMA_VERSION,
            "environment": dict(self.environment),
            "skipped": dict(self.skipped),
        }
        opening = json.dumps(head, indent=2)[:-2]
        lines = ",\n".join("    " + json.dumps(record.to_dict()) for record in self.records)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{opening},\n  "records": [\n{lines}\n  ]\n}}\n')

    @staticmethod
    def read(path: Path) -> Report:
        """Read what `write` wrote.

        Raises:
            ValueError: the file is of another form.
        """
        values = json.loads(path.read_text())
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema_version {version}, expected {SCHEMA_VERSION}; "
                "measure again with this version"
            )
        records = [Record.from_dict(record) for record in values["records"]]
        return Report(values["environment"], records, values["skipped"])


class Skipped(Exception):  # noqa: N818 - nothing is wrong
    """Something cannot be measured here; the message says why."""


def _digits(value: float) -> float:
    return float(f"{value:.6g}")
