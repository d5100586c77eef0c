"""`flowtrack doctor`: what this machine has, what is missing, and how to mend it."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtrack.cli.console import FAILED, command, print_json


@command
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at this machine: what tracking needs, what is missing, and the command to mend it.

    Exit code 1 if tracking cannot work here.
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from flowtrack.runtime.diagnosis import diagnose

    findings = diagnose()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        marks = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}
        table = Table(box=None, show_header=False)
        for finding in findings:
            table.add_row(marks[finding.state], finding.subject, escape(finding.detail))
            if finding.remedy:
                table.add_row("", "", f"[bold]mend:[/] {escape(finding.remedy)}")
        Console().print(table)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(FAILED)
