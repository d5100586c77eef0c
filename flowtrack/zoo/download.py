"""Downloading a file once: verified, whole or not at all, by one process at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowtrack.errors import DownloadError
from flowtrack.zoo.cache import (
    Receipt,
    locked,
    read_receipt,
    receipt_path,
    sha256_of,
    write_receipt,
    writing,
)
from flowtrack.zoo.transfer import Patience, Progress, Remote, Say, Transfer


@dataclass(frozen=True)
class Downloaded:
    """A downloaded file.

    Attributes:
        path: of the file.
        receipt: what is known of it.
        cached: whether it was there already.
    """

    path: Path
    receipt: Receipt
    cached: bool


def download(
    remote: Remote,
    path: Path,
    *,
    patience: Patience | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    force: bool = False,
) -> Downloaded:
    """Download a file, unless it is there already; several processes may try at once.

    A file that was put at `path` by hand is accepted if its expected hash is known.

    Args:
        remote: what to download.
        path: where it appears, whole or not at all.
        patience: how failures are met.
        progress: called as bytes come in.
        say: called when an attempt failed or another process has to be waited for.
        force: download again what is there; it stays until the new file is complete.

    Raises:
        DownloadError: the file cannot be had, or is not the expected one. What came in of a
            download that broke off is kept and used by the next call; of a wrong file, nothing.
        OutputError: the folder cannot be written, or the disk is full.
        OptionError: the mirror is no http(s) address.
    """
    say = say or _silent
    transfer = Transfer(remote, path, patience or Patience(), progress or _silent, say)
    with locked(path, lambda: say(f"another process downloads {path.name}; waiting for it")):
        receipt = None if force else _already(remote, path)
        if receipt is not None:
            return Downloaded(path, receipt, cached=True)
        sha256 = transfer.run()
        if not remote.sha256:
            _same_as_before(transfer, sha256)
        receipt = Receipt(
            remote.url, sha256, transfer.part.stat().st_size, remote.sha256, transfer.address
        )
        write_receipt(path, receipt)
        transfer.publish()
        return Downloaded(path, receipt, cached=False)


def _already(remote: Remote, path: Path) -> Receipt | None:
    """The receipt of a file that is there and good; a damaged one is removed."""
    if not path.is_file():
        return None
    known = read_receipt(path)
    with writing(path.parent):
        size, sha256 = path.stat().st_size, sha256_of(path)
        if remote.sha256:
            good = sha256.startswith(remote.sha256)
        else:
            good = known is not None and (known.url, known.sha256) == (remote.url, sha256)
        if not good:
            path.unlink()
            return None
    if known is None or known.sha256 != sha256:
        known = Receipt(remote.url, sha256, size, remote.sha256)
        write_receipt(path, known)
    return known


def _same_as_before(transfer: Transfer, sha256: str) -> None:
    """Hold a file without a stated hash against its first download.

    Raises:
        DownloadError: the publisher gives another file than then.
    """
    url, path = transfer.remote.url, transfer.path
    before = read_receipt(path)
    if before is not None and before.url == url and before.sha256 != sha256:
        transfer.discard()
        raise DownloadError(
            f"{url} gave a file of sha256 {before.sha256[:12]}... before and gives "
            f"{sha256[:12]}... now, and its publisher states no hash; if the new one is wanted, "
            f"remove {receipt_path(path)}"
        )


def _silent(*_: object) -> None:
    """Takes reports that nobody wants."""
