"""OpenVINO's uint8 holds what int8 holds where nothing is negative, and clips later."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.runtime.engines.openvino import import_openvino, open_openvino, openvino_installed
from flowtrack.runtime.engines.openvino_unsigned import unsign
from tests.support.graphs import assemble, helper

pytestmark = pytest.mark.skipif(
    not openvino_installed(), reason="openvino is not installed: pip install 'flowtrack[openvino]'"
)

node = helper.make_node
SCALE = np.float32(0.25)
STORED = {
    "scale": SCALE,
    "zero": np.zeros((), np.int8),
    "off": np.ones((), np.int8),
    "nought": np.float32(0),
    "six": np.float32(6),
    "minus": np.float32(-1),
}


def pair(name: str, zero: str = "zero"):
    """Q and DQ of a tensor, which comes back as `<name>.back`."""
    return [
        node("QuantizeLinear", [name, "scale", zero], [f"{name}.int8"]),
        node("DequantizeLinear", [f"{name}.int8", "scale", zero], [f"{name}.back"]),
    ]


def graph(nodes, output: str) -> bytes:
    shape = ("N", 4, 4, 4)
    used = {name for one in nodes for name in one.input}
    stored = {name: np.asarray(value) for name, value in STORED.items() if name in used}
    return assemble({"x": ("float32", shape)}, nodes, {output: ("float32", shape)}, stored)


def affected(content: bytes) -> int:
    return unsign(import_openvino().Core().read_model(content))


POOL = {"kernel_shape": [3, 3], "pads": [1] * 4}
MADE = {
    "Relu": [node("Relu", ["x"], ["a"])],
    "Clip": [node("Clip", ["x", "nought", "six"], ["a"])],
    "Sigmoid": [node("Sigmoid", ["x"], ["a"])],
    "Abs": [node("Abs", ["x"], ["a"])],
    "MaxPool": [node("Relu", ["x"], ["r"]), node("MaxPool", ["r"], ["a"], **POOL)],
    "sum": [node("Relu", ["x"], ["r"]), node("Abs", ["x"], ["s"]), node("Add", ["r", "s"], ["a"])],
    "clipped again": [node("Relu", ["x"], ["r"]), node("Clip", ["r", "minus", "six"], ["a"])],
}


@pytest.mark.parametrize("made", MADE)
def test_what_is_never_negative_becomes_uint8(made):
    nodes = [*MADE[made], *pair("a")]
    assert affected(graph(nodes, "a.back")) == 1
    through = [*nodes, node("MaxPool", ["a.back"], ["b"], **POOL), *pair("b")]
    assert affected(graph(through, "b.back")) == 2  # what comes out of a pair counts, too


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Identity", ["x"], ["a"])],
        [node("LeakyRelu", ["x"], ["a"])],
        [node("Clip", ["x", "minus", "six"], ["a"])],
        [node("Relu", ["x"], ["r"]), node("Add", ["r", "x"], ["a"])],
        [node("Relu", ["x"], ["r"]), node("Add", ["r", "minus"], ["a"])],
        [node("Relu", ["x"], ["r"]), node("Sub", ["r", "six"], ["a"])],
        [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["a"])],
    ],
)
def test_what_may_be_negative_stays_int8(nodes):
    assert affected(graph([*nodes, *pair("a")], "a.back")) == 0


def test_other_zero_points_and_types_stay():
    rectified = node("Relu", ["x"], ["a"])
    assert affected(graph([rectified, *pair("a", "off")], "a.back")) == 0
    assert affected(graph([rectified], "a")) == 0


@given(st.integers(0, 10_000), st.sampled_from(sorted(MADE)))
@settings(max_examples=25, deadline=None)
def test_values_are_those_of_int8_up_to_its_limit(seed, made):
    """A plain rounding, one value at a time; beyond 127 steps uint8 goes on to 255."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 20, (1, 4, 4, 4)).astype(np.float32)
    plain = open_openvino(graph(MADE[made], "a"), threads=1, cached=False).infer({"x": x})["a"]
    content = graph([*MADE[made], *pair("a")], "a.back")
    found = open_openvino(content, threads=1, cached=False).infer({"x": x})["a.back"]
    for value, rounded in zip(plain.ravel(), found.ravel(), strict=True):
        steps = min(round(float(value) / float(SCALE)), 255)
        assert abs(float(rounded) - steps * float(SCALE)) <= 1e-6 * steps


def test_negative_values_are_not_lost():
    x = np.linspace(-50, 50, 64, dtype=np.float32).reshape(1, 4, 4, 4)
    content = graph([node("LeakyRelu", ["x"], ["a"], alpha=0.5), *pair("a")], "a.back")
    found = open_openvino(content, threads=1, cached=False).infer({"x": x})["a.back"]
    steps = np.clip(np.round(np.where(x < 0, x / 2, x) / SCALE), -128, 127)
    np.testing.assert_allclose(found, steps * SCALE, rtol=1e-6)
