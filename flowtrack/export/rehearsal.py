"""How an fp16 graph will round on a GPU, shown on a CPU.

ONNX Runtime and OpenVINO have no half kernels for CPUs: they run such graphs in fp32 and leave the
rounding between nodes out, so that an overflow goes unseen. Here every half node is written as the
fp32 node followed by the rounding. GPUs round in the same places, sum in fp32, and may fuse a
layer with what follows it, which rounds less often. ONNX Runtime alone keeps to it: OpenVINO takes
every half tensor for fp32, and casts to half for nothing.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

from flowtrack.export.onnx_file import serialized

_HALF, _FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def rehearsed(model: bytes) -> bytes:
    """A graph that computes in fp32 and rounds to half where the given one does.

    Args:
        model: of `half_graph`.

    Raises:
        ExportError: it is invalid.
    """
    graph_file = onnx.load_model_from_string(model)
    graph = graph_file.graph
    inferred = onnx.shape_inference.infer_shapes(graph_file, strict_mode=True).graph
    half = {tensor.name for tensor in graph.initializer if tensor.data_type == _HALF}
    half |= {
        value.name
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == _HALF
    }
    nodes: list[Any] = []
    widened: set[str] = set()
    for node in graph.node:
        if node.op_type == "Cast":
            nodes.append(node)
            continue
        for name in node.input:
            if name in half and name not in widened:
                widened.add(name)
                nodes.append(_cast(name, f"{name}.wide", _FLOAT))
        node.input[:] = [f"{name}.wide" if name in half else name for name in node.input]
        made = [name for name in node.output if name in half]
        node.output[:] = [f"{name}.exact" if name in half else name for name in node.output]
        nodes += [node, *(_cast(f"{name}.exact", name, _HALF) for name in made)]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return serialized(graph_file)


def _cast(source: str, target: str, to: int) -> Any:
    return helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=to)
