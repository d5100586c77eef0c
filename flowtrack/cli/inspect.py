"""`flowtrack inspect`: what is inside a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtrack.cli.console import command, print_json

if TYPE_CHECKING:
    from flowtrack.runtime.bundle import Bundle


@command
def inspect(
    path: Annotated[Path, typer.Argument(help="Bundle: a folder or a .zip file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show a bundle's networks, how they are fed and read, and the tracker's options."""
    import json

    from flowtrack.runtime.bundle import open_bundle

    bundle = open_bundle(path)
    if as_json:
        print_json(json.loads(bundle.manifest.to_json()))
        return
    _show(bundle)


def _show(bundle: Bundle) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    manifest = bundle.manifest
    decodes = {
        "detector": manifest.detector.decode,
        "pose": manifest.pose.decode,
        "flow": manifest.flow.decode if manifest.flow else "none",
    }
    files = manifest.files()
    table = Table(
        title=escape(f"{bundle.path} ({manifest.skeleton}, {manifest.made_by or 'by hand'})")
    )
    for column in ("part", "decode", "file", "MB", "input", "precision", "parity"):
        table.add_column(column)
    for part, decode in decodes.items():
        if part not in files:
            table.add_row(part, decode, "-", "-", "-", "-", "-")
            continue
        file, spec = files[part], files[part].input
        sides = f"{spec.height or 'any'}x{spec.width or 'any'}"
        fed = f"{spec.dtype} {spec.layout} {spec.color} {spec.batch or 'N'}x{sides}"
        megabytes = f"{len(bundle.read(part)) / 1e6:.1f}"
        parity = "yes" if file.parity else "no"
        table.add_row(part, decode, escape(file.path), megabytes, fed, file.precision, parity)
    console = Console()
    console.print(table)
    options = manifest.tracker_options
    values = options.to_dict() | {"queue": options.length}
    console.print("tracker: " + ", ".join(f"{name} {value}" for name, value in values.items()))
