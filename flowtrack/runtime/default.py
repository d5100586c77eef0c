"""The bundle that comes with the package, for tracking without choosing or fetching networks."""

from __future__ import annotations

from pathlib import Path

import flowtrack
from flowtrack.errors import BundleError
from flowtrack.runtime.bundle import MANIFEST

DEFAULT_FOLDER = Path(flowtrack.__file__).parent / "default"
"""Where the package keeps its bundle."""


def default_bundle_path() -> Path:
    """Where the default bundle lies: a folder for `open_bundle` and `open_pipeline`.

    Its manifest says in `made_from` how and from what the networks were made.

    Raises:
        BundleError: this installation was stripped of it.
    """
    if not (DEFAULT_FOLDER / MANIFEST).is_file():
        raise BundleError(
            f"this installation lacks the default bundle ({DEFAULT_FOLDER / MANIFEST} is not "
            "there); install the whole package again, or name a bundle with --bundle: `flowtrack "
            "fetch` gets one"
        )
    return DEFAULT_FOLDER
