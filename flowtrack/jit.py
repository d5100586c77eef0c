"""Compilation of the kernels: cached on disk wherever there is a folder that can be written."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config as numba_config

Kernel = Callable[..., Any]

# Flags one by one: sums may be regrouped and fused, but NaN and infinity keep their meaning
# (no `nnan`, no `ninf`), because a joint that is NaN is missing.
_FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

config: Any = numba_config  # its attributes are set at run time
_log = logging.getLogger("flowtrack")


def jit(kernel: Kernel) -> Kernel:
    """Compile a kernel on its first call: no Python objects, no GIL, cached on disk.

    numba caches beside the source, or in the user's cache folder. Where neither can be written (a
    read-only container) a private folder below the temporary directory is used; where not even that
    works, the kernel is compiled anew in every process and a warning says so.
    """
    return _cached(kernel, _FASTMATH)


def exact_jit(kernel: Kernel) -> Kernel:
    """`jit` with every operation rounded for itself, as numpy does.

    For counting: a value at exactly a threshold falls on the side on which it falls elsewhere.
    """
    return _cached(kernel, set())


def _cached(kernel: Kernel, flags: set[str]) -> Kernel:
    try:
        return _compile(kernel, flags, cache=True)
    except RuntimeError:  # numba found no folder that it may write
        folder = fallback_folder()
    if folder is None:
        _log.warning(
            "no folder to cache compiled kernels in, each start compiles them anew; "
            "set NUMBA_CACHE_DIR to a folder that can be written"
        )
        return _compile(kernel, flags, cache=False)
    # numba reads the folder when it decorates, and offers no argument for it.
    previous, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return _compile(kernel, flags, cache=True)
    finally:
        config.CACHE_DIR = previous


def _compile(kernel: Kernel, flags: set[str], cache: bool) -> Kernel:
    compiled: Kernel = numba.njit(
        cache=cache, nogil=True, error_model="numpy", fastmath=flags or False
    )(kernel)
    return compiled


def fallback_folder() -> Path | None:
    """A cache folder below the temporary directory that nobody else can write; None if impossible.

    Compiled code is loaded from here, so a folder that another user owns or may write is refused.
    """
    owner = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"flowtrack-numba-{'user' if owner is None else owner}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    foreign = owner is not None and found.st_uid != owner
    shared = owner is not None and bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    if not stat.S_ISDIR(found.st_mode) or foreign or shared or not os.access(folder, os.W_OK):
        return None
    return folder


def cache_folder() -> str | None:
    """The folder that compiled kernels are cached in; None where there is none."""
    path: str | None = getattr(getattr(jit(_probe), "_cache", None), "cache_path", None)
    return path


def _probe() -> int:
    return 0
