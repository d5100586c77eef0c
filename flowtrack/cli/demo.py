"""`flowtrack demo`: render people, track them, and score the result against the exact truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtrack.cli.console import command, note, print_json, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.cli.demo_run import DemoResult
    from flowtrack.synthetic import ClipOptions, SyntheticFrame


_SHOWN = ("AP", "MOTA", "precision", "recall", "IDF1")
"""Of everything that `flowtrack eval posetrack` shows."""


@command
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Networks to track with: a folder or .zip file.",
            show_default="those of the package",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Length of the clip.")] = 100,
    people: Annotated[int, typer.Option(min=1, help="How many walk through it.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Another number, another clip.")] = 0,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the pictures.")] = "480x640",
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Render a clip with several people, track them, and score the result.

    Nothing is downloaded. The people are rendered, so every joint is known exactly: mAP and MOTA
    are those of PoseTrack's evaluation. Leaves clip.mp4 (annotated), clip.png (a still),
    clip.posetrack.json and clip.jsonl (the results) and clip.truth.json.
    """
    from flowtrack.cli.bundle import parse_size
    from flowtrack.cli.demo_run import run_demo
    from flowtrack.runtime.default import default_bundle_path
    from flowtrack.runtime.pipeline import open_pipeline
    from flowtrack.synthetic import ClipOptions

    height, width = parse_size(size)
    options = ClipOptions(frames=frames, people=people, height=height, width=width, seed=seed)
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file, expected a folder; name another one with --out")
    pipeline = open_pipeline(bundle or default_bundle_path(), device=device)
    rendered = _rendered(options)
    with progress_bar() as bar:
        task = bar.add_task("tracking", total=len(rendered))
        result = run_demo(
            rendered, pipeline, out, fps=options.fps, progress=lambda: bar.advance(task)
        )
    if as_json:
        print_json(result.as_dict())
    else:
        _show(result)
    note(f"look at {result.files['mp4']} and {result.files['still']}")


def _rendered(options: ClipOptions) -> list[SyntheticFrame]:
    from flowtrack.synthetic import render_clip

    frames = []
    with progress_bar() as bar:
        task = bar.add_task("rendering", total=options.frames)
        for frame in render_clip(options):
            frames.append(frame)
            bar.advance(task)
    return frames


def _show(result: DemoResult) -> None:
    """The figures as tables."""
    from rich.console import Console
    from rich.table import Table

    scores = result.scores
    console = Console(highlight=False)
    heading, *rows = scores.table()
    table = Table(title="Against the exact truth, in percent")
    for name in heading:
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        if row[0] in _SHOWN:
            table.add_row(*row)
    console.print(table)
    console.print(
        f"{len(scores.joints)} joints, seen or hidden: those that COCO and PoseTrack both label; "
        "of the head the nose"
    )
    tracking = scores.tracking
    switches = int(tracking.switches[scores.rows].sum())
    console.print(
        f"[bold]mAP {scores.mean_ap:.1f}   MOTA {scores.mota:.1f}[/]   "
        f"{tracking.people} people, {tracking.ids} ids, {switches} switches of joints"
    )
    total = sum(result.timing_ms.values())
    stages = Table(title="Time a frame")
    for name in ("stage", "ms", "share"):
        stages.add_column(name, justify="left" if name == "stage" else "right")
    for stage, ms in result.timing_ms.items():
        stages.add_row(stage, f"{ms:.1f}", f"{100 * ms / total:.0f}%")
    console.print(stages)
    console.print(
        f"{result.frames} frames in {result.seconds:.1f} s with drawing and encoding: "
        f"{result.frames / result.seconds:.1f} frames/s (stages overlap), on {result.device}"
    )
