"""The pose network: people's crops in one batch, joints in source pixels out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import BundleError, OptionError
from flowtrack.runtime.batching import run_batched
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.engines import Engine
from flowtrack.runtime.engines.base import DeviceArray
from flowtrack.runtime.manifest import PoseSpec
from flowtrack.runtime.network import check_engine, placed, read_output
from flowtrack.runtime.preprocess import (
    crop_matrices,
    crop_people,
    mirrored_matrices,
    pack,
    to_source,
)
from flowtrack.skeleton import Skeleton
from flowtrack.structs import Boxes, FloatArray, Frame, Poses, checked

Array = npt.NDArray[Any]
Joints = tuple[FloatArray, FloatArray]
Decode = Callable[[list[Array], PoseSpec, tuple[int, int]], Joints]

Job = tuple[dict[str, Array | DeviceArray], Array]
"""Inputs that a whole batch shares, by name, and the batch of the network's last input."""


class PoseEstimator:
    """Estimates the pose in every box (N_pose of Algorithm 1), all people as one batch."""

    def __init__(self, engine: Engine, spec: PoseSpec, skeleton: Skeleton) -> None:
        """Pair a loaded network with the facts about it.

        Raises:
            BundleError: the network does not take or give what `spec` and `skeleton` say.
        """
        check_engine("pose", engine, spec.file.input)
        height, width = spec.file.input.height, spec.file.input.width
        assert height is not None
        assert width is not None  # the manifest refuses a pose network without a size
        self.engine = engine
        self.spec = spec
        self.skeleton = skeleton
        self.size = (height, width)
        self._decode = DECODES[spec.decode]
        for output in engine.outputs:
            joints = output.shape[1] if len(output.shape) > 1 else None
            if isinstance(joints, int) and joints != len(skeleton):
                raise BundleError(
                    f"pose gives {output.name!r} of shape {output.shape}, skeleton "
                    f"{skeleton.name!r} has {len(skeleton)} joints; correct `skeleton`"
                )
        if len(engine.outputs) != OUTPUTS[spec.decode]:
            raise BundleError(
                f"pose gives {[output.name for output in engine.outputs]}, decode "
                f"{spec.decode!r} reads {OUTPUTS[spec.decode]} outputs; correct `decode`"
            )

    def __call__(self, frame: Frame, boxes: Boxes, clock: StageClock | None = None) -> Poses:
        """Poses in the boxes of one frame, row by row."""
        return self.estimate([frame], [boxes], clock)[0]

    def estimate(
        self, frames: Sequence[Frame], boxes: Sequence[Boxes], clock: StageClock | None = None
    ) -> list[Poses]:
        """Poses in the boxes of several frames (of several streams), all people as one batch.

        Returns:
            One `Poses` per frame; a joint without a positive score is missing.
        """
        clock = clock or StageClock()
        everyone = np.concatenate([item.xyxy for item in boxes])
        if not len(everyone):
            return [Poses.empty(len(self.skeleton)) for _ in frames]
        with clock.stage("pose.prepare"):
            matrices = crop_matrices(everyone, *self.size, self.spec.box_padding)
            ends = np.cumsum([len(item) for item in boxes])
            jobs = self._jobs(frames, np.split(matrices, ends[:-1]))
        with clock.stage("pose.engine"):
            outputs = self._run(jobs)
            if self.spec.flip_test:
                turned = self._run([(shared, self._mirror(batch)) for shared, batch in jobs])
                outputs = [self._averaged(outputs[0], turned[0])]
        with clock.stage("pose.decode"):
            xy, score = self._decode(outputs, self.spec, self.size)
            if score.shape[1] != len(self.skeleton):
                raise BundleError(
                    f"pose gives {score.shape[1]} joints, skeleton {self.skeleton.name!r} has "
                    f"{len(self.skeleton)}; correct `skeleton`"
                )
            xy = to_source(xy, matrices)
            xy[~(score > 0)] = np.nan
            return [
                Poses(part_xy, part_score, item.xyxy, item.score)
                for item, part_xy, part_score in zip(
                    boxes, np.split(xy, ends[:-1]), np.split(score, ends[:-1]), strict=True
                )
            ]

    def _jobs(self, frames: Sequence[Frame], matrices: Sequence[FloatArray]) -> list[Job]:
        """What to run: everyone's crops at once, or frame by frame in the form `frame`."""
        pairs = zip(frames, matrices, strict=True)
        spec = self.spec.file.input
        if spec.form == "frame":
            name = spec.names[0]
            return [({name: placed(frame, self.engine)}, own) for frame, own in pairs if len(own)]
        crops = [crop_people(frame.image, own, *self.size) for frame, own in pairs]
        return [({}, pack(np.concatenate(crops), spec))]

    def _run(self, jobs: Sequence[Job]) -> list[Array]:
        """Outputs of all jobs, joined, in the graph's order."""
        spec = self.spec.file.input

        def outputs(shared: dict[str, Array | DeviceArray], batch: Array) -> dict[str, Array]:
            def run(part: Array) -> dict[str, Array]:
                return self.engine.infer({**shared, spec.names[-1]: part})

            return run_batched(run, batch, spec.batch)

        parts = [outputs(*job) for job in jobs]
        names = [output.name for output in self.engine.outputs]
        return [np.concatenate([part[name] for part in parts]) for name in names]

    def _mirror(self, batch: Array) -> Array:
        """Crops mirrored, or the matrices of mirrored crops."""
        spec = self.spec.file.input
        if spec.form == "frame":
            return mirrored_matrices(batch, self.size[1])
        return np.ascontiguousarray(np.flip(batch, 3 if spec.layout == "nchw" else 2))

    def _averaged(self, straight: Array, mirrored: Array) -> FloatArray:
        shape = ("N", len(self.skeleton), "h", "w")
        plain, turned = (
            read_output("pose", "heatmap", maps, shape) for maps in (straight, mirrored)
        )
        return flip_average(plain, turned, self.skeleton)


def flip_average(heatmaps: Array, mirrored: Array, skeleton: Skeleton) -> FloatArray:
    """Heatmaps averaged with those of the mirrored crop.

    The maps are mirrored back, left and right joints swapped, and shifted right by one cell
    (column 0 keeps its value), as in the paper's official code (lib/core/function.py).

    Args:
        heatmaps, mirrored: (N, K, h, w).

    Returns:
        (N, K, h, w) float32.
    """
    back = mirrored[:, skeleton.flip_order, :, ::-1].copy()
    back[..., 1:] = back[..., :-1].copy()
    average: FloatArray = ((heatmaps + back) * 0.5).astype(np.float32)
    return average


def decode_heatmaps(
    heatmaps: npt.ArrayLike, stride: float, offset: str = "quarter"
) -> tuple[FloatArray, FloatArray]:
    """Joint positions from heatmaps: the first maximum, moved by a quarter of a cell.

    `quarter` moves each axis towards the larger neighbour, away from the border only (official
    code, lib/core/inference.py); `second` moves by a quarter cell towards the second highest
    response (the paper's words); `none` does not move. Cell i lies at input pixel stride * i.

    Args:
        heatmaps: (N, K, h, w).
        stride: input pixels per cell.
        offset: `quarter`, `second` or `none`.

    Returns:
        (N, K, 2) input pixels, zero where the maximum is not positive; (N, K) the raw maximum.
    """
    if offset not in OFFSETS:
        raise OptionError(f"offset is {offset!r}, expected one of {', '.join(OFFSETS)}")
    maps = checked("heatmaps", heatmaps, ("N", "K", "h", "w"), np.float32)
    count, joints, height, width = maps.shape
    flat = maps.reshape(count, joints, height * width)
    best = flat.argmax(axis=2)
    score = np.take_along_axis(flat, best[..., None], axis=2)[..., 0]
    xy = np.stack([best % width, best // width], axis=-1).astype(np.float32)
    xy += OFFSETS[offset](maps, best)
    xy[~(score > 0)] = 0.0
    return xy * np.float32(stride), score


def _quarter_offset(maps: FloatArray, best: npt.NDArray[np.int64]) -> FloatArray:
    """(N, K, 2) a quarter of the sign of the central difference, zero near the border."""
    count, joints, height, width = maps.shape
    x, y = best % width, best // width
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    flat = maps.reshape(count, joints, -1)

    def difference(step: int) -> FloatArray:
        ahead = np.take_along_axis(flat, np.where(inside, best + step, 0)[..., None], 2)
        behind = np.take_along_axis(flat, np.where(inside, best - step, 0)[..., None], 2)
        return (ahead - behind)[..., 0]

    signs = np.sign(np.stack([difference(1), difference(width)], axis=-1))
    quarter: FloatArray = np.where(inside[..., None], np.float32(0.25) * signs, np.float32(0.0))
    return quarter


def _second_offset(maps: FloatArray, best: npt.NDArray[np.int64]) -> FloatArray:
    """(N, K, 2) a quarter cell in the direction of the second highest response."""
    count, joints, _, width = maps.shape
    rest = maps.reshape(count, joints, -1).copy()
    np.put_along_axis(rest, best[..., None], -np.inf, axis=2)
    second = rest.argmax(axis=2)
    step = np.stack([second % width - best % width, second // width - best // width], axis=-1)
    length = np.maximum(np.linalg.norm(step, axis=-1, keepdims=True), 1.0)
    quarter: FloatArray = (0.25 * step / length).astype(np.float32)
    return quarter


def _no_offset(maps: FloatArray, best: npt.NDArray[np.int64]) -> FloatArray:
    del maps
    return np.zeros((*best.shape, 2), np.float32)


OFFSETS: Mapping[str, Callable[[FloatArray, npt.NDArray[np.int64]], FloatArray]] = MappingProxyType(
    {"quarter": _quarter_offset, "second": _second_offset, "none": _no_offset}
)
"""Sub-cell rules of `decode_heatmaps`."""


def _decode_heatmap(outputs: list[Array], spec: PoseSpec, size: tuple[int, int]) -> Joints:
    maps = read_output("pose", "heatmap", outputs[0], ("N", "K", "h", "w"))
    strides = size[1] / maps.shape[3], size[0] / maps.shape[2]
    if strides[0] != strides[1]:
        raise BundleError(
            f"pose gives heatmaps of {maps.shape[2:]} for input {size}: {strides[0]} pixels a cell "
            f"along x, {strides[1]} along y, expected as many; correct `decode` in the manifest"
        )
    return decode_heatmaps(maps, strides[0], spec.offset)


def _decode_keypoints(outputs: list[Array], spec: PoseSpec, size: tuple[int, int]) -> Joints:
    """Our own contract: (N, K, 3) x, y in crop pixels and score."""
    del spec, size
    keypoints = read_output("pose", "keypoints", outputs[0], ("N", "K", 3))
    return keypoints[..., :2], keypoints[..., 2]


def _decode_simcc(outputs: list[Array], spec: PoseSpec, size: tuple[int, int]) -> Joints:
    """Two classifications over finely divided axes; the score is the lower of the two maxima.

    (open-mmlab/mmpose, mmpose/codecs/utils/post_processing.py)
    """
    along_x, along_y = (
        read_output("pose", "simcc", output, ("N", "K", "bins")) for output in outputs
    )
    if along_x.shape[2] != round(size[1] * spec.simcc_ratio):
        along_x, along_y = along_y, along_x
    widths = (along_x.shape[2], along_y.shape[2])
    expected = (round(size[1] * spec.simcc_ratio), round(size[0] * spec.simcc_ratio))
    if widths != expected:
        raise BundleError(
            f"pose gives {widths} bins along x and y, input {size} with simcc_ratio "
            f"{spec.simcc_ratio} makes {expected}; correct simcc_ratio"
        )
    bins = np.stack([along_x.argmax(axis=2), along_y.argmax(axis=2)], axis=-1)
    score = np.minimum(along_x.max(axis=2), along_y.max(axis=2))
    return (bins / spec.simcc_ratio).astype(np.float32), score


DECODES: Mapping[str, Decode] = MappingProxyType(
    {"keypoints": _decode_keypoints, "heatmap": _decode_heatmap, "simcc": _decode_simcc}
)
"""How each decode kind turns outputs into joints in crop pixels and their scores."""

OUTPUTS = MappingProxyType({"keypoints": 1, "heatmap": 1, "simcc": 2})
"""How many outputs each decode kind reads."""
