"""Where a measurement was taken: without this its numbers say little."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path

from flowtrack import __version__

ROOT = Path(__file__).parents[1]

_DISTRIBUTIONS = ("numpy", "numba", "opencv-python-headless", "av", "onnxruntime", "openvino")


def describe_environment() -> dict[str, str | int | float]:
    """Versions, processor and revision of this run; versions of what is absent read `absent`."""
    return {
        "time_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "flowtrack": __version__,
        "commit": git_commit(ROOT) or "unknown",
        "python": platform.python_version(),
        **{name: _version(name) for name in _DISTRIBUTIONS},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 1,
    }


def load() -> float:
    """Processes that wanted a core in the last minute, those of others too; 0 where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system gives it."""
    if info.is_file():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


def git_commit(folder: Path) -> str | None:
    """The revision that is checked out, with `+` if files differ from it; None if unknown."""
    try:
        revision = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", "flowtrack")
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
