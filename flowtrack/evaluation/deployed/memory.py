"""Arrays by key: in memory up to a budget, beyond it (or for later runs) in a file."""

from __future__ import annotations

import io
import sqlite3
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flowtrack.errors import OutputError

Array = npt.NDArray[Any]
Arrays = tuple[Array, ...]

BUDGET_BYTES = 256 << 20
"""Bytes of arrays that stay in memory."""

CACHE_FILE = "recording.sqlite"
"""Name of the file inside a cache folder."""


class Memory:
    """Remembers tuples of arrays; use it as a context manager.

    The arrays used last stay in memory; the others go to a file in a temporary folder that is made
    when the first has to. With a cache folder everything is written there, and found again by
    later runs. Keys must say everything that the arrays depend on; nothing else is held against
    what is in a cache.
    """

    def __init__(self, cache: Path | None = None, budget_bytes: int = BUDGET_BYTES) -> None:
        """Start, with what the cache holds.

        Raises:
            OutputError: the cache folder cannot be used.
        """
        self._budget = budget_bytes
        self._recent: OrderedDict[str, Arrays] = OrderedDict()
        self._bytes = 0
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._file: sqlite3.Connection | None = None
        self._keeps_all = cache is not None
        if cache is not None:
            self._file = _opened(cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; a temporary one goes."""
        self._recent.clear()
        self._bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def get(self, key: str) -> Arrays | None:
        """The arrays of a key, not to be changed; None if it is unknown.

        Raises:
            OutputError: the file is damaged.
        """
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        if self._file is None:
            return None
        with _using(self._file):
            row = self._file.execute("SELECT value FROM arrays WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        arrays = _unpacked(row[0])
        self._keep(key, arrays)
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Remember the arrays of a key.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._keeps_all:
            self._write(key, arrays)
        self._keep(key, arrays)

    def _keep(self, key: str, arrays: Arrays) -> None:
        self._bytes += _size(arrays) - _size(self._recent.pop(key, ()))
        self._recent[key] = arrays
        while self._bytes > self._budget:
            oldest, value = self._recent.popitem(last=False)
            self._bytes -= _size(value)
            if not self._keeps_all:
                self._write(oldest, value)

    def _write(self, key: str, arrays: Arrays) -> None:
        if self._file is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="flowtrack-recording-")
            self._file = _opened(Path(self._scratch.name))
        with _using(self._file):
            self._file.execute("INSERT OR IGNORE INTO arrays VALUES (?, ?)", (key, _packed(arrays)))


def _opened(folder: Path) -> sqlite3.Connection:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(folder / CACHE_FILE, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"cannot use the cache folder {folder}: {error}") from error
    with _using(file):
        # Each array is written whole or not at all; a crash of the machine may cost the last ones.
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute("CREATE TABLE IF NOT EXISTS arrays (key TEXT PRIMARY KEY, value BLOB)")
    return file


@contextmanager
def _using(file: sqlite3.Connection) -> Iterator[None]:
    """Turn errors of the file into `OutputError`s."""
    try:
        yield
    except sqlite3.Error as error:
        place = file.execute("PRAGMA database_list").fetchone()[2]
        raise OutputError(
            f"{place} cannot be used as a recording: {error}; is the disk full, or the file "
            "damaged? Remove it, it will be made anew"
        ) from error


def _size(arrays: Sequence[Array]) -> int:
    return sum(array.nbytes for array in arrays)


def _packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _unpacked(data: bytes) -> Arrays:
    buffer = io.BytesIO(data)
    arrays = []
    while buffer.tell() < len(data):
        arrays.append(np.load(buffer, allow_pickle=False))
    return tuple(arrays)
