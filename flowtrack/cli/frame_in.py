"""`flowtrack export frame-in`: a bundle whose networks read whole frames, for GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtrack.cli.console import busy, command, note, print_json

if TYPE_CHECKING:
    from flowtrack.structs import ByteArray

_MOST_FRAMES = 4  # that both forms are compared on


@command
def frame_in(
    out: Annotated[Path, typer.Option(help="Bundle to write: a folder, or a .zip file.")],
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Bundle whose networks take pictures.", show_default="the default networks"
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            help="Video, or folder of its frames, to compare on.", show_default="rendered people"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Put cropping and resizing inside the networks of a bundle, so that they read whole frames.

    On a GPU a frame is then uploaded once and read by all three networks. Every precision is
    served: the networks themselves stay as they are. Both forms are compared before anything is
    written.
    """
    from flowtrack.export.frame_bundle import frame_bundle, frame_records
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path

    opened = open_bundle(bundle or default_bundle_path())
    compared_on = _rendered() if frames is None else _read(frames)
    with busy("putting cropping inside and comparing"):
        written = frame_bundle(opened, out, compared_on)
    records = frame_records(written)
    if as_json:
        print_json({"bundle": str(written.path), "parity": records})
        return
    for part, record in records.items():
        note(
            f"{part}: pictures differ by {record['grey_mean']:.2g} grey levels in the mean and "
            f"{record['grey_max']:.0f} at most, places by {record['median_px']:.2g} px in the "
            f"median and {record['p99_px']:.2g} px in the 99th percentile"
        )
    note(f"{written.path}: its networks read whole frames")


def _read(place: Path) -> list[ByteArray]:
    """The first frames of a video or folder."""
    from flowtrack.runtime.video import SourceOptions, open_source

    with open_source(place, SourceOptions(max_frames=_MOST_FRAMES)) as source:
        return [frame.image for frame in source]


def _rendered() -> list[ByteArray]:
    from flowtrack.synthetic import ClipOptions, render_clip

    return [frame.image for frame in render_clip(ClipOptions(frames=_MOST_FRAMES))]
