"""What `flowtrack eval coco` and `flowtrack eval detector` share: options, the run, the output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowtrack.cli.console import busy, note, print_json, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.evaluation.coco import CocoScores
    from flowtrack.evaluation.coco_files import CocoResults, CocoTruth
    from flowtrack.evaluation.deployed.coco_set import CocoSet

SYNTHETIC_SEED = 9_000_000
"""Of the first rendered picture; training renders from lower seeds."""

_RUN = "Running a bundle"


def _run_option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_RUN, **more)


Truth = Annotated[
    Path | None, typer.Option(help="Annotations in COCO's format, .json or .json.gz.")
]
Results = Annotated[
    Path | None, typer.Option(help="Evaluate this file of results in COCO's format.")
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the truth's pictures: to run a bundle on; with --results, for --html."
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Evaluate the pictures that the folder has.")
]
Synthetic = Annotated[
    int | None, _run_option("Render so many pictures and evaluate on them.", metavar="N")
]
BundlePath = Annotated[
    Path | None,
    _run_option("Networks: a folder or .zip file.", show_default="those of the package"),
]
BoxesFrom = Annotated[
    Literal["truth", "detector"] | None,
    _run_option("Boxes that poses are estimated in.", show_default="detector"),
]
Flip = Annotated[
    bool | None,
    _run_option(
        "Average with the mirrored crop.", "--flip/--no-flip", show_default="what the bundle says"
    ),
]
Out = Annotated[Path | None, _run_option("Folder that gets the results.")]
Device = Annotated[str, _run_option(DEVICE_HELP)]
Threads = Annotated[
    int, _run_option("CPU threads of each network's run; 0: as many as cores.", min=0)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")]
Html = Annotated[Path | None, typer.Option(help="Write a page with curves and the worst pictures.")]


@dataclass(frozen=True)
class Request:
    """What is asked for on the command line; None where an option is not given."""

    kind: Literal["keypoints", "boxes"]
    truth: Path | None
    results: Path | None
    images: Path | None
    partial: bool
    synthetic: int | None
    bundle: Path | None
    out: Path | None
    device: str
    threads: int
    as_json: bool
    html: Path | None
    boxes: Literal["truth", "detector"] | None = None
    flip: bool | None = None

    def check(self) -> None:
        """Refuse what cannot be done, and what would be ignored.

        Raises:
            OptionError: options are missing, or do not go together.
        """
        if self.synthetic is not None:
            _refuse("--synthetic renders truth and pictures", truth=self.truth,
                    results=self.results, images=self.images, partial=self.partial)  # fmt: skip
            return
        if self.truth is None:
            raise OptionError("--truth is missing: annotations to compare with (or --synthetic N)")
        if self.results is None:
            if self.images is None:
                raise OptionError(
                    "there is nothing to evaluate: name a file with --results, or a folder of "
                    "pictures with --images to run a bundle on"
                )
            return
        _refuse(
            "--results evaluates a file and runs no network", bundle=self.bundle, boxes=self.boxes,
            flip=self.flip, out=self.out, threads=self.threads,
            device=None if self.device == "auto" else self.device,
        )  # fmt: skip
        if self.partial and self.images is None:
            _refuse("without --images no picture is missing", partial=True)
        if not (self.partial or self.html):
            _refuse("with --results, pictures are for --html or --partial", images=self.images)


def _refuse(reason: str, **options: object) -> None:
    ignored = [f"--{name}" for name, value in options.items() if value not in (None, False, 0)]
    if options.get("flip") is False:
        ignored.append("--no-flip")
    if ignored:
        raise OptionError(f"{', '.join(ignored)} would be ignored ({reason}); leave it out")


def evaluate_request(request: Request) -> None:
    """Do what is asked for and show it."""
    from flowtrack.evaluation.coco import evaluate, pycocotools
    from flowtrack.evaluation.coco_files import read_results, read_truth
    from flowtrack.evaluation.deployed.coco_set import open_set

    request.check()
    pycocotools()  # missing, it must be noticed before the networks run
    with _data(request) as (truth_file, images):
        truth = read_truth(truth_file, request.kind)
        pictures = open_set(truth, images, partial=request.partial) if images else None
        if request.results is not None:
            results, facts = read_results(request.results, truth), {"results": str(request.results)}
        else:
            assert pictures is not None  # `check` asks for a folder of them
            results, facts = _measured(request, truth, pictures)
        with busy("counting"):
            scores = evaluate(truth, results, None if pictures is None else pictures.pictures)
        named = f"{request.synthetic} rendered pictures" if request.synthetic else truth.name
        summary = _summary(scores, results, pictures, {"truth": named, **facts})
        if request.html is not None:
            _write_page(request.html, scores, results, pictures, summary)
    if request.as_json:
        print_json(summary)
    else:
        _show(scores, summary)


@contextmanager
def _data(request: Request) -> Iterator[tuple[Path, Path | None]]:
    """The truth and the folder of its pictures, rendered where that is asked for."""
    if request.synthetic is None:
        assert request.truth is not None  # `check` asks for it
        yield request.truth, request.images
        return
    from tempfile import TemporaryDirectory

    from flowtrack.synthetic import write_scenes

    with TemporaryDirectory() as scratch:
        folder = request.out or Path(scratch)
        with progress_bar("pictures") as bar:
            task = bar.add_task("rendering", total=request.synthetic)
            truth = write_scenes(
                folder,
                request.synthetic,
                seed=SYNTHETIC_SEED,
                progress=lambda done: bar.update(task, completed=done),
            )
        yield truth, folder / "images"


def _measured(
    request: Request, truth: CocoTruth, pictures: CocoSet
) -> tuple[CocoResults, dict[str, Any]]:
    """What a bundle finds in the pictures, and facts about the run."""
    from flowtrack.evaluation.coco_files import write_results
    from flowtrack.evaluation.deployed.coco import (
        check_joints,
        detect_people,
        estimate_poses,
        open_for_pictures,
    )
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path

    bundle = open_bundle(request.bundle or default_bundle_path())
    if request.kind == "keypoints":
        check_joints(bundle)
    networks = open_for_pictures(
        bundle, flip=request.flip, device=request.device, threads=request.threads
    )
    note(f"running on {networks.device}")
    facts: dict[str, Any] = {"bundle": str(bundle.path), "device": networks.device}
    with progress_bar("pictures") as bar:
        task = bar.add_task(bundle.path.name, total=len(pictures))

        def progress(done: int) -> None:
            bar.update(task, completed=done)

        if request.kind == "keypoints":
            boxes = request.boxes or "detector"
            facts |= {"boxes": boxes, "flip": networks.pose.spec.flip_test}
            detector = networks.detector if boxes == "detector" else None
            results = estimate_poses(networks.pose, pictures, detector, progress)
        else:
            results = detect_people(networks.detector, pictures, progress)
    if request.out is not None:
        file = request.out / f"{request.kind}.json"
        write_results(file, results, truth.person)
        facts["file"] = str(file)
    return results, facts


def _summary(
    scores: CocoScores, results: CocoResults, pictures: CocoSet | None, facts: dict[str, Any]
) -> dict[str, Any]:
    """Everything that `--json` prints; None for a number of people that there are none of."""
    numbers = {name: None if value != value else value for name, value in scores.values.items()}
    return {
        "kind": scores.kind,
        **facts,
        "pictures": len(scores.pictures),
        "missing_pictures": pictures.missing if pictures is not None else 0,
        "people": int(scores.people.sum()),
        "detections": len(results),
        **numbers,
    }


def _write_page(
    path: Path,
    scores: CocoScores,
    results: CocoResults,
    pictures: CocoSet | None,
    summary: dict[str, Any],
) -> None:
    from flowtrack.evaluation.deployed.coco_report import coco_report, figure

    facts = {
        name.replace("_", " "): str(value)
        for name, value in summary.items()
        if name not in scores.values
    }
    lead = f"AP {figure(scores.values['AP'])} of {_counted(summary)}"
    coco_report(scores, results, pictures, lead, facts).write(path)
    note(f"wrote {path}")


def _counted(summary: dict[str, Any]) -> str:
    text = f"{summary['people']} people on {summary['pictures']} pictures"
    if missing := summary["missing_pictures"]:
        text += f" ({missing} more are not there)"
    return text


def _show(scores: CocoScores, summary: dict[str, Any]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    from flowtrack.evaluation.coco import MEANINGS
    from flowtrack.evaluation.deployed.coco_report import figure

    table = Table(box=None, pad_edge=False, title=_counted(summary), title_justify="left")
    table.add_column("number", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, value in scores.values.items():
        table.add_row(name, figure(value), MEANINGS[scores.kind][name])
    Console(highlight=False).print(table)
