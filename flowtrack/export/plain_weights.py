"""Weights as TensorRT wants them: constants of a layer's own type, not casts of stored ones."""

from __future__ import annotations

import importlib.util
from typing import Any

from flowtrack.errors import DependencyError


def with_plain_weights(graph: bytes) -> bytes:
    """A graph in which no constant is cast: what was stored as half is written out.

    Bundles store weights as half and cast them (see `storage.py`). ONNX Runtime carries such a
    cast out while it loads; TensorRT would have to see through it to find a convolution's weights.
    Every number stays the same, and so does what is computed in which precision.

    Args:
        graph: an ONNX file.

    Returns:
        The file itself where there is nothing to do.

    Raises:
        DependencyError: onnx is missing.
    """
    if importlib.util.find_spec("onnx") is None:
        raise DependencyError("onnx is not installed; pip install 'flowtrack[tensorrt]'")
    import onnx

    model = onnx.load_from_string(graph)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    casts = [
        node
        for node in model.graph.node
        if node.op_type == "Cast" and node.input[0] in stored and not _is_output(model, node)
    ]
    if not casts:
        return graph
    for node in casts:
        (kind,) = (entry.i for entry in node.attribute if entry.name == "to")
        array = onnx.numpy_helper.to_array(stored[node.input[0]])
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(array.astype(dtype), node.output[0])
        )
        model.graph.node.remove(node)
    for name in {node.input[0] for node in casts} - _read(model.graph):
        model.graph.initializer.remove(stored[name])
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _read(graph: Any) -> set[str]:
    """Every name that a graph, or one inside it, reads or gives."""
    names = {value.name for value in graph.output}
    for node in graph.node:
        names.update(node.input)
        for entry in node.attribute:
            for inner in (entry.g, *entry.graphs):
                names |= _read(inner)
    return names


def _is_output(model: Any, node: Any) -> bool:
    """Whether a node gives an output of the graph, whose name must stay that of a node."""
    return node.output[0] in {value.name for value in model.graph.output}
