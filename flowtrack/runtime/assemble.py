"""A bundle from network files and a few facts about them: the rest is read from the graphs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowtrack.errors import BundleError, OptionError
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.engines import TensorSpec, open_engine
from flowtrack.runtime.manifest import InputSpec, Manifest, NetworkFile
from flowtrack.runtime.pipeline import build_pipeline, open_flow
from flowtrack.runtime.sidecar import read_sidecar, sidecar_path
from flowtrack.structs import Boxes, Frame
from flowtrack.tracker.options import TrackerOptions

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_NO_MEAN = (0.0, 0.0, 0.0)
_NO_STD = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Feeding:
    """Facts about a network's input that its graph does not tell.

    Attributes:
        color: channel order that the network was trained on.
        scale: 1/255 for pixels from 0 to 1, 1 for 0 to 255.
        mean, std: subtracted, then divided by, after scaling; in the network's channel order.
    """

    color: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = _NO_MEAN
    std: tuple[float, float, float] = _NO_STD


IMAGENET = Feeding(scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD)
"""Pixels from 0 to 1, normalised with the mean and deviation of ImageNet, RGB."""


def describe_network(
    path: Path, part: str, feeding: Feeding | None = None, size: tuple[int, int] | None = None
) -> NetworkFile:
    """The manifest's entry for an ONNX file, its names, types and sizes read from the graph.

    Args:
        path: of the file; it goes into the bundle as `<part>.onnx`. A network exported by
            flowtrack brings its facts in a `.json` beside it.
        part: `detector`, `pose` or `flow`.
        feeding: what the graph does not tell; None takes the facts beside it, or RGB as it is.
        size: (height, width) to feed where the graph leaves them free.

    Raises:
        BundleError: there is no such file, or its inputs are not pictures.
        EngineError: the file is no graph that can be loaded.
        OptionError: an argument would be ignored.
    """
    if not path.is_file():
        raise BundleError(f"no {part} network at {path}")
    data = path.read_bytes()
    known = read_sidecar(path, data)
    if known is not None:
        if feeding is not None:
            raise OptionError(
                f"{part} network {path} brings its facts in {sidecar_path(path).name}; leave "
                "color, range and mean out"
            )
        spec = known.input if size is None else _with_size(known.input, size, part)
        return replace(known, path=f"{part}.onnx", input=spec)
    feeding = feeding or Feeding()
    engine = open_engine(data, "cpu")
    pictures = [tensor for tensor in engine.inputs if _is_picture(tensor)]
    wanted = 2 if part == "flow" else 1
    if len(pictures) != wanted or len(engine.inputs) != wanted:
        found = {tensor.name: tensor.shape for tensor in engine.inputs}
        raise BundleError(f"{part} network {path} takes {found}, expected {wanted} picture(s)")
    spec = _input_spec(pictures, feeding)
    if spec.dtype == "uint8" and (feeding.scale, feeding.mean, feeding.std) != (
        1.0,
        _NO_MEAN,
        _NO_STD,
    ):
        raise OptionError(
            f"{part} network {path} takes uint8 pictures, so normalisation outside the graph "
            "would be ignored; leave mean, std and range out"
        )
    if size is not None:
        spec = _with_size(spec, size, part)
    return NetworkFile(
        path=f"{part}.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        input=spec,
        precision="fp16" if spec.dtype == "float16" else "fp32",
        source={"file": path.name},
    )


def _is_picture(tensor: TensorSpec) -> bool:
    if tensor.dtype not in (np.uint8, np.float32, np.float16) or len(tensor.shape) not in (3, 4):
        return False
    return 3 in (tensor.shape[-1], tensor.shape[-3])


def _input_spec(tensors: list[TensorSpec], feeding: Feeding) -> InputSpec:
    shape = tensors[0].shape
    layout: Literal["nhwc", "nchw"] = "nchw" if shape[-3] == 3 else "nhwc"
    sides = shape[-2:] if layout == "nchw" else shape[-3:-1]
    dtype: Any = tensors[0].dtype.name
    batch = shape[0] if len(shape) == 4 else 1

    def fixed(size: int | str | None) -> int | None:
        return size if isinstance(size, int) else None

    return InputSpec(
        names=tuple(tensor.name for tensor in tensors),
        dtype=dtype,
        layout=layout,
        color=feeding.color,
        scale=feeding.scale,
        mean=feeding.mean,
        std=feeding.std,
        batch=fixed(batch),
        height=fixed(sides[0]),
        width=fixed(sides[1]),
    )


def _with_size(spec: InputSpec, size: tuple[int, int], part: str) -> InputSpec:
    for name, fixed, asked in (("height", spec.height, size[0]), ("width", spec.width, size[1])):
        if fixed is not None and fixed != asked:
            raise OptionError(f"{part} network has the {name} {fixed}, {asked} was asked for")
    return replace(spec, height=size[0], width=size[1])


def trial_run(manifest: Manifest, files: Mapping[str, bytes | Path]) -> dict[str, float]:
    """Run every network once on a grey picture, through the code that will run it later.

    Args:
        manifest: of the bundle that is to be.
        files: contents or places of the network files, by path inside the bundle.

    Returns:
        Milliseconds by stage of the run.

    Raises:
        BundleError: what a network gives is not what the manifest says.
        EngineError: a network cannot be loaded or run.
    """
    engines = {
        part: open_engine(_content(files[file.path]), "cpu")
        for part, file in manifest.files().items()
    }
    pipeline = build_pipeline(manifest, engines, TrackerOptions(similarity="bbox", propagate=False))
    clock = StageClock()
    grey = np.full((270, 480, 3), 128, np.uint8)
    frames = [Frame(index, float(index), grey) for index in range(2)]
    pipeline.detector(frames[0], clock)
    poses = pipeline.pose(frames[0], Boxes.detected([[100, 20, 200, 250]], [1.0]), clock)
    if poses.xy.shape != (1, len(pipeline.skeleton), 2):
        raise BundleError(
            f"pose gives {poses.xy.shape[1]} joints, skeleton {manifest.skeleton!r} has "
            f"{len(pipeline.skeleton)}; correct `skeleton`"
        )
    flow = open_flow(manifest.flow, engines.get("flow"))
    if flow is not None:
        first, second = (flow.prepare(frame, clock) for frame in frames)
        flow.between(first, second, clock)
    return clock.ms


def _content(source: bytes | Path) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source
