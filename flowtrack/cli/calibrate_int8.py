"""`flowtrack calibrate int8`: a bundle in INT8, written only if it passes the gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowtrack.cli.clip_data import ClipData
from flowtrack.cli.console import command, note, print_json, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.cli.eval_posetrack import Joints, print_table
from flowtrack.errors import ExportError, OptionError

if TYPE_CHECKING:
    from flowtrack.calibration.quantisation import Int8Calibration, Quantised
    from flowtrack.calibration.sensitivity import Damage

_SHOWN = 12  # worst layers in a table


@command
def int8(
    frames: Annotated[
        str, typer.Option(help="Video, or folder of pictures, of the kind that will be tracked.")
    ],
    out: Annotated[Path, typer.Option(help="Bundle to write: a folder, or a .zip file.")],
    bundle: Annotated[
        Path | None,
        typer.Option(help="Bundle to bring to INT8.", show_default="the default networks"),
    ] = None,
    count: Annotated[
        int, typer.Option(min=4, help="Frames to use; half of them only judge.")
    ] = 200,
    method: Annotated[
        Literal["entropy", "minmax", "percentile"],
        typer.Option(help="Which magnitude of an activation becomes 127."),
    ] = "percentile",
    part: Annotated[
        list[str] | None,
        typer.Option(help="detector, pose or flow; repeat for several.", show_default="all"),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Node, or operator type, that stays in higher precision; repeatable."),
    ] = None,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Transposed convolutions in INT8 as well.")
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option(help="Folder of measured ranges: used if there, written if not."),
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
    """Bring a bundle to INT8 as explicit Q/DQ nodes: one graph for every runtime that has INT8.

    Ranges are measured on frames that pass through the bundle's own preprocessing. Other frames of
    the same source judge: boxes, joints and flow against fp32 on --device. What differs too much
    is not written, unless --accept says why it should be.
    """
    from flowtrack.calibration.held_out import split_source
    from flowtrack.calibration.int8_options import Int8Options
    from flowtrack.calibration.quantisation import Int8Calibration
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path
    from flowtrack.runtime.engines import choose_device

    if truth is None and (images is not None or joints is not None):
        raise OptionError("--images and --joints would be ignored without --truth; leave them out")
    if html is not None and html.is_dir():
        raise OptionError(f"--html {html} is a folder, expected a file; name another one")
    if accept is not None and not accept.strip():
        raise OptionError("--accept is empty, expected a reason")
    chosen_device, _ = choose_device(device)
    options = Int8Options(method=method, keep=tuple(keep or ()), transposed=transposed)
    opened = open_bundle(bundle or default_bundle_path())
    material = split_source(frames, count)
    with progress_bar() as bar:
        task = bar.add_task("running fp32", total=len(material.calibration))
        calibration = Int8Calibration(
            opened, material, options, tuple(part or ()), lambda: bar.advance(task)
        )
    with progress_bar() as bar:
        task = bar.add_task("measuring ranges", total=calibration.runs())
        tables = calibration.tables(table, lambda: bar.advance(task))
    clips: list[Any] = []
    if truth is not None:
        data = ClipData(truth, images, None)
        with data.opened() as found:
            clips = found
    result = calibration.quantised(tables, chosen_device, clips=clips, joints=joints or "all")
    failed = bool(result.verdict.failures)
    ranked: dict[str, list[Damage]] = {}
    if sensitivity or html is not None or (failed and accept is None):
        ranked = _ranked(calibration, tables)
    if html is not None:
        _write_page(html, result, ranked)
    if as_json:
        _print_json(result, ranked, written=not failed or accept is not None)
    else:
        _show(result, ranked if sensitivity else {})
    if failed and accept is None:
        raise ExportError(_refusal(result, ranked))
    if not failed and accept is not None:
        note("nothing failed, so --accept is not recorded")
    written = calibration.write(result, out, accept if failed else None)
    note(f"{written.path}: {', '.join(result.graphs)} in INT8")


def _ranked(calibration: Int8Calibration, tables: dict[str, Any]) -> dict[str, list[Damage]]:
    with progress_bar() as bar:
        task = bar.add_task("measuring layers", total=None)
        return calibration.sensitivity(tables, lambda: bar.advance(task))


def _refusal(result: Quantised, ranked: dict[str, list[Damage]]) -> str:
    from flowtrack.calibration.gate_report import worst_layers

    parts = result.verdict.parts
    blamed = {part: found for part, found in ranked.items() if parts[part].failures}
    worst = f" The layers that cost most: {worst_layers(blamed)}." if blamed else ""
    return (
        f"not written: {'; '.join(result.verdict.failures)}.{worst} Keep layers in higher "
        "precision with --keep, take more or other frames or another --method, or name a reason "
        "with --accept"
    )


def _show(result: Quantised, ranked: dict[str, list[Damage]]) -> None:
    from flowtrack.calibration.gate_report import verdict_table
    from flowtrack.calibration.sensitivity import sensitivity_table

    verdict = result.verdict
    title = f"INT8 on {verdict.device} against fp32, {verdict.frames} frames held out"
    print_table(verdict_table(verdict), title)
    layers = ", ".join(f"{part} {count}" for part, count in result.layers.items())
    note(f"layers in INT8: {layers}")
    for part, damages in ranked.items():
        print_table(sensitivity_table(damages, _SHOWN), f"What each layer of {part} costs")


def _print_json(result: Quantised, ranked: dict[str, list[Damage]], *, written: bool) -> None:
    from flowtrack.calibration.gate_report import verdict_dict

    print_json(
        {"written": written, "layers": result.layers, **verdict_dict(result.verdict, ranked)}
    )


def _write_page(path: Path, result: Quantised, ranked: dict[str, list[Damage]]) -> None:
    from flowtrack.calibration.gate_report import verdict_report

    verdict_report("INT8", result.verdict, ranked).write(path)
    note(f"wrote {path}")
