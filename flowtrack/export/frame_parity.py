"""How far the frame-in form of a network is from the form that takes pictures, on frames.

Both run through the heads that tracking uses. Pictures are compared in grey levels, and what the
networks make of them in pixels of those pictures. The CPU rounds its interpolation weights where
the graph does not, so single grey levels differ; decisions between nearly equal values may then
fall either way, which is why medians are held against a limit and the rest is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import ExportError
from flowtrack.export.frame_graphs import INPUTS, sampling_graph
from flowtrack.runtime.engines import Engine, open_engine
from flowtrack.runtime.flow import NetworkFlow, input_size
from flowtrack.runtime.manifest import Manifest
from flowtrack.runtime.pipeline import Pipeline
from flowtrack.runtime.preprocess import crop_matrices, crop_people, fit, placement
from flowtrack.structs import Boxes, ByteArray, FloatArray, Frame

Distances = npt.NDArray[np.floating[Any]]

GREY_MEAN_LIMIT = 0.3
"""Largest mean difference of the pictures, in grey levels."""

GREY_P99_LIMIT = 2.0
"""Largest difference that 99 of 100 values keep to.

OpenCV 4 rounds places to 1/32 of a pixel, which on photographs makes 0.06 in the mean, 1 here and 3
at most; OpenCV 5 does not.
"""

MEDIAN_LIMIT_PX = 0.25
"""Largest median difference of joints, box corners and flow, in pixels of the picture."""

_LOST_LIMIT = 0.05
"""Largest share of joints and boxes that only one of the forms finds."""

_NEAR = 0.05
"""Boxes whose corners are closer than this share of the picture are of the same person."""

_CLEAR = 0.3
"""Joints and boxes scored below are not compared: where they lie is a matter of rounding."""


def awkward_boxes(height: int, width: int) -> FloatArray:
    """Boxes that a frame's own people do not have: tiny, as large as it, across its border."""
    shares = np.array(
        [[0.4, 0.3, 0.6, 0.9], [0.0, 0.0, 1.0, 1.0], [-0.2, -0.3, 0.15, 0.4],
         [0.85, 0.7, 1.3, 1.2], [0.5, 0.5, 0.503, 0.505]]
    )  # fmt: skip
    return (shares * [width, height, width, height]).astype(np.float32)


def grey_record(part: str, manifest: Manifest, frames: Sequence[ByteArray]) -> dict[str, float]:
    """Differences of the pictures that the graph makes from those made on the CPU.

    Args:
        part: `detector`, `pose` or `flow`.
        manifest: of the bundle whose networks take pictures.
        frames: (H, W, 3) uint8 BGR of any sizes.

    Returns:
        Mean, 99th percentile and largest difference, in grey levels.

    Raises:
        ExportError: the pictures differ by more than their limits.
    """
    engine = open_engine(sampling_graph(part, manifest), "cpu")
    found = np.concatenate([_grey(engine, part, manifest, frame).ravel() for frame in frames])
    record = {
        "grey_mean": float(found.mean()),
        "grey_p99": float(np.quantile(found, 0.99)),
        "grey_max": float(found.max()),
    }
    if not (record["grey_mean"] <= GREY_MEAN_LIMIT and record["grey_p99"] <= GREY_P99_LIMIT):
        raise ExportError(
            f"the pictures of the frame-in {part} graph differ from the CPU's by "
            f"{record['grey_mean']:.3g} grey levels in the mean and {record['grey_p99']:.3g} in "
            f"the 99th percentile, expected at most {GREY_MEAN_LIMIT} and {GREY_P99_LIMIT}; "
            "nothing was written; please report this with the versions of OpenCV and onnxruntime"
        )
    return record


def _grey(engine: Engine, part: str, manifest: Manifest, frame: ByteArray) -> Distances:
    spec = manifest.files()[part].input
    height, width = frame.shape[:2]
    feeds: dict[str, npt.NDArray[Any]] = dict.fromkeys(INPUTS[part], frame)
    if part == "pose":
        assert spec.height is not None
        assert spec.width is not None
        size, padding = (spec.height, spec.width), manifest.pose.box_padding
        affine = crop_matrices(awkward_boxes(height, width), *size, padding)
        wanted = crop_people(frame, affine, *size)
        rows = np.resize(np.arange(len(affine)), spec.batch or len(affine))
        feeds["affine"], wanted = affine[rows], wanted[rows]
    elif part == "detector":
        size = spec.height or height, spec.width or width
        wanted = fit(frame, *size, manifest.detector.letterbox)[0][None]
    else:
        assert manifest.flow is not None
        wanted = fit(frame, *input_size((height, width), manifest.flow), None)[0][None]
    made = engine.infer(feeds)
    return np.concatenate([np.abs(picture.astype(np.int16) - wanted) for picture in made.values()])


def place_record(
    part: str, pictures: Pipeline, framed: Pipeline, frames: Sequence[ByteArray]
) -> dict[str, Any]:
    """Differences of joints, boxes or flow between the two forms of a bundle.

    Args:
        part: `detector`, `pose` or `flow`.
        pictures, framed: the loaded bundle in both forms.
        frames: (H, W, 3) uint8 BGR; neighbours of one size form pairs for flow.

    Returns:
        Median, 99th percentile and largest difference in pixels of the network's pictures, how
        many were compared, and how many found no counterpart.

    Raises:
        ExportError: the median is beyond its limit, or there was nothing to compare.
    """
    clip = [Frame(index, float(index), image) for index, image in enumerate(frames)]
    found, lost = _COMPARISONS[part](pictures, framed, clip)
    if not found.size:
        raise ExportError(
            f"the {part} network gives nothing on these frames that could be compared; give frames "
            "with people in them"
        )
    record: dict[str, Any] = {
        "median_px": float(np.median(found)),
        "p99_px": float(np.quantile(found, 0.99)),
        "max_px": float(found.max()),
        "limit_median_px": MEDIAN_LIMIT_PX,
        "compared": int(found.size),
        "without_counterpart": lost,
    }
    if not (record["median_px"] <= MEDIAN_LIMIT_PX and lost <= _LOST_LIMIT * (found.size + lost)):
        raise ExportError(
            f"the frame-in {part} network differs from the one that takes pictures by "
            f"{record['median_px']:.3g} px in the median (limit {MEDIAN_LIMIT_PX}), and {lost} of "
            f"{found.size + lost} places have no counterpart; nothing was written"
        )
    return record


def _detector(pictures: Pipeline, framed: Pipeline, clip: list[Frame]) -> tuple[Distances, int]:
    spec = pictures.detector.spec
    distances, lost = [np.zeros(0)], 0
    for frame in clip:
        size = spec.file.input.height or frame.height, spec.file.input.width or frame.width
        scale = placement((frame.height, frame.width), *size, spec.letterbox)[[0, 1, 0, 1]]
        before, after = (pipeline.detector(frame) for pipeline in (pictures, framed))
        clear = before.xyxy[before.score >= _CLEAR]
        if not len(after):
            lost += len(clear)
            continue
        corner = np.abs((clear[:, None] - after.xyxy[None]) * scale).max(axis=2).min(axis=1)
        near = corner <= _NEAR * max(size)
        distances.append(corner[near])
        lost += int((~near).sum())
    return np.concatenate(distances), lost


def _pose(pictures: Pipeline, framed: Pipeline, clip: list[Frame]) -> tuple[Distances, int]:
    distances, lost = [np.zeros(0)], 0
    for frame in clip:
        seen = pictures.detector(frame)
        xyxy = np.concatenate([
            seen.xyxy[seen.score >= _CLEAR], awkward_boxes(frame.height, frame.width),
        ])  # fmt: skip
        boxes = Boxes.detected(xyxy, np.ones(len(xyxy), np.float32))
        before, after = (pipeline.pose(frame, boxes) for pipeline in (pictures, framed))
        scale = crop_matrices(xyxy, *pictures.pose.size, pictures.pose.spec.box_padding)[:, 0, 0]
        distance = np.linalg.norm(before.xy - after.xy, axis=2) * scale[:, None]
        distance = distance[before.score >= _CLEAR]
        there = np.isfinite(distance)
        distances.append(distance[there])
        lost += int((~there).sum())
    return np.concatenate(distances), lost


def _flow(pictures: Pipeline, framed: Pipeline, clip: list[Frame]) -> tuple[Distances, int]:
    distances = [np.zeros(0)]
    flows = [pipeline.flow for pipeline in (pictures, framed)
             if isinstance(pipeline.flow, NetworkFlow)]  # fmt: skip
    for first, second in pairwise(clip):
        if first.image.shape != second.image.shape:
            continue
        fields = [flow.between(flow.prepare(first), flow.prepare(second)) for flow in flows]
        height, width = input_size((first.height, first.width), flows[0].spec)
        scale = np.array([width / first.width, height / first.height])[:, None, None]
        distances.append(np.linalg.norm((fields[0].uv - fields[1].uv) * scale, axis=0).ravel())
    return np.concatenate(distances), 0


Compare = Callable[[Pipeline, Pipeline, list[Frame]], tuple[Distances, int]]

_COMPARISONS: Mapping[str, Compare] = MappingProxyType(
    {"detector": _detector, "pose": _pose, "flow": _flow}
)
