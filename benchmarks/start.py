"""Benchmark `start`: how long fresh processes take to begin, and how much memory they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.measure import Effort
from benchmarks.records import Record, Skipped
from benchmarks.workload import Workload, prepared

NAME = "start"

TRACKED_FRAMES = 20

IMPORTS: Mapping[str, str] = MappingProxyType(
    {
        "python alone": "pass",
        "import numpy": "import numpy",
        "import numba": "import numba",
        "import flowtrack.runtime": "import flowtrack.runtime",
        "import, kernels ready": "import flowtrack.runtime\n"
        "from flowtrack.skeleton import COCO_17\n"
        "from flowtrack.tracker.tracker import warmup\nwarmup(COCO_17)",
        "flowtrack --help": "import sys; sys.argv = ['flowtrack', '--help']\n"
        "from flowtrack.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass",
    }
)
"""What each process does. numpy and numba alone show how much of the whole is theirs;
kernels come from numba's cache on the disk."""

_TRACK = """
import time
began = time.perf_counter()
import sys
import flowtrack.runtime as runtime
from flowtrack.runtime.video import SourceOptions, open_source
pipeline = runtime.open_pipeline(sys.argv[1], device="cpu")
stream = pipeline.stream()
first = None
for frame in open_source(sys.argv[2], SourceOptions(max_frames=int(sys.argv[3]))):
    pipeline.step(stream, frame)
    first = first or time.perf_counter() - began
"""

_REPORT = """
import json as _json, sys as _sys
from pathlib import Path as _Path
_lines = _Path('/proc/self/status').read_text().splitlines()
_peak = next(int(l.split()[1]) / 1024 for l in _lines if l.startswith('VmHWM'))
_heavy = [n for n in ('torch', 'onnx', 'tensorrt') if n in _sys.modules]
print('\\n' + _json.dumps({'peak_mb': _peak, 'heavy': _heavy, 'first': globals().get('first')}))
"""
# The peak that getrusage gives may be that of the parent, which the child was forked from.


def measure(effort: Effort) -> Iterator[Record]:
    """Records of wall-clock time and peak memory of each kind of process."""
    if not Path("/proc/self/status").is_file():
        raise Skipped("this system does not tell the peak memory of a process in /proc")
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    peaks: dict[str, list[float]] = {name: [] for name in IMPORTS}
    heavy: dict[str, list[str]] = {}
    for code in IMPORTS.values():
        run_fresh(code)  # files into the cache of the disk
    for _ in range(max(3, effort.passes)):
        for name, code in IMPORTS.items():
            seconds, told = run_fresh(code)
            times[name].append(seconds * 1e3)
            peaks[name].append(told["peak_mb"])
            heavy[name] = told["heavy"]
    for name in IMPORTS:
        loaded = {"heavy modules": ", ".join(heavy[name]) or "none"}
        yield Record(NAME, name, loaded, "ms", times[name])
        yield Record(NAME, f"{name}, peak memory", loaded, "MB", peaks[name])
    with prepared(TRACKED_FRAMES) as workload:
        yield from _tracking(workload, max(2, effort.passes - 2))


def _tracking(workload: Workload, repeats: int) -> Iterator[Record]:
    first, peaks = [], []
    arguments = str(workload.bundle.path), str(workload.clip), str(TRACKED_FRAMES)
    for _ in range(repeats):
        _, told = run_fresh(_TRACK, arguments)
        first.append(told["first"] * 1e3)
        peaks.append(told["peak_mb"])
    place = {
        "clip": workload.name,
        "size": "1920x1080",
        "heavy modules": ", ".join(told["heavy"]) or "none",
    }
    yield Record(NAME, "to the first tracked frame", place, "ms", first, None, workload.networks)
    what = f"track {TRACKED_FRAMES} frames, peak memory"
    yield Record(NAME, what, place, "MB", peaks, None, workload.networks)


def run_fresh(code: str, arguments: Sequence[str] = ()) -> tuple[float, Mapping[str, Any]]:
    """Run code in a process of its own.

    Returns:
        Seconds until it ended, and what it tells: `peak_mb`, the heaviest modules that it loaded,
        and the value of its variable `first`.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code + _REPORT, *arguments]
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=Path.home(), check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"a process for the benchmark failed: {done.stderr[-2000:]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])
