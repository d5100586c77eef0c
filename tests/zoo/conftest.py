"""Fixtures of the tests of public networks."""

from __future__ import annotations

import pytest

from tests.zoo.publisher import publishing

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in _PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def publisher():
    with publishing() as server:
        yield server
