"""`python -m benchmarks.gpu [--out FILE.json] [--device cuda] [--quick] [--minutes 8]`.

Needs, besides what tracking needs (numpy, numba, OpenCV, ONNX Runtime, PyAV): onnx, onnxscript and
torch. Exit codes: 0 measured, 1 a limit is broken or a measurement failed, 2 wrong use, 3 there is
no such device here.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.environment import describe_environment, load
from benchmarks.gpu import FULL, QUICK
from benchmarks.gpu.machine import facts, missing
from benchmarks.gpu.suite import default_suite, measured
from benchmarks.records import Record, Report

NO_DEVICE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, tell how it went, and write the records; see above for the exit code."""
    given = _parser().parse_args(arguments)
    reason = missing(given.device)
    if reason is not None:
        print(f"nothing is measured: {reason}")
        return NO_DEVICE
    begun = time.monotonic()
    environment = describe_environment() | facts() | {"load_before": load()}
    with TemporaryDirectory(prefix="flowtrack-gpu-") as folder:
        suite = default_suite(given.device, QUICK if given.quick else FULL, Path(folder))
        seconds = given.minutes * 60 - (time.monotonic() - begun)
        records, left_out = measured(suite, seconds, _tell)
    for record in records:
        print(_line(record))
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    print(", ".join(f"{key} {value}" for key, value in environment.items()))
    if given.out is not None:
        Report(environment | {"load_after": load()}, records, left_out).write(given.out)
        print(f"written to {given.out}")
    broken = any(record.within_limit is False for record in records)
    return int(broken or any(why.startswith("failed") for why in left_out.values()))


def _tell(name: str, outcome: str) -> None:
    print(f"{name}: {outcome}", flush=True)


def _line(record: Record) -> str:
    """A record as a line of text: this runs where nothing draws tables."""
    found = record.summary
    place = ", ".join(f"{key} {value}" for key, value in record.parameters.items())
    verdict = {None: "", True: f" kept ({record.limit})", False: f" BROKEN ({record.limit})"}
    return (
        f"{record.name}; {place}: p50 {found.median:.4g}, p90 {found.p90:.4g}, "
        f"p99 {found.p99:.4g} {record.unit}{verdict[record.within_limit]}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda",
                        help="cpu: try the suite itself where there is no GPU")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few samples: does it run?")
    parser.add_argument("--minutes", type=float, default=8.0,
                        help="after these nothing new is begun")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
