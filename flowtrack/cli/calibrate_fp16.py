"""`flowtrack calibrate fp16`: a bundle of half precision, written only if it passes the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flowtrack.cli.console import busy, command, note, progress_bar
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
    from flowtrack.calibration.feeds import Feed
    from flowtrack.calibration.gate import Gate
    from flowtrack.calibration.held_out import Material
    from flowtrack.calibration.islands import ConvertedNetwork
    from flowtrack.calibration.sensitivity import Damage
    from flowtrack.calibration.verdict import Verdict
    from flowtrack.runtime.bundle import Bundle

_RUNS = 32
"""Most runs of a network that overflows are looked for in: what more would add is little."""

_ADVICE = (
    "Leave such networks in fp32 with --part for the others, take other --frames, or name a reason "
    "with --accept"
)


@command
def fp16(
    frames: Frames,
    out: Out,
    bundle: BundlePath = None,
    count: Count = 40,
    part: Parts = None,
    keep: Keep = None,
    truth: Truth = None,
    images: Images = None,
    joints: Joints = None,
    accept: Accept = None,
    sensitivity: Sensitivity = False,
    html: Html = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Bring a bundle to half precision, for GPUs: the graphs say which tensor has which type.

    Positions and scores stay fp32. Frames of the source that nothing was measured on judge: boxes,
    joints and flow against fp32. The most sensitive layers of a network that fails go back to
    fp32, a third of them at most. CPUs have no half arithmetic; there its rounding is imitated.
    What still fails is not written, unless --accept says why it should be.
    """
    request = Request(
        "fp16", frames, out, truth, images, joints, accept, sensitivity, html, as_json
    )
    request.check()

    from flowtrack.calibration.converted import convertible, kept_by_part
    from flowtrack.calibration.gate import Gate
    from flowtrack.calibration.gate_report import refusal
    from flowtrack.calibration.held_out import split_source
    from flowtrack.export.half_network import REHEARSING, judging_device
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path
    from flowtrack.runtime.engines import choose_device

    chosen_device = judging_device(choose_device(device)[0])
    if chosen_device == REHEARSING:
        note("CPUs compute fp16 in fp32: its rounding is imitated, in ONNX Runtime")
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
    request.show(
        verdict, ranked, {"networks": {name: item.record() for name, item in made.items()}}
    )
    if verdict.failures and accept is None:
        layers = {name: item.layers for name, item in made.items()}
        raise ExportError(refusal(verdict, layers, ranked, _ADVICE))
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
) -> ConvertedNetwork:
    from flowtrack.export.half_network import half_network

    with busy(f"{part}: halving, and comparing with fp32"):
        made = half_network(model, gate, part, feeds, keep)
    tell_islands(part, made.islands)
    return made


def _judged(
    request: Request, original: Bundle, made: Mapping[str, ConvertedNetwork], gate: Gate
) -> Verdict:
    """The verdict on all parts and, where truth is given, on tracking with them."""
    from flowtrack.calibration.converted import judge_on_truth
    from flowtrack.calibration.verdict import Verdict

    found = {part: item.verdict for part, item in made.items()}
    clips = request.clips()
    if clips:
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
    from flowtrack.export.half_network import rank_halved

    with busy(f"{part}: measuring what each layer costs"):
        return rank_halved(model, feeds, keep)


def _write(
    request: Request, original: Bundle, made: Mapping[str, ConvertedNetwork], verdict: Verdict
) -> None:
    from flowtrack.calibration.converted import with_networks
    from flowtrack.runtime.bundle import write_bundle

    reason = request.reason(verdict)
    records = {
        part: {**item.record(), **verdict.record(part, reason)} for part, item in made.items()
    }
    graphs = {part: item.graph for part, item in made.items()}
    written = write_bundle(request.out, *with_networks(original, graphs, "fp16", records))
    note(f"{written.path}: {', '.join(made)} in fp16")
