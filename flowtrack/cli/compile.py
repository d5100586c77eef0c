"""`flowtrack compile`: TensorRT plans for the networks of a bundle, built on this GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtrack.cli.console import command, note, print_json, progress_bar
from flowtrack.errors import OptionError, SourceError

if TYPE_CHECKING:
    from rich.progress import Progress

    from flowtrack.export.compiling import CompiledPlan
    from flowtrack.export.profiles import FrameSizes
    from flowtrack.structs import Frame

_FRAMES = 4  # that a plan is compared on

_Bundle = Annotated[Path, typer.Argument(help="Bundle: a folder or a .zip file.")]
_Out = Annotated[
    Path | None, typer.Option(help="Write a copy with the plans instead: folder or .zip.")
]
_Part = Annotated[
    list[str] | None,
    typer.Option(help="detector, pose or flow; may be given again.", show_default="all networks"),
]
_Buckets = Annotated[
    str | None,
    typer.Option(help="Batch sizes of the pose network.", show_default="1,2,4,8,16"),
]
_Level = Annotated[
    int, typer.Option(min=0, max=5, help="Builder optimisation level: 5 builds long, runs fast.")
]
_Workspace = Annotated[
    float | None,
    typer.Option(metavar="GB", help="Most scratch memory of a layer.", show_default="no limit"),
]
_Hardware = Annotated[
    bool, typer.Option("--hardware-compatible", help="Run on every GPU from Ampere on; slower.")
]
_Version = Annotated[
    bool, typer.Option("--version-compatible", help="Run on later TensorRT versions; slower.")
]
_Streaming = Annotated[
    bool, typer.Option("--weight-streaming", help="Keep weights in host memory; slower.")
]
_Refit = Annotated[bool, typer.Option("--refit", help="Let weights be replaced later; slower.")]
_TimingCache = Annotated[
    Path | None,
    typer.Option(
        help="File of measured kernels, which makes builds faster.",
        show_default="one per GPU and version in ~/.cache/flowtrack",
    ),
]
_Gpu = Annotated[int, typer.Option(min=0, help="GPU to build on and for.")]
_FrameSize = Annotated[
    str | None,
    typer.Option(
        help="Smallest, usual and largest HEIGHTxWIDTH for networks of free picture size, or one.",
        show_default="64x64,1080x1920,2160x3840",
    ),
]
_Frames = Annotated[
    Path | None,
    typer.Option(help="Video or folder to compare on.", show_default="rendered people"),
]
_Rebuild = Annotated[bool, typer.Option("--rebuild", help="Build plans that match, too.")]
_Accept = Annotated[
    str | None, typer.Option(metavar="REASON", help="Take plans that differ too much, and why.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print what lies beside the plans.")]


@command
def compile_plans(
    bundle: _Bundle,
    out: _Out = None,
    part: _Part = None,
    buckets: _Buckets = None,
    level: _Level = 3,
    workspace: _Workspace = None,
    hardware_compatible: _Hardware = False,
    version_compatible: _Version = False,
    weight_streaming: _Streaming = False,
    refit: _Refit = False,
    timing_cache: _TimingCache = None,
    gpu: _Gpu = 0,
    frame_size: _FrameSize = None,
    frames: _Frames = None,
    rebuild: _Rebuild = False,
    accept: _Accept = None,
    as_json: _AsJson = False,
) -> None:
    """Build TensorRT plans of a bundle's networks for this GPU, and put them into the bundle.

    Plans that match already are left alone. Each new one is compared with its ONNX graph on the
    CPU; where one differs too much, nothing is written.
    """
    from flowtrack.cache import default_cache
    from flowtrack.export.compiling import CompileOptions, compile_bundle
    from flowtrack.export.tensorrt import BuildOptions, timing_cache_path
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.engines.tensorrt.device import open_gpu
    from flowtrack.runtime.engines.tensorrt.library import require_tensorrt

    options = CompileOptions(
        parts=tuple(part or ()),
        buckets=_buckets(buckets),
        frames=_frame_sizes(frame_size),
        build=BuildOptions(
            level, workspace, hardware_compatible, version_compatible, weight_streaming, refit
        ),
        rebuild=rebuild,
        accept=accept,
    )
    opened = open_bundle(bundle)
    require_tensorrt()
    compared_on = _read(frames) if frames is not None else _rendered()
    with progress_bar("%") as bar:
        compiled = compile_bundle(
            opened,
            open_gpu(gpu),
            options,
            compared_on,
            out,
            lambda machine: (
                timing_cache or timing_cache_path(default_cache() / "tensorrt", machine)
            ),
            _bar(bar),
        )
    if as_json:
        print_json({item.part: _as_dict(item) for item in compiled})
        return
    for item in compiled:
        note(_sentence(item))
    if out is not None or any(item.built for item in compiled):
        note(f"the plans are in {out or opened.path}; track with --device tensorrt")


def _bar(bar: Progress) -> Callable[[str], Callable[[str, float], None]]:
    """Draws each network's build as a bar with the name of TensorRT's phase."""

    def begin(part: str) -> Callable[[str, float], None]:
        task = bar.add_task(part, total=100)

        def tell(phase: str, share: float) -> None:
            bar.update(task, completed=round(100 * share), description=f"{part}: {phase}")

        return tell

    return begin


def _buckets(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError as error:
        raise OptionError(f"buckets are {text!r}, expected batch sizes such as 1,2,4,8") from error


def _frame_sizes(text: str | None) -> FrameSizes | None:
    from flowtrack.cli.bundle import parse_size
    from flowtrack.export.profiles import FrameSizes

    if text is None:
        return None
    sizes = [parse_size(size) for size in text.split(",")]
    if len(sizes) not in (1, 3):
        raise OptionError(
            f"frame size is {text!r}, expected one HEIGHTxWIDTH, or the smallest, the usual and "
            "the largest, such as 64x64,1080x1920,2160x3840"
        )
    return FrameSizes(*(sizes * 3)[:3])


def _read(place: Path) -> list[Frame]:
    """The first frames of a video or a folder of pictures of one size."""
    from flowtrack.runtime.video import SourceOptions, open_source

    with open_source(place, SourceOptions(max_frames=_FRAMES)) as source:
        frames = list(source)
    sizes = {(frame.height, frame.width) for frame in frames}
    if len(frames) < 2 or len(sizes) > 1:
        raise SourceError(
            f"{place} has {len(frames)} frames of sizes {sorted(sizes)}, expected two or more of "
            "one size to compare on"
        )
    return frames


def _rendered() -> list[Frame]:
    from flowtrack.structs import Frame
    from flowtrack.synthetic import ClipOptions, render_clip

    clip = render_clip(ClipOptions(frames=_FRAMES))
    return [Frame(frame.index, frame.time_s, frame.image) for frame in clip]


def _as_dict(item: CompiledPlan) -> dict[str, Any]:
    import json

    record = json.loads(item.plan.record.to_json())
    return {"built": item.built, "bytes": len(item.plan.data), **record}


def _sentence(item: CompiledPlan) -> str:
    """What became of a part, for people."""
    if not item.built:
        return f"{item.part}: the plan matches already"
    fingerprint, comparison = item.plan.record.fingerprint, item.plan.record.comparison or {}
    size = f"{len(item.plan.data) / 1e6:.1f} MB"
    batches = ", ".join(str(bucket) for bucket in fingerprint.buckets) or "as in the graph"
    figures = ("mean_iou", "mean_oks", "mean_px")
    agreement = ", ".join(
        f"{name} {comparison[name]:.4g}" for name in figures if name in comparison
    )
    return f"{item.part}: {size}, {fingerprint.precision}, batches {batches}; {agreement}"
