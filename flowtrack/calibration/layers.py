"""The layers of a network that INT8 is for, found in its ONNX graph.

A layer is a convolution or matrix product with constant weights. Transposed convolutions, and the
last layers, from which no other stands between them and an output, stay in higher precision unless
they are asked for: some networks lose too much by them, and not every runtime has kernels for the
former.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter
from onnx import helper, numpy_helper

from flowtrack.calibration.folding import fold_batch_normalisation
from flowtrack.calibration.int8_options import Int8Options
from flowtrack.errors import InputError, OptionError

Node = Any  # onnx.NodeProto
Array = npt.NDArray[Any]

OPSET = 13
"""The first ONNX operator set with a scale per channel; older graphs are converted to it."""

_IR_VERSION = 7  # of ONNX 1.8, which came with that operator set
_QUANTISED = ("QuantizeLinear", "DequantizeLinear")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu")


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product with constant weights.

    Attributes:
        node: its name.
        kind: its operator.
        data, weight: names of the tensors that it reads.
        channels: axis of the weights' output channels.
        last: no other layer stands between it and an output.
    """

    node: str
    kind: str
    data: str
    weight: str
    channels: int
    last: bool


class Network:
    """A graph made ready to be quantised, with what is read and made where.

    Attributes:
        model: onnx.ModelProto: every node with a name of its own, constants as initialisers,
            batch normalisation folded, operator set 13 or later.
        layers: by name of the node, in the graph's order.
    """

    def __init__(self, content: bytes) -> None:
        """Read a graph.

        Raises:
            InputError: it is no ONNX graph, is quantised already, or cannot be converted.
        """
        self.model = _prepared(content)
        graph = self.model.graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._nodes = {node.name: node for node in graph.node}
        self._outputs = {value.name for value in graph.output}
        last = self._last_layers()
        self.layers = {
            layer.node: layer
            for node in graph.node
            if (layer := self._layer(node, node.name in last)) is not None
        }

    def chosen(self, options: Int8Options) -> list[Layer]:
        """The layers that the options bring to INT8, in the graph's order.

        Raises:
            OptionError: `keep` names something that the graph does not have.
        """
        self.check_keep(options.keep)
        return [
            layer
            for layer in self.layers.values()
            if not {layer.node, layer.kind} & set(options.keep)
            and (options.last_layers or not layer.last)
            and (options.transposed or layer.kind != "ConvTranspose")
        ]

    def heads(self) -> list[str]:
        """Names of the tensors that the last layers make, in the graph's order."""
        last = self._last_layers()
        return [node.output[0] for node in self.model.graph.node if node.name in last]

    def constant(self, name: str) -> Array | None:
        """Value of a tensor that is constant, also of one that is cast from a constant."""
        maker = self._makers.get(name)
        if maker is not None and maker.op_type == "Cast":
            stored = self._constants.get(maker.input[0])
            kind = next(entry.i for entry in maker.attribute if entry.name == "to")
            if stored is None:
                return None
            array: Array = numpy_helper.to_array(stored)
            return array.astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def bias(self, layer: Layer) -> Array | None:
        """(channels,) float32 bias of a convolution, zeros if it has none.

        None for matrix products, and where the bias is computed by the graph.
        """
        if layer.kind not in ("Conv", "ConvTranspose"):
            return None
        node = self._nodes[layer.node]
        if len(node.input) > 2 and node.input[2]:
            return self.constant(node.input[2])
        weight = self.constant(layer.weight)
        assert weight is not None  # a layer has constant weights
        return np.zeros(weight.shape[layer.channels], np.float32)

    def joined(self, name: str) -> bool:
        """Whether a tensor is made by a Concat."""
        maker = self._makers.get(name)
        return maker is not None and maker.op_type == "Concat"

    def additions(self, chosen: Iterable[Layer], keep: Iterable[str] = ()) -> dict[str, str]:
        """Where a quantised convolution is added to another tensor on the way to a quantised layer.

        The convolution adds in its own precision; for the sum to leave it as INT8, the other
        tensor must be INT8 as well (NVIDIA, TensorRT documentation, "Q/DQ Placement").

        Args:
            chosen: layers that are quantised.
            keep: names or operator types of nodes that are left alone.

        Returns:
            The other tensor, by name of the Add.
        """
        places = {layer.node: place for place, layer in enumerate(chosen)}
        found = {}
        for node in self.model.graph.node:
            if node.op_type != "Add" or {node.name, "Add"} & set(keep):
                continue
            sides = [(self._summed(name, places), name) for name in node.input]
            place, name = max(sides)
            other = next((side for side in node.input if side != name), None)
            if place < 0 or other is None or self.constant(other) is not None:
                continue
            if self._feeds(node.output[0], places):
                found[node.name] = other
        return found

    def pools(self, chosen: Iterable[Layer], keep: Iterable[str] = ()) -> dict[str, str]:
        """Where a MaxPool stands between quantised layers.

        A maximum can be rounded before it is taken as well as after, with the same result. Before,
        the layer in front leaves INT8 as it is, and the pool reads a quarter of the bytes.

        Args:
            chosen: layers that are quantised.
            keep: names or operator types of nodes that are left alone.

        Returns:
            The tensor that it makes, by name of the MaxPool.
        """
        layers = list(chosen)
        nodes, rounded = {layer.node for layer in layers}, {layer.data for layer in layers}
        return {
            node.name: node.output[0]
            for node in self.model.graph.node
            if node.op_type == "MaxPool"
            and not {node.name, "MaxPool"} & set(keep)
            and node.output[0] in rounded
            and self._alone_from(node.input[0], nodes)
        }

    def _alone_from(self, name: str, nodes: Collection[str]) -> bool:
        """Whether one of the nodes makes a tensor, through activations that nothing else reads."""
        maker = self._makers.get(name)
        if maker is None or len(self._readers[name]) > 1 or name in self._outputs:
            return False
        return maker.name in nodes or (
            maker.op_type in _ACTIVATIONS and self._alone_from(maker.input[0], nodes)
        )

    def rounded(self, chosen: Iterable[Layer], keep: Iterable[str] = ()) -> list[str]:
        """Names of the tensors that quantising these layers rounds."""
        layers = list(chosen)
        data = [layer.data for layer in layers]
        return list(dict.fromkeys([*data, *self.additions(layers, keep).values()]))

    def measured(self) -> list[str]:
        """Names of all tensors that quantising any choice of layers may round."""
        made = {name for name, node in self._makers.items() if node.name in self.layers}
        sides = [
            name
            for node in self.model.graph.node
            if node.op_type == "Add" and made & set(node.input)
            for name in node.input
            if self.constant(name) is None
        ]
        return list(dict.fromkeys([*(layer.data for layer in self.layers.values()), *sides]))

    def _summed(self, name: str, places: dict[str, int]) -> int:
        """Place of the quantised layer that makes a tensor for one reader alone, or -1."""
        maker = self._makers.get(name)
        if maker is None or len(self._readers[name]) > 1 or name in self._outputs:
            return -1
        return places.get(maker.name, -1)

    def _feeds(self, name: str, places: dict[str, int]) -> bool:
        """Whether a tensor reaches a quantised layer through activations and additions only."""
        return any(
            node.name in places
            or (node.op_type in (*_ACTIVATIONS, "Add") and self._feeds(node.output[0], places))
            for node in self._readers.get(name, ())
        )

    def _layer(self, node: Node, last: bool) -> Layer | None:
        if node.op_type not in _WEIGHTED or len(node.input) < 2:
            return None
        given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        weight = self.constant(node.input[1])
        if weight is None or weight.dtype != np.float32 or self.constant(node.input[0]) is not None:
            return None
        if node.op_type == "Conv":
            channels = 0
        elif node.op_type == "ConvTranspose":
            if given.get("group", 1) != 1:
                return None  # its output channels lie on two axes
            channels = 1
        elif weight.ndim != 2 or given.get("transA", 0):
            return None
        else:
            channels = 0 if given.get("transB", 0) else 1
        data, name = node.input[:2]
        return Layer(node.name, node.op_type, data, name, channels, last)

    def _last_layers(self) -> set[str]:
        """Names of the weighted nodes that are met first on the way back from the outputs."""
        found, seen = set(), set()
        waiting = list(self._outputs)
        while waiting:
            name = waiting.pop()
            maker = self._makers.get(name)
            if name in seen or maker is None:
                continue
            seen.add(name)
            if maker.op_type in _WEIGHTED and self.constant(maker.input[1]) is not None:
                found.add(maker.name)
            else:
                waiting += maker.input
        return found

    def has(self, name: str) -> bool:
        """Whether a node, or an operator, is called so."""
        return any(name in (node.name, node.op_type) for node in self.model.graph.node)

    def check_keep(self, keep: Iterable[str]) -> None:
        """Refuse names that are neither of a node nor of an operator.

        Raises:
            OptionError: the message suggests names that are.
        """
        known = {node.name for node in self.model.graph.node}
        known |= {node.op_type for node in self.model.graph.node}
        for name in keep:
            if name not in known:
                near = difflib.get_close_matches(name, known, 3) or sorted(self.layers)[:3]
                raise OptionError(
                    f"keep names {name!r}, and the graph has no node or operator of that name; "
                    f"did you mean {', '.join(near)}?"
                )


def _prepared(content: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises its own kinds
        raise InputError(f"the network is no ONNX graph: {error}") from error
    graph = model.graph
    quantised = [node.name for node in graph.node if node.op_type in _QUANTISED]
    if quantised:
        raise InputError(
            f"the graph is quantised already ({quantised[0]}), expected fp32; start from the "
            "bundle that it was made from"
        )
    _constants_apart(graph)
    fold_batch_normalisation(graph)
    # Before IR version 4 every initialiser was an input too, and the converter insists on it.
    model.ir_version = max(model.ir_version, _IR_VERSION)
    model = _converted(model)
    _constants_apart(model.graph)  # the converter makes some
    _name_nodes(model.graph)
    model.ir_version = max(model.ir_version, _IR_VERSION)  # the converter may lower it
    return model


def _constants_apart(graph: Any) -> None:
    """Constants as initialisers, and none of them listed as an input, as before ONNX 1.3."""
    made = [node for node in graph.node if node.op_type == "Constant"]
    for node in made:
        if node.attribute[0].name == "value":
            node.attribute[0].t.name = node.output[0]
            graph.initializer.append(node.attribute[0].t)
            graph.node.remove(node)
    stored = {tensor.name for tensor in graph.initializer}
    fed = [value for value in graph.input if value.name not in stored]
    del graph.input[:]
    graph.input.extend(fed)


def _converted(model: Any) -> Any:
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if version >= OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:
        raise InputError(
            f"the graph has operator set {version}, INT8 needs {OPSET}, and it cannot be converted "
            f"({error}); export the network again with a later operator set"
        ) from error
    del converted.metadata_props[:]
    converted.metadata_props.extend(model.metadata_props)
    return converted


def _name_nodes(graph: Any) -> None:
    """Give each node a name of its own; where it has none, that of what it makes."""
    taken: set[str] = set()
    for node in graph.node:
        base = node.name or f"{node.op_type}:{node.output[0]}"
        name = next(name for name in _numbered(base) if name not in taken)
        node.name = name
        taken.add(name)


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 1
    while True:
        yield f"{base}_{number}"
        number += 1
