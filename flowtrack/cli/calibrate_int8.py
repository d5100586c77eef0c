"""`flowtrack calibrate int8`: a bundle in INT8, written only if it passes the gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowtrack.cli.console import command, note, progress_bar
from flowtrack.cli.precision_options import (
    Accept,
    AsJson,
    BundlePath,
    Count,
    Device,
    Frames,
    Html,
    Images,
    Joints,
    Keep,
    Out,
    Parts,
    Request,
    Sensitivity,
    Truth,
    tell_islands,
)
from flowtrack.errors import ExportError

if TYPE_CHECKING:
    from flowtrack.calibration.quantisation import Int8Calibration, Quantised
    from flowtrack.calibration.ranges import RangeTable
    from flowtrack.calibration.sensitivity import Damage

_ADVICE = (
    "Keep layers in higher precision with --keep, take more or other frames or another --method, "
    "or name a reason with --accept"
)


@command
def int8(
    frames: Frames,
    out: Out,
    bundle: BundlePath = None,
    count: Count = 200,
    method: Annotated[
        Literal["entropy", "minmax", "mse", "percentile"],
        typer.Option(help="Which magnitude of an activation becomes 127."),
    ] = "mse",
    part: Parts = None,
    keep: Keep = None,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Transposed convolutions in INT8 as well.")
    ] = False,
    last_layers: Annotated[
        bool, typer.Option("--last-layers", help="The layers before the outputs in INT8 as well.")
    ] = False,
    correct_biases: Annotated[
        bool,
        typer.Option(
            "--correct-biases/--keep-biases",
            help="Let biases take back what rounding moves the means of channels by.",
        ),
    ] = True,
    table: Annotated[
        Path | None,
        typer.Option(help="Folder of measured ranges: used if there, written if not."),
    ] = None,
    truth: Truth = None,
    images: Images = None,
    joints: Joints = None,
    accept: Accept = None,
    sensitivity: Sensitivity = False,
    html: Html = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Bring a bundle to INT8 as explicit Q/DQ nodes: one graph for every runtime that has INT8.

    Ranges are measured on frames that pass through the bundle's own preprocessing. Other frames of
    the same source judge: boxes, joints and flow against fp32 on --device. The most sensitive
    layers of a network that fails go back to fp32, a third of them at most. What still fails is not
    written, unless --accept says why it should be.
    """
    from flowtrack.calibration.gate_report import refusal
    from flowtrack.calibration.held_out import split_source
    from flowtrack.calibration.int8_options import Int8Options
    from flowtrack.calibration.quantisation import Int8Calibration
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path
    from flowtrack.runtime.engines import choose_device

    request = Request(
        "INT8", frames, out, truth, images, joints, accept, sensitivity, html, as_json
    )
    request.check()
    chosen_device, _ = choose_device(device)
    options = Int8Options(method=method, keep=tuple(keep or ()), transposed=transposed,
                          last_layers=last_layers, correct_biases=correct_biases)  # fmt: skip
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
    result = _judged(request, calibration, tables, chosen_device)
    for name, made in result.networks.items():
        tell_islands(name, made.islands)
    refused = bool(result.verdict.failures) and accept is None
    ranked = dict(result.ranked)
    if sensitivity or html is not None or refused:
        missing = {name: found for name, found in tables.items() if name not in ranked}
        ranked |= _ranked(calibration, missing)
    islands = {name: made.islands for name, made in result.networks.items()}
    request.show(result.verdict, ranked, {"layers": result.layers, "fp32_islands": islands})
    if refused:
        possible = {name: made.layers for name, made in result.networks.items()}
        raise ExportError(refusal(result.verdict, possible, ranked, _ADVICE))
    written = calibration.write(result, out, request.reason(result.verdict))
    layers = ", ".join(f"{part} ({count} layers)" for part, count in result.layers.items())
    note(f"{written.path}: in INT8 are {layers}")


def _judged(
    request: Request, calibration: Int8Calibration, tables: dict[str, RangeTable], device: str
) -> Quantised:
    clips = request.clips()
    with progress_bar() as bar:
        task = bar.add_task("comparing with fp32", total=2 * sum(map(len, clips)) or None)
        return calibration.quantised(
            tables, device, clips=clips, joints=request.joints or "all",
            progress=lambda: bar.advance(task),
            tell=lambda what: bar.update(task, description=what),
        )  # fmt: skip


def _ranked(calibration: Int8Calibration, tables: dict[str, RangeTable]) -> dict[str, list[Damage]]:
    with progress_bar() as bar:
        task = bar.add_task("measuring layers", total=None)
        return calibration.sensitivity(tables, lambda: bar.advance(task))
