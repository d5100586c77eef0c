"""Which nodes of a graph may compute in half precision, read off its structure.

Half numbers have 11 significant bits: enough for features between the layers, too few for pixels
that are normalised, for positions, and for scores that are compared. So a node is half if

- it is a layer (convolution, matrix product), or a plain operator with layers before and after
  it: what comes before the first layer normalises pictures, what comes after the last decodes;
- it is not on the way from a layer to a sampling grid (GridSample);
- it is not on the way from what counts (ArgMax, TopK, casts of indices) to the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from onnx import TensorProto

Node = Any  # onnx.NodeProto

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that the time goes into, and for which half precision pays."""

_PLAIN = frozenset(
    {
        "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Max", "Min", "Sum", "Relu", "LeakyRelu",
        "PRelu", "Elu", "Clip", "HardSigmoid", "HardSwish", "Tanh", "MaxPool", "AveragePool",
        "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "Concat", "Split", "Slice",
        "Pad", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Identity",
        "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "Dropout", "Gather",
    }
)  # fmt: skip
"""Operators whose results are as good as their inputs. Softmax, exponentials, powers, roots, long
sums and interpolation at computed places are not among them."""

_COUNTING = frozenset({"ArgMax", "ArgMin", "TopK", "NonZero", "NonMaxSuppression", "Range"})
_WHOLE = frozenset({TensorProto.INT64, TensorProto.INT32})


def half_nodes(graph: Any, types: dict[str, int], keep: Collection[str] = ()) -> set[str]:
    """Names of the nodes that may compute in half precision.

    Args:
        graph: onnx.GraphProto, each node with a name of its own.
        types: element type of every tensor by name.
        keep: names or operator types of further nodes that stay fp32.
    """
    ways = _Ways(graph)
    after = ways.reached(LAYERS.__contains__)
    before = ways.leading(lambda node: node.op_type in LAYERS)
    fp32 = ways.sampled() | ways.counted(types)
    chosen = set()
    for node in graph.node:
        if {node.name, node.op_type} & set(keep) or types.get(node.output[0]) != TensorProto.FLOAT:
            continue
        inside = node.name in after and node.name in before
        plain = node.op_type in _PLAIN or _is_swish(node, ways)
        if node.op_type in LAYERS or (inside and plain and node.name not in fp32):
            chosen.add(node.name)
    return chosen


def _is_swish(node: Node, ways: _Ways) -> bool:
    """Whether a sigmoid only weighs what it is computed from: an activation, and no score."""
    return node.op_type == "Sigmoid" and all(
        reader.op_type == "Mul" and set(reader.input) == {node.input[0], node.output[0]}
        for reader in ways.readers(node)
    )


class _Ways:
    """Who makes what for whom in a graph."""

    def __init__(self, graph: Any) -> None:
        self._nodes = list(graph.node)  # in an order in which makers come first
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def readers(self, node: Node) -> list[Node]:
        """The nodes that read what a node gives."""
        return [reader for name in node.output for reader in self._readers.get(name, ())]

    def makers(self, names: Iterable[str]) -> list[Node]:
        """The nodes that make these tensors."""
        return [self._makers[name] for name in names if name in self._makers]

    def reached(self, wanted: Callable[[str], bool]) -> set[str]:
        """Nodes that have an operator of a wanted type somewhere before them."""
        found: set[str] = set()
        for node in self._nodes:
            if any(m.name in found or wanted(m.op_type) for m in self.makers(node.input)):
                found.add(node.name)
        return found

    def leading(self, wanted: Callable[[Node], bool]) -> set[str]:
        """Nodes that have a wanted node somewhere after them."""
        found: set[str] = set()
        for node in reversed(self._nodes):
            if any(reader.name in found or wanted(reader) for reader in self.readers(node)):
                found.add(node.name)
        return found

    def sampled(self) -> set[str]:
        """Nodes between the layers and the grid of a GridSample."""
        grids = [node.input[1] for node in self._nodes if node.op_type == "GridSample"]
        return self._spread(self.makers(grids), lambda node: self.makers(node.input))

    def counted(self, types: dict[str, int]) -> set[str]:
        """Nodes between what counts and the next layers."""
        starts = [
            node
            for node in self._nodes
            if node.op_type in _COUNTING
            or (node.op_type == "Cast" and types.get(node.input[0]) in _WHOLE)
        ]
        return self._spread(
            [reader for start in starts for reader in self.readers(start)], self.readers
        )

    def _spread(self, starts: Iterable[Node], step: Callable[[Node], Iterable[Node]]) -> set[str]:
        """Nodes reached step by step without passing a layer."""
        found: set[str] = set()
        waiting = list(starts)
        while waiting:
            node = waiting.pop()
            if node.op_type in LAYERS or node.name in found:
                continue
            found.add(node.name)
            waiting += step(node)
        return found
