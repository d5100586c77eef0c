"""fp16 graphs: which nodes are half, what types the graph says, and what they compute."""

import math

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from flowtrack.calibration.sensitivity import output_loss
from flowtrack.errors import ExportError, InputError, OptionError
from flowtrack.export.precision import half_graph, half_layers, half_tensors, too_large
from flowtrack.export.rehearsal import rehearsed
from flowtrack.runtime.engines import open_engine
from tests.support.graphs import assemble

SIZE = 4
RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def node(kind, inputs, output, **more):
    return helper.make_node(kind, inputs.split(), [output], name=output, **more)


def network(middle=(), stored=None, ending="last", scale=1 / 255):
    """Normalisation, a layer, what is asked for, a layer, sorting.

    `first` is what the first layer gives; the last one reads `ending`, or `first`.
    """
    nodes = [
        node("Cast", "image", "pixels", to=TensorProto.FLOAT),
        node("Mul", "pixels scale", "normal"),
        node("Conv", "normal w1", "first"),
        *middle,
        node("Conv", f"{ending if middle else 'first'} w2", "maps"),
        node("Sigmoid", "maps", "likely"),
        node("Reshape", "likely flat", "row"),
        node("TopK", "row k", "best"),
    ]
    nodes[-1].output.append("place")
    constants = {
        "scale": np.float32(scale), "w1": weights(3, 2, 1, 1), "w2": weights(2, 3, 1, 1),
        "flat": np.array([1, -1]), "k": np.array([5]),
    }  # fmt: skip
    return assemble(
        {"image": ("uint8", (1, 2, SIZE, SIZE))}, nodes,
        {"best": ("float32", (1, 5)), "place": ("int64", (1, 5))}, constants | (stored or {}),
    )  # fmt: skip


def types_of(content):
    """Element type by tensor."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content)).graph
    found = {t.name: t.data_type for t in graph.initializer}
    found |= {
        v.name: v.type.tensor_type.elem_type
        for v in (*graph.input, *graph.value_info, *graph.output)
    }
    return found


def computing_in_half(content):
    """Names of the nodes whose inputs and results are half."""
    graph = onnx.load_model_from_string(content).graph
    types = types_of(content)
    return {
        n.name
        for n in graph.node
        if n.op_type != "Cast" and types[n.output[0]] == TensorProto.FLOAT16
    }


IMAGE = {"image": np.random.default_rng(1).integers(0, 256, (1, 2, SIZE, SIZE), np.uint8)}

RELU = [node("Relu", "first", "last")]
SWISH = [node("Sigmoid", "first", "gate"), node("Mul", "first gate", "last")]
SCORE = [node("Sigmoid", "first", "gate"), node("Relu", "gate", "last")]
COUNT = [
    node("ArgMax", "first", "where", axis=1, keepdims=1),
    node("Cast", "where", "index", to=TensorProto.FLOAT),
    node("Add", "index first", "last"),
]
SOFTMAX = [node("Softmax", "first", "last")]
GRID = [
    node("Conv", "first w3", "flow"),
    node("Add", "flow base", "moved"),
    node("Transpose", "moved", "grid", perm=[0, 2, 3, 1]),
    node("GridSample", "first grid", "last"),
]


@pytest.mark.parametrize(
    ("middle", "half"),
    [
        ([], {"first", "maps"}),
        (RELU, {"first", "last", "maps"}),
        (SWISH, {"first", "gate", "last", "maps"}),
        (SCORE, {"first", "last", "maps"}),
        (SOFTMAX, {"first", "maps"}),
        (COUNT, {"first", "maps"}),
        (GRID, {"first", "flow", "maps"}),
    ],
    ids=["layers", "relu", "swish", "score", "softmax", "count", "grid"],
)
def test_half_lies_between_the_layers(middle, half):
    stored = (
        {"w3": weights(2, 3, 1, 1), "base": weights(1, 2, SIZE, SIZE)} if middle is GRID else {}
    )
    content = half_graph(network(middle, stored))
    assert computing_in_half(content) == half
    found = types_of(content)
    assert found["image"] == TensorProto.UINT8
    assert found["best"] == TensorProto.FLOAT
    assert found["normal"] == TensorProto.FLOAT
    assert found["w1.fp16"] == TensorProto.FLOAT16
    assert "w1" not in found


def naive_half(model, image):
    """The network with RELU, each half result rounded once."""
    stored = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.load_model_from_string(model).graph.initializer
    }

    def rounded(values):
        return values.astype(np.float16).astype(np.float64)

    values = rounded(image.astype(np.float32) * stored["scale"])
    for place, name in enumerate(("w1", "w2")):
        w = rounded(stored[name])
        out = np.zeros((1, len(w), SIZE, SIZE))
        for o in range(len(w)):
            for y in range(SIZE):
                for x in range(SIZE):
                    out[0, o, y, x] = sum(
                        w[o, i, 0, 0] * values[0, i, y, x] for i in range(w.shape[1])
                    )
        values = rounded(out)
        if place == 0:
            values = np.maximum(values, 0)
    likely = sorted((1 / (1 + math.exp(-v)) for v in values.ravel()), reverse=True)
    return likely[:5]


def test_the_rehearsal_rounds_as_half_arithmetic_does():
    model = network(RELU)
    found = open_engine(rehearsed(half_graph(model)), "cpu").infer(IMAGE)
    expected = naive_half(model, IMAGE["image"])
    # A sum that lies between two halves may be rounded either way.
    assert found["best"][0] == pytest.approx(expected, abs=2e-4)
    exact = open_engine(model, "cpu").infer(IMAGE)
    assert not np.array_equal(found["best"], exact["best"])


def test_an_overflow_shows_in_the_rehearsal():
    model = network(RELU, scale=1e6)
    exact = open_engine(model, "cpu").infer(IMAGE)
    assert np.isfinite(exact["best"]).all()
    graph = onnx.load_model_from_string(rehearsed(half_graph(model)))
    graph.graph.output.append(
        helper.make_tensor_value_info("first.fp16", TensorProto.FLOAT16, None)
    )
    found = open_engine(graph.SerializeToString(), "cpu").infer(IMAGE)
    assert not np.isfinite(found["first.fp16"]).all()


def test_the_graph_itself_runs_and_is_near():
    model = network(SWISH)
    before, after = (open_engine(g, "cpu").infer(IMAGE) for g in (model, half_graph(model)))
    assert output_loss([{"best": before["best"]}], [{"best": after["best"]}]) < 1e-3


def test_kept_nodes_and_operators_are_fp32():
    model = network(RELU)
    assert half_layers(model) == ["first", "maps"]
    assert half_layers(model, ["first"]) == ["maps"]
    assert half_layers(model, ["Conv"]) == []
    assert half_tensors(model, ["first"]) == {"last": "last", "maps": "maps"}
    content = half_graph(model, ["maps"])
    assert computing_in_half(content) == {"first", "last"}
    assert types_of(content)["w2"] == TensorProto.FLOAT


def test_one_layer_alone_is_half():
    content = half_graph(network(RELU), only=["maps"])
    assert computing_in_half(content) == {"maps"}
    with pytest.raises(OptionError, match="only names"):
        half_graph(network(RELU), only=["likely"])


@pytest.mark.parametrize(
    ("keep", "message"), [(["Cnv"], "keep names 'Cnv'"), (["Conv"], "no layer is left")]
)
def test_wrong_names_are_refused(keep, message):
    with pytest.raises(OptionError, match=message):
        half_graph(network(), keep)


def test_a_weight_beyond_half_is_named():
    large = weights(3, 2, 1, 1)
    large[0, 0] = 7e4
    model = network(stored={"w1": large})
    assert list(too_large(model)) == ["first"]
    with pytest.raises(ExportError, match=r"'w1' reaches 7e\+04.*'first' in fp32"):
        half_graph(model)
    assert computing_in_half(half_graph(model, ["first"])) == {"maps"}


def test_weights_that_are_stored_as_half_are_taken_as_they_are():
    plain = network(RELU)
    model = onnx.load_model_from_string(plain)
    (constant,) = (t for t in model.graph.initializer if t.name == "w1")
    half = numpy_helper.to_array(constant).astype(np.float16)
    constant.CopyFrom(numpy_helper.from_array(half, "w1.half"))
    model.graph.node.insert(0, node("Cast", "w1.half", "w1", to=TensorProto.FLOAT))
    content = half_graph(model.SerializeToString())
    graph = onnx.load_model_from_string(content).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    np.testing.assert_array_equal(stored["w1.fp16"], half)
    assert "w1.half" not in stored
    assert computing_in_half(content) == {"first", "last", "maps"}


def test_a_quantised_or_damaged_graph_is_refused():
    with pytest.raises(InputError, match="no ONNX graph"):
        half_graph(b"nothing")


def test_a_result_of_the_graph_stays_fp32():
    model = assemble(
        {"x": ("float32", (1, 2, SIZE, SIZE))},
        [node("Conv", "x w1", "y"), node("Conv", "y w2", "z")],
        {"y": ("float32", (1, 3, SIZE, SIZE)), "z": ("float32", (1, 2, SIZE, SIZE))},
        {"w1": weights(3, 2, 1, 1), "w2": weights(2, 3, 1, 1)},
    )
    found = types_of(half_graph(model))
    assert (found["y"], found["z"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    assert found["y.fp16"] == TensorProto.FLOAT16


OPERATORS = {
    "Relu": {}, "LeakyRelu": {"alpha": 0.1}, "Abs": {}, "Neg": {}, "Tanh": {}, "Softmax": {},
    "MaxPool": {"kernel_shape": [1, 1]}, "Exp": {}, "Identity": {},
}  # fmt: skip


@given(st.lists(st.sampled_from(sorted(OPERATORS)), max_size=6))
def test_any_chain_is_valid_and_near(kinds):
    """The checker has passed each graph; the numbers stay near."""
    nodes, name = [], "first"
    for place, kind in enumerate(kinds):
        made = "last" if place == len(kinds) - 1 else f"m{place}"
        nodes.append(node(kind, name, made, **OPERATORS[kind]))
        name = made
    content = network(nodes)
    before = open_engine(content, "cpu").infer(IMAGE)["best"]
    after = open_engine(rehearsed(half_graph(content)), "cpu").infer(IMAGE)["best"]
    np.testing.assert_allclose(after, before, atol=0.05)
