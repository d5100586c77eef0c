"""Fixtures of the whole test suite."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real():
    """The folder of real networks and videos, which is not part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "real"
    if not folder.is_dir():
        pytest.skip(f"needs the real networks and videos in {folder}, which are not there")
    return folder
