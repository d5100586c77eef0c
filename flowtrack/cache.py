"""The user's cache folder: what is there can be made again, and is used when it is there."""

from __future__ import annotations

import os
from pathlib import Path

from flowtrack.errors import OutputError


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/flowtrack`, which is `~/.cache/flowtrack` unless told.

    Raises:
        OutputError: there is no home folder.
    """
    told = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The XDG base directory specification: relative paths are ignored.
        base = Path(told) if Path(told).is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise OutputError(f"no cache folder: {error}; set XDG_CACHE_HOME or name one") from error
    return base / "flowtrack"


def compiled_cache(kind: str, key: str) -> Path | None:
    """A folder for compiled forms of a network; None where none can be written.

    Args:
        kind: of compiler.
        key: of what is compiled and by which version: other content, other folder.
    """
    try:
        folder = default_cache() / kind / key
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, OutputError):
        return None
    return folder if os.access(folder, os.W_OK) else None
