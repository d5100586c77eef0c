"""`flowtrack inspect`: what is inside a bundle or a TensorRT plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtrack.cli.console import command, note, print_json
from flowtrack.errors import FlowtrackError, OptionError

if TYPE_CHECKING:
    from flowtrack.runtime.bundle import Bundle
    from flowtrack.runtime.engines.tensorrt.inspection import PlanContent
    from flowtrack.runtime.plans import Plan, PlanRecord

_MIB = 1 << 20


@command
def inspect(
    path: Annotated[
        Path, typer.Argument(help="Bundle: a folder or a .zip file; or a TensorRT plan.")
    ],
    plan: Annotated[
        str | None, typer.Option(metavar="PART", help="Look into a bundle's TensorRT plan instead.")
    ] = None,
    gpu: Annotated[int, typer.Option(min=0, help="GPU to load a plan on.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the content as JSON.")] = False,
) -> None:
    """Show a bundle's networks, how they are fed and read, and the tracker's options.

    Of a TensorRT plan, show what it was built from, its layers, their types and its memory.
    """
    import json

    from flowtrack.runtime.bundle import open_bundle

    if path.suffix == ".plan":
        if plan is not None:
            raise OptionError(f"{path} is a plan itself; leave --plan out")
        _show_plan(str(path), _read_plan(path), gpu, as_json)
        return
    bundle = open_bundle(path)
    if plan is not None:
        _show_plan(f"{path}: {plan}", _plan_of(bundle, plan), gpu, as_json)
        return
    if as_json:
        print_json(json.loads(bundle.manifest.to_json()))
        return
    _show(bundle)


def _plan_of(bundle: Bundle, part: str) -> Plan:
    plans = bundle.plans()
    if part not in plans:
        raise OptionError(
            f"{bundle.path} has no plan for {part!r}, it has {', '.join(plans) or 'none'}; make "
            "them with `flowtrack compile`"
        )
    return bundle.read_plan(part)


def _read_plan(path: Path) -> Plan:
    """A plan that lies by itself, with the file beside it."""
    from flowtrack.runtime.plans import read_plan_file

    return read_plan_file(path)


def _show_plan(title: str, plan: Plan, gpu: int, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    content, missing = _content(plan, gpu)
    if as_json:
        record = json.loads(plan.record.to_json())
        print_json({**record, "content": asdict(content) if content else None, "note": missing})
        return
    _show_record(title, len(plan.data), plan.record)
    if content is not None:
        _show_content(content)
    if missing:
        note(f"layers are not shown: {missing}")


def _content(plan: Plan, gpu: int) -> tuple[PlanContent | None, str | None]:
    """What TensorRT tells, or why it cannot be asked."""
    from flowtrack.runtime.engines.tensorrt.inspection import inspect_plan

    try:
        return inspect_plan(plan.data, plan.record.fingerprint, gpu), None
    except FlowtrackError as error:
        return None, str(error)


def _show_record(title: str, size: int, record: PlanRecord) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    fingerprint = record.fingerprint
    machine = fingerprint.machine
    switches = ("hardware_compatible", "version_compatible", "weight_streaming", "refit")
    chosen = [name.replace("_", " ") for name in switches if getattr(fingerprint, name)]
    rows: dict[str, Any] = {
        "built by": f"TensorRT {machine.tensorrt} for {machine.gpu} "
        f"({machine.compute_capability}), {machine.platform}, {record.date}",
        "graph": f"{fingerprint.onnx_sha256[:12]}, {fingerprint.precision}",
        "size": f"{size / _MIB:.1f} MiB, scratch {record.device_memory / _MIB:.1f} MiB",
        "batches": ", ".join(map(str, fingerprint.buckets)) or "as in the graph",
        "options": ", ".join([f"level {fingerprint.level}", *chosen]),
        **{f"tensor {name}": text for name, text in record.tensors.items()},
        "compared": ", ".join(f"{key} {value}" for key, value in (record.comparison or {}).items()),
    }
    table = Table(title=escape(title), show_header=False)
    for name, text in rows.items():
        table.add_row(name, escape(text))
    Console().print(table)


def _show_content(content: PlanContent) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{len(content.layers)} layers")
    for column in ("layer", "kind", "type", "shape"):
        table.add_column(column)
    for layer in content.layers:
        shapes = " ".join("x".join(map(str, shape)) for shape in layer.shapes)
        table.add_row(*map(escape, (layer.name, layer.kind, ", ".join(layer.types), shapes)))
    console = Console()
    console.print(table)
    counted = ", ".join(f"{kind}: {count}" for kind, count in content.types().items())
    console.print(f"layers by type of output: {counted or 'not told'}", markup=False)
    console.print(
        f"scratch memory {content.scratch_bytes / _MIB:.1f} MiB, weights that may stream "
        f"{content.streamable_bytes / _MIB:.1f} MiB"
    )


def _show(bundle: Bundle) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    manifest = bundle.manifest
    decodes = {
        "detector": manifest.detector.decode,
        "pose": manifest.pose.decode,
        "flow": manifest.flow.decode if manifest.flow else "none",
    }
    files = manifest.files()
    table = Table(
        title=escape(f"{bundle.path} ({manifest.skeleton}, {manifest.made_by or 'by hand'})")
    )
    for column in ("part", "decode", "file", "MB", "input", "precision", "parity"):
        table.add_column(column)
    for part, decode in decodes.items():
        if part not in files:
            table.add_row(part, decode, "-", "-", "-", "-", "-")
            continue
        file, spec = files[part], files[part].input
        sides = f"{spec.height or 'any'}x{spec.width or 'any'}"
        fed = f"{spec.form} {spec.dtype} {spec.layout} {spec.color} {spec.batch or 'N'}x{sides}"
        megabytes = f"{len(bundle.read(part)) / 1e6:.1f}"
        parity = "yes" if file.parity else "no"
        table.add_row(part, decode, escape(file.path), megabytes, fed, file.precision, parity)
    console = Console()
    console.print(table)
    options = manifest.tracker_options
    values = options.to_dict() | {"queue": options.length}
    console.print("tracker: " + ", ".join(f"{name} {value}" for name, value in values.items()))
    for part, record in bundle.plans().items():
        machine = record.fingerprint.machine
        console.print(
            f"plan: {part}, TensorRT {machine.tensorrt} for {machine.gpu}, batches "
            f"{', '.join(map(str, record.fingerprint.buckets)) or 'as in the graph'}",
            markup=False,
        )
