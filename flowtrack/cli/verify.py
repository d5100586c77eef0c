"""`flowtrack verify`: whether a bundle is what its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flowtrack.cli.console import command, note, print_json


@command
def verify(
    path: Annotated[Path, typer.Argument(help="Bundle: a folder or a .zip file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a bundle: manifest, hashes, and one run of every network.

    Shows the parity record of each network: how far the graph is from the PyTorch network that
    it was exported from. Networks from elsewhere have none.
    """
    from flowtrack.runtime.assemble import trial_run
    from flowtrack.runtime.bundle import open_bundle

    bundle = open_bundle(path)
    bundle.verify()
    files = bundle.manifest.files()
    contents: dict[str, bytes | Path] = {files[part].path: bundle.read(part) for part in files}
    timing = trial_run(bundle.manifest, contents)
    parity = {part: file.parity for part, file in files.items()}
    if as_json:
        print_json({"bundle": str(path), "ok": True, "timing_ms": timing, "parity": parity})
        return
    for part, file in files.items():
        record = "no parity record (not exported by flowtrack)"
        if file.parity is not None:
            record = _summary(file.parity)
        note(f"{part}: {file.path} sha256 {file.sha256[:12]}, {file.precision}; {record}")
    note(f"{path}: manifest, hashes and one run of every network are good")


def _summary(parity: dict[str, Any]) -> str:
    """The plain entries of a record, and the names of further comparisons; --json has them all."""
    plain = [f"{name} {value}" for name, value in parity.items() if not isinstance(value, dict)]
    further = [
        f"{name} accepted ({value['accepted']})" if value.get("accepted") else name
        for name, value in parity.items()
        if isinstance(value, dict) and name != "versions"
    ]
    return ", ".join(plain) + (f"; further compared: {', '.join(further)}" if further else "")
