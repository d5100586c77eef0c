"""Export of the three networks: one ONNX file each, verified against PyTorch before it exists."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from flowtrack.errors import ExportError, OptionError
from flowtrack.export import parity
from flowtrack.export.graphs import (
    MAX_BOXES,
    DetectorGraph,
    FlowGraph,
    PoseGraph,
    Triple,
    check_size,
)
from flowtrack.export.onnx_file import OPSET, label, serialized, trace
from flowtrack.export.parity_inputs import batches, followers, pictures
from flowtrack.runtime.engines import Engine, open_engine
from flowtrack.runtime.manifest import InputSpec, NetworkFile
from flowtrack.skeleton import Skeleton
from flowtrack.structs import ByteArray
from flowtrack.training.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterNetwork,
    FlowNet2S,
    PoseNetwork,
)

Color = Literal["rgb", "bgr"]
Images = Sequence[npt.NDArray[np.uint8]]

_EXAMPLE_BATCH = 2  # the tracer would take a batch of one for a constant
_FREE_SIZES = ((128, 192), (256, 128))  # (height, width) on which a graph of free size is compared
_MAX_STEPS = 64  # multiples of 64 pixels along a side of free size: up to 4096


@dataclass(frozen=True)
class ExportedNetwork:
    """An ONNX file that passed its comparison.

    Attributes:
        path: of the file.
        sha256: of its bytes, in hexadecimal.
        input: how it is fed, as the manifest wants it.
        parity: record of the comparison with PyTorch, plain data for the manifest.
    """

    path: Path
    sha256: str
    input: InputSpec
    parity: dict[str, Any]

    def network_file(self, member: str, source: Mapping[str, Any] | None = None) -> NetworkFile:
        """The manifest's entry for this file.

        Args:
            member: path of the file inside the bundle.
            source: where the network came from.
        """
        return NetworkFile(
            path=member,
            sha256=self.sha256,
            input=self.input,
            precision="fp32",
            parity=self.parity,
            source=dict(source or {}),
        )


def export_pose(
    network: PoseNetwork,
    path: Path | str,
    *,
    skeleton: Skeleton,
    height: int = 256,
    width: int = 192,
    color: Color = "rgb",
    flip_test: bool = False,
    images: Images | None = None,
    opset: int = OPSET,
) -> ExportedNetwork:
    """Export a pose network: `crops` uint8 (N, H, W, 3) to `keypoints` (N, K, 3).

    Normalisation, the optional flip test and decoding lie inside; x, y are crop pixels, the score
    is the raw maximum of the heatmap.

    Args:
        network: left as it is.
        path: of the file to write, ending in .onnx.
        skeleton: that the network predicts.
        height, width: of the crops in pixels, multiples of 32.
        color: channel order that the network was trained on (`LoadedPose.color`).
        flip_test: average with the mirrored crop; twice the work.
        images: further pictures for the comparison, (H, W, 3) uint8 BGR of any size.
        opset: ONNX operator set.

    Raises:
        OptionError: an argument does not fit the network.
        InputError: an image is no uint8 (H, W, 3) array.
        DependencyError: onnx, onnxscript or onnxruntime is missing.
        ExportError: the export fails, or the result differs from PyTorch; no file is left.
    """
    path = _target(path)
    graph = PoseGraph(_frozen(network), skeleton, height, width, flip_test=flip_test).eval()
    crops, made_of = pictures(height, width, images, color)
    spec = InputSpec(("crops",), color=_color(color), height=height, width=width)
    model = trace(
        graph,
        {"crops": torch.from_numpy(crops[:_EXAMPLE_BATCH])},
        {"keypoints": ("batch", len(skeleton), 3)},
        ({0: torch.export.Dim("batch")},),
        ("batch", height, width, 3),
        opset,
    )
    facts = {"skeleton": skeleton.name, "joints": ",".join(skeleton.joints), "flip_test": flip_test}
    label(model, "pose", {**facts, **_input_facts(spec)})

    def compare(engine: Engine) -> dict[str, Any]:
        return parity.pose_parity(graph, engine, batches(crops), skeleton)

    return _finish(model, path, spec, compare, made_of)


def export_detector(
    network: CenterNetwork,
    path: Path | str,
    *,
    height: int,
    width: int,
    color: Color = "rgb",
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    person_class: int = 0,
    max_boxes: int = MAX_BOXES,
    images: Images | None = None,
    opset: int = OPSET,
) -> ExportedNetwork:
    """Export a detector: `image` uint8 (N, H, W, 3) to `boxes` (N, M, 4) and `scores` (N, M).

    Normalisation and peak search lie inside; boxes are xyxy in input pixels, best first.

    Args:
        network: left as it is.
        path: of the file to write, ending in .onnx.
        height, width: of the letterboxed pictures in pixels, multiples of 32.
        color: channel order that the network was trained on (`LoadedDetector.color`).
        mean, std: of pixels / 255, in that order.
        person_class: the network's class of people.
        max_boxes: boxes per picture.
        images: further pictures for the comparison, (H, W, 3) uint8 BGR of any size.
        opset: ONNX operator set.

    Raises:
        OptionError, InputError, DependencyError, ExportError: as in `export_pose`.
    """
    path = _target(path)
    graph = DetectorGraph(
        _frozen(network),
        height,
        width,
        mean=mean,
        std=std,
        person_class=person_class,
        max_boxes=max_boxes,
    ).eval()
    frames, made_of = pictures(height, width, images, color)
    spec = InputSpec(("image",), color=_color(color), height=height, width=width)
    count = graph.decoder.max_boxes
    model = trace(
        graph,
        {"image": torch.from_numpy(frames[:_EXAMPLE_BATCH])},
        {"boxes": ("batch", count, 4), "scores": ("batch", count)},
        ({0: torch.export.Dim("batch")},),
        ("batch", height, width, 3),
        opset,
    )
    label(model, "detector", _input_facts(spec))

    def compare(engine: Engine) -> dict[str, Any]:
        return parity.detector_parity(graph, engine, batches(frames))

    return _finish(model, path, spec, compare, made_of)


def export_flow(
    network: FlowNet2S,
    path: Path | str,
    *,
    height: int | None = None,
    width: int | None = None,
    color: Color = "rgb",
    images: Images | None = None,
    opset: int = OPSET,
) -> ExportedNetwork:
    """Export a flow network: `previous`, `current` uint8 (N, H, W, 3) to `flow` (N, 2, H/4, W/4).

    Normalisation lies inside; dx, dy are input pixels, defined on the previous picture.

    Args:
        network: left as it is.
        path: of the file to write, ending in .onnx.
        height, width: in pixels, multiples of 64; both None leaves the size free (a multiple of
            64 up to 4096).
        color: channel order that the network was trained on (`LoadedFlow.color`).
        images: further pictures for the comparison, (H, W, 3) uint8 BGR of any size; neighbours
            in the list form pairs.
        opset: ONNX operator set.

    Raises:
        OptionError, InputError, DependencyError, ExportError: as in `export_pose`.
    """
    path = _target(path)
    sizes = [*_FREE_SIZES]
    if height is not None and width is not None:
        check_size(height, width, network.multiple)
        sizes = [(height, width)]
    elif height is not None or width is not None:
        raise OptionError(f"height is {height} and width {width}; give both, or none")
    graph = FlowGraph(_frozen(network)).eval()
    pairs: list[tuple[ByteArray, ByteArray]] = []
    for rows, columns in sizes:
        previous, made_of = pictures(rows, columns, images, color)
        pairs += zip(batches(previous), batches(followers(previous)), strict=True)
    spec = InputSpec(("previous", "current"), color=_color(color), height=height, width=width)
    shape = _flow_axes(network.multiple, free=height is None)
    model = trace(
        graph,
        {name: torch.from_numpy(frames[:_EXAMPLE_BATCH].copy())
         for name, frames in zip(spec.names, pairs[1], strict=True)},
        {"flow": ("batch", 2, *_flow_size(height, width, network.stride))},
        (shape, dict(shape)),
        ("batch", height or "height", width or "width", 3),
        opset,
    )  # fmt: skip
    label(model, "flow", _input_facts(spec))

    def compare(engine: Engine) -> dict[str, Any]:
        return parity.flow_parity(graph, engine, pairs)

    return _finish(model, path, spec, compare, made_of)


def _flow_axes(multiple: int, *, free: bool) -> dict[int, Any]:
    """The free axes of a picture, as torch.export wants them."""
    axes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if free:
        for axis, name in ((1, "rows"), (2, "columns")):
            axes[axis] = multiple * torch.export.Dim(name, min=1, max=_MAX_STEPS)
    return axes


def _flow_size(height: int | None, width: int | None, stride: int) -> tuple[str | int, str | int]:
    if height is None or width is None:
        return ("flow_height", "flow_width")
    return (height // stride, width // stride)


def _target(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix != ".onnx":
        raise OptionError(f"{path} does not end in .onnx")
    if not path.parent.is_dir():
        raise ExportError(f"{path} cannot be written: {path.parent} is not a folder; create it")
    return path


def _color(color: str) -> Color:
    if color == "rgb":
        return "rgb"
    if color == "bgr":
        return "bgr"
    raise OptionError(f"color is {color!r}, expected 'rgb' or 'bgr'")


Network = TypeVar("Network", bound=nn.Module)


def _frozen(network: Network) -> Network:
    """A copy on the CPU in float32 and evaluation mode; the original keeps its state."""
    return copy.deepcopy(network).cpu().float().eval().requires_grad_(False)


def _input_facts(spec: InputSpec) -> dict[str, object]:
    size = "free" if spec.height is None else f"{spec.width}x{spec.height}"
    return {"size": size, "color": spec.color}


def _finish(
    model: Any,
    path: Path,
    spec: InputSpec,
    compare: Callable[[Engine], dict[str, Any]],
    made_of: str,
) -> ExportedNetwork:
    """Check, compare and only then write, whole or not at all."""
    content = serialized(model)
    record = {**compare(open_engine(content, "cpu")), "inputs": made_of}
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return ExportedNetwork(path, hashlib.sha256(content).hexdigest(), spec, record)
