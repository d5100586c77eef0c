"""`flowtrack train`: the networks' weights, from a recipe and annotated data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowtrack.cli.console import command, note, print_json, progress_bar

if TYPE_CHECKING:
    from flowtrack.training.recipe import Schedule
    from flowtrack.training.tasks import Task
    from flowtrack.training.trainer import Progress, TrainerOptions

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Train a network by a recipe. Several GPUs: `torchrun --nproc-per-node N -m flowtrack "
    "train ...`.",
)

_Recipe = Annotated[
    str, typer.Argument(help="Name of a recipe, `name:variant`, or path of a .toml file.")
]
_Data = Annotated[
    Path,
    typer.Option(
        exists=True, file_okay=False, help="Folder that the recipe's paths are relative to."
    ),
]
_Out = Annotated[Path, typer.Option(help="Folder for checkpoints and the log.")]
_Init = Annotated[
    Path | None, typer.Option(help="Checkpoint to start from, instead of fresh weights.")
]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where the training in --out stopped.")
]
_Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change an entry, e.g. schedule.batch=64.")
]
_Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
_Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option(help="Of the computation; auto: bf16 on a GPU, fp32 on a CPU."),
]
_Workers = Annotated[int, typer.Option(min=0, help="Processes that prepare samples.")]
_Cache = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        help="Folder that keeps decoded pictures, for all processes and further trainings.",
    ),
]
_Compile = Annotated[bool, typer.Option("--compile", help="Let torch compile the network.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the last validation as JSON.")]


@app.command()
@command
def pose(
    recipe: _Recipe,
    data: _Data,
    out: _Out,
    init: _Init = None,
    resume: _Resume = False,
    changes: _Set = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    workers: _Workers = 2,
    cache: _Cache = None,
    compiled: _Compile = False,
    as_json: _Json = False,
) -> None:
    """Train a pose network: a ResNet and deconvolutions."""
    from flowtrack.training.recipe import PoseRecipe, read_recipe
    from flowtrack.training.tasks.pose import PoseTask
    from flowtrack.training.trainer import TrainerOptions

    read = read_recipe(PoseRecipe, recipe, changes or ())
    options = TrainerOptions(
        out, device, precision, workers=workers, resume=resume, compiled=compiled
    )
    task = PoseTask(read, data, cache=cache, init=None if resume else init)
    _train(task, read.schedule, options, as_json)


@app.command()
@command
def detector(
    recipe: _Recipe,
    data: _Data,
    out: _Out,
    init: _Init = None,
    resume: _Resume = False,
    changes: _Set = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    workers: _Workers = 2,
    cache: _Cache = None,
    compiled: _Compile = False,
    as_json: _Json = False,
) -> None:
    """Train a person detector: CenterNet; --init also takes a pose network."""
    from flowtrack.training.recipe import DetectorRecipe, read_recipe
    from flowtrack.training.tasks.detector import DetectorTask
    from flowtrack.training.trainer import TrainerOptions

    read = read_recipe(DetectorRecipe, recipe, changes or ())
    options = TrainerOptions(
        out, device, precision, workers=workers, resume=resume, compiled=compiled
    )
    task = DetectorTask(read, data, cache=cache, init=None if resume else init)
    _train(task, read.schedule, options, as_json)


@app.command()
@command
def flow(
    recipe: _Recipe,
    data: _Data,
    out: _Out,
    init: _Init = None,
    resume: _Resume = False,
    changes: _Set = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    workers: _Workers = 2,
    compiled: _Compile = False,
    as_json: _Json = False,
) -> None:
    """Train an optical flow network: FlowNet2S."""
    from flowtrack.training.recipe import FlowRecipe, read_recipe
    from flowtrack.training.tasks.flow import FlowTask
    from flowtrack.training.trainer import TrainerOptions

    read = read_recipe(FlowRecipe, recipe, changes or ())
    options = TrainerOptions(
        out, device, precision, workers=workers, resume=resume, compiled=compiled
    )
    task = FlowTask(read, data, init=None if resume else init)
    _train(task, read.schedule, options, as_json)


@app.command()
@command
def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's text.")] = None,
) -> None:
    """List the recipes that come with flowtrack, or show one, e.g. to start one's own from."""
    from flowtrack.training.recipe import builtin_recipes, recipe_text

    typer.echo(recipe_text(name).rstrip() if name else "\n".join(builtin_recipes()))


def _train(task: Task, schedule: Schedule, options: TrainerOptions, as_json: bool) -> None:
    from flowtrack.training.trainer import Trainer

    trainer = Trainer(task, schedule, options)
    if not trainer.first:  # of several processes one speaks
        trainer.run()
        return
    with progress_bar("steps") as bar:
        line = bar.add_task("train", total=trainer.steps, completed=trainer.step)

        def show(progress: Progress) -> None:
            bar.update(line, completed=progress.step)
            if progress.validation or not bar.disable:
                note(_summary(progress))

        figures = trainer.run(show)
    written = [
        name for name in ("final.pt", "best.pt", "log.html") if (options.out / name).exists()
    ]
    note(f"{options.out}: {', '.join(written)}")
    if as_json:
        print_json({"steps": trainer.steps, "figures": figures})


def _summary(progress: Progress) -> str:
    what = "validation" if progress.validation else f"{progress.samples_per_s:.0f} samples/s"
    figures = (f"{name} {value:.4g}" for name, value in progress.figures.items())
    return "  ".join((f"{progress.step}/{progress.steps}", what, *figures))
