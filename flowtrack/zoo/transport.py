"""One HTTP request: redirects that may be followed, and failures as sentences.

The standard library's urllib is enough for it: what it lacks for downloads (resuming, retrying,
verifying) the usual HTTP libraries lack as well, and a base install stays free of them.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO
from urllib.parse import urlsplit

from flowtrack import __version__
from flowtrack.errors import DownloadError

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that a later attempt may not meet."""

_MOST_WAIT_S = 30.0


class TransientError(DownloadError):
    """A failure that may be gone at the next attempt.

    Attributes:
        wait_s: seconds that the server asks to wait; None if it does not.
    """

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class RangeError(DownloadError):
    """The server has no such part of the file (status 416)."""


def open_url(url: str, headers: Mapping[str, str], timeout_s: float) -> http.client.HTTPResponse:
    """Request a file.

    Proxies are taken from the environment (`https_proxy`, `no_proxy`), as other programs do.

    Args:
        url: http or https.
        headers: of the request.
        timeout_s: for the connection, and for every read of the answer.

    Returns:
        The answer, of status 200 or 206, to be closed by the caller.

    Raises:
        TransientError: the failure may pass.
        RangeError: the server has no such part of the file.
        DownloadError: another attempt would be useless.
    """
    host = urlsplit(url).hostname or url
    sent = {"User-Agent": f"flowtrack/{__version__}", **headers}
    try:
        request = urllib.request.Request(url, headers=sent)
        response = _opener().open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise _of_status(url, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise explained(host, reason) from error
    if response.status not in (200, 206):
        response.close()
        raise DownloadError(f"{url} answers with status {response.status}, expected the file")
    answer: http.client.HTTPResponse = response
    return answer


def explained(host: str, reason: object) -> DownloadError:
    """What broke a connection, as a sentence with a remedy.

    Args:
        host: that was asked.
        reason: the exception below it all, or its text.
    """
    if isinstance(reason, DownloadError):
        return reason
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(
            f"the certificate of {host} is not trusted ({reason.verify_message}); if a proxy here "
            "inspects encrypted traffic, name its certificate in SSL_CERT_FILE"
        )
    if isinstance(reason, ssl.SSLError):
        return TransientError(f"no encrypted connection to {host}: {reason}")
    if isinstance(reason, socket.gaierror):
        return TransientError(
            f"the host {host} cannot be found ({reason.strerror}); check the network connection, "
            "and https_proxy where one is needed"
        )
    if isinstance(reason, TimeoutError):
        return TransientError(f"{host} does not answer in time")
    if isinstance(reason, ConnectionRefusedError):
        return TransientError(
            f"{host} refuses the connection; check the address, and https_proxy where one is needed"
        )
    if isinstance(reason, OSError) and "Tunnel connection failed" in str(reason):
        return DownloadError(
            f"the proxy refuses to connect to {host} ({reason}); check https_proxy, with user and "
            "password where it wants them"
        )
    if isinstance(reason, OSError | http.client.HTTPException):
        text = str(reason) or type(reason).__name__
        return TransientError(f"the connection to {host} broke: {text}")
    return DownloadError(f"{host} cannot be asked: {reason}")


def _of_status(url: str, error: urllib.error.HTTPError) -> DownloadError:
    said = f"{url} answers with status {error.code} ({error.reason})"
    if error.code in _PASSING:
        return TransientError(said, _wait_s(error.headers.get("Retry-After")))
    if 300 <= error.code < 400:
        return DownloadError(f"{said}: it redirects to where no file can be fetched from")
    if error.code == 416:
        return RangeError(said)
    if error.code in (404, 410):
        return DownloadError(
            f"{said}: the publisher has no such file any more; update flowtrack, or name a mirror "
            "that has it"
        )
    if error.code in (401, 403, 407):
        return DownloadError(f"{said}: access is refused; a proxy or firewall may be the reason")
    return DownloadError(said)


def _wait_s(header: str | None) -> float | None:
    """Seconds of a Retry-After header, within reason."""
    if header is None:
        return None
    if header.isdigit():
        return min(float(header), _MOST_WAIT_S)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), _MOST_WAIT_S)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s), and none from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if scheme not in allowed:
            raise DownloadError(
                f"{req.full_url} redirects to {newurl}, expected {' or '.join(allowed)}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener without urllib's handlers of file:, ftp: and data: addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
