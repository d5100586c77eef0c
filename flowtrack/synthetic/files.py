"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flowtrack.errors import OutputError


def write_json(path: Path, content: Any) -> None:
    """Write a value as JSON by way of a neighbouring file that takes its name when complete.

    Raises:
        OutputError: the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file, separators=(",", ":"), allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error}") from error
