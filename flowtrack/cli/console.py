"""What the commands share: errors as exit codes, JSON on standard output, progress on stderr."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from flowtrack.errors import FlowtrackError, OptionError

if TYPE_CHECKING:
    from rich.progress import Progress

P = ParamSpec("P")
R = TypeVar("R")

FAILED = 1
WRONG_USE = 2

err = Console(stderr=True, highlight=False)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors become a sentence on stderr and exit code 1 (failed) or 2 (misuse)."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        logging.basicConfig(format="%(message)s", level=logging.WARNING)
        try:
            return function(*args, **kwargs)
        except OptionError as error:
            fail(str(error))
            raise typer.Exit(WRONG_USE) from error
        except FlowtrackError as error:
            fail(str(error))
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt as error:
            fail("stopped")
            raise typer.Exit(FAILED) from error

    return wrapped


def fail(message: str) -> None:
    """Say what went wrong, on stderr."""
    err.print(f"[bold red]error:[/] {_plain(message)}", soft_wrap=True)


def note(message: str) -> None:
    """Say something in passing, on stderr."""
    err.print(_plain(message), soft_wrap=True)


def busy(what: str) -> AbstractContextManager[object]:
    """A sign of life, on stderr, while something runs that cannot tell how far it is."""
    return err.status(_plain(what)) if err.is_terminal else nullcontext()


def _plain(message: str) -> str:
    from rich.markup import escape

    return escape(message)


def print_json(value: Any) -> None:
    """Print a result for machines, on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(rows: Sequence[Sequence[str]], title: str) -> None:
    """Print a table, whose first row is the heading, on stdout."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, title=title, title_justify="left")
    heading, *cells = rows
    for index, name in enumerate(heading):
        shown.add_column(name, justify="right" if index else "left")
    for row in cells:
        shown.add_row(*row)
    Console(highlight=False).print(shown)


def progress_bar(unit: str = "frames") -> Progress:
    """A bar with count, rate and estimate, on stderr; silent where stderr is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:5.1f} {unit}/s" if speed else "", style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
