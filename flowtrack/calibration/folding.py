"""Batch normalisation folded into the convolution before it, so that one scale covers both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]

_EPSILON = 1e-5  # ONNX's default


def fold_batch_normalisation(graph: Any) -> None:
    """Fold every batch normalisation that alone reads a convolution into its weights and bias.

    With s = gamma / sqrt(variance + epsilon), the weights of an output channel become s w, and its
    bias s (b - mean) + beta.

    Args:
        graph: onnx.GraphProto, changed in place. A normalisation whose convolution has other
            readers, or whose numbers are not constants, stays as it is.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    folded = []
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            continue
        layer = makers.get(node.input[0])
        if (
            layer is None
            or layer.op_type not in ("Conv", "ConvTranspose")
            or readers[node.input[0]] != 1
            or not {*layer.input[1:], *node.input[1:]} <= set(constants)
        ):
            continue
        weights, bias = _folded(layer, node, constants)
        names = [f"{layer.output[0]}.folded_weight", f"{layer.output[0]}.folded_bias"]
        graph.initializer.extend(
            [numpy_helper.from_array(array, name)
             for name, array in zip(names, (weights, bias), strict=True)]
        )  # fmt: skip
        layer.input[1:] = names
        layer.output[0] = node.output[0]
        folded.append(node)
    for node in folded:
        graph.node.remove(node)
    drop_unread(graph)


def _folded(layer: Any, norm: Any, constants: Mapping[str, Any]) -> tuple[Array, Array]:
    gamma, beta, mean, variance = (
        numpy_helper.to_array(constants[name]).astype(np.float64) for name in norm.input[1:5]
    )
    given = {entry.name: helper.get_attribute_value(entry) for entry in norm.attribute}
    gain = gamma / np.sqrt(variance + given.get("epsilon", _EPSILON))
    weights = numpy_helper.to_array(constants[layer.input[1]])
    bias = numpy_helper.to_array(constants[layer.input[2]]) if len(layer.input) > 2 else 0.0
    shaped = gain.reshape(-1, *[1] * (weights.ndim - 1))
    if layer.op_type == "ConvTranspose":  # (in, out / groups, ...): a group's channels in a row
        groups = next((a.i for a in layer.attribute if a.name == "group"), 1)
        grouped = weights.reshape(groups, -1, *weights.shape[1:])
        by_group = gain.reshape(groups, 1, -1, *[1] * (weights.ndim - 2))
        scaled = (grouped * by_group).reshape(weights.shape)
    else:
        scaled = weights * shaped
    return scaled.astype(np.float32), ((bias - mean) * gain + beta).astype(np.float32)


def drop_unread(graph: Any) -> None:
    """Remove constants that no node reads, and casts of constants that none does."""
    read = _read_in(graph) | {value.name for value in graph.output}
    constants = {tensor.name for tensor in graph.initializer}
    idle = [
        node
        for node in graph.node
        if node.op_type == "Cast" and node.input[0] in constants and node.output[0] not in read
    ]
    for node in idle:
        graph.node.remove(node)
    read = _read_in(graph) | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _read_in(graph: Any) -> set[str]:
    """Names that the nodes of a graph read, those inside loops and branches too."""
    read: set[str] = set()
    for node in graph.node:
        read.update(node.input)
        for entry in node.attribute:
            for inner in (entry.g, *entry.graphs):
                read |= _read_in(inner) | {value.name for value in inner.output}
    return read
