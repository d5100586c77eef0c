"""What a broken network says to its user."""

from __future__ import annotations

import socket
import ssl

import pytest

from flowtrack.errors import DownloadError
from flowtrack.zoo import transport
from flowtrack.zoo.transport import TransientError, explained, open_url

UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("reason", "passing", "message"),
    [
        (UNTRUSTED, False, "SSL_CERT_FILE"),
        (ssl.SSLError(1, "wrong version number"), True, "no encrypted connection"),
        (socket.gaierror(-2, "Name or service not known"), True, "cannot be found"),
        (TimeoutError("timed out"), True, "does not answer in time"),
        (ConnectionRefusedError(111, "refused"), True, "refuses the connection"),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), False, "407"),
        (ConnectionResetError(104, "reset by peer"), True, "broke: .*reset by peer"),
        ("unknown url type: gopher", False, "gopher"),
    ],
)
def test_every_reason_is_a_sentence(reason, passing, message):
    error = explained("models.example.org", reason)
    with pytest.raises(DownloadError, match=message):
        raise error
    assert isinstance(error, TransientError) == passing
    assert "models.example.org" in str(error)


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_nobody_there():
    with pytest.raises(TransientError, match="refuses the connection"):
        open_url(f"http://127.0.0.1:{closed_port()}/x", {}, 2.0)


def test_no_name_service(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransientError, match="cannot be found"):
        open_url("https://models.example.org/x", {}, 2.0)


def test_https_where_there_is_none(publisher):
    address = publisher.put("/x", b"x").replace("http:", "https:")
    with pytest.raises(TransientError, match="no encrypted connection"):
        open_url(address, {}, 2.0)


def test_a_proxy_that_wants_a_password(publisher, monkeypatch):
    """An https address through a proxy that answers CONNECT with 501, as this server does."""
    monkeypatch.setenv("https_proxy", publisher.address)
    with pytest.raises(DownloadError, match="proxy refuses"):
        open_url("https://models.example.org/x", {}, 2.0)


def test_a_proxy_is_used(publisher, monkeypatch):
    publisher.put("http://models.example.org/x", b"through the proxy")
    monkeypatch.setenv("http_proxy", publisher.address)
    with open_url("http://models.example.org/x", {}, 2.0) as response:
        assert response.read() == b"through the proxy"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "nothing"])
def test_only_web_addresses_are_asked(url):
    with pytest.raises(DownloadError):
        open_url(url, {}, 2.0)


def test_encrypted_addresses_do_not_redirect_to_plain_ones():
    redirects = transport._Redirects()
    request = transport.urllib.request.Request("https://models.example.org/x")
    with pytest.raises(DownloadError, match="expected https"):
        redirects.redirect_request(request, None, 302, "Found", {}, "http://models.example.org/x")
    onward = redirects.redirect_request(
        request, None, 302, "Found", {}, "https://files.example.org/x"
    )
    assert onward.full_url == "https://files.example.org/x"


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("3", 3.0), ("100000", 30.0), ("soon", None)]
)
def test_retry_after(header, seconds):
    assert transport._wait_s(header) == seconds
