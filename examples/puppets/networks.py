"""Two networks that read the puppets' markers: ONNX graphs made by hand, nothing trained.

`detector.onnx` finds the magenta centres of the bibs and reads the boxes that the bibs encode; a
bib that is partly hidden is missed, as trained detectors miss hidden people. `pose.onnx` finds in
a crop the disc of each joint's colour that lies most plausibly; a hidden joint scores low.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from examples.puppets.figure import (
    BIB_KEY,
    BIB_RED_LEFT,
    BIB_RED_RIGHT,
    BIB_STEP_PX,
    JOINT_COLORS,
    Posture,
    box_of,
    pose,
)
from examples.puppets.graph import Graph
from flowtrack.runtime.manifest import DetectorSpec, InputSpec, Letterbox, NetworkFile, PoseSpec

Floats = npt.NDArray[np.float64]

MAX_BOXES = 20
POSE_HEIGHT, POSE_WIDTH = 256, 192
_BOX_PADDING = 1.25

# Colours match up to these distances; the joints' colours are farther apart than that.
_KEY_REACH, _JOINT_REACH = 110.0, 62.0

# Response of a disc that is wholly visible; the window is a little larger than the smallest disc.
_CLEAR = 0.5

# A joint at a place less likely than this loses score: it may be someone else's.
_LIKELY = 0.5


@dataclass(frozen=True)
class Networks:
    """The two networks as a manifest describes them, paths relative to the folder."""

    detector: DetectorSpec
    pose: PoseSpec


def _detector(path: Path, height: int, width: int) -> None:
    graph = Graph("puppet_detector")
    image = graph.image("image", height, width)
    # Every other pixel is enough to find the bibs.
    ends, axes = graph.constant([height, width], np.int64), graph.constant([1, 2], np.int64)
    steps = graph.constant([2, 2], np.int64)
    few = graph.add("Slice", image, graph.constant([0, 0], np.int64), ends, axes, steps)
    few = graph.add("Transpose", graph.add("Cast", few, to=1), perm=[0, 3, 1, 2])
    match = graph.color_match(few, [BIB_KEY[::-1]], _KEY_REACH)
    smooth = graph.pooled("AveragePool", graph.pooled("AveragePool", match, 3), 5)
    # A slight slope makes one cell of a flat top the highest.
    columns, rows = np.arange((width + 1) // 2), np.arange((height + 1) // 2)
    smooth = graph.add("Sub", smooth, graph.constant(4e-6 * columns))
    smooth = graph.add("Sub", smooth, graph.constant(6e-6 * rows[:, None]))
    is_peak = graph.add("Equal", smooth, graph.pooled("MaxPool", smooth, 11))
    peaks = graph.add("Where", is_peak, smooth, graph.constant(0.0))
    flat = graph.add("Reshape", peaks, graph.constant([0, len(rows) * len(columns)], np.int64))
    count = graph.constant([MAX_BOXES], np.int64)
    height_of_peak, cell = graph.add_many("TopK", 2, flat, count)

    small_width = graph.constant(len(columns), np.int64)
    x = graph.scaled_index(graph.add("Mod", cell, small_width), 2)
    y = graph.scaled_index(graph.add("Div", cell, small_width), 2)
    fields, spread = _bib_fields(graph, image, x, y, height, width)
    score = graph.clipped(graph.scaled(height_of_peak, 1.2), 0.0, 1.0)
    blue, green, red = (
        graph.add("Gather", fields, graph.constant(i, np.int64), axis=3) for i in range(3)
    )
    off = graph.add("Abs", graph.add("Sub", red, graph.constant([BIB_RED_LEFT, BIB_RED_RIGHT])))
    for doubt, tolerated in ((off, 20.0), (spread, 30.0)):
        worst = graph.add("ReduceMax", doubt, axes=[2], keepdims=0)
        sure = graph.clipped(graph.scaled(worst, -1 / 40, 1 + tolerated / 40), 0.0, 1.0)
        score = graph.add("Mul", score, sure)
    boxes = _boxes(graph, x, y, green, blue, height, width)

    best, order = graph.add_many("TopK", 2, score, count)
    order = graph.add("Unsqueeze", order, graph.constant([2], np.int64))
    order = graph.add("Expand", order, graph.constant([1, 1, 4], np.int64))
    boxes = graph.add("GatherElements", boxes, order, axis=1)
    graph.output(boxes, "boxes", ["N", MAX_BOXES, 4])
    graph.output(best, "scores", ["N", MAX_BOXES])
    graph.save(path)


def _bib_fields(
    graph: Graph, image: str, x: str, y: str, height: int, width: int
) -> tuple[str, str]:
    """Mean colours (N, M, 2, 3) of the data fields beside the peaks, and their spread (N, M, 2).

    The spread is the largest difference within a field, over all channels: a field that
    something covers in part is not even.
    """
    around = np.arange(-2, 3)
    patch = (around[:, None] * width + around).ravel()
    offsets = np.array([-BIB_STEP_PX + patch, BIB_STEP_PX + patch])  # (2, 25)
    pixel = graph.add("Add", graph.scaled_index(y, width), x)
    where = graph.add("Unsqueeze", pixel, graph.constant([2, 3], np.int64))
    where = graph.add("Add", where, graph.constant(offsets, np.int64))
    last = graph.constant(height * width - 1, np.int64)
    where = graph.add("Clip", where, graph.constant(0, np.int64), last)
    where = graph.add("Reshape", where, graph.constant([0, MAX_BOXES * offsets.size, 1], np.int64))
    where = graph.add("Expand", where, graph.constant([1, 1, 3], np.int64))
    flat = graph.add("Reshape", image, graph.constant([0, height * width, 3], np.int64))
    values = graph.add("Cast", graph.add("GatherElements", flat, where, axis=1), to=1)
    shape = graph.constant([0, MAX_BOXES, 2, patch.size, 3], np.int64)
    values = graph.add("Reshape", values, shape)
    low, high = (graph.add(f"Reduce{end}", values, axes=[3], keepdims=0) for end in ("Min", "Max"))
    spread = graph.add("ReduceMax", graph.add("Sub", high, low), axes=[3], keepdims=0)
    return graph.add("ReduceMean", values, axes=[3], keepdims=0), spread


def _boxes(graph: Graph, x: str, y: str, green: str, blue: str, height: int, width: int) -> str:
    """(N, M, 4) boxes: the peaks' positions, and what the fields (N, M, 2) say about the sides."""
    x, y = (graph.add("Cast", position, to=1) for position in (x, y))
    left, bottom = graph.add_many("Split", 2, green, axis=2)
    right, top = graph.add_many("Split", 2, blue, axis=2)
    axis = graph.constant([2], np.int64)
    sides = []
    for centre, operator, reach, size in (
        (x, "Sub", left, width),
        (y, "Sub", top, height),
        (x, "Add", right, width),
        (y, "Add", bottom, height),
    ):
        side = graph.add(operator, graph.add("Unsqueeze", centre, axis), reach)
        sides.append(graph.clipped(side, 0.0, size - 1.0))
    return graph.add("Concat", *sides, axis=2)


def _prior() -> tuple[Floats, Floats]:
    """Where joints usually lie in a crop: their means (17, 2) and standard deviations, in pixels.

    The means are those of a puppet that stands still; the deviations grow towards hands and feet.
    """
    standing = pose(Posture(x=0.0, ground=0.0, height=200.0, phase=0.0, gait=0.0, facing=1))
    box = box_of(standing, 200.0)
    scale = POSE_HEIGHT / (_BOX_PADDING * (box[3] - box[1]))
    mean = (standing - (box[:2] + box[2:]) / 2) * scale + [POSE_WIDTH / 2, POSE_HEIGHT / 2]
    shares = {"elbow": (0.22, 0.13), "wrist": (0.30, 0.26), "knee": (0.22, 0.10),
              "ankle": (0.30, 0.10), "hip": (0.18, 0.09), "shoulder": (0.18, 0.09)}  # fmt: skip
    order = ["head"] * 5 + [part for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                            for _ in range(2)]  # fmt: skip
    spread = np.array([shares.get(part, (0.18, 0.08)) for part in order])
    return mean, spread * [POSE_WIDTH, POSE_HEIGHT]


def _pose(path: Path) -> None:
    graph = Graph("puppet_pose")
    crops = graph.add("Cast", graph.image("crops", POSE_HEIGHT, POSE_WIDTH), to=1)
    pixels = graph.add("Transpose", crops, perm=[0, 3, 1, 2])
    half = graph.add("AveragePool", pixels, kernel_shape=[2, 2], strides=[2, 2])
    match = graph.color_match(half, JOINT_COLORS, _JOINT_REACH)
    smooth = graph.pooled("AveragePool", match, 3)

    rows, columns = POSE_HEIGHT // 2, POSE_WIDTH // 2
    mean, spread = _prior()
    likely_x = np.exp(-0.5 * ((2 * np.arange(columns) + 0.5 - mean[:, :1]) / spread[:, :1]) ** 2)
    likely_y = np.exp(-0.5 * ((2 * np.arange(rows) + 0.5 - mean[:, 1:]) / spread[:, 1:]) ** 2)
    likely = graph.add("Mul", smooth, graph.constant(likely_x[:, None, :]))
    likely = graph.add("Mul", likely, graph.constant(likely_y[:, :, None]))
    flat_shape = graph.constant([0, 0, rows * columns], np.int64)
    likely = graph.add("Reshape", likely, flat_shape)
    smooth = graph.add("Reshape", smooth, flat_shape)
    cell = graph.add("ArgMax", likely, axis=2, keepdims=1)

    at = _around(graph, smooth, cell, 0, rows * columns)
    found = graph.add("Max", at, graph.constant(1e-6))
    trust = graph.add("Div", _around(graph, likely, cell, 0, rows * columns), found)
    trust = graph.clipped(graph.scaled(trust, 1 / _LIKELY), 0.0, 1.0)
    width = graph.constant(columns, np.int64)
    coordinates = []
    for step, whole in (
        (1, graph.add("Mod", cell, width)),
        (columns, graph.add("Div", cell, width)),
    ):
        before = _around(graph, smooth, cell, -step, rows * columns)
        after = _around(graph, smooth, cell, step, rows * columns)
        part = _parabola(graph, before, at, after)
        position = graph.add("Add", graph.add("Cast", whole, to=1), part)
        coordinates.append(graph.scaled(position, 2.0, 0.5))
    clear = graph.clipped(graph.scaled(at, 1 / _CLEAR), 0.0, 1.0)
    score = graph.add("Mul", trust, clear)
    keypoints = graph.add("Concat", *coordinates, score, axis=2)
    graph.output(keypoints, "keypoints", ["N", len(JOINT_COLORS), 3])
    graph.save(path)


def _around(graph: Graph, values: str, cell: str, step: int, cells: int) -> str:
    """Values (N, 17, 1) a step beside the chosen cells, taken from (N, 17, cells)."""
    if step:
        cell = graph.add("Add", cell, graph.constant(step, np.int64))
        bounds = graph.constant(0, np.int64), graph.constant(cells - 1, np.int64)
        cell = graph.add("Clip", cell, *bounds)
    return graph.add("GatherElements", values, cell, axis=2)


def _parabola(graph: Graph, before: str, at: str, after: str) -> str:
    """Where between -0.5 and 0.5 a parabola through three neighbours has its top."""
    curve = graph.add("Sub", graph.scaled(at, 2.0), graph.add("Add", before, after))
    slope = graph.scaled(graph.add("Sub", after, before), 0.5)
    return graph.clipped(
        graph.add("Div", slope, graph.add("Max", curve, graph.constant(1e-6))), -0.5, 0.5
    )


def _file(path: Path, feeding: InputSpec) -> NetworkFile:
    return NetworkFile(
        path=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        input=feeding,
        source={"made_by": "examples/puppets/networks.py", "trained": False},
    )


def build(folder: Path, height: int = 480, width: int = 640) -> Networks:
    """Write `detector.onnx` and `pose.onnx` into a folder that exists.

    Args:
        folder: where to.
        height, width: the detector's input size; the puppets' size in pixels must not change on
            the way there, so this is the size of the clip, or larger.
    """
    detector, pose_file = folder / "detector.onnx", folder / "pose.onnx"
    _detector(detector, height, width)
    _pose(pose_file)
    return Networks(
        detector=DetectorSpec(
            file=_file(
                detector, InputSpec(names=("image",), color="bgr", height=height, width=width)
            ),
            decode="boxes",
            letterbox=Letterbox(),
        ),
        pose=PoseSpec(
            file=_file(
                pose_file,
                InputSpec(names=("crops",), color="rgb", height=POSE_HEIGHT, width=POSE_WIDTH),
            ),
            decode="keypoints",
            box_padding=_BOX_PADDING,
        ),
    )
