"""The layer that suffers is found, and said to suffer as much as it does."""

import math

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from flowtrack.calibration.sensitivity import (
    Damage,
    add_sensitivity,
    blocks,
    output_loss,
    rank_layers,
    sensitivity_dict,
    sensitivity_table,
)
from flowtrack.errors import InputError
from flowtrack.report import Report
from tests.support.graphs import assemble

SIZE = 6


def chain():
    """Three convolutions of 1x1, then what sorts their results."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"conv{i}")
        for i in range(3)
    ]
    nodes += [
        helper.make_node("Reshape", ["x3", "flat"], ["row"]),
        helper.make_node("TopK", ["row", "k"], ["best", "place"]),
    ]
    stored = {f"w{i}": rng.normal(0, 1, (2, 2, 1, 1)).astype(np.float32) for i in range(3)} | {
        "flat": np.array([1, -1]),
        "k": np.array([4]),
    }
    return assemble(
        {"x0": ("float32", (1, 2, SIZE, SIZE))}, nodes, {"best": ("float32", (1, 4))}, stored
    )


def scaled(factors):
    """Converts by scaling the weights of the layers."""

    def convert(layers):
        model = onnx.load_model_from_string(chain())
        for tensor in model.graph.initializer:
            name = tensor.name.replace("w", "conv")
            if name in layers:
                values = numpy_helper.to_array(tensor) * np.float32(factors[name])
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model.SerializeToString()

    return convert


FEEDS = [{"x0": np.random.default_rng(1).normal(0, 1, (1, 2, SIZE, SIZE)).astype(np.float32)}]


def test_layers_are_ranked_by_what_the_last_layers_give():
    told = []
    factors = {"conv0": 1.02, "conv1": 0.5, "conv2": 1.1}
    ranked = rank_layers(
        chain(), scaled(factors), list(factors), FEEDS, lambda: told.append(1)
    )  # fmt: skip
    assert [damage.layers for damage in ranked] == [("conv1",), ("conv2",), ("conv0",)]
    assert [damage.loss for damage in ranked] == pytest.approx([0.5, 0.1, 0.02], rel=1e-4)
    assert len(told) == 3


def test_a_layer_that_ends_in_infinity_is_worst():
    ranked = rank_layers(
        chain(), scaled({"conv0": 2.0, "conv1": math.inf}), ["conv0", "conv1"], FEEDS
    )
    assert ranked[0].layers == ("conv1",)
    assert math.isinf(ranked[0].loss)
    assert sensitivity_table(ranked)[1] == ["conv1", "not finite"]
    assert sensitivity_dict(ranked)[0] == {"layers": ["conv1"], "loss": None}


def test_nothing_to_measure_on_is_refused():
    with pytest.raises(InputError, match="nothing was recorded"):
        rank_layers(chain(), scaled({}), ["conv0"], [])


def naive_loss(before, after):
    moved = sum((a - b) ** 2 for a, b in zip(before, after, strict=True))
    return math.sqrt(moved / sum(a * a for a in before))


def test_the_loss_is_that_of_plain_loops_for_the_worst_output():
    rng = np.random.default_rng(3)
    before, after = (
        [{"a": rng.normal(size=5), "b": rng.normal(size=4)} for _ in range(2)] for _ in range(2)
    )
    each = [
        naive_loss([v for feed in before for v in feed[k]], [v for feed in after for v in feed[k]])
        for k in "ab"
    ]
    assert output_loss(before, after) == pytest.approx(max(each))


@pytest.mark.parametrize(
    ("before", "after", "loss"),
    [([0.0], [0.0], 0.0), ([0.0], [1.0], math.inf), ([1.0], [math.nan], math.inf)],
)
def test_losses_without_a_ratio(before, after, loss):
    assert output_loss([{"a": np.array(before)}], [{"a": np.array(after)}]) == loss


@given(st.integers(0, 200), st.integers(1, 50))
def test_blocks_hold_all_layers_in_order(count, most):
    names = [str(i) for i in range(count)]
    found = blocks(names, most)
    assert [name for block in found for name in block] == names
    assert len(found) == min(count, most)
    sizes = {len(block) for block in found}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_blocks_and_plots_are_named():
    ranked = [Damage(("a", "b", "c"), 0.25), Damage(("d",), 0.1)]
    assert sensitivity_table(ranked, 1) == [["layer", "results move by"], ["a ... c", "25.00%"]]
    page = Report("x")
    add_sensitivity(page, "pose", ranked)
    assert "a ... c" in page.html()
    assert "<svg" in page.html()
