"""The frame-in form of a network: its graph with the making of its pictures put in front.

A frame is uploaded once and read by all three networks; crops, the letterboxed and the resized
picture are made inside. The network itself is not touched, whatever its precision, so the same
surgery serves float32, float16 and Q/DQ graphs. It needs onnx, not PyTorch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flowtrack.errors import DependencyError, ExportError
from flowtrack.export.sampling import (
    OPSET,
    PREFIX,
    FrameValue,
    Nodes,
    crops,
    fed,
    letterboxed,
    opened,
    reduced_sides,
    stretched,
)
from flowtrack.runtime.manifest import FlowSpec, InputSpec, Manifest

INPUTS = MappingProxyType(
    {"detector": ("frame",), "pose": ("frame", "affine"), "flow": ("previous", "current")}
)
"""The inputs of a frame-in graph by part: uint8 (H, W, 3) BGR, but `affine` float32 (N, 2, 3)."""

_IR_VERSION = 8  # of operator set 16

_NEW_OPSET = 18
"""Graphs of an operator set without GridSample are converted to this one."""


def frame_input(part: str, spec: InputSpec) -> InputSpec:
    """How the frame-in form of a network is fed.

    Args:
        part: `detector`, `pose` or `flow`.
        spec: of the network that takes pictures.

    Raises:
        ExportError: this network has no frame-in form; the message says why.
    """
    if spec.form == "frame":
        raise ExportError(f"the {part} network takes whole frames already")
    if part != "flow" and None in (spec.height, spec.width):
        raise ExportError(
            f"the {part} network leaves the size of its pictures free, and the frame-in form needs "
            f"one; make the bundle with --{part}-size HEIGHTxWIDTH"
        )
    if part != "pose" and spec.batch not in (None, 1):
        raise ExportError(
            f"the {part} network is fixed to {spec.batch} pictures at once, and the frame-in form "
            "makes one; export it with a free batch"
        )
    return InputSpec(
        INPUTS[part],
        color="bgr",
        batch=spec.batch if part == "pose" else None,
        height=spec.height,
        width=spec.width,
        form="frame",
    )


def frame_graph(content: bytes, part: str, manifest: Manifest) -> bytes:
    """The frame-in form of a network.

    Args:
        content: the ONNX file of the network that takes pictures.
        part: `detector`, `pose` or `flow`.
        manifest: says how it is fed and read.

    Returns:
        The ONNX file, the same for the same arguments. Boxes of a detector with decode `boxes`
        and the vectors of a flow network are in frame pixels, all else is as it was.

    Raises:
        DependencyError: onnx is missing.
        ExportError: this network has no frame-in form; the message says why.
    """
    spec = manifest.files()[part].input
    frame_input(part, spec)
    model = _loaded(content, part)
    graph = model.graph
    nodes = Nodes(_opset(model))
    view = _view(nodes, part, manifest)
    for name, picture in zip(spec.names, view.pictures, strict=True):
        _replace_input(nodes, graph, name, picture, spec)
    before = len(nodes.nodes)
    _to_frame_pixels(nodes, graph, part, manifest, view)
    made = [*nodes.nodes[:before], *graph.node, *nodes.nodes[before:]]
    outputs = {value.name for value in graph.output}
    _fill(graph, _needed(made, outputs), nodes.constants)
    _set_inputs(graph, part, spec.batch)
    del graph.value_info[:]  # readers infer the shapes of inner values themselves
    entry = model.metadata_props.add()
    entry.key, entry.value = "flowtrack.form", "frame"
    return _serialized(model, part)


def sampling_graph(part: str, manifest: Manifest, opset: int = _NEW_OPSET) -> bytes:
    """Only what a frame-in graph puts in front of the network: from frames to pictures.

    Args:
        part: `detector`, `pose` or `flow`.
        manifest: of the bundle whose networks take pictures.
        opset: ONNX operator set.

    Returns:
        An ONNX file with the inputs of the frame-in form and one output (N, h, w, 3) uint8 BGR
        for every picture that the network takes: `picture_0`, ...
    """
    import onnx

    nodes = Nodes(opset)
    view = _view(nodes, part, manifest)
    graph = onnx.helper.make_graph([], part, [], [])
    for index, picture in enumerate(view.pictures):
        turned = nodes.cast(nodes.add("Transpose", picture, perm=[1, 2, 3, 0]), "uint8")
        name = f"picture_{index}"
        nodes.nodes.append(onnx.helper.make_node("Identity", [turned], [name], name))
        kind = onnx.TensorProto.UINT8
        shape: list[int | str | None] = ["batch", f"{name}_height", f"{name}_width", 3]
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    outputs = {value.name for value in graph.output}
    _fill(graph, _needed(nodes.nodes, outputs), nodes.constants)
    _set_inputs(graph, part, manifest.files()[part].input.batch)
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return _serialized(model, part)


@dataclass(frozen=True)
class _View:
    """What a network sees of frames, by the names of values.

    Attributes:
        pictures: (3, N, h, w), whole grey values as float32, BGR.
        frame: the first frame.
        scale, offset: float32 (2,), x first: picture pixel = frame pixel * scale + offset; empty
            for crops.
    """

    pictures: tuple[str, ...]
    frame: FrameValue
    scale: str = ""
    offset: str = ""


def _view(nodes: Nodes, part: str, manifest: Manifest) -> _View:
    spec = manifest.files()[part].input
    frames = [opened(nodes, name) for name in INPUTS[part] if name != "affine"]
    first = frames[0]
    if part == "flow":
        assert manifest.flow is not None
        sides = _flow_sides(nodes, first, manifest.flow)
        seen = [stretched(nodes, frame, *sides) for frame in frames]
        return _View(tuple(each.picture for each in seen), first, seen[0].scale, seen[0].offset)
    assert spec.height is not None
    assert spec.width is not None  # see `frame_input`
    if part == "pose":
        return _View((crops(nodes, first, "affine", spec.height, spec.width),), first)
    if manifest.detector.letterbox is None:
        fitted = stretched(nodes, first, nodes.whole(spec.height), nodes.whole(spec.width))
    else:
        size = (spec.height, spec.width)
        fitted = letterboxed(nodes, first, *size, manifest.detector.letterbox)
    return _View((fitted.picture,), first, fitted.scale, fitted.offset)


def _flow_sides(nodes: Nodes, frame: FrameValue, flow: FlowSpec) -> tuple[str, str]:
    assert flow.file is not None
    spec = flow.file.input
    height, width = reduced_sides(nodes, frame, flow)
    return (
        nodes.whole(spec.height) if spec.height else height,
        nodes.whole(spec.width) if spec.width else width,
    )


def _replace_input(nodes: Nodes, graph: Any, name: str, picture: str, spec: InputSpec) -> None:
    """Feed what was a graph input from inside."""
    (given,) = (value for value in graph.input if value.name == name)
    value = fed(nodes, picture, spec, len(given.type.tensor_type.shape.dim))
    consumers = [node for node in _all_nodes(graph) if name in node.input]
    if spec.dtype == "uint8" and any(node.op_type != "Cast" for node in consumers):
        value = nodes.cast(value, "uint8")  # TensorRT has no uint8 between nodes
    for node in consumers:
        node.input[:] = [value if entry == name else entry for entry in node.input]


def _to_frame_pixels(nodes: Nodes, graph: Any, part: str, manifest: Manifest, view: _View) -> None:
    """Turn places in the picture into places in the frame, behind the network."""
    if part == "pose" or (part == "detector" and manifest.detector.decode != "boxes"):
        return
    from onnx import TensorProto

    places = graph.output[0]
    raw = value = f"{PREFIX}network/{places.name}"
    for node in _all_nodes(graph):
        for names in (node.input, node.output):
            names[:] = [raw if name == places.name else name for name in names]
    if places.type.tensor_type.elem_type != TensorProto.FLOAT:
        value = nodes.cast(raw, "float32")  # half precision knows no half pixels beyond 2048
        places.type.tensor_type.elem_type = TensorProto.FLOAT
    if part == "detector":
        scale, offset = (
            nodes.add("Concat", pair, pair, axis=0) for pair in (view.scale, view.offset)
        )
        nodes.add("Div", nodes.add("Sub", value, offset), scale)
    else:
        nodes.add("Div", value, _flow_scale(nodes, raw, manifest, view))
    nodes.nodes[-1].output[:] = [places.name]
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].Clear()
        output.type.tensor_type.shape.dim[0].dim_value = 1


def _flow_scale(nodes: Nodes, flow: str, manifest: Manifest, view: _View) -> str:
    """Units of the flow per frame pixel, shaped to divide it."""
    assert manifest.flow is not None
    nchw = manifest.flow.layout == "nchw"
    scale = view.scale
    if manifest.flow.unit == "grid":
        shape = nodes.add("Shape", flow)
        axes = (2, 3) if nchw else (1, 2)
        grid = [nodes.length(nodes.add("Gather", shape, nodes.whole(axis))) for axis in axes]
        per = [nodes.add("Div", *pair) for pair in zip(grid, view.frame.length, strict=True)]
        scale = nodes.add("Concat", *reversed(per), axis=0)
    return nodes.add("Reshape", scale, nodes.whole(*((1, 2, 1, 1) if nchw else (1, 1, 1, 2))))


def _loaded(content: bytes, part: str) -> Any:
    """The model, of an operator set that has what the frame-in form needs."""
    if importlib.util.find_spec("onnx") is None:
        raise DependencyError("onnx is not installed; pip install 'flowtrack[export]'")
    import onnx
    import onnx.version_converter

    try:
        model = onnx.load_model_from_string(content)
        if _opset(model) < OPSET:
            _without_spatial(model.graph)
            model = onnx.version_converter.convert_version(model, _NEW_OPSET)
        model.ir_version = max(model.ir_version, _IR_VERSION)
    except Exception as error:  # protobuf and the converter raise their own kinds
        raise ExportError(
            f"the {part} network cannot be read with operator set {OPSET} or later: {error}"
        ) from error
    return model


def _without_spatial(graph: Any) -> None:
    """Drop an attribute of batch normalisation that ONNX itself dropped and MXNet wrote wrongly.

    The converter refuses it; runtimes never heeded it, and the comparison would show if one did.
    """
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            kept = [entry for entry in node.attribute if entry.name != "spatial"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _opset(model: Any) -> int:
    versions = {entry.domain: int(entry.version) for entry in model.opset_import}
    return max(version for domain, version in versions.items() if domain in ("", "ai.onnx"))


def _all_nodes(graph: Any) -> Iterator[Any]:
    """Every node, those of branches and loop bodies too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all_nodes(attribute.g)


def _needed(nodes: list[Any], outputs: set[str]) -> list[Any]:
    """The nodes of this module that something depends on, and all of the network's."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output) or not node.name.startswith(PREFIX):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def _fill(graph: Any, nodes: list[Any], constants: list[Any]) -> None:
    used = {name for node in nodes for name in node.input}
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constant for constant in constants if constant.name in used)


def _set_inputs(graph: Any, part: str, batch: int | None) -> None:
    from onnx import TensorProto, helper

    del graph.input[:]
    for name in INPUTS[part]:
        shape: list[int | str | None] = ["height", "width", 3]
        kind = TensorProto.UINT8
        if name == "affine":
            shape, kind = [batch or "batch", 2, 3], TensorProto.FLOAT
        graph.input.append(helper.make_tensor_value_info(name, kind, shape))


def _serialized(model: Any, part: str) -> bytes:
    import onnx

    try:
        content: bytes = model.SerializeToString(deterministic=True)
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:
        raise ExportError(f"the frame-in form of the {part} network is invalid: {error}") from error
    return content
