"""What is inside a plan: its layers, the types they compute in, and the memory it needs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowtrack.runtime.engines.tensorrt.device import open_gpu
from flowtrack.runtime.engines.tensorrt.library import (
    deserialized,
    require_tensorrt,
    this_machine,
)
from flowtrack.runtime.plans import Fingerprint, refuse_difference

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class Layer:
    """A layer of a plan, which may be several of the graph.

    Attributes:
        name: with the names of the graph's nodes.
        kind: in TensorRT's words.
        types: of its outputs, as TensorRT writes them.
        shapes: of its outputs; -1 where an axis is free.
    """

    name: str
    kind: str
    types: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class PlanContent:
    """Everything that TensorRT tells about a plan.

    Attributes:
        layers: in the order in which they run.
        scratch_bytes: GPU memory for one run, besides inputs, outputs and weights.
        streamable_bytes: weights that may stay in host memory.
    """

    layers: tuple[Layer, ...]
    scratch_bytes: int
    streamable_bytes: int

    def types(self) -> dict[str, int]:
        """How many layers give each type, most first."""
        counted = Counter(kind for layer in self.layers for kind in dict.fromkeys(layer.types))
        return dict(counted.most_common())


def inspect_plan(plan: bytes, fingerprint: Fingerprint, gpu: int = 0) -> PlanContent:
    """Load a plan and look into it, without running it.

    Args:
        plan: TensorRT's file.
        fingerprint: what lies beside it; it must fit this machine.
        gpu: index, as CUDA counts.

    Raises:
        DependencyError: a driver, TensorRT or another package is missing.
        EngineError: the plan is not for this machine, or TensorRT cannot load it.
    """
    require_tensorrt()
    device = open_gpu(gpu)
    refuse_difference(fingerprint, this_machine(device))
    with device.active("looking into a plan"):
        import tensorrt as trt

        engine: trt.ICudaEngine
        runtime, engine = deserialized(plan, fingerprint)
        inspector: trt.EngineInspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        layers = tuple(_layer(entry) for entry in json.loads(text).get("Layers", []))
        content = PlanContent(layers, engine.device_memory_size_v2, engine.streamable_weights_size)
        # TensorRT wants them gone in this order, and the context still current.
        del inspector, engine, runtime
    return content


def _layer(entry: Any) -> Layer:
    """A layer as TensorRT writes it: a name alone unless the plan was built with details."""
    if isinstance(entry, str):
        return Layer(entry, "", (), ())
    outputs = entry.get("Outputs", [])
    return Layer(
        entry.get("Name", ""),
        entry.get("LayerType", ""),
        tuple(output.get("Datatype") or output.get("Format/Datatype", "") for output in outputs),
        tuple(tuple(output.get("Dimensions", ())) for output in outputs),
    )
