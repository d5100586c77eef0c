"""Weights back out of an exported graph, so that a network can be trained on from its ONNX file.

An exported graph has no batch normalisation: it is folded into the convolution before it. What the
network computes in evaluation is restored exactly; the statistics that training needs are measured
anew on data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from flowtrack.errors import CheckpointError, DependencyError

_PREFIX = "network."  # of a network's own names inside the exported graphs
_LATERALS = "laterals."
_Convolution = nn.Conv2d | nn.ConvTranspose2d


def is_exported(path: Path) -> bool:
    """Whether a file is an ONNX graph by its name."""
    return path.suffix.lower() == ".onnx"


def load_exported(path: Path, network: nn.Module) -> None:
    """Fill a network from a graph that `flowtrack export` made of one like it.

    In evaluation the network then computes what the graph does. Batch normalisations pass their
    input on, but for the shift: call `measure_statistics` before training. Laterals that the graph
    does not have are zero.

    Args:
        path: of the ONNX file; weights stored as half floats are understood.
        network: of the same architecture.

    Raises:
        CheckpointError: the file cannot be read, or a weight is missing or has another shape.
        DependencyError: the package onnx is missing.
    """
    weights, biases = _constants(path)
    state = network.state_dict()
    has_laterals = any(name.startswith(_LATERALS) for name in weights)
    for name, module in network.named_modules():
        if isinstance(module, _Convolution):
            if name.startswith(_LATERALS) and not has_laterals:
                state[f"{name}.weight"] = torch.zeros_like(module.weight)
                continue
            state[f"{name}.weight"] = _taken(path, weights, f"{name}.weight", module.weight)
            if module.bias is not None:
                state[f"{name}.bias"] = _taken(path, biases, f"{name}.weight", module.bias)
    for convolution, norm_name, norm in _normalised(network):
        neutral = torch.ones(norm.num_features)
        state[f"{norm_name}.weight"] = neutral
        state[f"{norm_name}.bias"] = _taken(path, biases, f"{convolution}.weight", neutral)
        state[f"{norm_name}.running_mean"] = torch.zeros(norm.num_features)
        state[f"{norm_name}.running_var"] = neutral - norm.eps
    network.load_state_dict(state)


@torch.no_grad()
def measure_statistics(network: nn.Module, inputs: Iterable[torch.Tensor]) -> None:
    """Give batch normalisations the mean and variance of what reaches them.

    What the network computes in evaluation stays the same; in training, batches are then normalised
    by statistics like those that the weights were trained with.

    Args:
        network: from `load_exported`.
        inputs: what it is fed, some hundred samples in batches.
    """
    sums: dict[str, torch.Tensor] = {}
    norms = {name: norm for _, name, norm in _normalised(network)}

    def watched(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            values = given[0].double()
            moments = torch.stack(
                (
                    torch.full((values.shape[1],), values[:, 0].numel(), dtype=torch.float64),
                    values.sum((0, 2, 3)),
                    values.square().sum((0, 2, 3)),
                )
            )
            sums[name] = sums.get(name, torch.zeros(())) + moments

        return hook

    was_training = network.training
    network.eval()
    hooks = [norm.register_forward_pre_hook(watched(name)) for name, norm in norms.items()]
    try:
        for batch in inputs:
            network(batch)
    finally:
        for handle in hooks:
            handle.remove()
        network.train(was_training)
    for name, (count, total, squares) in sums.items():
        _restate(norms[name], total / count, squares / count - (total / count).square())


def _restate(norm: nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Other statistics for the same function: (x - m) / s * w + b, whatever m and s."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    deviation = (norm.running_var.double() + norm.eps).sqrt()
    slope = norm.weight.double() / deviation
    shift = norm.bias.double() - norm.running_mean.double() * slope
    variance = variance.clamp_min(0)
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.bias.copy_(shift + mean * slope)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _normalised(network: nn.Module) -> Iterator[tuple[str, str, nn.BatchNorm2d]]:
    """Each convolution that a batch normalisation follows: its name, and that of the latter."""
    before = ""
    for name, module in network.named_modules():
        if isinstance(module, _Convolution):
            before = name
        elif isinstance(module, nn.BatchNorm2d):
            yield before, name, module


def _constants(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights by their names in the network, and the biases that go with them."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise DependencyError("reading ONNX needs: pip install 'flowtrack[export]'") from error
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # of protobuf's own kinds
        raise CheckpointError(f"{path} is no readable ONNX file: {error}") from error
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Cast" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]].astype(np.float32)
    weights, biases = {}, {}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in constants:
            name = node.input[1].removeprefix(_PREFIX)
            weights[name] = constants[node.input[1]]
            if len(node.input) < 3:  # a bias of zeros is left out of the graph
                outputs = weights[name].shape[0 if node.op_type == "Conv" else 1]
                biases[name] = np.zeros(outputs, np.float32)
            elif node.input[2] in constants:
                biases[name] = constants[node.input[2]]
    return weights, biases


def _taken(path: Path, values: dict[str, Any], name: str, like: torch.Tensor) -> torch.Tensor:
    if name not in values or tuple(values[name].shape) != tuple(like.shape):
        found = tuple(values[name].shape) if name in values else "nothing"
        raise CheckpointError(
            f"{path} has {found} for {name}, expected {tuple(like.shape)}; it must be exported "
            "from a network of the recipe's architecture"
        )
    return torch.from_numpy(np.array(values[name], np.float32))
