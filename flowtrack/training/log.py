"""What a training reports: one JSON line a record, and a page that plots them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowtrack.errors import OutputError
from flowtrack.report import Curve, Report

_PLACE = frozenset({"step", "samples", "kind"})  # the other entries of a record are figures


class TrainingLog:
    """`log.jsonl` and `log.html` in a folder."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        """A log that goes on where the folder's ends.

        Args:
            folder: made where it is missing.
            writes: False makes a log that writes nothing (the other processes of a training).

        Raises:
            OutputError: the folder cannot be written to, or its log is damaged.
        """
        self._folder, self._writes = folder, writes
        self._records: list[dict[str, Any]] = []
        if not writes:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = self._lines.read_text(encoding="utf-8") if self._lines.exists() else ""
            # A line without an end was being written when the training was killed.
            self._records = [json.loads(line) for line in text.split("\n")[:-1]]
            self._records = [{**record, "step": int(record["step"])} for record in self._records]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise OutputError(
                f"{self._lines} cannot be read, or is damaged: {error}; take another folder"
            ) from error

    @property
    def _lines(self) -> Path:
        return self._folder / "log.jsonl"

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records so far."""
        return list(self._records)

    def last_validation(self) -> dict[str, float]:
        """Figures of the latest validation; none if there was none."""
        for record in reversed(self._records):
            if record["kind"] == "validation":
                return {name: value for name, value in record.items() if name not in _PLACE}
        return {}

    def keep_until(self, step: int) -> None:
        """Forget what was logged after a step, e.g. when an older checkpoint is resumed."""
        self._records = [record for record in self._records if record["step"] <= step]
        if self._writes:
            _replace(self._lines, "".join(f"{json.dumps(r)}\n" for r in self._records))

    def write(
        self, step: int, samples: int, figures: Mapping[str, float], *, validation: bool = False
    ) -> None:
        """Add a record.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._writes:
            return
        kind = "validation" if validation else "training"
        record = {"step": step, "samples": samples, "kind": kind, **figures}
        self._records.append(record)
        try:
            with self._lines.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(record)}\n")
        except OSError as error:
            raise OutputError(f"{self._lines} cannot be written: {error.strerror}") from error
        if validation:
            page(self._records, self._folder.name).write(self._folder / "log.html")


def page(records: list[dict[str, Any]], title: str) -> Report:
    """A page with one plot a figure."""
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name not in _PLACE:
                point = (float(record["samples"]), float(value))
                curves.setdefault((record["kind"], name), []).append(point)
    report = Report(title)
    for (kind, name), points in sorted(curves.items()):
        caption = f"{kind}: {name}, last {points[-1][1]:.4g}"
        curve = Curve(name, points, marked=kind == "validation")
        report.plot([curve], x="samples", y=name, caption=caption)
    return report


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
