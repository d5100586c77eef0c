"""`flowtrack eval posetrack`: mAP, MOTA, IDF1 and HOTA of tracked poses or boxes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtrack.cli.clip_data import ClipData, Joints
from flowtrack.cli.console import command, print_json, print_table, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.cli.eval_posetrack_run import RunRequest, evaluate_run
from flowtrack.cli.eval_posetrack_show import show_poses
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.evaluation.posetrack import PoseTrackScores

_RUN = "Running a bundle"
_TABLE_5 = "The paper's Table 5"


def _run_option(text: str, **more: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_RUN, **more)


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


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
