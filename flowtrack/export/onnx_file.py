"""PyTorch module to tidy ONNX file: traced, renamed, stripped, labelled and checked."""

from __future__ import annotations

import ast
import importlib.util
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import flowtrack
from flowtrack.errors import DependencyError, ExportError, OptionError

OPSET = 18
"""ONNX operator set of the exported graphs; ONNX Runtime >= 1.18 and TensorRT >= 10.0 read it."""

OPSETS = (18, 19, 20)
"""Operator sets that can be asked for; the exporter knows none before, TensorRT 10.1 none after."""

_IR_VERSION = 10  # of ONNX 1.16; ONNX Runtime 1.20 reads no later one

Dims = tuple[str | int, ...]


def trace(
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Mapping[str, Dims],
    dynamic_shapes: tuple[dict[int, Any], ...],
    input_dims: Dims,
    opset: int,
) -> Any:
    """An onnx.ModelProto of a module, with readable names and without the tracer's leftovers.

    Args:
        module: in evaluation mode, on the CPU.
        inputs: example inputs by name, each a tensor of its own: the tracer takes two arguments
            that share memory for one.
        outputs: shapes of the outputs by name; a str names a free axis.
        dynamic_shapes: torch.export dimensions by axis, per input.
        input_dims: shape of every input; a str names a free axis.
        opset: one of `OPSETS`.

    Raises:
        DependencyError: onnx or onnxscript is missing.
        OptionError: no such operator set.
        ExportError: PyTorch cannot export the module.
    """
    if opset not in OPSETS:
        raise OptionError(f"opset is {opset}, expected one of {list(OPSETS)}")
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise DependencyError(f"{package} is not installed; pip install 'flowtrack[export]'")
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dynamic_shapes,
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise ExportError(
            f"PyTorch {torch.__version__} cannot export {type(module).__name__}: {error}"
        ) from error
    assert program is not None  # without a file name, the exporter returns the program
    model = program.model_proto
    _rename(model)
    _strip(model)
    for value in model.graph.input:
        _set_dims(value, input_dims)
    for value, dims in zip(model.graph.output, outputs.values(), strict=True):
        _set_dims(value, dims)
    return model


def label(model: Any, contract: str, facts: Mapping[str, object]) -> None:
    """Write who made a model and what it is into its metadata, as `flowtrack.*` entries."""
    import onnx

    model.producer_name = "flowtrack"
    model.producer_version = flowtrack.__version__
    model.graph.name = contract
    entries = {"version": flowtrack.__version__, "contract": contract, **facts}
    onnx.helper.set_model_props(
        model, {f"flowtrack.{key}": str(value) for key, value in entries.items()}
    )


def serialized(model: Any) -> bytes:
    """The bytes of a model that passed the checker, the same for the same model.

    Raises:
        ExportError: the model breaks a rule of ONNX, or is too large for one file (2 GiB).
    """
    import onnx

    try:
        content: bytes = model.SerializeToString(deterministic=True)
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:
        raise ExportError(f"the exported graph {model.graph.name!r} is invalid: {error}") from error
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on optional packages and on its own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _rename(model: Any) -> None:
    """Name nodes after the module they came from, and values after the node that makes them."""
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    new: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for node in graph.node:
        base = f"{_scope(node)}{node.op_type}"
        node.name = base if not seen[base] else f"{base}_{seen[base]}"
        seen[base] += 1
        for index, value in enumerate(node.output):
            if value not in fixed:
                new[value] = f"{node.name}_output" + (f"_{index}" if index else "")
    count = 0
    for constant in graph.initializer:
        if "." not in constant.name:
            new[constant.name] = f"constant_{count}"
            count += 1
        elif constant.name.endswith(".weight_bias"):  # of a folded batch normalisation
            new[constant.name] = constant.name.removesuffix("weight_bias") + "bias"
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for constant in graph.initializer:
        constant.name = new.get(constant.name, constant.name)


def _scope(node: Any) -> str:
    """The module that a node belongs to, e.g. `network.layer1.0.conv1/`."""
    for name in map(str, node.input):
        if name.endswith(".weight"):
            return name.removesuffix(".weight") + "/"
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            modules = [scope for scope in ast.literal_eval(entry.value)[:-1] if scope]
            return modules[-1] + "/" if modules else ""
    return ""


def _strip(model: Any) -> None:
    """Drop what the tracer leaves behind: stack traces with paths of this machine, notes, shapes.

    Readers infer the shapes of inner values themselves.
    """
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph, model):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    model.domain = ""
    model.ir_version = min(model.ir_version, _IR_VERSION)


def _set_dims(value: Any, dims: Dims) -> None:
    for axis, size in zip(value.type.tensor_type.shape.dim, dims, strict=True):
        axis.Clear()
        if isinstance(size, str):
            axis.dim_param = size
        else:
            axis.dim_value = size
