"""Bringing in one file over as many connections as it takes.

While a file `NAME` comes in it is `NAME.part`, with `NAME.part.json` saying which version of which
address it is a part of. A part goes on only if the server confirms, by If-Range, that the file
is still that version; otherwise it starts anew.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flowtrack.errors import DownloadError, FlowtrackError, OptionError, OutputError
from flowtrack.schema import read_dataclass
from flowtrack.zoo.cache import sha256_of, write_json, writing
from flowtrack.zoo.transport import RangeError, TransientError, explained, open_url

_CHUNK = 1 << 16
_GAIN = 1 << 20  # bytes after which an attempt counts as a success, though it was cut short
_MEGA = 1e6


@dataclass(frozen=True)
class Remote:
    """A file to download.

    Attributes:
        url: the publisher's address, http or https.
        sha256: expected hash in hexadecimal, or its first digits; empty where nobody states one.
        size_bytes: exact size; None where it is not known.
        limit_bytes: larger files are refused.
        mirror: base address of a copy that has the file at `mirror/HOST/PATH`; None asks the
            publisher.
    """

    url: str
    sha256: str = ""
    size_bytes: int | None = None
    limit_bytes: int = 1 << 31
    mirror: str | None = None

    @property
    def address(self) -> str:
        """Where the file is really asked for."""
        return self.url if self.mirror is None else mirrored(self.url, self.mirror)


def mirrored(url: str, mirror: str) -> str:
    """Where a mirror has a file: below the name of its host, as `wget --force-directories` does.

    Raises:
        OptionError: `mirror` is no http(s) address.
    """
    base, parts = urlsplit(mirror), urlsplit(url)
    if base.scheme not in ("http", "https") or not base.netloc or base.query or base.fragment:
        raise OptionError(
            f"mirror is {mirror!r}, expected an address such as https://models.example.org/zoo"
        )
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


@dataclass(frozen=True)
class Patience:
    """How failures are met.

    Attributes:
        timeout_s: for the connection and for every read.
        attempts: in a row that bring less than a megabyte each; then the download gives up.
        backoff_s: wait after the first failure; it doubles with every further one.
        slowest_bps: bytes a second, over any `timeout_s`, below which a connection is given up.
    """

    timeout_s: float = 30.0
    attempts: int = 5
    backoff_s: float = 1.0
    slowest_bps: float = 1024.0


Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and those there will be (None: not known)."""

Say = Callable[[str], None]
"""Called with a sentence about something that takes longer than it should."""


@dataclass(frozen=True)
class _Version:
    """Which file a part is a part of.

    Attributes:
        url: that gave it.
        etag: strong validator; empty if the server gave none.
        last_modified: weak validator; empty if the server gave none.
        total: size of the whole file; None if the server did not say.
    """

    url: str
    etag: str = ""
    last_modified: str = ""
    total: int | None = None

    @property
    def validator(self) -> str:
        """For If-Range, which takes no weak entity tags (RFC 9110, section 13.1.5)."""
        return self.etag or self.last_modified

    def same_file(self, other: _Version) -> bool:
        """Whether two answers can be about the same version; what one lacks cannot differ."""
        pairs = (
            (self.etag, other.etag),
            (self.last_modified, other.last_modified),
            (self.total, other.total),
        )
        return all(mine == theirs for mine, theirs in pairs if mine and theirs)


class Transfer:
    """The way of one file from a server to its part.

    Attributes:
        part: where the file grows; complete and verified after `run`.
    """

    def __init__(
        self, remote: Remote, path: Path, patience: Patience, progress: Progress, say: Say
    ) -> None:
        self.remote = remote
        self.address = remote.address
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.facts = path.with_name(path.name + ".part.json")
        self.patience = patience
        self.progress = progress
        self.say = say
        self.resumed = False

    def run(self) -> str:
        """Bring in the whole file.

        Returns:
            Its sha256 in hexadecimal, which begins with the expected one.

        Raises:
            DownloadError, OutputError: as `flowtrack.zoo.download.download`.
        """
        while True:
            self._persist()
            sha256 = sha256_of(self.part)
            if sha256.startswith(self.remote.sha256):
                return sha256
            self.discard()
            if not self.resumed:
                raise DownloadError(
                    f"{self.address} gives a file of sha256 {sha256[:12]}..., expected "
                    f"{self.remote.sha256[:12]}...; it was damaged on its way or is another file, "
                    "and was not kept; try again, from another network if it stays so"
                )
            # The beginning came from an earlier run, and may be what is wrong.
            self.say(f"{self.path.name} is damaged; downloading it anew")
            self.resumed = False

    def publish(self) -> None:
        """Give the part its final name."""
        with writing(self.path.parent):
            self.part.replace(self.path)
            self.facts.unlink(missing_ok=True)

    def _persist(self) -> None:
        """Request until the part is complete, or patience ends."""
        failures = 0
        while True:
            before = self._have()
            try:
                self._request()
            except TransientError as error:
                gained = self._have() - before
                failures = 1 if gained >= _GAIN else failures + 1
                if failures >= self.patience.attempts:
                    raise DownloadError(
                        f"{error}; gave up after {failures} attempts{self._kept()}"
                    ) from error
                wait_s = self.patience.backoff_s * 2 ** (failures - 1)
                wait_s = wait_s if error.wait_s is None else error.wait_s
                self.say(f"{error}; trying again in {wait_s:.0f} s")
                time.sleep(wait_s)
            else:
                return

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _kept(self) -> str:
        have = self._have()
        return f"; the {have / _MEGA:.1f} MB that came in are kept for the next try" * bool(have)

    def discard(self) -> None:
        """Forget what came in."""
        with writing(self.path.parent):
            self.part.unlink(missing_ok=True)
            self.facts.unlink(missing_ok=True)

    def _resumable(self) -> tuple[int, _Version]:
        """Bytes that can be gone on from, and of which version they are."""
        have = self._have()
        try:
            version = read_dataclass(_Version, json.loads(self.facts.read_bytes()), "part")
        except (OSError, ValueError, FlowtrackError):
            return 0, _Version(self.address)
        # Without a validator only the final hash tells whether two halves belong together.
        checkable = version.validator or self.remote.sha256
        if version.url != self.address or not checkable:
            return 0, _Version(self.address)
        return have, version

    def _request(self) -> None:
        """One request; returns when the part is complete."""
        offset, version = self._resumable()
        if offset and offset == version.total:
            self.resumed = True
            return
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if version.validator:
                headers["If-Range"] = version.validator
        try:
            response = open_url(self.address, headers, self.patience.timeout_s)
        except RangeError as error:
            self.discard()
            raise TransientError(f"{error}; the part here is longer than the file") from error
        with closing(response):
            self._refuse_foreign(response)
            start, answered = _answered(self.address, response)
            if start not in (0, offset) or (start and not version.same_file(answered)):
                self.discard()
                raise TransientError(f"{self.address} was changed since it was begun")
            self._check_size(answered.total, start)
            if start == 0:
                self.discard()
                write_json(self.facts, asdict(answered))
            else:
                self.resumed = True
            self._receive(response, start, answered.total)

    def _refuse_foreign(self, response: http.client.HTTPResponse) -> None:
        kind = response.headers.get_content_type()
        packed = response.headers.get("Content-Encoding", "identity")
        if kind == "text/html" or packed != "identity":
            what = "a web page" if kind == "text/html" else f"a file packed with {packed}"
            raise DownloadError(
                f"{response.url} gives {what}, not the file; the login page of a network, or the "
                "file was moved"
            )

    def _check_size(self, total: int | None, start: int) -> None:
        known, limit = self.remote.size_bytes, self.remote.limit_bytes
        if total is None:
            return
        if known is not None and total != known:
            raise DownloadError(
                f"{self.address} announces {total} bytes, expected {known}; it is another file"
            )
        if total > limit:
            raise DownloadError(f"{self.address} announces {total} bytes, expected at most {limit}")
        free = shutil.disk_usage(self.path.parent).free
        if free < total - start:
            raise OutputError(
                f"{self.path.name} needs {(total - start) / _MEGA:.0f} MB and the disk that "
                f"holds {self.path.parent} has {free / _MEGA:.0f} MB free; make room, or "
                "choose another folder"
            )

    def _receive(self, response: http.client.HTTPResponse, start: int, total: int | None) -> None:
        """Append the answer to the part; complete when it returns."""
        have, limit = start, self.remote.limit_bytes
        watch = _Watch(self.patience)
        self.progress(have, total)
        # Failures of the connection are no OSErrors any more when they leave `_read`.
        with writing(self.path.parent), self.part.open("ab" if start else "wb") as stream:
            while total is None or have < total:
                chunk = self._read(response)
                have += len(chunk)
                if not chunk or have > limit:
                    break
                stream.write(chunk)
                self.progress(have, total)
                watch.saw(len(chunk))
        if have > limit:
            self.discard()
            raise DownloadError(f"{self.address} gives more than {limit} bytes; it is another file")
        whole = total if total is not None else self.remote.size_bytes
        if whole is not None and have < whole:
            raise TransientError(
                f"{self.address} broke off after {have / _MEGA:.1f} of {whole / _MEGA:.1f} MB"
            )

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            host = urlsplit(self.address).hostname or self.address
            raise explained(host, error) from error


class _Watch:
    """Gives up connections that hardly deliver."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.since = time.monotonic()
        self.got = 0

    def saw(self, count: int) -> None:
        """Count bytes that came in.

        Raises:
            TransientError: too few did, for too long.
        """
        self.got += count
        passed = time.monotonic() - self.since
        if passed < self.patience.timeout_s:
            return
        if self.got < self.patience.slowest_bps * passed:
            raise TransientError(f"only {self.got} bytes came in {passed:.0f} s")
        self.since, self.got = time.monotonic(), 0


def _answered(url: str, response: http.client.HTTPResponse) -> tuple[int, _Version]:
    """Where in the file an answer begins, and which version of the file it is of.

    Raises:
        TransientError: it answers with a part and does not say which.
    """
    headers = response.headers
    etag = headers.get("ETag", "")
    strong = "" if etag.startswith("W/") else etag
    length = headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdigit() else None
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if match is None:
            raise TransientError(f"{url} answers with a part of the file and does not say which")
        start = int(match[1])
        total = None if match[2] == "*" else int(match[2])
    return start, _Version(url, strong, headers.get("Last-Modified", ""), total)
