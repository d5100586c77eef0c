"""Frames of noise, and manifests of networks that need not exist, for tests of frame-in graphs."""

from __future__ import annotations

import numpy as np

from flowtrack.runtime.manifest import DetectorSpec, FlowSpec, InputSpec, Manifest, PoseSpec
from tests.support.graphs import network_file

HEIGHT, WIDTH = 24, 16


def pictured(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def manifest_of(detector=(32, 48), flow=(None, None), letterbox=None, **flow_options):
    """A manifest of networks that need not exist: only how they are fed matters."""
    file = network_file(b"", "a.onnx", InputSpec(("image",), height=detector[0], width=detector[1]))
    pose = network_file(b"", "b.onnx", InputSpec(("crops",), height=HEIGHT, width=WIDTH))
    pair = network_file(b"", "c.onnx", InputSpec(("a", "b"), height=flow[0], width=flow[1]))
    return Manifest(
        "coco-17",
        DetectorSpec(file, "boxes", letterbox),
        PoseSpec(pose, "keypoints"),
        FlowSpec("flow", pair, **flow_options),
    )


TENSORRT_HAS = {
    "Abs", "Add", "Cast", "Clip", "Concat", "ConstantOfShape", "Div", "Equal", "Floor", "Gather",
    "GridSample", "Identity", "Less", "Max", "Min", "Mul", "ReduceSum", "Reshape", "Resize",
    "Round", "Shape", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators of frame-in graphs that TensorRT's parser knows."""
