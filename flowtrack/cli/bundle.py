"""`flowtrack bundle`: assemble a bundle from networks and a few facts about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowtrack.cli.console import command, note
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.runtime.assemble import Feeding

Color = Literal["rgb", "bgr"]
_MEAN = (
    "What is subtracted after scaling: none, imagenet (with its deviation), or three numbers in "
    "the network's channel order, with /three deviations if there are any."
)


_Path = Annotated[Path, typer.Argument(help="Bundle to write: a folder, or a .zip file.")]
_Detector = Annotated[Path, typer.Option(help="Person detector, an ONNX file.")]
_Pose = Annotated[Path, typer.Option(help="Pose network, an ONNX file.")]
_Skeleton = Annotated[str, typer.Option(help="coco-17, posetrack17-15, posetrack18-17 or aic-14.")]
_Flow = Annotated[
    str, typer.Option(help="Optical flow: an ONNX file, dis (OpenCV, no network), or none.")
]
_DetectorDecode = Annotated[
    Literal["boxes", "yolox", "rcnn"],
    typer.Option(help="How the detector's output is read; boxes is flowtrack's own contract."),
]
_DetectorColor = Annotated[
    Color | None, typer.Option(help="Channel order; bgr for yolox, rgb otherwise.")
]
_DetectorRange = Annotated[
    float | None,
    typer.Option(help="Largest pixel value it expects: 255 or 1. rcnn: 1, otherwise 255."),
]
_DetectorMean = Annotated[str | None, typer.Option(help=_MEAN)]
_DetectorSize = Annotated[
    str | None, typer.Option(help="HEIGHTxWIDTH to feed, where the graph leaves it free.")
]
_DetectorPersonClass = Annotated[
    int | None, typer.Option(help="Class index of people; 0 for yolox, 1 for rcnn.")
]
_PoseDecode = Annotated[
    Literal["keypoints", "heatmap", "simcc"],
    typer.Option(help="How the pose output is read; keypoints is flowtrack's own contract."),
]
_PoseColor = Annotated[
    Color | None, typer.Option(help="Channel order it was trained on; rgb unless told.")
]
_PoseRange = Annotated[float | None, typer.Option(help="Largest pixel value it expects: 255 or 1.")]
_PoseMean = Annotated[str | None, typer.Option(help=_MEAN)]
_PoseOffset = Annotated[
    Literal["quarter", "second", "none"],
    typer.Option(help="Sub-cell rule of heatmap: the official code's, or the paper's words."),
]
_PoseFlip = Annotated[
    bool, typer.Option("--pose-flip", help="Average with the mirrored crop (heatmap).")
]
_PosePadding = Annotated[
    float, typer.Option(help="Boxes are enlarged so much before they are cropped.")
]
_PoseSimccRatio = Annotated[float, typer.Option(help="Bins per pixel of simcc.")]
_FlowColor = Annotated[
    Color | None, typer.Option(help="Channel order it was trained on; rgb unless told.")
]
_FlowRange = Annotated[float | None, typer.Option(help="Largest pixel value it expects: 255 or 1.")]
_FlowLayout = Annotated[
    Literal["nchw", "nhwc"], typer.Option(help="Layout of the flow network's output.")
]
_FlowUnit = Annotated[
    Literal["input", "grid"],
    typer.Option(help="Unit of the output: pixels of the input, or of the output's grid."),
]
_FlowSize = Annotated[
    str | None, typer.Option(help="HEIGHTxWIDTH to feed, where the graph leaves it free.")
]
_FlowMaxSide = Annotated[
    int | None, typer.Option(help="Longer side of the pictures that flow is computed on.")
]
_DisPreset = Annotated[Literal["ultrafast", "fast", "medium"], typer.Option(help="Effort of dis.")]


@command
def bundle(
    path: _Path,
    detector: _Detector,
    pose: _Pose,
    skeleton: _Skeleton = "coco-17",
    flow: _Flow = "dis",
    detector_decode: _DetectorDecode = "boxes",
    detector_color: _DetectorColor = None,
    detector_range: _DetectorRange = None,
    detector_mean: _DetectorMean = None,
    detector_size: _DetectorSize = None,
    detector_person_class: _DetectorPersonClass = None,
    pose_decode: _PoseDecode = "keypoints",
    pose_color: _PoseColor = None,
    pose_range: _PoseRange = None,
    pose_mean: _PoseMean = None,
    pose_offset: _PoseOffset = "quarter",
    pose_flip: _PoseFlip = False,
    pose_padding: _PosePadding = 1.25,
    pose_simcc_ratio: _PoseSimccRatio = 2.0,
    flow_color: _FlowColor = None,
    flow_range: _FlowRange = None,
    flow_layout: _FlowLayout = "nchw",
    flow_unit: _FlowUnit = "input",
    flow_size: _FlowSize = None,
    flow_max_side: _FlowMaxSide = 512,
    dis_preset: _DisPreset = "fast",
) -> None:
    """Assemble a bundle from ONNX networks and a few facts about them.

    Names, types and sizes are read from the graphs. Every network is run once before the bundle
    is written, so that a wrong fact shows now and not in the middle of a video.
    """
    from flowtrack import __version__
    from flowtrack.runtime.assemble import describe_network, trial_run
    from flowtrack.runtime.bundle import write_bundle
    from flowtrack.runtime.manifest import DetectorSpec, FlowSpec, Letterbox, Manifest, PoseSpec
    from flowtrack.runtime.sidecar import sidecar_path
    from flowtrack.skeleton import skeleton_named

    skeleton_named(skeleton)
    files: dict[str, bytes | Path] = {"detector.onnx": detector, "pose.onnx": pose}
    described = sidecar_path(detector).is_file()  # how it is fed is said there
    if detector_decode == "yolox" and not described:
        detector_color = detector_color or "bgr"
    elif detector_decode == "rcnn" and not described:
        detector_range = detector_range or 1.0
    detector_file = describe_network(
        detector,
        "detector",
        _feeding(detector_color, detector_range, detector_mean),
        _optional_size(detector_size),
    )
    pose_file = describe_network(pose, "pose", _feeding(pose_color, pose_range, pose_mean))
    flow_spec: FlowSpec | None = None
    if flow == "dis":
        flow_spec = FlowSpec("dis", max_side=flow_max_side, preset=dis_preset)
    elif flow != "none":
        flow_file = describe_network(
            Path(flow), "flow", _feeding(flow_color, flow_range, None), _optional_size(flow_size)
        )
        flow_spec = FlowSpec("flow", flow_file, flow_layout, flow_unit, flow_max_side)
        files["flow.onnx"] = Path(flow)
    manifest = Manifest(
        skeleton=skeleton,
        detector=DetectorSpec(
            detector_file,
            detector_decode,
            letterbox=None if detector_decode == "rcnn" else Letterbox(),
            person_class=detector_person_class,
        ),
        pose=PoseSpec(
            pose_file, pose_decode, pose_offset, pose_flip, pose_padding, pose_simcc_ratio
        ),
        flow=flow_spec,
        made_by=f"flowtrack {__version__}",
        made_from={"command": "flowtrack bundle"},
    )
    trial_run(manifest, files)
    written = write_bundle(path, manifest, files)
    note(
        f"{written.path}: detector {detector_decode}, pose {pose_decode} ({skeleton}), flow {flow}"
    )


def _feeding(color: Color | None, largest: float | None, mean: str | None) -> Feeding | None:
    """What the command line says of a network's input; None if it says nothing."""
    from flowtrack.runtime.assemble import IMAGENET_MEAN, IMAGENET_STD, Feeding

    if color is None and largest is None and mean is None:
        return None
    if largest is not None and largest <= 0:
        raise OptionError(f"pixel range is {largest}, expected 255 or 1")
    if mean == "imagenet":
        if largest not in (None, 1.0):
            raise OptionError(f"mean imagenet is for pixels up to 1, the range given is {largest}")
        return Feeding(color or "rgb", 1 / 255, IMAGENET_MEAN, IMAGENET_STD)
    scale = (largest or 255.0) / 255.0
    if mean in (None, "none"):
        return Feeding(color or "rgb", scale)
    subtracted, _, divided = mean.partition("/")
    return Feeding(color or "rgb", scale, _three(subtracted), _three(divided or "1,1,1"))


def _three(text: str) -> tuple[float, float, float]:
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"{text!r} are no three numbers; expected none, imagenet, 104,117,123 or "
            "104,117,123/58,57,57"
        ) from error
    return first, second, third


def _optional_size(text: str | None) -> tuple[int, int] | None:
    return None if text is None else parse_size(text)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from HEIGHTxWIDTH.

    Raises:
        OptionError: the text is something else.
    """
    parts: list[Any] = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise OptionError(f"size is {text!r}, expected HEIGHTxWIDTH such as 416x416")
    return int(parts[0]), int(parts[1])
