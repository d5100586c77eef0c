"""`flowtrack calibrate`: numbers that are chosen from data after training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowtrack.cli.calibrate_fp16 import fp16
from flowtrack.cli.calibrate_int8 import int8
from flowtrack.cli.clip_data import ClipData, Joints
from flowtrack.cli.console import command, note, print_json, print_table, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.calibration.thresholds import Choice
    from flowtrack.evaluation.deployed.networks import Networks
    from flowtrack.evaluation.deployed.posetrack_set import TruthClip

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Choose numbers and precision of a bundle from data, after training.",
)

_Bundle = Annotated[
    Path | None,
    typer.Option(help="Networks: a folder or .zip file.", show_default="those of the package"),
]
_Truth = Annotated[
    Path | None, typer.Option(help="Annotated clips: PoseTrack JSON of 2017 or 2018, or a folder.")
]
_Images = Annotated[
    Path | None,
    typer.Option(
        help="Folder that the truth's picture names are relative to.", show_default="the truth's"
    ),
]
_Synthetic = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Render so many hard clips instead.")
]
_Objective = Annotated[
    Literal["mota", "map", "mean"],
    typer.Option(help="What to make as high as possible: MOTA, mAP, or the mean of both."),
]
_Joints = Annotated[
    Joints | None,
    typer.Option(
        help="Joints to score: all 15, those that COCO has too, or those without the nose.",
        show_default="all; shared13 for rendered clips",
    ),
]
_Write = Annotated[
    bool, typer.Option("--write", help="Put the choice and its evidence into the bundle.")
]
_Out = Annotated[
    Path | None, typer.Option(help="Write a copy of the bundle with the choice: folder or .zip.")
]
_Cache = Annotated[
    Path | None, typer.Option(help="Folder that keeps what the networks gave, for further runs.")
]
_Device = Annotated[str, typer.Option(help=DEVICE_HELP)]
_Threads = Annotated[
    int, typer.Option(min=0, help="CPU threads of each network's run; 0: as many as cores.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
_Html = Annotated[Path | None, typer.Option(help="Write a page with the trade-off as a plot.")]


@command
def thresholds(
    bundle: _Bundle = None,
    truth: _Truth = None,
    images: _Images = None,
    synthetic: _Synthetic = None,
    objective: _Objective = "mota",
    joints: _Joints = None,
    write: _Write = False,
    out: _Out = None,
    cache: _Cache = None,
    device: _Device = "auto",
    threads: _Threads = 0,
    as_json: _AsJson = False,
    html: _Html = None,
) -> None:
    """Choose the tracker's thresholds from annotated clips, as in section 4.2 of the paper.

    Box and joint threshold together, then box NMS, the least similarity, pose NMS and the queue's
    length. The networks run once; a setting then costs seconds. The choice is checked by a plain
    run, and by choosing anew without each clip. Nothing is changed without --write or --out.
    """
    data = ClipData(truth, images, synthetic)
    data.check()
    if write and out is not None:
        raise OptionError("--write and --out are given; expected one: the bundle itself, or a copy")
    if html is not None and html.is_dir():
        raise OptionError(f"--html {html} is a folder, expected a file; name another one")

    from flowtrack.evaluation.deployed.networks import open_networks
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path

    opened = open_bundle(bundle or default_bundle_path())
    networks = open_networks(opened, device, threads)
    networks.check(opened.manifest.tracker_options)
    note(f"running on {networks.device}")
    with data.opened() as clips:
        choice = _chosen(clips, networks, objective, joints or data.joints, cache)
    if write or out is not None:
        from flowtrack.calibration.evidence import write_choice

        written = write_choice(opened, choice, data.name, out or opened.path)
        note(f"the choice and its evidence are in {written.path}")
    if html is not None:
        from flowtrack.calibration.thresholds_report import thresholds_report

        thresholds_report(choice, data.name).write(html)
        note(f"wrote {html}")
    if as_json:
        from flowtrack.calibration.thresholds_report import as_dict

        print_json({"data_set": data.name, **as_dict(choice)})
    else:
        _show(choice)


app.command()(thresholds)
app.command()(int8)
app.command()(fp16)


def _chosen(
    clips: list[TruthClip],
    networks: Networks,
    objective: Literal["mota", "map", "mean"],
    joints: str,
    cache: Path | None,
) -> Choice:
    from flowtrack.calibration.thresholds import Tried, choose_thresholds
    from flowtrack.evaluation.deployed.memory import Memory

    with Memory(cache) as memory, progress_bar() as bar, progress_bar("settings") as settings:
        task = bar.add_task("networks, then a plain run", total=2 * sum(map(len, clips)))
        search = settings.add_task("search", total=None)

        def tell(tried: Tried) -> None:
            figures = f"MOTA {tried.mota:.1f}, mAP {tried.mean_ap:.1f}"
            settings.update(search, advance=1, description=f"search, now {figures}")

        return choose_thresholds(
            clips, networks, memory, objective=objective, joints=joints,
            on_frame=lambda: bar.advance(task), on_setting=tell,
        )  # fmt: skip


def _show(choice: Choice) -> None:
    """Tables for people."""
    from flowtrack.calibration.thresholds_report import (
        figures_table,
        options_table,
        size,
        verdict,
    )

    print_table(options_table(choice), "What was chosen")
    print_table(figures_table(choice), "What the choice is worth, in percent")
    note(f"{size(choice)}; the last two rows are of data that had no say. {verdict(choice)}")
