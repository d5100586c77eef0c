"""Activations that are never negative as uint8, for OpenVINO.

A graph quantised for every runtime rounds all activations to int8, as TensorRT asks for. OpenVINO
multiplies uint8 by int8, and turns what was rounded to int8 behind a rectifier into uint8 around a
zero point of 128, which every layer then takes off again. Behind a rectifier int8 holds no more
than 0 to 127, and uint8 of the same scale holds the same numbers without a zero point; it also
spares what lies above 127 the clipping.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Node = Any  # openvino.Node

_INT8 = (-128.0, 127.0)
_UINT8 = (0.0, 255.0)
_INPUT_LOW, _INPUT_HIGH, _OUTPUT_LOW, _OUTPUT_HIGH = range(1, 5)  # inputs of FakeQuantize


def unsign(model: Any) -> int:
    """Round what is never negative to uint8 instead of int8, at the same scale, in place.

    Args:
        model: openvino.Model of an ONNX graph, as `Core.read_model` gives it: there
            QuantizeLinear has become FakeQuantize and Convert.

    Returns:
        How many tensors are affected; 0 for a graph that is not quantised.
    """
    from openvino import opset13 as operators

    known: dict[str, bool] = {}
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize" or not _signed(node):
            continue
        if not _never_negative(_source(node, 0), known):
            continue
        scale = np.float32(_value(_source(node, _INPUT_HIGH)).item() / _INT8[1])
        bounds = zip(
            (_INPUT_LOW, _INPUT_HIGH, _OUTPUT_LOW, _OUTPUT_HIGH),
            (*np.multiply(_UINT8, scale), *_UINT8),
            strict=True,
        )
        for place, bound in bounds:
            constant = operators.constant(np.float32(bound))
            node.input(place).replace_source_output(constant.output(0))
        for reader in node.output(0).get_target_inputs():
            reader.get_node().set_attribute("destination_type", "u8")
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def _signed(node: Node) -> bool:
    """Whether a FakeQuantize is a QuantizeLinear to int8 with one scale for the whole tensor."""
    bounds = [_value(_source(node, place)) for place in range(_INPUT_LOW, _OUTPUT_HIGH + 1)]
    if any(bound is None or bound.size != 1 for bound in bounds):
        return False
    low, high, *output = [float(bound.item()) for bound in bounds]
    readers = node.output(0).get_target_inputs()
    return (
        tuple(output) == _INT8
        and bool(np.isclose(low * _INT8[1], high * _INT8[0]))  # a zero point of 0
        and all(reader.get_node().get_type_name() == "Convert" for reader in readers)
        and all(_target(reader.get_node()) == "i8" for reader in readers)
    )


def _never_negative(node: Node, known: dict[str, bool]) -> bool:
    """Whether all values that a node makes are 0 or more, as far as its operators tell."""
    name = node.get_name()
    if name not in known:
        known[name] = _judged(node, known)
    return known[name]


def _judged(node: Node, known: dict[str, bool]) -> bool:
    kind = node.get_type_name()
    value = _value(node)
    if value is not None:
        return bool((value >= 0).all())
    if kind in ("Relu", "Sigmoid", "Abs"):
        return True
    if kind == "Convert" and _target(node) == "u8":
        return True
    sides = (_source(node, place) for place in range(node.get_input_size()))
    if kind in ("MaxPool", "Convert", "Reshape", "Transpose"):
        return _never_negative(next(sides), known)
    if kind in ("Minimum", "Multiply", "Concat", "Add"):
        return all(_never_negative(side, known) for side in sides)
    if kind == "Maximum":
        return any(_never_negative(side, known) for side in sides)
    if kind == "Subtract":  # of a zero point
        data, zero = sides
        taken = _value(zero)
        return taken is not None and not taken.any() and _never_negative(data, known)
    return False


def _value(node: Node) -> Any:
    """A constant's value, also of one that is cast to another type; None for what is computed."""
    while node.get_type_name() == "Convert":
        node = _source(node, 0)
    return node.get_data() if node.get_type_name() == "Constant" else None


def _target(convert: Node) -> str:
    return str(convert.get_attributes()["destination_type"])


def _source(node: Node, place: int) -> Node:
    return node.input(place).get_source_output().get_node()
