"""Folded batch normalisation gives what the graph gave before, and is left where it may not go."""

import numpy as np
import onnx
import pytest

from flowtrack.calibration.folding import fold_batch_normalisation
from flowtrack.runtime.engines import open_engine
from tests.support.graphs import assemble, helper

NORM = ("gamma", "beta", "mean", "variance")


def network(kind, groups, bias, outputs=("y",)):
    """A layer of 4 to 6 channels and its batch normalisation."""
    rng = np.random.default_rng(0)
    shape = (6, 4 // groups, 3, 3) if kind == "Conv" else (4, 6 // groups, 3, 3)
    stored = {"w": rng.normal(0, 1, shape), "b": rng.normal(0, 1, 6)}
    stored |= {name: rng.uniform(0.5, 2, 6) for name in NORM}
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        helper.make_node(kind, inputs, ["made"], name="layer", group=groups),
        helper.make_node("BatchNormalization", ["made", *NORM], ["y"], epsilon=1e-3),
    ]
    return assemble(
        {"x": ("float32", ("N", 4, 8, 8))},
        nodes,
        dict.fromkeys(outputs, ("float32", ("N", 6, "h", "w"))),
        {name: value.astype(np.float32) for name, value in stored.items()},
    )


def folded(content):
    model = onnx.load_model_from_string(content)
    fold_batch_normalisation(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_stay_the_same(kind, groups, bias):
    content = network(kind, groups, bias)
    model = folded(content)
    assert [node.op_type for node in model.graph.node] == [kind]
    assert len(model.graph.initializer) == 2
    x = {"x": np.random.default_rng(1).normal(0, 1, (2, 4, 8, 8)).astype(np.float32)}
    expected = open_engine(content, "cpu", 1).infer(x)["y"]
    found = open_engine(model.SerializeToString(), "cpu", 1).infer(x)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_layer_with_other_readers_keeps_its_normalisation():
    model = folded(network("Conv", 1, bias=True, outputs=("y", "made")))
    assert [node.op_type for node in model.graph.node] == ["Conv", "BatchNormalization"]
