"""What frame-in graphs do to a frame before the network sees it, as ONNX nodes.

The same geometry as flowtrack/runtime/preprocess.py: crops by an affine map, letterboxing and
stretching; bilinear, and rounded to whole grey values as pictures made on the CPU are. Only what
ONNX Runtime and TensorRT both have is used: uint8 is cast before anything else is done with it,
sizes are whole numbers that can stay shape tensors, and coordinates are float32 and never pass
through a matrix product, which GPUs may carry out with ten bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.runtime.manifest import FlowSpec, InputSpec, Letterbox

OPSET = 16
"""The first operator set with GridSample."""

PREFIX = "frame_in/"
"""What the names of all nodes and values of this module start with."""

_BEYOND = 2.0
"""A normalised coordinate outside every picture, and so are the pixels between which it lies."""


class Nodes:
    """Nodes and constants of a graph under construction.

    Attributes:
        nodes, constants: onnx.NodeProto and onnx.TensorProto, in order.
    """

    def __init__(self, opset: int) -> None:
        """For a graph of this operator set."""
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._bilinear = "linear" if opset >= 20 else "bilinear"  # the word changed

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its one output."""
        from onnx import helper

        name = f"{PREFIX}{operator}_{len(self.nodes)}"
        output = f"{name}_output"
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))
        return output

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant; its name."""
        from onnx import numpy_helper

        name = f"{PREFIX}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def whole(self, *values: int) -> str:
        """Whole numbers as an int64 tensor."""
        return self.constant(values, np.int64)

    def cast(self, value: str, dtype: str) -> str:
        """A value as another element type, in numpy's words."""
        from onnx import helper

        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def sampled(self, planes: str, grid: str, padding: str) -> str:
        """Bilinear samples of (1, 3, H, W) at (1, h, w, 2), rounded: (1, 3, h, w)."""
        sampled = self.add("GridSample", planes, grid, mode=self._bilinear, padding_mode=padding)
        return self.add("Round", sampled)

    def length(self, side: str) -> str:
        """A side (1,) int64 as float32 (1,), where the pixels are.

        Ones along the side are added up on the device: to copy the number there from the shapes,
        which the host keeps, would keep ONNX Runtime from recording a CUDA graph.
        """
        from onnx import helper

        one = helper.make_tensor("one", helper.np_dtype_to_tensor_dtype(np.dtype("float32")),
                                 [1], [1.0])  # fmt: skip
        ones = self.add("ConstantOfShape", side, value=one)
        return self.add("ReduceSum", ones, self.whole(0), keepdims=1)


@dataclass(frozen=True)
class FrameValue:
    """A frame inside a graph, by the names of its values.

    Attributes:
        planes: float32 (1, 3, H, W).
        height, width: int64 (1,).
        length: (height, width) as float32 (1,).
    """

    planes: str
    height: str
    width: str
    length: tuple[str, str]


def opened(nodes: Nodes, frame: str) -> FrameValue:
    """A frame uint8 (H, W, 3) made ready to be sampled: one copy, whatever is taken from it."""
    planes = nodes.add("Transpose", nodes.cast(frame, "float32"), perm=[2, 0, 1])
    shape = nodes.add("Shape", frame)
    height, width = (nodes.add("Gather", shape, nodes.whole(axis)) for axis in (0, 1))
    return FrameValue(
        nodes.add("Unsqueeze", planes, nodes.whole(0)),
        height,
        width,
        (nodes.length(height), nodes.length(width)),
    )


def crops(nodes: Nodes, frame: FrameValue, affine: str, height: int, width: int) -> str:
    """Crops by affine maps, black outside the frame, as `preprocess.crop_people` makes them.

    Nothing is divided by zero: the matrices of zeros that fill up a batch show one pixel.

    Args:
        nodes: the graph.
        frame: to take them from.
        affine: (N, 2, 3) float32, crop pixel = matrix @ (x, y, 1).
        height, width: of the crops.

    Returns:
        (3, N, height, width). All are sampled as one tall picture, so that the frame is not
        repeated for each.
    """
    rows = nodes.add("Reshape", affine, nodes.whole(-1, 6, 1))
    a, b, c, d, e, f = (nodes.add("Gather", rows, nodes.whole(k), axis=1) for k in range(6))
    determinant = nodes.add("Sub", nodes.add("Mul", a, e), nodes.add("Mul", b, d))
    flat = nodes.add("Equal", determinant, nodes.constant(0.0))
    safe = nodes.add("Where", flat, nodes.constant(1.0), determinant)
    du = nodes.add("Sub", nodes.constant(np.arange(width)[None, None]), c)  # (N, 1, w)
    dv = nodes.add("Sub", nodes.constant(np.arange(height)[None, :, None]), f)  # (N, h, 1)

    def along(own: str, other: str, first: str, second: str, length: str) -> str:
        """One axis of the inverse map, normalised: the frame reaches from -1 to 1."""
        pixels = nodes.add(
            "Sub",
            nodes.add("Mul", nodes.add("Div", own, safe), first),
            nodes.add("Mul", nodes.add("Div", other, safe), second),
        )
        per_pixel = nodes.add("Div", nodes.constant(2.0), length)
        shift = nodes.add("Sub", nodes.add("Div", nodes.constant(1.0), length), nodes.constant(1.0))
        placed = nodes.add("Add", nodes.add("Mul", pixels, per_pixel), shift)
        return nodes.add("Clip", placed, nodes.constant(-_BEYOND), nodes.constant(_BEYOND))

    x = along(e, b, du, dv, frame.length[1])
    y = along(a, d, dv, du, frame.length[0])
    last = nodes.whole(-1)
    grid = nodes.add("Concat", *(nodes.add("Unsqueeze", axis, last) for axis in (x, y)), axis=-1)
    tall = nodes.add("Reshape", grid, nodes.whole(1, -1, width, 2))
    sampled = nodes.sampled(frame.planes, tall, "zeros")
    return nodes.add("Reshape", sampled, nodes.whole(3, -1, height, width))


@dataclass(frozen=True)
class Fitted:
    """A frame fitted into a network's input, by the names of its values.

    Attributes:
        picture: (3, 1, height, width).
        scale, offset: float32 (2,), x first: picture pixel = frame pixel * scale + offset.
    """

    picture: str
    scale: str
    offset: str


def letterboxed(
    nodes: Nodes, frame: FrameValue, height: int, width: int, letterbox: Letterbox
) -> Fitted:
    """The frame inside a picture of another shape, as `preprocess.fit` puts it there."""

    def inner(side: str, limit: int, across: int, other: str) -> str:
        scaled = nodes.add("Div", nodes.add("Mul", side, nodes.whole(across)), other)
        return nodes.add("Min", nodes.add("Max", scaled, nodes.whole(1)), nodes.whole(limit))

    inner_h = nodes.length(inner(frame.height, height, width, frame.width))
    inner_w = nodes.length(inner(frame.width, width, height, frame.height))

    def axis(size: int, inner_length: str) -> tuple[str, str]:
        """Normalised coordinates (size,) of the pixels, and where the frame begins (1,)."""
        free = nodes.add("Sub", nodes.constant([size]), inner_length)
        share = 0.5 if letterbox.anchor == "center" else 0.0
        start = nodes.add("Floor", nodes.add("Mul", free, nodes.constant(share)))
        doubled = nodes.constant(2.0 * np.arange(size) + 1.0)
        twice = nodes.add("Sub", doubled, nodes.add("Add", start, start))
        reach = nodes.add("Sub", nodes.add("Div", twice, inner_length), nodes.constant(1.0))
        return reach, start

    (y, top), (x, left) = axis(height, inner_h), axis(width, inner_w)
    rows = nodes.add("Add", nodes.add("Unsqueeze", y, nodes.whole(1)),
                     nodes.constant(np.zeros((1, width))))  # fmt: skip
    columns = nodes.add("Add", x, nodes.constant(np.zeros((height, 1))))
    last = nodes.whole(-1)
    pair = (nodes.add("Unsqueeze", values, last) for values in (columns, rows))
    grid = nodes.add("Unsqueeze", nodes.add("Concat", *pair, axis=-1), nodes.whole(0))
    sampled = nodes.sampled(frame.planes, grid, "border")
    farther = nodes.add("Max", nodes.add("Abs", columns), nodes.add("Abs", rows))
    inside = nodes.add("Less", farther, nodes.constant(1.0))
    filled = nodes.add("Where", inside, sampled, nodes.constant(float(letterbox.fill)))
    scales = (nodes.add("Div", *pair) for pair in
              ((inner_w, frame.length[1]), (inner_h, frame.length[0])))  # fmt: skip
    return Fitted(
        nodes.add("Transpose", filled, perm=[1, 0, 2, 3]),
        nodes.add("Concat", *scales, axis=0),
        nodes.add("Concat", left, top, axis=0),
    )


def stretched(nodes: Nodes, frame: FrameValue, height: str, width: str) -> Fitted:
    """The frame resized to sides (1,) int64, without regard for its shape."""
    sizes = nodes.add("Concat", nodes.whole(1, 3), height, width, axis=0)
    resized = nodes.add(
        "Resize", frame.planes, "", "", sizes,
        mode="linear", coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    scales = (nodes.add("Div", nodes.length(inner), outer) for inner, outer in
              ((width, frame.length[1]), (height, frame.length[0])))  # fmt: skip
    return Fitted(
        nodes.add("Transpose", nodes.add("Round", resized), perm=[1, 0, 2, 3]),
        nodes.add("Concat", *scales, axis=0),
        nodes.constant([0.0, 0.0]),
    )


def reduced_sides(nodes: Nodes, frame: FrameValue, spec: FlowSpec) -> tuple[str, str]:
    """(height, width) int64 (1,) of the pictures for flow, as `flow.input_size` has them."""
    longer = nodes.add("Max", frame.height, frame.width)
    target = longer
    if spec.max_side is not None:
        target = nodes.add("Min", longer, nodes.whole(spec.max_side))
    one, two = nodes.whole(1), nodes.whole(2)
    half = nodes.add("Mul", longer, nodes.whole(spec.multiple))
    whole = nodes.add("Mul", half, two)

    def reduced(side: str) -> str:
        doubled = nodes.add("Mul", nodes.add("Mul", side, target), two)
        total = nodes.add("Add", doubled, half)
        steps = nodes.add("Div", total, whole)
        rest = nodes.add("Sub", total, nodes.add("Mul", steps, whole))
        tie = nodes.add("Sub", one, nodes.add("Min", rest, one))
        odd = nodes.add("Sub", steps, nodes.add("Mul", nodes.add("Div", steps, two), two))
        even = nodes.add("Sub", steps, nodes.add("Mul", odd, tie))
        return nodes.add("Mul", nodes.add("Max", even, one), nodes.whole(spec.multiple))

    return reduced(frame.height), reduced(frame.width)


def fed(nodes: Nodes, pictures: str, spec: InputSpec, axes: int) -> str:
    """Pictures (3, N, h, w), BGR, as a network of form `pictures` takes them.

    Grey values for a network of uint8 pictures stay float32: its graph casts them, see
    `frame_graphs`.

    Args:
        nodes: the graph.
        pictures: whole grey values.
        spec: channel order, normalisation, layout and type.
        axes: 3 where the network takes a single picture without a batch axis.
    """
    value = pictures
    if spec.color == "rgb":
        value = nodes.add("Gather", value, nodes.whole(2, 1, 0), axis=0)
    mean, std = np.array(spec.mean), np.array(spec.std)
    if spec.dtype != "uint8" and not (spec.scale == 1 and (mean == 0).all() and (std == 1).all()):
        gain, shift = (column.reshape(3, 1, 1, 1) for column in (spec.scale / std, -mean / std))
        value = nodes.add("Add", nodes.add("Mul", value, nodes.constant(gain)),
                          nodes.constant(shift))  # fmt: skip
    order = [1, 0, 2, 3] if spec.layout == "nchw" else [1, 2, 3, 0]
    value = nodes.add("Transpose", value, perm=order)
    if axes == 3:
        value = nodes.add("Squeeze", value, nodes.whole(0))
    return nodes.cast(value, "float16") if spec.dtype == "float16" else value
