"""Tiny ONNX graphs with known outputs, and what a manifest says about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from flowtrack.runtime.manifest import (
    DetectorSpec,
    FlowSpec,
    InputSpec,
    Manifest,
    NetworkFile,
    PoseSpec,
)

Shape = Sequence[int | str]
_TYPES = {
    "uint8": TensorProto.UINT8,
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "bfloat16": TensorProto.BFLOAT16,
}


def _value(name: str, dtype: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[dtype], list(shape))


def assemble(
    inputs: Mapping[str, tuple[str, Shape]],
    nodes: Sequence[onnx.NodeProto],
    outputs: Mapping[str, tuple[str, Shape]],
    stored: Mapping[str, npt.NDArray[Any]] | None = None,
) -> bytes:
    """A checked graph as the bytes of its file; inputs and outputs as (type, shape) by name."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [_value(name, *what) for name, what in inputs.items()],
        [_value(name, *what) for name, what in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def constant(
    inputs: Mapping[str, tuple[str, Shape]],
    outputs: Mapping[str, npt.NDArray[Any]],
    shapes: Mapping[str, Shape] | None = None,
) -> bytes:
    """A graph that gives the same arrays whatever it is fed.

    `shapes` declares other output shapes than the arrays' own, with names where an axis is free.
    """
    nodes = [
        helper.make_node("Identity", [f"{name}_stored"], [name], name=name) for name in outputs
    ]
    return assemble(
        inputs,
        nodes,
        {
            name: (array.dtype.name, (shapes or {}).get(name, array.shape))
            for name, array in outputs.items()
        },
        {f"{name}_stored": array for name, array in outputs.items()},
    )


def pooled_heatmaps(
    joints: int, height: int, width: int, stride: int, batch: int | str = "N", seed: int = 0
) -> bytes:
    """A pose graph `data` (N, 3, height, width) -> `maps` (N, joints, height / stride, ...).

    Every map is another mixture of the pooled colours, so each crop and each joint has a maximum
    of its own.
    """
    weights = np.random.default_rng(seed).normal(0, 1, (joints, 3, 1, 1)).astype(np.float32)
    size = [stride, stride]
    nodes = [
        helper.make_node("AveragePool", ["data"], ["small"], kernel_shape=size, strides=size),
        helper.make_node("Conv", ["small", "weights"], ["maps"]),
    ]
    return assemble(
        {"data": ("float32", (batch, 3, height, width))},
        nodes,
        {"maps": ("float32", (batch, joints, height // stride, width // stride))},
        {"weights": weights},
    )


def network_file(data: bytes, path: str, feeding: InputSpec) -> NetworkFile:
    """What a manifest says of a graph."""
    return NetworkFile(path, hashlib.sha256(data).hexdigest(), feeding)


def blind_detector(boxes: npt.ArrayLike, scores: npt.ArrayLike, height: int, width: int) -> bytes:
    """A detector of our own contract that sees the same boxes in every picture."""
    return constant(
        {"image": ("uint8", (1, height, width, 3))},
        {
            "boxes": np.asarray(boxes, np.float32)[None],
            "scores": np.asarray(scores, np.float32)[None],
        },
    )


def tiny_bundle(flow: bool = False) -> tuple[Manifest, dict[str, bytes | Any]]:
    """A manifest and its files: one box, always; heatmaps of pooled colours; DIS or a network."""
    detector = blind_detector([[4, 4, 40, 60]], [0.9], 64, 64)
    pose = pooled_heatmaps(17, 64, 48, 4)
    files: dict[str, bytes] = {"detector.onnx": detector, "nets/pose.onnx": pose}
    flow_spec = FlowSpec("dis", max_side=64)
    if flow:
        pictures = dict.fromkeys(("previous", "current"), ("float32", ("N", 3, 64, 64)))
        files["flow.onnx"] = constant(pictures, {"flow": np.zeros((1, 2, 16, 16), np.float32)})
        feeding = InputSpec(("previous", "current"), "float32", "nchw", height=64, width=64)
        flow_spec = FlowSpec("flow", network_file(files["flow.onnx"], "flow.onnx", feeding))
    manifest = Manifest(
        skeleton="coco-17",
        detector=DetectorSpec(
            network_file(
                detector, "detector.onnx", InputSpec(("image",), batch=1, height=64, width=64)
            ),
            "boxes",
        ),
        pose=PoseSpec(
            network_file(
                pose,
                "nets/pose.onnx",
                InputSpec(("data",), "float32", "nchw", scale=1 / 255, height=64, width=48),
            ),
            "heatmap",
        ),
        flow=flow_spec,
    )
    return manifest, files
