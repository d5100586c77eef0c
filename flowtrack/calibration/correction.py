"""How far rounding moves the mean of each output channel, so that biases can take it back.

Rounded weights and clipped activations err to one side, most of all in depthwise layers, which sum
up few products; the next layers add such shifts up. Every layer runs beside a twin whose input and
weights have been rounded, on what the fp32 network feeds both (M. Nagel et al., Data-Free
Quantization Through Weight Equalization and Bias Correction, 2019, section 4.2, with measured
instead of assumed inputs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from flowtrack.calibration.layers import Layer, Network
from flowtrack.calibration.rounding import LARGEST, quantized_weights


def twin_graph(network: Network, magnitudes: Mapping[str, float]) -> tuple[bytes, dict[str, str]]:
    """A graph that gives, for every layer, by how much rounding lowers its output channels' means.

    Args:
        network: fp32.
        magnitudes: that become 127, by name of the layers' inputs. Layers whose input has none, or
            was zero throughout, are left out.

    Returns:
        The graph, which reads what the network reads, and its outputs' names by name of the layer:
        float32 (N, channels, 1, ...).
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    graph = model.graph
    twins = {
        layer.node: layer
        for layer in network.layers.values()
        if network.bias(layer) is not None and magnitudes.get(layer.data, 0) > 0
    }
    rounded: set[str] = set()
    nodes = []
    outputs = {}
    for node in graph.node:
        nodes.append(node)
        layer = twins.get(node.name)
        if layer is None:
            continue
        if layer.data not in rounded:
            rounded.add(layer.data)
            nodes += _round(graph, layer.data, magnitudes[layer.data])
        outputs[layer.node] = f"{layer.node}.shift"
        nodes += _beside(graph, node, layer, network, outputs[layer.node])
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in outputs.values()
    )
    return model.SerializeToString(), outputs


def _round(graph: Any, tensor: str, magnitude: float) -> list[Any]:
    """A tensor through Q and DQ."""
    scale, zero, stored = (f"{tensor}.twin_{part}" for part in ("scale", "zero", "int8"))
    _store(graph, scale, np.float32(magnitude / LARGEST))
    _store(graph, zero, np.zeros((), np.int8))
    return [
        helper.make_node("QuantizeLinear", [tensor, scale, zero], [stored]),
        helper.make_node("DequantizeLinear", [stored, scale, zero], [f"{tensor}.twin"]),
    ]


def _beside(graph: Any, node: Any, layer: Layer, network: Network, output: str) -> list[Any]:
    """The twin of a layer, and the mean of what it lacks."""
    values = network.constant(layer.weight)
    assert values is not None  # a layer has constant weights
    stored, scales = quantized_weights(values, layer.channels)
    shape = [-1 if axis == layer.channels else 1 for axis in range(values.ndim)]
    weight, made, lack = (f"{layer.node}.twin_{part}" for part in ("weight", "output", "lack"))
    _store(graph, weight, stored * scales.reshape(shape))
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    twin.name = f"{node.name}.twin"
    twin.input[:2] = [f"{layer.data}.twin", weight]
    twin.output[:] = [made]
    return [
        twin,
        helper.make_node("Sub", [node.output[0], made], [lack]),
        helper.make_node("GlobalAveragePool", [lack], [output]),
    ]


def _store(graph: Any, name: str, array: Any) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
