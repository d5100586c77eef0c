"""`flowtrack calibrate fp16`: a bundle of half precision, written only if it passes the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtrack.cli.console import busy, command, note, print_json, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.cli.eval_posetrack import Joints, print_table
from flowtrack.errors import ExportError, OptionError

if TYPE_CHECKING:
    from flowtrack.calibration.feeds import Feed
    from flowtrack.calibration.gate import Gate, Verdict
    from flowtrack.calibration.held_out import Material
    from flowtrack.calibration.sensitivity import Damage
    from flowtrack.export.islands import HalfNetwork
    from flowtrack.runtime.bundle import Bundle

_RUNS = 32
"""Most runs of a network that overflows are looked for in: what more would add is little."""

_SHOWN = 10  # layers in a printed table


@dataclass(frozen=True)
class _Request:
    """What is asked for on the command line."""

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


@command
def fp16(
    frames: Annotated[
        str, typer.Option(help="Video, or folder of pictures, of the kind that will be tracked.")
    ],
    out: Annotated[Path, typer.Option(help="Bundle to write: a folder, or a .zip file.")],
    bundle: Annotated[
        Path | None,
        typer.Option(help="Bundle to bring to fp16.", show_default="the default networks"),
    ] = None,
    count: Annotated[int, typer.Option(min=4, help="Frames to use; half of them only judge.")] = 40,
    part: Annotated[
        list[str] | None,
        typer.Option(help="detector, pose or flow; repeat for several.", show_default="all"),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Node, or operator type, that stays in fp32; repeatable."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Annotated clips: mAP and MOTA before and after.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that the truth's picture names are relative to.")
    ] = None,
    joints: Annotated[
        Joints | None, typer.Option(help="Joints to score, with --truth.", show_default="all")
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Write it although it fails; recorded with it."),
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Measure what each layer costs.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the figures and a plot of the layers.")
    ] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Bring a bundle to half precision, for GPUs: the graphs say which tensor has which type.

    Positions and scores stay fp32. Frames of the source that nothing was measured on judge: boxes,
    joints and flow against fp32. The most sensitive layers of a network that fails go back to
    fp32, a third of them at most. CPUs have no half arithmetic; there its rounding is imitated.
    What still fails is not written, unless --accept says why it should be.
    """
    request = _Request(frames, out, truth, images, joints, accept, sensitivity, html, as_json)
    request.check()

    from flowtrack.calibration.converted import convertible, kept_by_part
    from flowtrack.calibration.gate import Gate
    from flowtrack.calibration.held_out import split_source
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path
    from flowtrack.runtime.engines import choose_device

    chosen_device, _ = choose_device(device)
    original = open_bundle(bundle or default_bundle_path())
    models = {name: original.read(name) for name in convertible(original, part or ())}
    kept = kept_by_part(models, keep or ())
    material = split_source(frames, count)
    feeds = _recorded(original, material)
    gate = Gate(original, material.held_out_frames(), device=chosen_device)
    made = {
        name: _halved(name, model, gate, feeds[name], kept[name]) for name, model in models.items()
    }
    verdict = _judged(request, original, made, gate)
    ranked: dict[str, Sequence[Damage]] = {}
    for name, item in made.items():
        if item.ranked or sensitivity or html is not None:
            ranked[name] = item.ranked or _ranked(name, models[name], feeds[name], kept[name])
    _show(request, verdict, made, ranked)
    if verdict.failures and accept is None:
        raise ExportError(_refusal(verdict, made))
    if not verdict.failures and accept is not None:
        note("nothing failed, so --accept is not recorded")
    _write(request, original, made, verdict)


def _recorded(original: Bundle, material: Material) -> dict[str, list[Feed]]:
    from flowtrack.calibration.feeds import record_feeds

    with progress_bar() as bar:
        task = bar.add_task("running fp32", total=len(material.calibration))
        return record_feeds(
            original, material.calibration_frames(), _RUNS, lambda: bar.advance(task)
        )


def _halved(
    part: str, model: bytes, gate: Gate, feeds: Sequence[Feed], keep: Sequence[str]
) -> HalfNetwork:
    from flowtrack.export.islands import half_network

    with busy(f"{part}: halving, and comparing with fp32"):
        made = half_network(model, gate, part, feeds, keep)
    for island, why in made.islands.items():
        note(f"{part}: {island} stays fp32: {why}")
    return made


def _judged(
    request: _Request, original: Bundle, made: Mapping[str, HalfNetwork], gate: Gate
) -> Verdict:
    """The verdict on all parts and, where truth is given, on tracking with them."""
    from flowtrack.calibration.converted import judge_on_truth
    from flowtrack.calibration.gate import Verdict
    from flowtrack.evaluation.deployed.posetrack_set import open_clips

    found = {part: item.verdict for part, item in made.items()}
    if request.truth is not None:
        clips = open_clips(request.truth, request.images)
        graphs = {part: item.judged for part, item in made.items()}
        with progress_bar() as bar:
            task = bar.add_task("tracking in fp32 and fp16", total=2 * sum(map(len, clips)))
            found["tracking"] = judge_on_truth(
                original, graphs, "fp16", clips, request.joints or "all", gate.limits,
                gate.device, lambda: bar.advance(task),
            )  # fmt: skip
    return Verdict(found, gate.limits, len(gate.frames), gate.device)


def _ranked(
    part: str, model: bytes, feeds: Sequence[Feed], keep: Sequence[str]
) -> Sequence[Damage]:
    from flowtrack.export.islands import rank_halved

    with busy(f"{part}: measuring what each layer costs"):
        return rank_halved(model, feeds, keep)


def _show(
    request: _Request,
    verdict: Verdict,
    made: Mapping[str, HalfNetwork],
    ranked: Mapping[str, Sequence[Damage]],
) -> None:
    """The verdict for people or machines, and the page."""
    from flowtrack.calibration.gate_report import verdict_dict, verdict_report, verdict_table
    from flowtrack.calibration.sensitivity import sensitivity_table

    if request.html is not None:
        verdict_report("A bundle in fp16", verdict, ranked).write(request.html)
        note(f"wrote {request.html}")
    if request.as_json:
        written = not verdict.failures or request.accept is not None
        networks = {part: item.record() for part, item in made.items()}
        print_json({"written": written, "networks": networks, **verdict_dict(verdict, ranked)})
        return
    title = f"fp16 on {verdict.device} against fp32, {verdict.frames} frames held out"
    print_table(verdict_table(verdict), title)
    if request.sensitivity:
        for part, damages in ranked.items():
            print_table(sensitivity_table(damages, _SHOWN), f"What each layer of {part} costs")


def _refusal(verdict: Verdict, made: Mapping[str, HalfNetwork]) -> str:
    """Why nothing is written, and what to do."""
    from flowtrack.calibration.gate_report import worst_layers

    tried = [
        f" {part} fails with {len(item.islands)} of its {item.layers} layers in fp32."
        for part, item in made.items()
        if item.verdict.failures
    ]
    worst = worst_layers({part: item.ranked for part, item in made.items()})
    named = f" The layers that cost most are {worst}." if worst else ""
    return (
        f"not written: {'; '.join(verdict.failures)}.{''.join(tried)}{named} Leave such networks "
        "in fp32 with --part for the others, take other --frames, or name a reason with --accept"
    )


def _write(
    request: _Request, original: Bundle, made: Mapping[str, HalfNetwork], verdict: Verdict
) -> None:
    from flowtrack.calibration.converted import with_networks
    from flowtrack.runtime.bundle import write_bundle

    records = {
        part: {**item.record(), **verdict.record(part, request.accept)}
        for part, item in made.items()
    }
    graphs = {part: item.graph for part, item in made.items()}
    written = write_bundle(request.out, *with_networks(original, graphs, "fp16", records))
    note(f"{written.path}: {', '.join(made)} in fp16")
