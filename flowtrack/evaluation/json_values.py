"""Values taken from JSON, whole columns at a time, with errors that name the place.

A place is text, or a function that makes it of the number of the value, called only if needed.
"""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.sequences import Float64Array
from flowtrack.structs import IntArray

Place = Callable[[int], str]

_LARGEST = 2**1000  # of whole numbers: float64 ends a little above


def load_json(path: Path) -> Any:
    """The content of a file; `.gz` is unpacked.

    Raises:
        InputError: it cannot be read, is empty, or is no JSON.
    """
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.name.endswith(".gz") else data
        if not text.strip():
            raise InputError(f"{path} is empty, expected JSON; write it anew")
        return json.loads(text)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, endless digits or brackets
        raise InputError(f"{path} is not valid JSON (cut short?): {error}") from error


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, through what is being read.

    Millions of small objects without a cycle among them make it several times slower than the
    reading itself.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def list_of(record: Any, key: str, where: str, *, default: list[Any] | None = None) -> list[Any]:
    """The list `record[key]`.

    Raises:
        InputError: it is none, or not there and without `default`.
    """
    value = record.get(key, default) if isinstance(record, dict) else None
    if not isinstance(value, list):
        raise InputError(f"{where}: {key!r} is not a list, expected one")
    return value


def only(value: Any) -> Any:
    """PoseTrack 2017 keeps scalars in lists of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def column(records: Sequence[dict[str, Any]], key: str, default: Any = None) -> list[Any]:
    """`key` of each record, out of its list of one."""
    try:
        return [value for (value,) in map(itemgetter(key), records)]
    except (KeyError, TypeError, ValueError):  # missing somewhere, or no list of one
        pass
    values = [record.get(key, default) for record in records]
    return [value[0] if type(value) is list and len(value) == 1 else value for value in values]


def numbers(values: Sequence[Any], where: Place, what: str) -> Float64Array:
    """(N,) finite numbers.

    Raises:
        InputError: one of them is missing, of another kind, or not finite.
    """
    if not set(map(type, values)) <= {int, float}:
        place = next(i for i, value in enumerate(values) if type(value) not in (int, float))
        raise InputError(f"{where(place)}: {what} is {values[place]!r}, expected a number")
    try:
        array = np.array(values, np.float64)
    except OverflowError:  # a whole number beyond the range of float64
        array = np.array([value if abs(value) < _LARGEST else np.inf for value in values])
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"{where(place)}: {what} is {array[place]}, expected a number")
    return array


def whole_numbers(values: Sequence[Any], where: Place, what: str) -> IntArray:
    """(N,) int64; files of some tools hold them as floats.

    Raises:
        InputError: one of them is missing, of another kind, or a fraction.
    """
    array = numbers(values, where, what)
    wrong = (array != np.floor(array)) | (np.abs(array) >= 2**53)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{where(place)}: {what} is {array[place]}, expected a whole number")
    return array.astype(np.int64)


def objects(values: Sequence[Any], where: Place, what: str) -> None:
    """See that all are JSON objects.

    Raises:
        InputError: one is something else.
    """
    if not set(map(type, values)) <= {dict}:
        place = next(i for i, value in enumerate(values) if not isinstance(value, dict))
        raise InputError(f"{where(place)}: {what} holds something else than objects")
