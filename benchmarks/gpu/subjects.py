"""The networks that are measured, and what they are fed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.calibration.converted import with_networks
from flowtrack.export.precision import half_graph
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.runtime.engines import Engine, TensorSpec
from flowtrack.runtime.preprocess import crop_matrices

if TYPE_CHECKING:
    from torch import nn

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """A network.

    Attributes:
        name: for people.
        part: `detector`, `pose` or `flow`.
        content: of the ONNX file.
        crop: (height, width) of a person's crop, for networks that read frames.
        precision: `fp32` or `fp16`.
        form: `pictures` or `frame`.
        fixed: the batch that the graph is fixed to; None where it is free.
        module: makes the same network in PyTorch, with pre- and post-processing.
    """

    name: str
    part: str
    content: bytes
    crop: tuple[int, int] = (256, 192)
    precision: str = "fp32"
    form: str = "pictures"
    fixed: int | None = None
    module: Callable[[], nn.Module] | None = None

    @property
    def networks(self) -> dict[str, str]:
        """The hash of the file, by part, for records."""
        return {self.part: hashlib.sha256(self.content).hexdigest()}

    @property
    def parameters(self) -> dict[str, str]:
        """What tells records of one name apart."""
        return {"network": self.name, "precision": self.precision, "form": self.form}

    def batches(self, buckets: Sequence[int]) -> tuple[int, ...]:
        """The batch sizes that it takes: a frame is one, its people are many."""
        if self.fixed is not None:
            return (self.fixed,)
        return (1,) if self.form == "frame" and self.part != "pose" else tuple(buckets)


def of_bundle(bundle: Bundle, name: str) -> list[Subject]:
    """The networks of a bundle of this name."""
    files = bundle.manifest.files()
    height, width = files["pose"].input.height, files["pose"].input.width
    assert height is not None
    assert width is not None  # the manifest refuses a pose network without a size
    return [
        Subject(
            f"{name}: {part}",
            part,
            bundle.read(part),
            (height, width),
            file.precision,
            file.input.form,
            file.input.batch,
        )
        for part, file in files.items()
    ]


def reference_networks(folder: Path) -> Iterator[Subject]:
    """PoseResNet-50 at 256x192 and FlowNet2S at 384x512, random weights, exported into `folder`."""
    import torch

    from flowtrack.export import export_flow, export_pose
    from flowtrack.export.graphs import FlowGraph, PoseGraph
    from flowtrack.skeleton import COCO_17
    from flowtrack.training.models import FlowNet2S, PoseResNet

    torch.manual_seed(0)
    pose, flow = PoseResNet(50, joints=17).eval(), FlowNet2S(1.0).eval()
    made = export_pose(pose, folder / "pose.onnx", skeleton=COCO_17, height=256, width=192)
    yield Subject(
        "PoseResNet-50 256x192", "pose", made.path.read_bytes(),
        module=lambda: PoseGraph(pose, COCO_17, 256, 192),
    )  # fmt: skip
    made = export_flow(flow, folder / "flow.onnx", height=384, width=512)
    yield Subject("FlowNet2S 384x512", "flow", made.path.read_bytes(),
                  module=lambda: FlowGraph(flow))  # fmt: skip


def feeds(engine: Engine, subject: Subject, batch: int, size: tuple[int, int]) -> dict[str, Array]:
    """Smooth pictures for every input; of frames, people all over them.

    Args:
        engine: the loaded network.
        subject: what it is.
        batch: pictures, or people.
        size: (height, width) where the network leaves it free.
    """
    random = np.random.default_rng(0)
    return {spec.name: _fed(spec, subject, batch, size, random) for spec in engine.inputs}


def _fed(
    spec: TensorSpec, subject: Subject, batch: int, size: tuple[int, int], random: Any
) -> Array:
    if spec.name == "affine":
        corner = random.uniform(0, 0.5, (batch, 2)) * [size[1], size[0]]
        sides = random.uniform(0.1, 0.5, (batch, 2)) * [size[1], size[0]]
        boxes = np.concatenate([corner, corner + sides], axis=1)
        return crop_matrices(boxes.astype(np.float32), *subject.crop, 1.25)
    nchw = spec.shape[-1] != 3
    sides = spec.shape[-2:] if nchw else spec.shape[-3:-1]
    height, width = (given if isinstance(given, int) else free
                     for given, free in zip(sides, size, strict=True))  # fmt: skip
    pictures = np.stack([_texture(random, height, width)
                         for _ in range(batch if len(spec.shape) == 4 else 1)])  # fmt: skip
    if spec.dtype != np.uint8:
        pictures = (pictures / 255).astype(spec.dtype)
    if nchw:
        pictures = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    return pictures if len(spec.shape) == 4 else pictures[0]


def _texture(random: Any, height: int, width: int) -> Array:
    coarse = random.integers(0, 256, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def halved(subject: Subject) -> Subject:
    """The same network with half tensors inside, as `flowtrack calibrate fp16` makes it."""
    return replace(subject, content=half_graph(subject.content), precision="fp16", module=None)


def half_bundle(bundle: Bundle, place: Path) -> Bundle:
    """A copy of a bundle whose networks have half tensors inside, not gone through the gate."""
    graphs = {part: half_graph(bundle.read(part)) for part in bundle.manifest.files()}
    return write_bundle(place, *with_networks(bundle, graphs, "fp16", {}))
