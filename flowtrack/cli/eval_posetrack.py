"""`flowtrack eval posetrack`: mAP, MOTA, IDF1 and HOTA of tracked poses or boxes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowtrack.cli.console import command, note, print_json, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.evaluation.bootstrap import Interval
    from flowtrack.evaluation.posetrack import PoseTrackScores
    from flowtrack.report import Report

Joints = Literal["all", "shared13", "body12"]

_RUN = "Running a bundle"
_TABLE_5 = "The paper's Table 5"


def _run_option(text: str, **more: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_RUN, **more)


_INTERVALS = ("AP", "MOTA", "MOTA_corrected", "IDF1", "HOTA")

_Truth = Annotated[
    Path | None,
    typer.Option(
        help="Ground truth: PoseTrack JSON of 2017 or 2018 (.gz too) or MOTChallenge .txt; a file, "
        "or a folder with one for each clip."
    ),
]
_Results = Annotated[
    Path | None, typer.Option(help="Results of the same clips, under the same file names.")
]
_Joints = Annotated[
    Joints | None,
    typer.Option(
        help="Joints to report: all 15; the 13 that COCO labels too; those without the nose.",
        show_default="all; shared13 of rendered clips",
    ),
]
_Images = Annotated[
    Path | None,
    _run_option(
        "Folder that the truth's picture names are relative to.", show_default="the truth's own"
    ),
]
_Synthetic = Annotated[
    int | None,
    _run_option("Render so many clips, hard on purpose, and evaluate on them.", min=1, metavar="N"),
]
_Bundle = Annotated[
    list[Path] | None,
    _run_option(
        "Networks: a folder or .zip file; with --ablation up to three.",
        show_default="those of the package",
    ),
]
_Out = Annotated[Path | None, _run_option("Folder that gets the results, and rendered clips.")]
_Device = Annotated[str | None, _run_option(DEVICE_HELP, show_default="auto")]
_Threads = Annotated[
    int | None,
    _run_option("CPU threads of each network's run; 0: as many as cores.", min=0, show_default="0"),
]
_Ablation = Annotated[
    bool,
    typer.Option(
        "--ablation", rich_help_panel=_TABLE_5,
        help="Track with all settings of the table and show what each is worth.",
    ),
]  # fmt: skip
_Weaken = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_TABLE_5, metavar="SHARE", show_default="0.3",
        help="One bundle is compared with itself after losing this share of its detections.",
    ),
]  # fmt: skip
_PoseNms = Annotated[
    bool,
    typer.Option(
        "--pose-nms", rich_help_panel=_TABLE_5,
        help="Unify poses of one person as the bundle says; the paper does not.",
    ),
]  # fmt: skip
_Paper = Annotated[
    bool | None,
    typer.Option(
        "--paper/--no-paper", rich_help_panel=_TABLE_5, help="The paper's figures beside ours.",
        show_default="if all clips are PoseTrack's by name (..._mpii_...)",
    ),
]  # fmt: skip
_Cache = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_TABLE_5, help="Folder that keeps what the networks gave, for further runs."
    ),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
_Html = Annotated[
    Path | None, typer.Option(help="Write a page with tables and curves.", dir_okay=False)
]


@command
def posetrack(
    truth: _Truth = None,
    results: _Results = None,
    joints: _Joints = None,
    images: _Images = None,
    synthetic: _Synthetic = None,
    bundle: _Bundle = None,
    out: _Out = None,
    device: _Device = None,
    threads: _Threads = None,
    ablation: _Ablation = False,
    weaken: _Weaken = None,
    pose_nms: _PoseNms = False,
    paper: _Paper = None,
    cache: _Cache = None,
    as_json: _AsJson = False,
    html: _Html = None,
) -> None:
    """Measure tracked poses as PoseTrack does: mAP and MOTA, and IDF1 and HOTA beside them.

    AP, MOTA and MOTP are poseval's, quirks included; figures without its quirks are called
    corrected. Boxes in MOTChallenge's .txt files are counted by the same machinery.

    Result files: --truth with --results. A bundle: --truth with --images, or --synthetic N; with
    --ablation, all settings of the paper's Table 5.
    """
    of_a_run = {
        "images": images, "synthetic": synthetic, "bundle": bundle, "out": out, "device": device,
        "threads": threads, "ablation": ablation or None, "weaken": weaken,
        "pose-nms": pose_nms or None, "paper": paper, "cache": cache,
    }  # fmt: skip
    given = [f"--{name}" for name, value in of_a_run.items() if value is not None]
    if results is None and given:
        from flowtrack.cli.clip_data import ClipData
        from flowtrack.cli.eval_posetrack_run import RunRequest, evaluate_run

        request = RunRequest(
            ClipData(truth, images, synthetic), tuple(bundle or ()), out, joints, device or "auto",
            threads or 0, ablation, weaken, pose_nms, paper, cache,
        )  # fmt: skip
        evaluate_run(request, as_json, html)
        return
    if given:
        raise OptionError(
            f"{', '.join(given)} would be ignored (--results evaluates files and runs no network); "
            "leave it out"
        )
    if truth is None or results is None:
        missing = "--truth" if truth is None else "--results"
        raise OptionError(
            f"{missing} is missing, expected ground truth and results to compare, or a bundle to "
            "run: --truth with --images, or --synthetic N"
        )
    if is_boxes(truth):
        if joints is not None or html is not None:
            ignored = "--joints" if joints is not None else "--html"
            raise OptionError(f"{ignored} would be ignored: {truth} holds boxes; leave it out")
        evaluate_boxes(truth, results, as_json)
    else:
        show_poses(poses_of_files(truth, results, joints or "all"), str(results), as_json, html)


def is_boxes(truth: Path) -> bool:
    """Whether the truth is MOTChallenge's: a .txt file, or a folder of them without JSON."""
    if not truth.is_dir():
        return truth.suffix == ".txt"
    names = [path.name for path in truth.iterdir()]
    poses = any(name.endswith((".json", ".json.gz")) for name in names)
    return not poses and any(name.endswith(".txt") for name in names)


def poses_of_files(truth: Path, results: Path, joints: Joints) -> PoseTrackScores:
    """The figures of result files, or folders of them."""
    from flowtrack.evaluation.folders import evaluate_files
    from flowtrack.evaluation.posetrack_files import pair_files

    files = pair_files(truth, results)
    with progress_bar("clips") as bar:
        task = bar.add_task("counting", total=len(files))
        return evaluate_files(files, joints, processes=_cores(), progress=lambda: bar.advance(task))


def show_poses(
    scores: PoseTrackScores,
    what: str,
    as_json: bool,
    html: Path | None,
    *,
    facts: Mapping[str, str] | None = None,
    illustrate: Callable[[Report], None] | None = None,
) -> None:
    """Print the figures, as tables or as JSON, and write the page if one is asked for.

    Args:
        scores: the figures.
        what: they are about, in a few words.
        as_json: print JSON.
        html: the page's file.
        facts: about the run, for JSON.
        illustrate: adds pictures to the page.
    """
    intervals = intervals_of(scores)
    if html is not None:
        from flowtrack.evaluation.posetrack_report import posetrack_report

        lead = f"{what}: mAP {scores.mean_ap:.1f}, MOTA {scores.mota:.1f} on {_size(scores)}"
        report = posetrack_report(scores, lead, intervals)
        if illustrate is not None:
            illustrate(report)
        report.write(html)
        note(f"wrote {html}")
    if as_json:
        rounded = {
            measure: {"low": round(found.low, 4), "high": round(found.high, 4)}
            for measure, found in intervals.items()
        }
        print_json({**(facts or {}), **scores.as_dict(), "intervals_95": rounded})
        return
    print_table(scores.table(), f"{what}, {_size(scores)}, in percent")
    if intervals:
        print_table(scores.clip_table(), "By clip")
        spans = [
            [measure.replace("_", ", "), *(f"{v:.1f}" for v in (one.value, one.low, one.high))]
            for measure, one in intervals.items()
        ]
        print_table([["", "value", "from", "to"], *spans], "95% intervals, clips drawn anew")


def intervals_of(scores: PoseTrackScores) -> dict[str, Interval]:
    """95% intervals over clips by measure; none of a single clip."""
    from flowtrack.evaluation.bootstrap import Bootstrap

    if len(scores.clips) < 2:
        return {}
    bootstrap = Bootstrap(len(scores.clips))
    return {measure: bootstrap.interval(scores, measure) for measure in _INTERVALS}


def evaluate_boxes(truth: Path, results: Path, as_json: bool) -> None:
    """Print the figures of files of boxes, or of folders of them."""
    from flowtrack.evaluation import mot_boxes
    from flowtrack.evaluation.posetrack_files import pair_files

    files = pair_files(truth, results, (".txt",))
    with progress_bar("clips") as bar:
        task = bar.add_task("counting", total=len(files))
        scores = mot_boxes.evaluate_boxes(
            [mot_boxes.read_mot(one, truth=True) for one, _ in files],
            [mot_boxes.read_mot(other) for _, other in files],
            progress=lambda: bar.advance(task),
        )
    if as_json:
        print_json(scores.as_dict())
    else:
        print_table(scores.table(), f"{results}, boxes at an overlap of 0.5, in percent")


def print_table(rows: Sequence[Sequence[str]], title: str) -> None:
    """Print a table, whose first row is the heading, on stdout."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, title=title, title_justify="left")
    heading, *cells = rows
    for index, name in enumerate(heading):
        shown.add_column(name, justify="right" if index else "left")
    for row in cells:
        shown.add_row(*row)
    Console(highlight=False).print(shown)


def _size(scores: PoseTrackScores) -> str:
    clips = len(scores.clips)
    return f"{clips} clip{'s' if clips > 1 else ''} with {scores.frames} labelled frames"


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
