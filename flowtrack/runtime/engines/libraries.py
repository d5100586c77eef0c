"""Shared libraries by name, and out of the wheels of NVIDIA's that carry them."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path

_CARRIERS = ("nvidia", "tensorrt_libs")


def load_library(name: str) -> bool:
    """Load a shared library, by its name or from a wheel; False if it cannot be loaded.

    What is loaded once is found by its name when another library needs it.
    """
    return any(_loads(each) for each in (name, *map(str, _in_wheels(name))))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _in_wheels(name: str) -> Iterator[Path]:
    """Where wheels put it: `nvidia/<part>/lib`, or a package of libraries alone."""
    for carrier in _CARRIERS:
        spec = importlib.util.find_spec(carrier)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from sorted(Path(folder).glob(f"*/lib/{name}"))
            yield from sorted(Path(folder).glob(name))
