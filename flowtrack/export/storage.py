"""Half the size, the same arithmetic: large weights stored as float16, made float32 when loaded.

Each large float32 constant of a graph becomes a float16 one and a Cast. ONNX Runtime carries the
Cast out once, while it loads the graph; everything that is computed stays float32. What is lost
is the rounding of the weights, 2^-11 of each at most, and it is measured before the file exists.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import ExportError
from flowtrack.export.onnx_file import serialized
from flowtrack.export.parity_inputs import batches, followers, pictures
from flowtrack.runtime.engines import Engine, open_engine

SMALLEST = 1024
"""Constants of fewer elements stay as they are: biases and tables, and nothing to gain."""

LOSS_LIMIT = 1e-3
"""Largest relative error (of the Euclidean norms) of a constant that is stored as float16.

Rounding alone gives less than 2^-11; a constant beyond lost values below float16's smallest.
"""

LIMIT_PX = 0.1
"""Largest median difference of the positions that a graph gives, in pixels."""

_FREE_SIZE = (128, 192)  # (height, width) on which a graph of free size is compared
_SCORES = ("scores",)  # outputs that are no positions; of `keypoints` it is the third column


@dataclass(frozen=True)
class StoredNetwork:
    """An ONNX file with float16 constants that passed its comparison.

    Attributes:
        path: of the file.
        sha256: of its bytes, in hexadecimal.
        record: what was stored how, and how far the outputs moved; plain data for the manifest.
    """

    path: Path
    sha256: str
    record: dict[str, Any]


def store_half(
    source: Path | str,
    target: Path | str,
    *,
    images: Sequence[npt.NDArray[np.uint8]] | None = None,
    color: str = "rgb",
) -> StoredNetwork:
    """Write an exported graph again with its large weights as float16.

    A sidecar beside `target` has to be written anew: it holds the hash of the file.

    Args:
        source: ONNX file that `export_pose`, `export_detector` or `export_flow` wrote.
        target: of the file to write; may be `source`.
        images: further pictures for the comparison, (H, W, 3) uint8 BGR of any size.
        color: channel order that the graph expects, `rgb` or `bgr`.

    Returns:
        The file and its record. The differences are of positions, over all outputs; among them are
        those of joints and boxes whose place was a matter of rounding to begin with, which is why
        the median is held against the limit.

    Raises:
        ExportError: a weight is too large for float16, there is none to store, a file cannot be
            read or written, or the outputs moved too far; no file is left.
    """
    source, target = Path(source), Path(target)
    try:
        original = source.read_bytes()
    except OSError as error:
        raise ExportError(f"{source} cannot be read: {error}") from error
    content, stored, kept = _with_half_constants(original, source)
    record = {
        "weights": "fp16",
        "stored": stored,
        "kept_fp32": kept,
        "bytes": len(content),
        "bytes_fp32": len(original),
        **_compare(open_engine(original, "cpu"), open_engine(content, "cpu"), images, color),
    }
    if not record["median_px"] <= LIMIT_PX:
        raise ExportError(
            f"{source.name} with float16 weights gives positions {record['median_px']:.3g} px away "
            f"in the median, expected at most {LIMIT_PX} px; store it with fp32 weights"
        )
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return StoredNetwork(target, hashlib.sha256(content).hexdigest(), record)


def _with_half_constants(original: bytes, source: Path) -> tuple[bytes, int, list[str]]:
    """The rewritten graph, how many constants it stores as float16, and which it should but not."""
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load_model_from_string(original)
    except Exception as error:  # protobuf raises its own kinds
        raise ExportError(f"{source} is no ONNX graph: {error}") from error
    graph = model.graph
    fed = {value.name for value in graph.input}
    taken = {constant.name for constant in graph.initializer}
    casts, kept = [], []
    for constant in graph.initializer:
        if constant.data_type != onnx.TensorProto.FLOAT or constant.name in fed:
            continue
        values = numpy_helper.to_array(constant)
        if values.size < SMALLEST:
            continue
        half = _half(values, constant.name)
        if half is None:
            kept.append(constant.name)
            continue
        name = constant.name
        stored = f"{name}.half"
        if stored in taken:
            raise ExportError(f"{source} has a constant {stored!r} already, and {name!r} needs it")
        constant.CopyFrom(numpy_helper.from_array(half, stored))
        casts.append(
            onnx.helper.make_node(
                "Cast", [stored], [name], name=f"{name}/Cast", to=onnx.TensorProto.FLOAT
            )
        )
    if not casts:
        raise ExportError(
            f"{source} has no float32 weights of {SMALLEST} elements or more to store as float16; "
            "it may be stored that way already"
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    entry = model.metadata_props.add()
    entry.key, entry.value = "flowtrack.weights", "fp16"
    return serialized(model), len(casts), kept


def _half(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float16] | None:
    """`values` rounded, or None where too much would be lost.

    Raises:
        ExportError: a value is not finite, or beyond float16.
    """
    largest = float(np.abs(values).max())
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ExportError(
            f"weight {name!r} reaches {largest:.4g}, beyond the largest float16, "
            f"{np.finfo(np.float16).max:g}; store the network with fp32 weights"
        )
    norm = float(np.linalg.norm(values.astype(np.float64)))
    lost = float(np.linalg.norm(values.astype(np.float64) - half.astype(np.float64)))
    return half if lost <= LOSS_LIMIT * norm else None


def _compare(
    original: Engine,
    stored: Engine,
    images: Sequence[npt.NDArray[np.uint8]] | None,
    color: str,
) -> dict[str, Any]:
    """How far the outputs of one graph are from the other's, on the pictures of every export."""
    height, width = (
        size if isinstance(size, int) else free
        for size, free in zip(original.inputs[0].shape[1:3], _FREE_SIZE, strict=True)
    )
    frames, made_of = pictures(height, width, images, color)
    feeds = {original.inputs[0].name: batches(frames)}
    if len(original.inputs) == 2:
        feeds[original.inputs[1].name] = batches(followers(frames))
    positions, scores = [], []
    for parts in zip(*feeds.values(), strict=True):
        given = dict(zip(feeds, parts, strict=True))
        before, after = original.infer(given), stored.infer(given)
        for name, values in before.items():
            difference = np.abs(values - after[name])
            if name in _SCORES:
                scores.append(difference.ravel())
            elif name == "keypoints":
                positions.append(difference[..., :2].ravel())
                scores.append(difference[..., 2].ravel())
            else:
                positions.append(difference.ravel())
    moved = np.concatenate(positions)
    record = {
        "median_px": float(np.median(moved)),
        "p99_px": float(np.quantile(moved, 0.99)),
        "max_px": float(moved.max()),
        "limit_median_px": LIMIT_PX,
        "inputs": made_of,
    }
    if scores:
        record["max_score_difference"] = float(np.concatenate(scores).max())
    return record
