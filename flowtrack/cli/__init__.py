"""The command line: one thin file per command; heavy imports happen inside the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtrack import __version__
from flowtrack.cli.bundle import bundle
from flowtrack.cli.calibrate import app as calibrate
from flowtrack.cli.compile import compile_plans
from flowtrack.cli.demo import demo
from flowtrack.cli.doctor import doctor
from flowtrack.cli.eval import app as eval_
from flowtrack.cli.export import app as export
from flowtrack.cli.fetch import fetch
from flowtrack.cli.inspect import inspect
from flowtrack.cli.track import track
from flowtrack.cli.train import app as train
from flowtrack.cli.verify import verify

app = typer.Typer(
    name="flowtrack",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"flowtrack {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Track every person's pose through a video.

    PyTorch networks become a verified bundle (export, bundle, verify); a lean runtime tracks
    people with it (track) and measures how well (eval). Exit codes: 0 done, 1 failed, 2 wrong use.
    """
    del version


for function in (demo, track, fetch, bundle, verify, inspect, doctor):
    app.command()(function)


app.command("compile")(compile_plans)
app.add_typer(export, name="export")
app.add_typer(train, name="train")
app.add_typer(eval_, name="eval")
app.add_typer(calibrate, name="calibrate")


def main() -> None:
    """Entry point of the command `flowtrack`."""
    app()
