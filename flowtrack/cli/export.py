"""`flowtrack export`: PyTorch networks become verified ONNX graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowtrack.cli.console import busy, command, note, print_json
from flowtrack.cli.frame_in import frame_in
from flowtrack.errors import ExportError, OptionError

if TYPE_CHECKING:
    from flowtrack.export import ExportedNetwork

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Turn a PyTorch network into a verified ONNX graph.",
)

_Path = Annotated[Path, typer.Argument(help="ONNX file to write; its facts go beside it (.json).")]
_Checkpoint = Annotated[
    Path | None, typer.Option(help="Trained weights; the architecture is read from them.")
]
_Random = Annotated[
    bool, typer.Option("--random-weights", help="Untrained weights: to measure speed only.")
]
_Color = Annotated[
    Literal["rgb", "bgr"] | None,
    typer.Option(help="Channel order it was trained on, where it is not the usual one."),
]
_Images = Annotated[
    Path | None,
    typer.Option(help="Folder of pictures, or video, to compare on besides synthetic pictures."),
]
_MOST_PICTURES = 16
_Weights = Annotated[
    Literal["fp32", "fp16"],
    typer.Option(help="How weights are stored; fp16 halves the file, the arithmetic stays fp32."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the parity record as JSON.")]


@app.command()
@command
def pose(
    path: _Path,
    checkpoint: _Checkpoint = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Joints that it predicts; coco-17 unless the file says so.")
    ] = None,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the crops.")] = "256x192",
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Average with the mirrored crop: twice the work.")
    ] = False,
    color: _Color = None,
    depth: Annotated[
        int | None, typer.Option(help="ResNet depth, with --random-weights: 18 to 152.")
    ] = None,
    random_weights: _Random = False,
    images: _Images = None,
    weights: _Weights = "fp32",
    as_json: _Json = False,
) -> None:
    """Export a pose network of the paper (ResNet and deconvolutions).

    Reads checkpoints of flowtrack, of the paper's official code, and of MMPose 0.x and 1.x.
    """
    from flowtrack.export import export_pose
    from flowtrack.skeleton import skeleton_named
    from flowtrack.training.checkpoints import load_pose
    from flowtrack.training.models import PoseResNet

    height, width = _size(size)
    source = _source(checkpoint, random_weights, depth, "--depth")
    if checkpoint is not None:
        loaded = load_pose(checkpoint, color)
        network, color, source["layout"] = loaded.network, loaded.color, loaded.layout
        joints = skeleton_named(skeleton or loaded.skeleton or "coco-17")
    else:
        joints = skeleton_named(skeleton or "coco-17")
        network = PoseResNet(depth or 50, joints=len(joints))
    compared = _pictures(images)
    with busy("exporting and comparing with PyTorch"):
        exported = export_pose(
            network,
            path,
            skeleton=joints,
            height=height,
            width=width,
            color=color or "rgb",
            flip_test=flip_test,
            images=compared,
        )
        exported = _stored(exported, weights, compared)
    _finish(exported, "pose", source, as_json)


@app.command()
@command
def detector(
    path: _Path,
    checkpoint: _Checkpoint = None,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the letterboxed frame.")] = "512x512",
    color: _Color = None,
    depth: Annotated[
        int | None, typer.Option(help="ResNet depth, with --random-weights: 18 to 152.")
    ] = None,
    random_weights: _Random = False,
    images: _Images = None,
    weights: _Weights = "fp32",
    as_json: _Json = False,
) -> None:
    """Export a person detector (CenterNet heads on the paper's trunk)."""
    from flowtrack.export import export_detector
    from flowtrack.training.checkpoints import load_detector
    from flowtrack.training.models import CenterDetector

    height, width = _size(size)
    source = _source(checkpoint, random_weights, depth, "--depth")
    normalisation: dict[str, Any] = {}
    if checkpoint is not None:
        loaded = load_detector(checkpoint, color)
        network, color, source["layout"] = loaded.network, loaded.color, loaded.layout
        normalisation = {"mean": loaded.mean, "std": loaded.std}
    else:
        network = CenterDetector(depth or 18)
    compared = _pictures(images)
    with busy("exporting and comparing with PyTorch"):
        exported = export_detector(
            network,
            path,
            height=height,
            width=width,
            color=color or "rgb",
            images=compared,
            **normalisation,
        )
        exported = _stored(exported, weights, compared)
    _finish(exported, "detector", source, as_json)


@app.command()
@command
def flow(
    path: _Path,
    checkpoint: _Checkpoint = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH, multiples of 64; free unless told.")
    ] = None,
    color: _Color = None,
    width_factor: Annotated[
        float | None,
        typer.Option(help="Channels, with --random-weights: 1 (FlowNet2S) or 0.375."),
    ] = None,
    random_weights: _Random = False,
    images: _Images = None,
    weights: _Weights = "fp32",
    as_json: _Json = False,
) -> None:
    """Export FlowNet2S.

    Reads checkpoints of flowtrack, of NVIDIA's flownet2-pytorch and of ClementPinard's FlowNetS.
    """
    from flowtrack.export import export_flow
    from flowtrack.training.checkpoints import load_flow
    from flowtrack.training.models import FlowNet2S

    height, width = _size(size) if size else (None, None)
    source = _source(checkpoint, random_weights, width_factor, "--width-factor")
    if checkpoint is not None:
        loaded = load_flow(checkpoint, color)
        network, color, source["layout"] = loaded.network, loaded.color, loaded.layout
    else:
        network = FlowNet2S(width_factor or 1.0)
    compared = _pictures(images)
    with busy("exporting and comparing with PyTorch"):
        exported = export_flow(
            network,
            path,
            height=height,
            width=width,
            color=color or "rgb",
            images=compared,
        )
        exported = _stored(exported, weights, compared)
    _finish(exported, "flow", source, as_json)


app.command()(frame_in)


def _source(
    checkpoint: Path | None, random_weights: bool, architecture: float | None, option: str
) -> dict[str, Any]:
    """Where the weights come from, for the manifest; random ones are the same every time."""
    if (checkpoint is not None) == random_weights:
        raise OptionError("give either --checkpoint FILE or --random-weights")
    if checkpoint is not None and architecture is not None:
        raise OptionError(f"{option} is read from the checkpoint; leave it out")
    if checkpoint is None:
        import torch

        torch.manual_seed(0)
        return {"weights": "random"}
    return {"checkpoint": checkpoint.name}


def _size(text: str) -> tuple[int, int]:
    from flowtrack.cli.bundle import parse_size

    return parse_size(text)


def _pictures(place: Path | None) -> list[Any] | None:
    """Pictures to compare on, of any sizes; the first frames of a video serve too."""
    if place is None:
        return None
    from flowtrack.runtime.video import SourceOptions, open_source, pictures_in, read_picture

    if place.is_dir():
        return [read_picture(path) for path in pictures_in(place)[:_MOST_PICTURES]]
    with open_source(place, SourceOptions(max_frames=_MOST_PICTURES)) as source:
        return [frame.image for frame in source]


def _stored(
    exported: ExportedNetwork, weights: Literal["fp32", "fp16"], images: list[Any] | None
) -> ExportedNetwork:
    """The file as it is to be stored, with the hash and the record of that file."""
    from flowtrack.export.storage import store_half

    if weights == "fp32":
        return exported
    try:
        stored = store_half(exported.path, exported.path, images=images, color=exported.input.color)
    except ExportError:
        exported.path.unlink()  # what was asked for could not be made
        raise
    return replace(
        exported, sha256=stored.sha256, parity={**exported.parity, "storage": stored.record}
    )


def _finish(exported: ExportedNetwork, part: str, source: dict[str, Any], as_json: bool) -> None:
    from flowtrack.runtime.sidecar import write_sidecar

    write_sidecar(exported.path, exported.network_file(f"{part}.onnx", source))
    if as_json:
        print_json({"path": str(exported.path), "sha256": exported.sha256, **exported.parity})
        return
    size = exported.path.stat().st_size / 1e6
    storage = exported.parity.get("storage")
    stored = f"; fp16 weights move positions by {storage['median_px']:.2g} px" if storage else ""
    note(
        f"{exported.path}: {size:.1f} MB, equals PyTorch within {exported.parity['max_px']:.2g} px "
        f"(limit {exported.parity['limit_px']:g} px){stored}"
    )
