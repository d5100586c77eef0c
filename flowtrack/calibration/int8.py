"""INT8 as explicit Q/DQ nodes: one graph for TensorRT 10 and 11, ONNX Runtime and OpenVINO.

Weights lie in the graph as int8 with a scale per output channel; activations get a pair of Q and
DQ in front of each layer, with one scale per tensor. Both are symmetric: the zero point is 0.
Biases stay fp32 and take back what rounding moves each output channel by on average; everything
that is no layer stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from flowtrack.calibration.folding import drop_unread
from flowtrack.calibration.int8_options import METHODS, Int8Options
from flowtrack.calibration.layers import Layer, Network
from flowtrack.calibration.ranges import RangeTable
from flowtrack.calibration.rounding import LARGEST, quantized_weights
from flowtrack.errors import InputError, OptionError

__all__ = ["METHODS", "Int8Options", "quantizable", "quantize"]

_ZERO = "int8.zero"


def quantizable(model: bytes, options: Int8Options) -> list[str]:
    """Names of the nodes that `quantize` brings to INT8, in the graph's order.

    Args:
        model: fp32 ONNX graph.
        options: what to leave alone.

    Raises:
        InputError: no ONNX graph, or one that is quantised already.
        OptionError: `keep` names something that the graph does not have.
    """
    return [layer.node for layer in Network(model).chosen(options)]


def quantize(
    model: bytes, table: RangeTable, options: Int8Options, only: Collection[str] | None = None
) -> bytes:
    """The INT8 form of a graph; inputs, outputs and metadata stay.

    Args:
        model: fp32 ONNX graph.
        table: measured on this graph with these options.
        options: what to leave alone.
        only: of the nodes that `quantizable` names, those to quantise; None: all.

    Returns:
        A checked ONNX graph.

    Raises:
        InputError: no ONNX graph that can be quantised, a table of something else, or a tensor
            that it has no range for.
        OptionError: `keep` or `only` names something unknown, or nothing is left to quantise.
    """
    table.check_graph(hashlib.sha256(model).hexdigest(), options)
    network = Network(model)
    layers = network.chosen(options)
    if only is not None:
        unknown = set(only) - {layer.node for layer in layers}
        if unknown:
            raise OptionError(
                f"only names {sorted(unknown)}, expected nodes that `quantizable` gives for the "
                "same options"
            )
        layers = [layer for layer in layers if layer.node in only]
    if not layers:
        raise OptionError("no layer is left to quantise; keep less in higher precision")
    return _Rewriting(network, table).run(layers, options)


class _Rewriting:
    """A network on its way to INT8."""

    def __init__(self, network: Network, table: RangeTable) -> None:
        self._network = network
        self._table = table
        self._graph = network.model.graph
        self._pairs: dict[str, list[Any]] = {}  # Q and DQ, by the tensor that they round
        self._weights: dict[str, Any] = {}  # DQ, by the constant that it stands for

    def run(self, layers: list[Layer], options: Int8Options) -> bytes:
        """Put the nodes in, and give the finished graph."""
        nodes = {node.name: node for node in self._graph.node}
        self._store(_ZERO, np.zeros((), np.int8))
        for layer in layers:
            node = nodes[layer.node]
            node.input[0] = self._rounded(layer.data)
            node.input[1] = self._stored(layer)
            if options.correct_biases:
                self._correct(node, layer)
        for name, tensor in self._network.additions(layers, options.keep).items():
            rounded = self._rounded(tensor)
            node = nodes[name]
            node.input[:] = [rounded if side == tensor else side for side in node.input]
        for name, tensor in self._network.pools(layers, options.keep).items():
            node = nodes[name]
            node.input[0] = self._rounded(node.input[0], tensor)
        self._order()
        drop_unread(self._graph)
        model = self._network.model
        entries = {entry.key: entry.value for entry in model.metadata_props}
        entries |= {"flowtrack.precision": "int8", "flowtrack.int8_method": options.method}
        helper.set_model_props(model, entries)
        return _checked(model)

    def _rounded(self, tensor: str, like: str = "") -> str:
        """The tensor that has passed Q and DQ; all layers that read it share the pair.

        Its scale is that of its own range, or of another tensor that is rounded.
        """
        name = f"{tensor}.dequantized"
        if tensor not in self._pairs:
            scale = f"{like or tensor}.scale"
            if not like:
                self._store(scale, np.float32(self._table.magnitude(tensor) / LARGEST))
            clipped = self._clipped(tensor)
            self._pairs[tensor] = clipped + [
                helper.make_node(kind, [source, scale, _ZERO], [made], name=f"{tensor}/{kind}")
                for kind, source, made in (
                    (
                        "QuantizeLinear",
                        clipped[0].output[0] if clipped else tensor,
                        f"{tensor}.int8",
                    ),
                    ("DequantizeLinear", f"{tensor}.int8", name),
                )
            ]
        return name

    def _clipped(self, tensor: str) -> list[Any]:
        """A Clip to the range that Q rounds to anyway, between Q and a Concat.

        OpenVINO 2026.4 moves a Q behind a Concat to the Concat's inputs and gets the negative
        values wrong, by half of the result; this stands in its way and changes nothing else.
        """
        if not self._network.joined(tensor):
            return []
        top = np.float32(self._table.magnitude(tensor))
        bounds = [f"{tensor}.lowest", f"{tensor}.highest"]
        for bound, value in zip(bounds, (-top, top), strict=True):
            self._store(bound, np.float32(value))
        name = f"{tensor}.clipped"
        return [helper.make_node("Clip", [tensor, *bounds], [name], name=f"{tensor}/Clip")]

    def _stored(self, layer: Layer) -> str:
        """The layer's weights as int8, and the DQ that reads them."""
        name = f"{layer.weight}.dequantized"
        if layer.weight not in self._weights:
            values = self._network.constant(layer.weight)
            assert values is not None  # a layer has constant weights
            stored, scales = quantized_weights(values, layer.channels)
            inputs = [f"{layer.weight}.{part}" for part in ("int8", "scale", "zero")]
            for part, array in zip(inputs, (stored, scales, np.zeros_like(scales, np.int8)),
                                   strict=True):  # fmt: skip
                self._store(part, array)
            self._weights[layer.weight] = helper.make_node(
                "DequantizeLinear",
                inputs,
                [name],
                name=f"{layer.weight}/DequantizeLinear",
                axis=layer.channels,
            )
        return name

    def _correct(self, node: Any, layer: Layer) -> None:
        """Give the layer a bias that takes its mean shift back, if one was measured."""
        bias = self._network.bias(layer)
        if bias is None or layer.node not in self._table.shifts:
            return
        name = f"{layer.node}.corrected_bias"
        self._store(name, bias + np.asarray(self._table.shifts[layer.node], np.float32))
        node.input[2:] = [name]

    def _store(self, name: str, array: Any) -> None:
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))

    def _order(self) -> None:
        """Pairs right after what they round, those of weights and inputs first."""
        ordered = list(self._weights.values())
        for value in self._graph.input:
            ordered += self._pairs.get(value.name, [])
        for node in self._graph.node:
            ordered.append(node)
            for name in node.output:
                ordered += self._pairs.get(name, [])
        del self._graph.node[:]
        self._graph.node.extend(ordered)


def _checked(model: Any) -> bytes:
    content: bytes = model.SerializeToString(deterministic=True)
    try:
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:
        raise InputError(
            f"the quantised graph {model.graph.name!r} is invalid: {error}; export the network "
            "again with a later operator set"
        ) from error
    return content
