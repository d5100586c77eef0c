"""The facts that an exported network carries beside it, until a bundle takes both.

`pose.onnx` has its entry of the manifest in `pose.onnx.json`: how it is fed, how it was verified,
and the hash of the file that was verified.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from flowtrack.errors import BundleError, OutputError
from flowtrack.runtime.manifest import NetworkFile
from flowtrack.schema import read_dataclass


def sidecar_path(network: Path) -> Path:
    """Where the facts about an ONNX file lie."""
    return network.with_name(network.name + ".json")


def write_sidecar(network: Path, entry: NetworkFile) -> None:
    """Write the facts about an exported network beside it.

    Raises:
        OutputError: the file cannot be written.
    """
    target = sidecar_path(network)
    try:
        target.write_text(json.dumps(asdict(entry), indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}") from error


def read_sidecar(network: Path, data: bytes) -> NetworkFile | None:
    """The facts beside an ONNX file; None where there are none.

    Args:
        network: path of the ONNX file.
        data: its contents.

    Raises:
        BundleError: the facts are damaged, or about another file.
    """
    place = sidecar_path(network)
    if not place.is_file():
        return None
    try:
        entry = read_dataclass(NetworkFile, json.loads(place.read_bytes()), place.name)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{place} is not valid JSON: {error}") from error
    if entry.sha256 != hashlib.sha256(data).hexdigest():
        raise BundleError(
            f"{place} vouches for another file than {network.name}, which was changed since; "
            "export it again, or remove the .json and give its facts as options"
        )
    return entry
