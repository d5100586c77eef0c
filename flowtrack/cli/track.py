"""`flowtrack track`: videos in, every person's pose tracked out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowtrack.cli.console import FAILED, command, err, fail, note, print_json, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.errors import FlowtrackError, OptionError
from flowtrack.tracker.options import FlowLinks, OksArea, Similarity, TrackerOptions, preset

if TYPE_CHECKING:
    from rich.progress import Progress

    from flowtrack.runtime.drawing import DrawOptions
    from flowtrack.runtime.output import StopRequest
    from flowtrack.runtime.pipeline import Pipeline
    from flowtrack.runtime.video import SourceOptions, SourceSpec

_TRACKING = "Tracking (default: what the bundle says)"
_DRAWING = "Annotated video"
_FRAMES = "Frames"


def _tracking(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_TRACKING)


_Sources = Annotated[
    list[str],
    typer.Argument(
        help="Videos, folders of pictures (one clip each) or of videos, globs in quotes, "
        "camera numbers, rtsp:// or http:// addresses."
    ),
]
_Bundle = Annotated[
    Path | None,
    typer.Option(
        help="Networks to track with: a folder or .zip file.", show_default="those of the package"
    ),
]
_Out = Annotated[Path, typer.Option(help="Folder for the results.")]
_Formats = Annotated[
    str, typer.Option(help="Results to write: any of posetrack,posetrack18,jsonl,mp4.")
]
_Device = Annotated[str, typer.Option(help=DEVICE_HELP)]
_Threads = Annotated[
    int, typer.Option(min=0, help="CPU threads of each network's run; 0: as many as cores.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")]
_Row = Annotated[
    str | None, _tracking("Start from a row of the paper's Table 5: a1 to c6.", "--preset")
]
_Similarity = Annotated[Similarity | None, _tracking("What links people over time.")]
_Propagate = Annotated[
    bool | None,
    _tracking("Add boxes around joints that the flow carried here.", "--propagate/--no-propagate"),
]
_Queue = Annotated[int | None, _tracking("Frames that are remembered (L_Q).")]
_FlowLinks = Annotated[
    FlowLinks | None, _tracking("From older frames: one flow a frame, or one direct flow.")
]
_MinSimilarity = Annotated[float | None, _tracking("Less similar people stay apart.")]
_NmsIou = Annotated[float | None, _tracking("Overlap above which two boxes are one.")]
_BoxThreshold = Annotated[float | None, _tracking("Boxes below are dropped.")]
_StartThreshold = Annotated[
    float | None, _tracking("People in boxes below start no track; they only continue one.")
]
_StartJoints = Annotated[int | None, _tracking("People with fewer joints start no track.")]
_JointThreshold = Annotated[float | None, _tracking("Joints below are dropped.")]
_PoseNms = Annotated[str | None, _tracking("OKS above which two poses are one person, or off.")]
_OksArea = Annotated[OksArea | None, _tracking("Area of a person in OKS.")]
_BoxGrowth = Annotated[float | None, _tracking("Growth of boxes around carried joints.")]
_DetectEvery = Annotated[int | None, _tracking("Run the detector on every n-th frame.")]
_DrawBoxes = Annotated[
    bool,
    typer.Option("--draw-boxes", rich_help_panel=_DRAWING, help="Boxes; dashed where propagated."),
]
_DrawFlow = Annotated[
    Literal["none", "colors", "arrows"],
    typer.Option(rich_help_panel=_DRAWING, help="Optical flow under the people."),
]
_Trails = Annotated[
    int, typer.Option(rich_help_panel=_DRAWING, help="Frames of trail behind each person.")
]
_Start = Annotated[
    float, typer.Option(rich_help_panel=_FRAMES, help="Begin at this time, in seconds.")
]
_MaxFrames = Annotated[
    int | None, typer.Option(rich_help_panel=_FRAMES, help="Stop after so many frames.")
]
_Stride = Annotated[int, typer.Option(rich_help_panel=_FRAMES, help="Take every n-th frame.")]
_Fps = Annotated[
    float | None,
    typer.Option(rich_help_panel=_FRAMES, help="Frames a second of a folder of pictures."),
]


@command
def track(
    sources: _Sources,
    bundle: _Bundle = None,
    out: _Out = Path("out"),
    formats: _Formats = "posetrack,jsonl,mp4",
    device: _Device = "auto",
    threads: _Threads = 0,
    as_json: _AsJson = False,
    row: _Row = None,
    similarity: _Similarity = None,
    propagate: _Propagate = None,
    queue: _Queue = None,
    flow_links: _FlowLinks = None,
    min_similarity: _MinSimilarity = None,
    nms_iou: _NmsIou = None,
    box_threshold: _BoxThreshold = None,
    start_threshold: _StartThreshold = None,
    start_joints: _StartJoints = None,
    joint_threshold: _JointThreshold = None,
    pose_nms: _PoseNms = None,
    oks_area: _OksArea = None,
    box_growth: _BoxGrowth = None,
    detect_every: _DetectEvery = None,
    draw_boxes: _DrawBoxes = False,
    draw_flow: _DrawFlow = "none",
    trails: _Trails = 30,
    start: _Start = 0.0,
    max_frames: _MaxFrames = None,
    stride: _Stride = 1,
    fps: _Fps = None,
) -> None:
    """Track every person's pose through videos.

    For a source named clip, the results are clip.posetrack.json (for poseval), clip.jsonl (one
    line a frame) and clip.mp4 (annotated). Files appear whole; a run that is stopped keeps the
    frames it finished.
    """
    from flowtrack.runtime.bundle import open_bundle
    from flowtrack.runtime.default import default_bundle_path
    from flowtrack.runtime.drawing import DrawOptions
    from flowtrack.runtime.pipeline import open_pipeline
    from flowtrack.runtime.video import SourceOptions, expand_sources

    changes = {
        "similarity": similarity,
        "propagate": propagate,
        "queue": queue,
        "flow_links": flow_links,
        "min_similarity": min_similarity,
        "nms_iou": nms_iou,
        "box_threshold": box_threshold,
        "start_threshold": start_threshold,
        "start_joints": start_joints,
        "joint_threshold": joint_threshold,
        "oks_area": oks_area,
        "box_growth": box_growth,
        "detect_every": detect_every,
    }
    frames = SourceOptions(start_s=start, stride=stride, max_frames=max_frames, fps=fps)
    specs = expand_sources(sources)
    opened = open_bundle(bundle or default_bundle_path())
    base = preset(row) if row else opened.manifest.tracker_options
    options = _changed(base, changes, pose_nms)
    chosen = [name.strip() for name in formats.split(",")]
    draw = DrawOptions(boxes=draw_boxes, flow=draw_flow, trail_frames=trails)
    if "mp4" not in chosen and draw != DrawOptions():
        raise OptionError("drawing options are given, but no mp4 is written; add it to --formats")
    pipeline = open_pipeline(opened, options, device, threads)
    note(f"running on {pipeline.device}")
    _track_all(pipeline, specs, frames, out, chosen, draw if "mp4" in chosen else None, as_json)


def _changed(base: TrackerOptions, changes: dict[str, Any], pose_nms: str | None) -> TrackerOptions:
    """Options of a bundle or preset with what the command line says instead."""
    values = base.to_dict() | {name: value for name, value in changes.items() if value is not None}
    if changes["similarity"] is not None and changes["queue"] is None:
        values["queue"] = None  # its own default belongs to each similarity
    if pose_nms == "off":
        values["pose_nms"] = None
    elif pose_nms is not None:
        try:
            values["pose_nms"] = float(pose_nms)
        except ValueError:
            raise OptionError(f"pose_nms is {pose_nms!r}, expected a number or off") from None
    return TrackerOptions.from_dict(values)


def _track_all(
    pipeline: Pipeline,
    specs: list[SourceSpec],
    frames: SourceOptions,
    out: Path,
    formats: list[str],
    draw: DrawOptions | None,
    as_json: bool,
) -> None:
    """One clip after the other; a clip that fails does not keep the others from being tracked."""
    from flowtrack.runtime.output import interruptible

    summaries: list[dict[str, Any]] = []
    with interruptible() as stop:
        for spec in specs:
            with progress_bar() as bar:
                summary = _track_one(pipeline, spec, frames, out, formats, draw, bar, stop)
            summaries.append(summary)
            if summary["stopped"]:
                break
    if as_json:
        print_json(summaries)
    if any(summary["error"] for summary in summaries):
        raise typer.Exit(FAILED)


def _track_one(
    pipeline: Pipeline,
    spec: SourceSpec,
    frames: SourceOptions,
    out: Path,
    formats: list[str],
    draw: DrawOptions | None,
    bar: Progress,
    stop: StopRequest,
) -> dict[str, Any]:
    import time

    from flowtrack.runtime.output import open_writers

    summary: dict[str, Any] = {
        "clip": spec.name, "frames": 0, "people": 0, "skipped_frames": 0, "files": {},
        "timing_ms": {}, "error": None, "stopped": False,
    }  # fmt: skip
    ids: set[int] = set()
    stages: dict[str, float] = {}
    began = time.perf_counter()
    source = None
    try:
        with spec.open(frames) as source:
            task = bar.add_task(spec.name, total=source.frame_count)
            with open_writers(out, source, pipeline.skeleton, formats, draw=draw) as writers:
                for frame, tracked in pipeline.run(source):
                    writers.write(tracked, frame.image)
                    summary["frames"] += 1
                    ids.update(tracked.tracks.id.tolist())
                    for stage, ms in tracked.timing_ms.items():
                        stages[stage] = stages.get(stage, 0.0) + ms
                    bar.advance(task)
                    stop.check()
    except KeyboardInterrupt:
        summary["error"], summary["stopped"] = "stopped", True
    except FlowtrackError as error:
        if isinstance(error, OptionError):
            raise
        summary["error"] = str(error)
    seconds = time.perf_counter() - began
    count = summary["frames"]
    summary["people"] = len(ids)
    summary["frames_per_s"] = round(count / seconds, 2) if count else 0.0
    summary["timing_ms"] = {stage: round(ms / count, 3) for stage, ms in stages.items() if count}
    if source is not None:
        summary["skipped_frames"] = sum(len(problem.indices) for problem in source.problems)
    if count:
        summary["files"] = {name: str(path) for name, path in writers.paths.items()}
    _say(summary, out)
    return summary


def _say(summary: dict[str, Any], out: Path) -> None:
    name, count = summary["clip"], summary["frames"]
    if summary["error"]:
        kept = f"; the {count} finished frames are kept in {out}" if count else ""
        fail(f"{name}: {summary['error']}{kept}")
        return
    skipped = f", {summary['skipped_frames']} skipped" if summary["skipped_frames"] else ""
    note(
        f"{name}: {count} frames{skipped}, {summary['people']} people, "
        f"{summary['frames_per_s']} frames/s -> "
        + ", ".join(Path(path).name for path in summary["files"].values())
    )
    if err.is_terminal:
        parts = [f"{stage} {ms:.1f}" for stage, ms in summary["timing_ms"].items()]
        note("  ms a frame: " + ", ".join(parts))
