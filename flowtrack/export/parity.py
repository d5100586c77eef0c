"""Parity: an exported graph against its PyTorch original, in pixels.

The graph runs through the engine that the runtime uses. A comparison beyond its limit raises, one
within gives a record for the manifest. Decisions between nearly equal values (two heatmap cells
whose difference drowns in rounding) may fall either way; they are counted as `ambiguous` and
compared by value instead of position.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flowtrack.errors import ExportError
from flowtrack.export.graphs import DetectorGraph, FlowGraph, PoseGraph, channels_first
from flowtrack.runtime.engines import Engine
from flowtrack.runtime.pose import decode_heatmaps, flip_average
from flowtrack.skeleton import Skeleton
from flowtrack.structs import ByteArray, FloatArray

Mask = npt.NDArray[np.bool_]
Differences = npt.NDArray[np.floating[Any]]

LIMIT_PX = 1e-3
"""Largest difference of a joint, box corner or flow vector."""

SCORE_LIMIT = 1e-3
"""Largest difference of a score, as a fraction of its heatmap's reach."""

AMBIGUOUS = 1e-4
"""Values closer than this fraction of their heatmap's reach count as equal."""

# The reach of a heatmap is the difference of its extremes, but at least this fraction of its
# largest magnitude: an untrained network's map is flat down to the last bits of its values.
_FLAT = 0.02
_TINY = float(np.finfo(np.float32).tiny)


def pose_parity(
    graph: PoseGraph,
    engine: Engine,
    batches: Sequence[ByteArray],
    skeleton: Skeleton,
    limit_px: float = LIMIT_PX,
) -> dict[str, Any]:
    """Compare a pose graph with PyTorch's heatmaps, decoded and flip-averaged by the runtime.

    Args:
        graph: the original.
        engine: the exported graph, loaded.
        batches: crops (N, H, W, 3) uint8.
        skeleton: names the joints in messages.
        limit_px: largest distance of a joint.

    Returns:
        The record.

    Raises:
        ExportError: a joint or score differs by more than its limit.
    """
    distances, scores, doubtful = [], [], []
    for batch in batches:
        heatmaps = _reference_heatmaps(graph, batch, skeleton)
        xy, score = decode_heatmaps(heatmaps, graph.network.stride, "quarter")
        result = engine.infer({engine.inputs[0].name: batch})[engine.outputs[0].name]
        reach = _reach(heatmaps)
        unsure = _ambiguous_joints(heatmaps, reach)
        gap = _value_gap(heatmaps, result, graph.network.stride) / reach
        distance = np.linalg.norm(result[..., :2] - xy, axis=-1)
        # Between equals either place is right, but only the place of an equal.
        distance[unsure] = np.where(gap[unsure] <= AMBIGUOUS, 0.0, distance[unsure])
        distances.append(distance)
        scores.append(np.abs(result[..., 2] - score) / reach)
        doubtful.append(unsure)
    distance, score_difference = np.concatenate(distances), np.concatenate(scores)
    unsure = np.concatenate(doubtful)
    _refuse_beyond("pose", distance, limit_px, "px", skeleton.joints)
    _refuse_beyond("pose", score_difference, SCORE_LIMIT, "of the heatmap's reach", skeleton.joints)
    return {
        **_record(limit_px, distance[~unsure], batches),
        "max_score_difference": float(score_difference.max()),
        "joints": int(distance.size),
        "ambiguous": int(unsure.sum()),
    }


def detector_parity(
    graph: DetectorGraph, engine: Engine, batches: Sequence[ByteArray], limit_px: float = LIMIT_PX
) -> dict[str, Any]:
    """Compare a detector graph with PyTorch's maps, decoded in numpy: boxes must pair off.

    Args:
        graph: the original.
        engine: the exported graph, loaded.
        batches: pictures (N, H, W, 3) uint8.
        limit_px: largest difference of a corner's coordinate.

    Returns:
        The record.

    Raises:
        ExportError: a box or score differs by more than its limit, has no counterpart, or the
            scores are not sorted.
    """
    corners, scores, unsure_count = [], [], 0
    for batch in batches:
        with torch.no_grad():
            maps = [value.numpy() for value in graph.maps(torch.from_numpy(batch))]
        found = engine.infer({engine.inputs[0].name: batch})
        boxes, score = (found[output.name] for output in engine.outputs)
        if not (np.diff(score, axis=1) <= 0).all():
            raise ExportError("the exported detector's scores are not sorted, best first")
        for heatmap, size, offset, their_boxes, their_score in zip(
            *maps, boxes, score, strict=True
        ):
            expected = reference_boxes(
                heatmap[0], size, offset, graph.network.stride, len(boxes[0])
            )
            there = their_score > 0
            corner, difference = _paired(expected, their_boxes[there], their_score[there])
            corners.append(corner)
            scores.append(difference / _reach(heatmap))
            unsure_count += int(expected[2].sum())
    corner, score_difference = np.concatenate(corners), np.concatenate(scores)
    _refuse_beyond("detector", corner, limit_px, "px", ())
    _refuse_beyond("detector", score_difference, SCORE_LIMIT, "of the heatmap's reach", ())
    return {
        **_record(limit_px, corner, batches),
        "max_score_difference": float(score_difference.max(initial=0.0)),
        "boxes": int(corner.size) + unsure_count,
        "ambiguous": unsure_count,
    }


def flow_parity(
    graph: FlowGraph,
    engine: Engine,
    pairs: Sequence[tuple[ByteArray, ByteArray]],
    limit_px: float = LIMIT_PX,
) -> dict[str, Any]:
    """Compare a flow graph with PyTorch: end-point difference of every vector.

    Args:
        graph: the original.
        engine: the exported graph, loaded.
        pairs: previous and current pictures (N, H, W, 3) uint8; sizes may differ between pairs.
        limit_px: largest length of a difference.

    Returns:
        The record.

    Raises:
        ExportError: a vector differs by more than the limit.
    """
    distances = []
    largest = 0.0
    for previous, current in pairs:
        with torch.no_grad():
            expected = graph(torch.from_numpy(previous), torch.from_numpy(current)).numpy()
        names = [tensor.name for tensor in engine.inputs]
        feeds = dict(zip(names, (previous, current), strict=True))
        flow = engine.infer(feeds)[engine.outputs[0].name]
        distances.append(np.linalg.norm(flow - expected, axis=1).reshape(len(flow), -1))
        largest = max(largest, float(np.linalg.norm(expected, axis=1).max()))
    worst = np.concatenate([distance.max(axis=1) for distance in distances])
    _refuse_beyond("flow", worst, limit_px, "px", ())
    everything = np.concatenate([distance.ravel() for distance in distances])
    return {
        **_record(limit_px, everything, [previous for previous, _ in pairs]),
        "sizes": sorted({f"{first.shape[2]}x{first.shape[1]}" for first, _ in pairs}),
        "largest_flow_px": largest,
        "ambiguous": 0,
    }


def reference_boxes(
    heatmap: FloatArray, size: FloatArray, offset: FloatArray, stride: int, count: int
) -> tuple[FloatArray, FloatArray, Mask]:
    """Boxes of one picture's centre maps, in numpy.

    Args:
        heatmap: (rows, columns) probability of a centre.
        size, offset: (2, rows, columns) in cells.
        stride: pixels per cell.
        count: boxes wanted.

    Returns:
        (n, 4) xyxy pixels and (n,) scores, best first, n <= count; (n,) true where a neighbouring
        cell, or the best cell that was left out, is as good but for rounding.
    """
    rows, columns = heatmap.shape
    padded = np.pad(heatmap, 1, constant_values=-np.inf)
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = np.max([padded[y : y + rows, x : x + columns] for y, x in shifts], axis=0)
    y, x = np.nonzero((heatmap >= around) & (heatmap > 0))
    order = np.argsort(-heatmap[y, x], kind="stable")
    cutoff = heatmap[y[order[count]], x[order[count]]] if len(order) > count else -np.inf
    y, x = y[order[:count]], x[order[:count]]
    score = heatmap[y, x]
    centre = np.stack([x, y], axis=1) + offset[:, y, x].T
    half = size[:, y, x].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1) * stride
    tolerance = AMBIGUOUS * _reach(heatmap)
    unsure = (score - around[y, x] <= tolerance) | (score - cutoff <= tolerance)
    return boxes.astype(np.float32), score, unsure


def _paired(
    expected: tuple[FloatArray, FloatArray, Mask], boxes: FloatArray, scores: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Corner and score differences of the expected boxes that are sure, to their nearest.

    Found boxes without a counterpart count as infinitely far, beyond as many as are unsure.
    """
    own_boxes, own_scores, unsure = expected
    if not len(boxes):
        lost = np.full(int((~unsure).sum()), np.inf, np.float32)
        return lost, np.zeros_like(lost)
    corner = np.abs(own_boxes[:, None] - boxes[None]).max(axis=2)
    difference = np.abs(own_scores[:, None] - scores[None])
    cost = corner + difference  # distinguishes equal boxes of different peaks
    nearest = cost.argmin(axis=1)
    rows = np.flatnonzero(~unsure)
    extra = int((~(corner.min(axis=0, initial=np.inf) <= LIMIT_PX)).sum()) - int(unsure.sum())
    strangers = np.full(max(extra, 0), np.inf, np.float32)
    return (
        np.concatenate([corner[rows, nearest[rows]], strangers]),
        difference[rows, nearest[rows]],
    )


def _reference_heatmaps(graph: PoseGraph, crops: ByteArray, skeleton: Skeleton) -> FloatArray:
    def run(pictures: ByteArray) -> FloatArray:
        tensor = torch.from_numpy(np.ascontiguousarray(pictures))
        with torch.no_grad():
            heatmaps: FloatArray = graph.network(
                graph.normalization(channels_first(tensor))
            ).numpy()
        return heatmaps

    plain = run(crops)
    return plain if graph.flip is None else flip_average(plain, run(crops[:, :, ::-1]), skeleton)


def _reach(heatmaps: FloatArray) -> FloatArray:
    """(...,) what differences within a heatmap (..., rows, columns) are measured by."""
    extent = np.ptp(heatmaps, axis=(-2, -1))
    magnitude = np.abs(heatmaps).max(axis=(-2, -1))
    reach: FloatArray = np.maximum(np.maximum(extent, _FLAT * magnitude), np.float32(_TINY))
    return reach


def _ambiguous_joints(heatmaps: FloatArray, reach: FloatArray) -> Mask:
    """(N, K) true where decoding hangs on a difference below rounding.

    That is the two highest cells, the sign of the highest (a joint that is not positive lies at
    the origin), or the two neighbours along an axis, which give the sign of the quarter offset.
    """
    count, joints, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, joints, -1)
    highest = np.sort(flat, axis=2)[..., -2:]
    near_tie = highest[..., 1] - highest[..., 0] < AMBIGUOUS * reach
    near_zero = np.abs(highest[..., 1]) < AMBIGUOUS * reach
    best = flat.argmax(axis=2)
    x, y = best % width, best // width
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)

    def flat_along(step: int) -> Mask:
        ahead = np.take_along_axis(flat, np.where(inside, best + step, 0)[..., None], 2)
        behind = np.take_along_axis(flat, np.where(inside, best - step, 0)[..., None], 2)
        close: Mask = (np.abs(ahead - behind)[..., 0] < AMBIGUOUS * reach) & inside
        return close

    ambiguous: Mask = near_tie | near_zero | flat_along(1) | flat_along(width)
    return ambiguous


def _value_gap(heatmaps: FloatArray, keypoints: FloatArray, stride: int) -> FloatArray:
    """(N, K) by how much the heatmap is lower at the found place than at its best.

    A joint at the origin is one that was found not to be positive: its place has value 0.
    """
    count, joints, height, width = heatmaps.shape
    # A quarter cell never moves a joint out of the cell that it rounds to.
    cell = np.rint(np.nan_to_num(keypoints[..., :2]) / stride).astype(np.int64)
    cell = np.clip(cell, 0, (width - 1, height - 1))
    flat = heatmaps.reshape(count, joints, -1)
    index = cell[..., 1] * width + cell[..., 0]
    value = np.take_along_axis(flat, index[..., None], 2)[..., 0]
    value = np.where((keypoints[..., :2] == 0).all(axis=-1), np.maximum(value, 0.0), value)
    gap: FloatArray = np.abs(flat.max(axis=2) - value)
    return gap


def _refuse_beyond(
    part: str, difference: Differences, limit: float, unit: str, joints: tuple[str, ...]
) -> None:
    """Raise if any difference exceeds the limit or is no number; rows are pictures."""
    bad = ~(difference <= limit)
    if not bad.any():
        return
    worst = np.unravel_index(np.where(np.isnan(difference), np.inf, difference).argmax(),
                             difference.shape)  # fmt: skip
    place = "" if part == "detector" else f" in picture {worst[0]}"
    place += f", joint {joints[worst[1]]}" if joints else ""
    raise ExportError(
        f"the exported {part} graph differs from PyTorch by {difference[worst]:.3g} {unit}{place}; "
        f"{int(bad.sum())} of {difference.size} values are beyond the limit of {limit:g}. No file "
        "was written; please report this with the versions of torch, onnx and onnxruntime"
    )


def _record(limit_px: float, distance: Differences, batches: Sequence[ByteArray]) -> dict[str, Any]:
    """The entries that all records share."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "onnx", "onnxruntime")}
    return {
        "against": f"torch {versions['torch']}",
        "limit_px": limit_px,
        "max_px": float(distance.max(initial=0.0)),
        "mean_px": float(distance.mean()) if distance.size else 0.0,
        "samples": sum(len(batch) for batch in batches),
        "batch_sizes": sorted({len(batch) for batch in batches}),
        "versions": versions,
    }
