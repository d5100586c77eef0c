"""The person detector: a frame in, boxes in source pixels out; one reader per decode kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import BundleError
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.engines import Engine
from flowtrack.runtime.engines.base import DeviceArray
from flowtrack.runtime.manifest import DetectorSpec
from flowtrack.runtime.network import check_engine, placed, plain_batch, read_output
from flowtrack.runtime.preprocess import fit, pack, placement
from flowtrack.structs import Boxes, FloatArray, Frame
from flowtrack.tracker.boxes import nms

Array = npt.NDArray[Any]
Candidates = tuple[FloatArray, FloatArray]
Decode = Callable[[list[Array], DetectorSpec, tuple[int, int]], Candidates]


class Detector:
    """Finds people in a frame (N_det of Algorithm 1)."""

    def __init__(self, engine: Engine, spec: DetectorSpec) -> None:
        """Pair a loaded network with the facts about it.

        Raises:
            BundleError: the network does not take or give what `spec` says.
        """
        check_engine("detector", engine, spec.file.input)
        self.engine = engine
        self.spec = spec
        self._decode = DECODES[spec.decode]
        count = OUTPUTS[spec.decode]
        if len(engine.outputs) != count:
            raise BundleError(
                f"detector gives {[output.name for output in engine.outputs]}, decode "
                f"{spec.decode!r} reads {count} outputs; correct `decode` in the manifest"
            )

    def __call__(self, frame: Frame, clock: StageClock | None = None) -> Boxes:
        """Boxes of the people in a frame, source pixels, best first."""
        clock = clock or StageClock()
        spec = self.spec.file.input
        size = spec.height or frame.height, spec.width or frame.width
        with clock.stage("detector.prepare"):
            fed: Array | DeviceArray
            if spec.form == "frame":
                fed, lies = placed(frame, self.engine), self._lies(frame, size)
            else:
                fed, lies = self._picture(frame, size)
        with clock.stage("detector.engine"):
            outputs = self.engine.infer({self.engine.inputs[0].name: fed})
        with clock.stage("detector.decode"):
            ordered = [outputs[output.name] for output in self.engine.outputs]
            xyxy, score = self._decode(ordered, self.spec, size)
            good = (score >= self.spec.score_floor) & np.isfinite(xyxy).all(axis=1)
            xyxy, score = xyxy[good], score[good]
            order = np.argsort(-score, kind="stable")[: self.spec.max_boxes]
            scale, offset = lies[[0, 1, 0, 1]], lies[[2, 3, 2, 3]]
            return Boxes.detected((xyxy[order] - offset) / scale, score[order])

    def _picture(self, frame: Frame, size: tuple[int, int]) -> tuple[Array, FloatArray]:
        """The frame fitted into the network's input, and where it lies there."""
        spec = self.spec.file.input
        picture, lies = fit(frame.image, *size, self.spec.letterbox)
        # A network fixed to more than one picture gets the same one in every place.
        batch = np.repeat(pack(picture[None], spec), spec.batch or 1, axis=0)
        return plain_batch(batch, self.engine.inputs[0]), lies

    def _lies(self, frame: Frame, size: tuple[int, int]) -> FloatArray:
        """Where the frame lies in the coordinates of what a network of frame-in form gives."""
        if self.spec.decode == "boxes":  # the graph gives frame pixels
            return np.array([1.0, 1.0, 0.0, 0.0], np.float32)
        return placement((frame.height, frame.width), *size, self.spec.letterbox)


def decode_boxes(outputs: list[Array], spec: DetectorSpec, size: tuple[int, int]) -> Candidates:
    """Our own contract: boxes (1, M, 4) in input pixels and scores (1, M)."""
    del spec, size
    boxes = read_output("detector", "boxes", outputs[0], ("N", "M", 4))[0]
    return boxes, read_output("detector", "boxes", outputs[1], ("N", len(boxes)))[0]


def decode_yolox(outputs: list[Array], spec: DetectorSpec, size: tuple[int, int]) -> Candidates:
    """Raw YOLOX predictions (1, A, 5 + classes): centre, log size, objectness, class scores.

    Box centre = (xy + cell) * stride, size = exp(wh) * stride; score = objectness x class
    (Megvii-BaseDetection/YOLOX, yolox/models/yolo_head.py).
    """
    rows = read_output("detector", "yolox", outputs[0], ("N", "A", "5 + classes"))[0]
    cells, strides = _yolox_grid(size, spec.strides)
    person = 5 + (spec.person_class or 0)
    if rows.shape[0] != len(cells) or rows.shape[1] <= person:
        raise BundleError(
            f"detector gives {rows.shape} predictions, decode 'yolox' with input {size} and "
            f"strides {spec.strides} reads ({len(cells)}, > {person}); correct the manifest"
        )
    score = rows[:, 4] * rows[:, person]
    likely = score >= spec.score_floor
    rows, score = rows[likely], score[likely]
    centre = (rows[:, :2] + cells[likely]) * strides[likely]
    with np.errstate(over="ignore"):  # an infinite box goes in the NMS
        half = np.exp(rows[:, 2:4]) * strides[likely] / 2.0
    xyxy = np.concatenate([centre - half, centre + half], axis=1)
    kept = nms(xyxy, score, spec.nms_iou)
    return xyxy[kept], score[kept]


@lru_cache(maxsize=16)
def _yolox_grid(size: tuple[int, int], strides: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """(A, 2) cell positions (x, y) and (A, 1) strides, level by level, row by row."""
    cells, steps = [], []
    for stride in strides:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        steps.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(steps).astype(np.float32)


def decode_rcnn(outputs: list[Array], spec: DetectorSpec, size: tuple[int, int]) -> Candidates:
    """What torchvision's detectors give: boxes (M, 4) in input pixels, labels (M,), scores (M,)."""
    del size
    by_kind = {(output.ndim, output.dtype.kind): output for output in outputs}
    if set(by_kind) != {(2, "f"), (1, "i"), (1, "f")}:
        found = [f"{output.dtype} {output.shape}" for output in outputs]
        raise BundleError(
            f"detector gives {', '.join(found)}; decode 'rcnn' reads boxes (M, 4), whole-number "
            "labels (M,) and scores (M,); correct `decode` in the manifest"
        )
    boxes = read_output("detector", "rcnn", by_kind[2, "f"], ("M", 4))
    scores = read_output("detector", "rcnn", by_kind[1, "f"], (len(boxes),))
    people = by_kind[1, "i"] == (1 if spec.person_class is None else spec.person_class)
    return boxes[people], scores[people]


DECODES: Mapping[str, Decode] = MappingProxyType(
    {"boxes": decode_boxes, "yolox": decode_yolox, "rcnn": decode_rcnn}
)
"""How each decode kind turns outputs into boxes in input pixels and their scores."""

OUTPUTS = MappingProxyType({"boxes": 2, "yolox": 1, "rcnn": 3})
"""How many outputs each decode kind reads."""
