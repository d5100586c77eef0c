"""An fp16 network that passes the gate: what overflows, and what the gate asks for, stays fp32."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import onnx
from onnx import TensorProto

from flowtrack.calibration.gate import Gate
from flowtrack.calibration.islands import ASKED, ConvertedNetwork, with_islands
from flowtrack.calibration.layers import Network
from flowtrack.calibration.sensitivity import Damage, Feed, rank_layers
from flowtrack.errors import OptionError
from flowtrack.export.precision import (
    LARGEST,
    half_graph,
    half_layers,
    half_tensors,
    too_large,
)
from flowtrack.export.rehearsal import rehearsed
from flowtrack.runtime.engines import open_engine, split_device

REHEARSING = "cpu"
"""The device that runs rehearsals; OpenVINO leaves their rounding out."""

_FP32_DEVICES = ("cpu", "openvino", "openvino-bf16")  # compute half graphs in fp32
_FEEDS = 4  # that layers are ranked on


def half_network(
    model: bytes,
    gate: Gate,
    part: str,
    feeds: Sequence[Feed],
    keep: Collection[str] = (),
    tell: Callable[[str], None] | None = None,
) -> ConvertedNetwork:
    """Bring a network to fp16, with as many fp32 islands as it needs.

    Args:
        model: fp32 graph of the gate's reference.
        gate: that it must pass, on a device that `judging_device` gives.
        part: `detector`, `pose` or `flow`.
        feeds: recorded runs, to find overflows and to rank layers on.
        keep: names or operator types of nodes that stay fp32 anyway.
        tell: is told what is being done, in a few words.

    Returns:
        The first form that passes; where none does, the one without islands but for overflows, with
        its failures.

    Raises:
        InputError, ExportError: see `half_graph`.
        OptionError: the same, or the gate's device shows nothing of half precision.
    """
    if judging_device(gate.device) != gate.device:
        raise OptionError(
            f"device {gate.device} computes fp16 in fp32; judge it on {REHEARSING}, which imitates "
            "the rounding, or on a GPU"
        )
    layers = half_layers(model, keep)
    if tell is not None:
        tell("looking for overflows")
    overflows = {**too_large(model, keep), **overflowing(model, feeds, keep)}

    def attempt(more: Sequence[str]) -> ConvertedNetwork:
        islands = overflows | dict.fromkeys(more, ASKED)
        graph = half_graph(model, [*keep, *islands])
        judged = rehearsed(graph) if gate.device == REHEARSING else graph
        return ConvertedNetwork(graph, judged, gate.part(part, judged), len(layers), islands)

    return with_islands(
        attempt, lambda: rank_halved(model, feeds, [*keep, *overflows]), len(layers), tell
    )


def judging_device(device: str) -> str:
    """Where an fp16 network can be judged: a GPU itself, and for CPUs `cpu`, which rehearses."""
    return REHEARSING if split_device(device)[0] in _FP32_DEVICES else device


def rank_halved(
    model: bytes,
    feeds: Sequence[Feed],
    keep: Collection[str] = (),
    progress: Callable[[], None] | None = None,
) -> list[Damage]:
    """The layers that can be half, each halved alone, the most sensitive first."""
    return rank_layers(
        model,
        lambda block: rehearsed(half_graph(model, keep, only=block)),
        half_layers(model, keep),
        feeds[:: max(1, len(feeds) // _FEEDS)][:_FEEDS],
        progress,
    )


def overflowing(model: bytes, feeds: Sequence[Feed], keep: Collection[str] = ()) -> dict[str, str]:
    """Nodes whose results are beyond float16 on these feeds, each with a sentence."""
    tensors = half_tensors(model, keep)
    network = Network(model)
    graph = network.model.graph
    given = {value.name for value in graph.output}
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in tensors
        if name not in given
    )
    engine = open_engine(network.model.SerializeToString(), "cpu")
    found: dict[str, float] = {}
    for feed in feeds:
        values = engine.infer(feed)
        for name, node in tensors.items():
            largest = float(np.abs(values[name]).max(initial=0.0))
            if not largest <= LARGEST:
                found[node] = max(found.get(node, 0.0), largest)
    return {
        node: f"its results reach {largest:.4g}, beyond the largest float16, {LARGEST:g}"
        for node, largest in found.items()
    }
