"""The folder of downloaded files: where it is, who may write to it, and what was downloaded."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from flowtrack.errors import FlowtrackError, OutputError
from flowtrack.schema import read_dataclass

_POLL_S = 0.2
_BLOCK = 1 << 20
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def network_path(cache: Path, name: str, file: str) -> Path:
    """Where the published file of a network lies in a cache folder.

    Args:
        cache: the folder.
        name: of the network.
        file: name of the published file.
    """
    return cache / "networks" / name / file


@dataclass(frozen=True)
class Receipt:
    """What is known of a downloaded file; it lies beside the file and outlives it.

    Where nobody states a hash, later downloads of the same address must equal the first one.

    Attributes:
        url: the publisher's address.
        sha256: of the whole file, as computed here.
        size_bytes: of the file.
        expected: (prefix of) the hash that the file was held against; empty where none is known.
        fetched_from: the address that really gave it, a mirror's for instance.
    """

    url: str
    sha256: str
    size_bytes: int
    expected: str = ""
    fetched_from: str = ""


def receipt_path(file: Path) -> Path:
    """Where the receipt of a downloaded file lies."""
    return file.with_name(file.name + ".receipt.json")


def read_receipt(file: Path) -> Receipt | None:
    """The receipt of a downloaded file; None where there is none that can be read."""
    try:
        return read_dataclass(Receipt, json.loads(receipt_path(file).read_bytes()), "receipt")
    except (OSError, ValueError, FlowtrackError):
        return None


def write_receipt(file: Path, receipt: Receipt) -> None:
    """Write the receipt of a downloaded file.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(receipt_path(file), asdict(receipt))


def write_json(path: Path, value: object) -> None:
    """Write a small file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path.parent):
        try:
            partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def sha256_of(file: Path) -> str:
    """Hash of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Failures of the disk, as sentences with a remedy.

    Raises:
        OutputError: anything below `folder` cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk that holds {folder} is full; make room, or choose another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"no permission to write in {folder}; choose another folder"
            ) from error
        raise OutputError(f"cannot write in {folder}: {error}") from error


@contextmanager
def locked(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a file's lock, so that only one process at a time downloads it.

    The lock ends with its process, even one that is killed; the empty lock file stays.

    Args:
        file: the download; the lock lies beside it.
        waiting: called once if another process holds the lock.

    Raises:
        OutputError: the folder cannot be written, or its file system has no locks.
    """
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.with_name(f".{file.name}.lock").open("ab")
    with stream:
        told = False
        while not _try_lock(stream, file.parent):
            if not told:
                waiting()
                told = True
            time.sleep(_POLL_S)
        yield  # closing the file gives the lock back


def _try_lock(stream: BinaryIO, folder: Path) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise OutputError(
            f"{folder} lies on a file system without locks ({error}); choose a folder on a local "
            "disk"
        ) from error
    return True
