"""Optical flow between two frames: a network, or OpenCV's DIS where there is no GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.errors import BundleError
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.engines import Engine
from flowtrack.runtime.engines.base import DeviceArray
from flowtrack.runtime.manifest import FlowSpec, InputSpec
from flowtrack.runtime.network import check_engine, placed
from flowtrack.runtime.preprocess import fit, pack
from flowtrack.structs import FlowField, Frame

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class FlowImage:
    """A frame as a flow method wants it: prepared once, used with the frame before and after.

    Attributes:
        index: of the frame.
        size: (height, width) of the source picture.
        data: whatever the method made of it.
    """

    index: int
    size: tuple[int, int]
    data: Array | DeviceArray


class FlowEstimator(Protocol):
    """Anything that gives flow between frames (N_flow of Algorithm 1)."""

    def prepare(self, frame: Frame, clock: StageClock | None = None) -> FlowImage:
        """What `between` needs of a frame."""

    def between(
        self, first: FlowImage, second: FlowImage, clock: StageClock | None = None
    ) -> FlowField:
        """Flow from the first frame to the second, in source pixels."""


class NetworkFlow:
    """Flow by a network, at the network's input size."""

    def __init__(self, engine: Engine, spec: FlowSpec) -> None:
        """Pair a loaded network with the facts about it.

        Raises:
            BundleError: the network does not take or give what `spec` says.
        """
        assert spec.file is not None  # the manifest refuses decode `flow` without a file
        check_engine("flow", engine, spec.file.input)
        if len(engine.outputs) != 1 or len(engine.outputs[0].shape) != 4:
            shapes = {output.name: output.shape for output in engine.outputs}
            raise BundleError(f"flow gives {shapes}, decode 'flow' reads one output of 4 axes")
        self.engine = engine
        self.spec = spec
        self._input: InputSpec = spec.file.input

    def prepare(self, frame: Frame, clock: StageClock | None = None) -> FlowImage:
        """The frame resized to the network's input and packed; as it is for frame-in form."""
        with (clock or StageClock()).stage("flow.prepare"):
            data: Array | DeviceArray
            if self._input.form == "frame":
                data = placed(frame, self.engine)
                if data is frame.image:  # which its owner may overwrite before the next frame
                    data = frame.image.copy()
            else:
                picture, _ = fit(frame.image, *input_size(frame.image.shape[:2], self.spec), None)
                data = self._pack(picture)
            return FlowImage(frame.index, (frame.height, frame.width), data)

    def _pack(self, picture: npt.NDArray[np.uint8]) -> Array:
        batch = pack(picture[None], self._input)
        # A network fixed to more than one pair gets the same picture in every place.
        return np.repeat(batch, self._input.batch, axis=0) if self._input.batch else batch

    def between(
        self, first: FlowImage, second: FlowImage, clock: StageClock | None = None
    ) -> FlowField:
        """Flow from the first frame to the second, in source pixels, on the network's grid."""
        previous, current = self._input.names
        with (clock or StageClock()).stage("flow.engine"):
            outputs = self.engine.infer({previous: first.data, current: second.data})
            flow = outputs[self.engine.outputs[0].name][0]
            uv = flow if self.spec.layout == "nchw" else flow.transpose(2, 0, 1)
            if uv.shape[0] != 2:
                raise BundleError(
                    f"flow gives {flow.shape} as {self.spec.layout}, expected 2 channels; "
                    "correct `layout` in the manifest"
                )
            return self._field(uv, first, second)

    def _field(self, uv: Array, first: FlowImage, second: FlowImage) -> FlowField:
        height, width = first.size
        grid_h, grid_w = uv.shape[1:]
        axis = -2 if self._input.layout == "nchw" else -3
        in_h, in_w = first.data.shape[axis:][:2]
        unit_h, unit_w = (in_h, in_w) if self.spec.unit == "input" else (grid_h, grid_w)
        gain = np.array([width / unit_w, height / unit_h], np.float32)[:, None, None]
        return FlowField(
            np.asarray(uv, np.float32) * gain,
            (grid_w / width, grid_h / height),
            first.index,
            second.index,
        )


def input_size(source: tuple[int, ...], spec: FlowSpec) -> tuple[int, int]:
    """(height, width) of the pictures that a flow network gets of a frame of size `source`."""
    assert spec.file is not None  # the manifest refuses decode `flow` without a file
    fed, longer = spec.file.input, max(source)
    return (
        fed.height or reduced_side(source[0], longer, spec),
        fed.width or reduced_side(source[1], longer, spec),
    )


def reduced_side(side: int, longer: int, spec: FlowSpec) -> int:
    """A side of the pictures for flow, where the network leaves their size free.

    The longer side of the frame shrinks to `max_side` and the other with it, each to the nearest
    positive multiple (of two as near, to the even one). Whole numbers throughout: the frame-in
    graphs compute the same (export/sampling.py).
    """
    target = min(longer, spec.max_side or longer)
    half = longer * spec.multiple
    steps, rest = divmod(2 * side * target + half, 2 * half)
    if rest == 0:
        steps -= steps % 2
    return max(1, steps) * spec.multiple


def _reduced(grey: Array, size: tuple[int, int]) -> Array:
    """A grey picture resized to (width, height): halved while it can be, then interpolated.

    Halving averages 2x2 pixels and is a tenth of the cost of averaging over any other area.
    """
    while grey.shape[1] >= 2 * size[0] and grey.shape[0] >= 2 * size[1]:
        half = (grey.shape[1] // 2, grey.shape[0] // 2)
        grey = cv2.resize(grey, half, interpolation=cv2.INTER_AREA)
    if grey.shape[::-1] != size:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
    return grey


# Typed loosely: OpenCV 5 ships no stub for it.
_dis: Any = getattr(cv2, "DISOpticalFlow_create")  # noqa: B009

_DIS_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

_DIS_LEAST_PX = 32
"""Sides of the smallest picture that every preset can search; on some shapes below, OpenCV reads
outside its pyramid and crashes the process."""


class DisFlow:
    """Flow by dense inverse search (Kroeger et al. 2016), on grey pictures, without a network."""

    def __init__(self, spec: FlowSpec) -> None:
        """Take size and preset from the manifest."""
        self.spec = spec

    def prepare(self, frame: Frame, clock: StageClock | None = None) -> FlowImage:
        """The frame reduced and turned grey."""
        with (clock or StageClock()).stage("flow.prepare"):
            longer = max(frame.height, frame.width)
            ratio = min(1.0, (self.spec.max_side or longer) / longer)
            width = max(_DIS_LEAST_PX, round(frame.width * ratio))
            height = max(_DIS_LEAST_PX, round(frame.height * ratio))
            grey = _reduced(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), (width, height))
            return FlowImage(frame.index, (frame.height, frame.width), grey)

    def between(
        self, first: FlowImage, second: FlowImage, clock: StageClock | None = None
    ) -> FlowField:
        """Flow from the first frame to the second, in source pixels, on the reduced grid."""
        with (clock or StageClock()).stage("flow.engine"):
            # An instance keeps buffers between calls, so threads may not share one.
            method = _dis(_DIS_PRESETS[self.spec.preset])
            flow = method.calc(first.data, second.data, None)
            height, width = first.size
            grid_h, grid_w = flow.shape[:2]
            gain = np.array([width / grid_w, height / grid_h], np.float32)[:, None, None]
            uv = flow.transpose(2, 0, 1) * gain
            scale = (grid_w / width, grid_h / height)
            return FlowField(uv, scale, first.index, second.index)
