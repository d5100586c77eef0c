"""The fp16 form of a graph: half tensors between the layers, fp32 where half numbers do not do.

The graph itself holds the types, as strongly typed TensorRT builds ask for: half weights lie in it
as such, and a Cast stands wherever the type changes. Inputs and outputs keep their types. Which
nodes are half is read off the structure (`half_regions.py`), and can be restricted by name.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from flowtrack.calibration.folding import drop_unread
from flowtrack.calibration.layers import Network
from flowtrack.errors import ExportError, OptionError
from flowtrack.export.half_regions import LAYERS, half_nodes
from flowtrack.export.onnx_file import serialized

LARGEST = float(np.finfo(np.float16).max)
"""65504: what is larger becomes infinite."""

_SUFFIX = ".fp16"


def half_layers(model: bytes, keep: Collection[str] = ()) -> list[str]:
    """Names of the layers that `half_graph` computes in half precision, in the graph's order.

    Args:
        model: fp32 ONNX graph.
        keep: names or operator types of nodes that stay fp32.

    Raises:
        InputError: no ONNX graph, or one that is quantised.
        OptionError: `keep` names something that the graph does not have.
    """
    halving = _Halving(model, keep)
    return [node.name for node in halving.graph.node
            if node.op_type in LAYERS and node.name in halving.half]  # fmt: skip


def half_tensors(model: bytes, keep: Collection[str] = ()) -> dict[str, str]:
    """Tensors that `half_graph` makes as half, each with the node that it comes from.

    Names are those of the graph that `Network` makes ready. Arguments and errors as of
    `half_layers`.
    """
    halving = _Halving(model, keep)
    return {name: node.name for node in halving.graph.node if node.name in halving.half
            for name in node.output if name}  # fmt: skip


def too_large(model: bytes, keep: Collection[str] = ()) -> dict[str, str]:
    """Layers with weights beyond float16, each with a sentence that names the weight.

    Arguments and errors as of `half_layers`.
    """
    halving = _Halving(model, keep)
    found = {}
    for node in halving.graph.node:
        if node.name not in halving.half:
            continue
        for name in halving.slots(node):
            values = halving.network.constant(name)
            if values is not None and not np.isfinite(_as_half(values)).all():
                found[node.name] = (
                    f"weight {name!r} reaches {np.abs(values).max():.4g}, beyond the largest "
                    f"float16, {LARGEST:g}"
                )
    return found


def half_graph(
    model: bytes, keep: Collection[str] = (), only: Collection[str] | None = None
) -> bytes:
    """The fp16 form of a graph; inputs, outputs and metadata stay.

    Args:
        model: fp32 ONNX graph; weights that are stored as half and cast are read as such.
        keep: names or operator types of nodes that stay fp32.
        only: of the layers that `half_layers` names, those to compute in half, without the plain
            operators between them; None: everything that may be half.

    Returns:
        A checked ONNX graph.

    Raises:
        InputError: no ONNX graph, or one that is quantised.
        OptionError: `keep` or `only` names something unknown, or nothing is left to halve.
        ExportError: a weight is beyond float16; the message names it.
    """
    large = too_large(model, keep)
    if only is not None:
        large = {node: why for node, why in large.items() if node in only}
    if large:
        node, why = next(iter(large.items()))
        raise ExportError(f"{why}; compute {node!r} in fp32 with --keep")
    halving = _Halving(model, keep)
    if only is not None:
        if unknown := set(only) - halving.half:
            raise OptionError(f"only names {sorted(unknown)}, expected layers that `half_layers` "
                              "gives for the same options")  # fmt: skip
        halving.half &= set(only)
    if not halving.half:
        raise OptionError("no layer is left to compute in half precision; keep less in fp32")
    return halving.run()


class _Halving:
    """A graph on its way to fp16.

    Attributes:
        network: the graph made ready, and its constants.
        graph: onnx.GraphProto of it.
        half: names of the nodes that compute in half.
    """

    def __init__(self, content: bytes, keep: Collection[str]) -> None:
        self.network = Network(content)
        self.network.check_keep(keep)
        self.graph = self.network.model.graph
        self._types = _element_types(self.network.model)
        self.half = half_nodes(self.graph, self._types, keep)
        self._opset = next(
            entry.version
            for entry in self.network.model.opset_import
            if entry.domain in ("", "ai.onnx")
        )
        self._stored = {tensor.name: tensor for tensor in self.graph.initializer}
        self._made: set[str] = set()  # tensors that exist as half
        self._wide: set[str] = set()  # of what half nodes make, tensors that also exist as fp32
        self._nodes: list[Any] = []

    def slots(self, node: Any) -> list[str]:
        """The float tensors that a node reads as half when it computes in half."""
        schema = onnx.defs.get_schema(node.op_type, self._opset)
        allowed = {
            entry.type_param_str: set(entry.allowed_type_strs) for entry in schema.type_constraints
        }
        return [
            name
            for place, name in enumerate(node.input)
            if name
            and self._types.get(name) == TensorProto.FLOAT
            and "tensor(float16)"
            in allowed.get(schema.inputs[min(place, len(schema.inputs) - 1)].type_str, ())
        ]

    def run(self) -> bytes:
        """Rewrite the nodes one by one, and give the finished graph."""
        halved = {
            name
            for node in self.graph.node
            if node.name in self.half
            for name in node.output
            if self._types.get(name) == TensorProto.FLOAT
        }
        for node in list(self.graph.node):
            if node.name in self.half:
                slots = set(self.slots(node))
                node.input[:] = [
                    self._as_half(name, halved) if name in slots else name for name in node.input
                ]
                node.output[:] = [
                    f"{name}{_SUFFIX}" if name in halved else name for name in node.output
                ]
            else:
                for name in sorted(_read(node) & halved):
                    self._widen(name)
            self._nodes.append(node)
        for value in self.graph.output:
            if value.name in halved:
                self._widen(value.name)
        del self.graph.node[:]
        self.graph.node.extend(self._nodes)
        del self.graph.value_info[:]  # types have changed, and the checker finds them anew
        drop_unread(self.graph)
        model = self.network.model
        entries = {entry.key: entry.value for entry in model.metadata_props}
        helper.set_model_props(model, entries | {"flowtrack.precision": "fp16"})
        return serialized(model)

    def _as_half(self, name: str, halved: Collection[str]) -> str:
        """The half form of a tensor, made now where there is none yet."""
        half = f"{name}{_SUFFIX}"
        if name not in halved and half not in self._made:
            values = self.network.constant(name)
            if values is not None:
                stored = numpy_helper.from_array(_as_half(values), half)
                self.graph.initializer.append(stored)
            else:
                self._nodes.append(_cast(name, half, TensorProto.FLOAT16))
            self._made.add(half)
        return half

    def _widen(self, name: str) -> None:
        """Give what a half node makes as fp32, too."""
        if name not in self._wide:
            self._wide.add(name)
            self._nodes.append(_cast(f"{name}{_SUFFIX}", name, TensorProto.FLOAT))


def _cast(source: str, target: str, to: int) -> Any:
    return helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=to)


def _as_half(values: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half: npt.NDArray[np.float16] = values.astype(np.float16)
    return half


def _read(node: Any) -> set[str]:
    """Every name that a node reads, also inside of its branches and loops."""
    names = set(node.input)
    for entry in node.attribute:
        for inner in (entry.g, *entry.graphs):
            names.update(value.name for value in inner.output)
            for one in inner.node:
                names |= _read(one)
    return names


def _element_types(model: Any) -> dict[str, int]:
    """Element type of every tensor of a graph."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    except Exception as error:  # inference raises its own kinds
        raise ExportError(
            f"the types in {model.graph.name!r} cannot be inferred: {error}; export the network "
            "again"
        ) from error
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types
