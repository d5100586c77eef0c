"""What `flowtrack calibrate int8` and `flowtrack calibrate fp16` are asked alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtrack.cli.clip_data import Joints as JointSet
from flowtrack.cli.console import note, print_json, print_table
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.calibration.sensitivity import Damage
    from flowtrack.calibration.verdict import Verdict
    from flowtrack.evaluation.deployed.posetrack_set import TruthClip

_SHOWN = 10  # layers in a printed table

Frames = Annotated[
    str, typer.Option(help="Video, or folder of pictures, of the kind that will be tracked.")
]
Out = Annotated[Path, typer.Option(help="Bundle to write: a folder, or a .zip file.")]
BundlePath = Annotated[
    Path | None,
    typer.Option(help="Bundle of fp32 to convert.", show_default="the default networks"),
]
Count = Annotated[int, typer.Option(min=4, help="Frames to use; half of them only judge.")]
Parts = Annotated[
    list[str] | None,
    typer.Option(help="detector, pose or flow; repeat for several.", show_default="all"),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(help="Node, or operator type, that stays in higher precision; repeatable."),
]
Truth = Annotated[Path | None, typer.Option(help="Annotated clips: mAP and MOTA before and after.")]
Images = Annotated[
    Path | None, typer.Option(help="Folder that the truth's picture names are relative to.")
]
Joints = Annotated[
    JointSet | None, typer.Option(help="Joints to score, with --truth.", show_default="all")
]
Accept = Annotated[
    str | None,
    typer.Option(metavar="REASON", help="Write it although it fails; recorded with it."),
]
Sensitivity = Annotated[bool, typer.Option("--sensitivity", help="Measure what each layer costs.")]
Html = Annotated[
    Path | None, typer.Option(help="Write a page with the figures and a plot of the layers.")
]
Device = Annotated[str, typer.Option(help=DEVICE_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


@dataclass(frozen=True)
class Request:
    """What is asked for, whatever the precision."""

    precision: str
    frames: str
    out: Path
    truth: Path | None
    images: Path | None
    joints: str | None
    accept: str | None
    sensitivity: bool
    html: Path | None
    as_json: bool

    def check(self) -> None:
        """Refuse what cannot be done, and what would be ignored."""
        if self.truth is None and (self.images is not None or self.joints is not None):
            raise OptionError("--images and --joints would be ignored without --truth; leave them "
                              "out")  # fmt: skip
        if self.accept is not None and not self.accept.strip():
            raise OptionError("--accept is empty, expected a reason")
        if self.html is not None and self.html.is_dir():
            raise OptionError(f"--html {self.html} is a folder, expected a file; name another one")

    def clips(self) -> list[TruthClip]:
        """The annotated clips; none where no truth is given."""
        from flowtrack.evaluation.deployed.posetrack_set import open_clips

        return [] if self.truth is None else open_clips(self.truth, self.images)

    def show(
        self, verdict: Verdict, ranked: Mapping[str, Sequence[Damage]], facts: Mapping[str, Any]
    ) -> None:
        """The verdict for people or machines, and the page.

        Args:
            verdict: of the gate.
            ranked: what each layer costs, by part.
            facts: further entries of the JSON.
        """
        from flowtrack.calibration.gate_report import verdict_dict, verdict_report, verdict_table
        from flowtrack.calibration.sensitivity import sensitivity_table

        if self.html is not None:
            verdict_report(f"A bundle in {self.precision}", verdict, ranked).write(self.html)
            note(f"wrote {self.html}")
        if self.as_json:
            written = not verdict.failures or self.accept is not None
            print_json({"written": written, **facts, **verdict_dict(verdict, ranked)})
            return
        title = (
            f"{self.precision} on {verdict.device} against fp32, {verdict.frames} frames held out"
        )
        print_table(verdict_table(verdict), title)
        if self.sensitivity:
            for part, damages in ranked.items():
                print_table(sensitivity_table(damages, _SHOWN), f"What each layer of {part} costs")

    def reason(self, verdict: Verdict) -> str | None:
        """Why a bundle that failed is written all the same; None where nothing failed."""
        if not verdict.failures and self.accept is not None:
            note("nothing failed, so --accept is not recorded")
        return self.accept if verdict.failures else None


def tell_islands(part: str, islands: Mapping[str, str]) -> None:
    """Name the layers that stay fp32, each with the reason."""
    for island, why in islands.items():
        note(f"{part}: {island} stays fp32: {why}")
