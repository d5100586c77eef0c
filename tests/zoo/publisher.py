"""A publisher of files on this machine that behaves as well, or as badly, as it is told."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATE = "Tue, 01 Sep 2020 10:00:00 GMT"


@dataclass
class Request:
    """What was asked."""

    path: str
    headers: dict[str, str]


Behaviour = Callable[["Handler", bytes], None]
"""Answers one request for a file of the given content."""


@dataclass
class Publisher:
    """The server's files, how it will answer, and what it was asked.

    Attributes:
        files: content by path.
        script: by path, how the next requests are answered; afterwards (and unless told)
            `serve` answers.
        requests: so far.
    """

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    script: dict[str, list[Behaviour]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def put(self, path: str, content: bytes, *behaviours: Behaviour) -> str:
        """Publish a file; gives its address."""
        self.files[path] = content
        self.script[path] = list(behaviours)
        return self.address + path

    def ranges(self) -> list[str | None]:
        """The Range header of every request."""
        return [request.headers.get("range") for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    """Answers as the publisher's script says."""

    publisher: Publisher
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """One download."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.publisher.requests.append(Request(self.path, headers))
        content = self.publisher.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        script = self.publisher.script.get(self.path)
        behaviour = script.pop(0) if script else serve()
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has heard enough
            behaviour(self, content)

    def asked_range(self, size: int, etag: str, date: str) -> int | None:
        """Where the wanted part begins; None for the whole file; -1 for beyond its end."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match is None:
            return None
        condition = self.headers.get("If-Range")
        if condition is not None and condition not in (etag, date):
            return None
        start = int(match[1])
        return -1 if start >= size else start

    def log_message(self, *_):
        """Say nothing."""


def etag_of(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def serve(
    *,
    ranges: bool = True,
    if_range: bool = True,
    etag: bool | str = True,
    date: bool = True,
    length: int | None = None,
    announce_length: bool = True,
    stop_after: int | None = None,
    pause_s: float = 0.0,
    pause_after: int | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Behaviour:
    """The file, or the part of it that was asked for.

    Args:
        ranges: whether parts are understood.
        if_range: whether conditions on parts are understood.
        etag, date: whether (or which) validators are sent.
        length: added to the Content-Length.
        announce_length: whether there is a Content-Length.
        stop_after: bytes of the answer after which the connection is dropped.
        pause_s, pause_after: wait so long, once after so many bytes, or after every block.
        headers: further ones.
    """

    def answer(handler: Handler, content: bytes) -> None:
        tag = etag if isinstance(etag, str) else etag_of(content)
        if not if_range:
            del handler.headers["If-Range"]
        start = handler.asked_range(len(content), tag, DATE) if ranges else None
        if start == -1:
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(200 if start is None else 206)
        body = content[start or 0 :]
        if start is not None:
            total = len(content)
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if announce_length:
            handler.send_header("Content-Length", str(len(body) + (length or 0)))
        if etag:
            handler.send_header("ETag", tag)
        if date:
            handler.send_header("Last-Modified", DATE)
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        _send(handler, body if stop_after is None else body[:stop_after], pause_s, pause_after)

    return answer


def _send(handler: Handler, body: bytes, pause_s: float, pause_after: int | None) -> None:
    if pause_after is not None:
        handler.wfile.write(body[:pause_after])
        handler.wfile.flush()
        time.sleep(pause_s)
        body = body[pause_after:]
        pause_s = 0.0
    block = max(1, len(body) // 8)
    for place in range(0, len(body), block):
        handler.wfile.write(body[place : place + block])
        handler.wfile.flush()
        if pause_s:
            time.sleep(pause_s)


def status(code: int, *headers: tuple[str, str]) -> Behaviour:
    """A refusal."""

    def answer(handler: Handler, _: bytes) -> None:
        handler.send_response(code)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def redirect(to: str, code: int = 302) -> Behaviour:
    """The file lies elsewhere."""
    return status(code, ("Location", to))


def corrupted(content: bytes) -> Behaviour:
    """Another content under the validators of the file."""

    def answer(handler: Handler, true: bytes) -> None:
        serve(etag=etag_of(true), ranges=False)(handler, content)

    return answer


def hang_up(handler: Handler, _: bytes) -> None:
    """No answer at all."""
    handler.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def publishing() -> Iterator[Publisher]:
    """A publisher at a free port of this machine."""
    publisher = Publisher("")
    kind = type("Bound", (Handler,), {"publisher": publisher})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    publisher.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
