"""`flowtrack eval`: accuracy as the field counts it, of result files or of a bundle."""

from __future__ import annotations

import typer

from flowtrack.cli.eval_coco import coco
from flowtrack.cli.eval_detector import detector
from flowtrack.cli.eval_flow import flow
from flowtrack.cli.eval_posetrack import posetrack

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Measure accuracy: of result files, or of a bundle on a data set, through the runtime.",
)

for function in (coco, posetrack, flow, detector):
    app.command()(function)
