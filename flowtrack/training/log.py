"""What a training reports: one JSON line a record, and a page that plots them."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowtrack.errors import OutputError

_WIDTH, _HEIGHT, _MARGIN = 560, 220, 48
_MOST_POINTS = 400
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
            _replace(self._folder / "log.html", page(self._records, self._folder.name))


def page(records: list[dict[str, Any]], title: str) -> str:
    """A self-contained HTML page with one plot a figure."""
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name not in _PLACE:
                point = (float(record["samples"]), float(value))
                curves.setdefault((record["kind"], name), []).append(point)
    plots = "\n".join(
        f"<figure><figcaption>{html.escape(f'{kind}: {name}')}, last "
        f"{points[-1][1]:.4g}</figcaption>{_plot(points)}</figure>"
        for (kind, name), points in sorted(curves.items())
    )
    name = html.escape(title)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>"
        "body{font:14px sans-serif;margin:2em;background:#fff;color:#222}"
        "figure{display:inline-block;margin:0 1.5em 1.5em 0}text{font-size:11px;fill:#555}"
        f"</style><h1>{name}</h1>\n{plots}\n</html>\n"
    )


def _plot(points: list[tuple[float, float]]) -> str:
    """SVG of a curve, with the range of both axes written at their ends."""
    stride = max(1, len(points) // _MOST_POINTS)
    shown = [*points[::stride], points[-1]]
    left, right = shown[0][0], max(shown[-1][0], shown[0][0] + 1)
    values = [value for _, value in shown]
    low, high = min(values), max(values)
    high = high if high > low else low + 1
    across, down = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN

    def place(x: float, y: float) -> str:
        px = _MARGIN + across * (x - left) / (right - left)
        py = _MARGIN + down * (high - y) / (high - low)
        return f"{px:.1f},{py:.1f}"

    line = " ".join(place(x, y) for x, y in shown)
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img">'
        f'<path d="M{_MARGIN} {_MARGIN}V{_HEIGHT - _MARGIN}H{_WIDTH - _MARGIN}" fill="none" '
        f'stroke="#aaa"/><polyline points="{line}" fill="none" stroke="#0a6" stroke-width="1.5"/>'
        f'<text x="2" y="{_MARGIN + 4}">{high:.3g}</text>'
        f'<text x="2" y="{_HEIGHT - _MARGIN + 4}">{low:.3g}</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - _MARGIN + 16}">{left:.0f}</text>'
        f'<text x="{_WIDTH - 2 * _MARGIN}" y="{_HEIGHT - _MARGIN + 16}">{right:.0f} samples</text>'
        "</svg>"
    )


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
