"""A few lines that make writing an ONNX graph by hand bearable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""Of ONNX 1.12 and opset 17, so that older runtimes load the files too."""


class Graph:
    """Nodes in the order in which they are added; each call returns the name of its output."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def image(self, name: str, height: int, width: int) -> str:
        """A uint8 input (N, height, width, 3)."""
        shape: list[int | str | None] = ["N", height, width, 3]
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))
        return name

    def constant(self, value: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """A stored array."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.add_many(operator, 1, *inputs, **attributes)[0]

    def add_many(self, operator: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        names = [f"{operator.lower()}_{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def scaled(self, x: str, factor: float, offset: float = 0.0) -> str:
        """Multiply, then add."""
        x = self.add("Mul", x, self.constant(factor))
        return self.add("Add", x, self.constant(offset)) if offset else x

    def scaled_index(self, x: str, factor: int) -> str:
        """Multiply whole numbers."""
        return self.add("Mul", x, self.constant(factor, np.int64))

    def clipped(self, x: str, low: float, high: float) -> str:
        """Cut values to [low, high]."""
        return self.add("Clip", x, self.constant(low), self.constant(high))

    def pooled(self, operator: str, x: str, size: int) -> str:
        """Average or maximum over a window of `size` cells around each cell, one axis at a time."""
        half = size // 2
        more = {"count_include_pad": 1} if operator == "AveragePool" else {}
        x = self.add(operator, x, kernel_shape=[size, 1], pads=[half, 0, half, 0], **more)
        return self.add(operator, x, kernel_shape=[1, size], pads=[0, half, 0, half], **more)

    def color_match(self, pixels: str, colors: npt.ArrayLike, reach: float) -> str:
        """(N, C, H, W) from pixels (N, 3, H, W): 1 at each of C colours, 0 at distance `reach`."""
        wanted = np.asarray(colors, np.float32)
        weight = self.constant(2 / reach**2 * wanted[:, :, None, None])
        bias = self.constant(1 - (wanted**2).sum(axis=1) / reach**2)
        linear = self.add("Conv", pixels, weight, bias)
        squares = self.scaled(self.add("ReduceSumSquare", pixels, axes=[1]), 1 / reach**2)
        return self.add("Relu", self.add("Sub", linear, squares))

    def output(self, x: str, name: str, shape: list[int | str]) -> None:
        """Give a result to the outside as float32."""
        self._nodes.append(helper.make_node("Identity", [x], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def save(self, path: Path) -> None:
        """Check the graph and write it."""
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, self._constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="flowtrack-puppets",
        )
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
