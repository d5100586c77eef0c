"""A pose network whose layers can be made too coarse for half numbers, and pictures for it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from onnx import helper

from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.structs import Frame
from tests.support.graphs import assemble, tiny_bundle

LAYERS = "abcdefg"


def pose_network(**biases: float) -> bytes:
    """Seven layers that pass pictures on, some with a bias; the last one makes heatmaps."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "AveragePool", ["data"], ["small"], name="small", kernel_shape=[4, 4], strides=[4, 4]
        )
    ]
    stored, name = {}, "small"
    for layer in LAYERS:
        last = layer == LAYERS[-1]
        made = "maps" if last else f"{layer}.out"
        stored[f"{layer}.w"] = (
            rng.normal(0, 1, (17, 3, 1, 1)) if last else np.eye(3)[..., None, None]
        ).astype(np.float32)
        inputs = [name, f"{layer}.w"]
        if layer in biases:
            stored[f"{layer}.b"] = np.full(3, biases[layer], np.float32)
            inputs.append(f"{layer}.b")
        nodes.append(helper.make_node("Conv", inputs, [made], name=layer))
        name = made
    return assemble(
        {"data": ("float32", ("N", 3, 64, 48))}, nodes,
        {"maps": ("float32", ("N", 17, 16, 12))}, stored,
    )  # fmt: skip


def bundle_with(pose: bytes, place: Path) -> Bundle:
    """A bundle of tiny networks with another pose network."""
    manifest, files = tiny_bundle()
    file = replace(manifest.pose.file, sha256=hashlib.sha256(pose).hexdigest())
    files[file.path] = pose
    return write_bundle(place, replace(manifest, pose=replace(manifest.pose, file=file)), files)


def blobs(count: int) -> list[Frame]:
    """Pictures of large spots, so that every heatmap has one clear maximum."""
    rng = np.random.default_rng(1)
    return [
        Frame(
            index,
            index / 25,
            cv2.resize(
                rng.integers(0, 256, (4, 4, 3), np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC
            ),
        )
        for index in range(count)
    ]
