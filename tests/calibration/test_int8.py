"""INT8 graphs: structure that every runtime takes, values as computed by hand."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from flowtrack.calibration.clipping import count_magnitudes
from flowtrack.calibration.int8 import Int8Options, quantizable, quantize
from flowtrack.calibration.ranges import RangeTable, measure_ranges, read_ranges
from flowtrack.calibration.rounding import quantized_weights
from flowtrack.errors import InputError, OptionError
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.engines.openvino import open_openvino, openvino_installed
from tests.support.graphs import assemble

RNG = np.random.default_rng


def network(seed: int = 0, joined: bool = False) -> bytes:
    """A convolution, a residual sum, a transposed convolution, and a head; 8 x 8 pixels."""
    rng = RNG(seed)
    wide = 8 if joined else 4
    stored = {
        "w1": rng.normal(0, 0.3, (4, 3, 3, 3)), "b1": rng.normal(0, 0.1, 4),
        "w2": rng.normal(0, 0.3, (4, wide, 1, 1)), "w3": rng.normal(0, 0.3, (4, 4, 3, 3)),
        "wt": rng.normal(0, 0.3, (4, 4, 2, 2)), "wh": rng.normal(0, 0.3, (2, 4, 1, 1)),
    }  # fmt: skip
    node = helper.make_node
    middle = "first"
    nodes = [node("Conv", ["x", "w1", "b1"], ["first"], name="stem", pads=[1] * 4)]
    if joined:
        nodes += [node("Neg", ["first"], ["mirror"]),
                  node("Concat", ["first", "mirror"], ["both"], axis=1)]  # fmt: skip
        middle = "both"
    nodes += [
        node("Conv", [middle, "w2"], ["second"], name="branch"),
        node("Add", ["second", "first"], ["sum"], name="sum"),
        node("Relu", ["sum"], ["positive"]),
        node("Conv", ["positive", "w3"], ["third"], name="body", pads=[1] * 4),
        node("ConvTranspose", ["third", "wt"], ["up"], name="up", strides=[2, 2]),
        node("Conv", ["up", "wh"], ["y"], name="head"),
    ]
    return assemble(
        {"x": ("float32", ("N", 3, 8, 8))}, nodes, {"y": ("float32", ("N", 2, 16, 16))},
        {name: value.astype(np.float32) for name, value in stored.items()},
    )  # fmt: skip


def feeds(count: int = 3):
    return [{"x": RNG(seed).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)} for seed in range(count)]


MINMAX = Int8Options(method="minmax")


def quantised(options: Int8Options = MINMAX, **how) -> tuple[bytes, bytes]:
    graph = network(**how)
    return graph, quantize(graph, measure_ranges(graph, feeds(), options), options)


def parts(content: bytes):
    graph = onnx.load_model_from_string(content).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return graph, constants, {name: node for node in graph.node for name in node.output}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (MINMAX, ["stem", "branch", "body"]),
        (Int8Options(method="minmax", transposed=True), ["stem", "branch", "body", "up"]),
        (Int8Options(method="minmax", last_layers=True), ["stem", "branch", "body", "head"]),
        (Int8Options(method="minmax", keep=("stem",)), ["branch", "body"]),
        (Int8Options(method="minmax", keep=("ConvTranspose",)), ["stem", "branch", "body"]),
    ],
)
def test_layers_that_are_quantised(options, names):
    assert quantizable(network(), options) == names
    graph, constants, makers = parts(quantised(options)[1])
    rounded = {
        node.name for node in graph.node
        if node.op_type in ("Conv", "ConvTranspose")
        and makers.get(node.input[1]) is not None
        and makers[node.input[1]].op_type == "DequantizeLinear"
    }  # fmt: skip
    assert rounded == set(names)
    assert ("wh" in constants) is ("head" not in names)


def test_structure_is_what_tensorrt_takes():
    graph, constants, makers = parts(quantised(Int8Options(method="minmax", transposed=True))[1])
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert (constants[node.input[1]] > 0).all()
        if node.input[0] in constants:  # weights: int8, a scale per output channel
            stored = constants[node.input[0]]
            axis = next(entry.i for entry in node.attribute if entry.name == "axis")
            assert stored.dtype == np.int8
            assert stored.min() >= -127
            assert constants[node.input[1]].shape == (stored.shape[axis],)
        else:
            assert constants[node.input[1]].shape == ()
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) > 2:
            assert node.input[2] in constants  # a bias stays fp32
            assert constants[node.input[2]].dtype == np.float32
    # Both sides of a residual sum are INT8, so that it can be one with its convolution.
    (total,) = (node for node in graph.node if node.name == "sum")
    assert any(makers[side].op_type == "DequantizeLinear" for side in total.input)


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_rounded_as_by_hand(axis):
    values = RNG(1).normal(0, 1, (3, 4, 2, 2)).astype(np.float32)
    values[(slice(None),) * axis + (1,)] = 0
    stored, scales = quantized_weights(values, axis)
    for channel in range(values.shape[axis]):
        own = np.take(values, channel, axis)
        largest = max(abs(float(value)) for value in own.ravel())
        scale = largest / 127 if largest else 1.0
        assert scales[channel] == pytest.approx(scale)
        got = np.take(stored, channel, axis)
        for value, rounded in zip(own.ravel(), got.ravel(), strict=True):
            assert abs(int(rounded) - float(value) / scale) <= 0.5001
    with pytest.raises(InputError, match="NaN"):
        quantized_weights(np.full((1, 1), np.nan, np.float32), 0)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("joined", [False, True])
def test_outputs_stay_near_on_every_runtime(device, joined):
    """OpenVINO used to lose the negative values behind a Concat, half of the result."""
    if device == "openvino" and not openvino_installed():
        pytest.skip("openvino is not installed")
    graph, content = quantised(joined=joined)
    x = feeds(1)[0]
    expected = open_engine(graph, "cpu", 1).infer(x)["y"]
    engine = (
        open_openvino(content, threads=1, cached=False)
        if device == "openvino"
        else open_engine(content, device, 1)
    )
    found = engine.infer(x)["y"]
    assert 0 < np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


def pooled(middle: str = "Relu", kept: str = "") -> tuple[bytes, bytes]:
    """A convolution, an activation, two pools and a convolution; in fp32, and in INT8."""
    rng = RNG(5)
    stored = {"w1": rng.normal(0, 0.3, (4, 3, 3, 3)), "w2": rng.normal(0, 0.3, (4, 4, 1, 1)),
              "w3": rng.normal(0, 0.3, (2, 4, 1, 1))}  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["first"], name="stem", pads=[1] * 4),
        node(middle, ["first"], ["active"], name="active"),
        node("MaxPool", ["active"], ["small"], name="pool", kernel_shape=[3, 3], pads=[1] * 4,
             strides=[2, 2]),
        node("Conv", ["small", "w2"], ["second"], name="body"),
        node("Conv", ["second", "w3"], ["y"], name="head"),
    ]  # fmt: skip
    graph = assemble(
        {"x": ("float32", ("N", 3, 8, 8))}, nodes, {"y": ("float32", ("N", 2, 4, 4))},
        {name: value.astype(np.float32) for name, value in stored.items()},
    )  # fmt: skip
    options = Int8Options(method="minmax", keep=(kept,) if kept else ())
    return graph, quantize(graph, measure_ranges(graph, feeds(), options), options)


def without_pair(content: bytes, tensor: str) -> bytes:
    """The graph in which a tensor is not rounded."""
    model = onnx.load_model_from_string(content)
    for node in model.graph.node:
        node.input[:] = [tensor if name == f"{tensor}.dequantized" else name for name in node.input]
    return model.SerializeToString()


def test_a_pool_between_layers_takes_its_maximum_of_int8():
    _, content = pooled()
    graph, _, makers = parts(content)
    (pool,) = (node for node in graph.node if node.op_type == "MaxPool")
    (after,) = (node for node in graph.node
                if node.op_type == "QuantizeLinear" and node.input[0] == "small")  # fmt: skip
    before = makers[makers[pool.input[0]].input[0]]
    assert before.op_type == "QuantizeLinear"
    assert before.input[0] == "active"
    assert before.input[1] == after.input[1]  # one scale
    for feed in feeds():
        found, plain = (open_engine(g, "cpu", 1).infer(feed)["y"]
                        for g in (content, without_pair(content, "active")))  # fmt: skip
        np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize(
    ("middle", "kept"), [("Relu", "stem"), ("Relu", "body"), ("Exp", ""), ("Relu", "pool")]
)
def test_a_pool_of_what_no_int8_layer_makes_stays(middle, kept):
    graph, _, _ = parts(pooled(middle, kept)[1])
    (pool,) = (node for node in graph.node if node.op_type == "MaxPool")
    assert pool.input[0] == "active"


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
@settings(max_examples=15, deadline=None)
def test_minmax_ranges_are_those_of_a_plain_loop(seed, scale):
    graph = network()
    x = (RNG(seed).normal(0, scale, (2, 3, 8, 8))).astype(np.float32)
    table = measure_ranges(graph, [{"x": x}, {"x": x / 2}], MINMAX)
    assert table.magnitude("x") == pytest.approx(max(abs(float(v)) for v in x.ravel()))


def test_percentile_lies_where_so_many_values_are_below():
    graph = network()
    options = Int8Options(method="percentile", percentile=90)
    table = measure_ranges(graph, feeds(), options)
    values = sorted(abs(float(v)) for feed in feeds() for v in feed["x"].ravel())
    wanted = values[int(0.9 * len(values))]
    assert table.magnitude("x") == pytest.approx(wanted, rel=0.02)


def test_entropy_clips_a_tail_and_not_what_is_even():
    graph = network()
    options = Int8Options(method="entropy")
    tail = RNG(0).normal(0, 1, (4, 3, 8, 8)).astype(np.float32)
    tail[0, 0, 0, 0] = 50.0
    assert measure_ranges(graph, [{"x": tail}], options).magnitude("x") < 25
    even = RNG(0).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
    assert measure_ranges(graph, [{"x": even}], options).magnitude("x") > 0.9


@pytest.mark.parametrize(("layer", "made"), [("stem", "first"), ("body", "third"), ("up", "up")])
def test_biases_take_back_what_rounding_moves_the_means_by(layer, made):
    graph = network()
    options = Int8Options(method="percentile", percentile=70, transposed=True)  # clips a lot
    table = measure_ranges(graph, feeds(), options)
    as_they_are = replace(options, correct_biases=False)

    def means(content):
        model = onnx.load_model_from_string(content)
        model.graph.output.append(helper.make_tensor_value_info(made, onnx.TensorProto.FLOAT, None))
        engine = open_engine(model.SerializeToString(), "cpu", 1)
        runs = np.concatenate([engine.infer(feed)[made] for feed in feeds()])
        return np.array([runs[:, channel].mean() for channel in range(runs.shape[1])])

    expected = means(graph)
    before = means(quantize(graph, table, as_they_are, only=[layer]))
    after = means(quantize(graph, table, options, only=[layer]))
    assert np.abs(before - expected).max() > 0.01
    np.testing.assert_allclose(after, expected, atol=1e-4)
    # What was measured is the difference itself.
    np.testing.assert_allclose(table.shifts[layer], expected - before, atol=1e-4)


def test_biases_that_the_graph_computes_stay():
    node = helper.make_node
    stored = {"w": RNG(0).normal(0, 1, (2, 3, 1, 1)), "b": np.ones(2), "wh": np.ones((1, 2, 1, 1))}
    graph = assemble(
        {"x": ("float32", ("N", 3, 8, 8))},
        [node("Neg", ["b"], ["made"]), node("Conv", ["x", "w", "made"], ["z"], name="body"),
         node("Conv", ["z", "wh"], ["y"], name="head")],
        {"y": ("float32", ("N", 1, 8, 8))},
        {name: value.astype(np.float32) for name, value in stored.items()},
    )  # fmt: skip
    table = measure_ranges(graph, feeds(), MINMAX)
    assert set(table.shifts) == {"head"}
    (body,) = (n for n in parts(quantize(graph, table, MINMAX))[0].node if n.name == "body")
    assert body.input[2] == "made"


def test_magnitudes_are_counted_as_by_a_plain_loop():
    values = RNG(3).normal(0, 1, 500).astype(np.float32)
    top = float(np.abs(values).max())
    counts = np.zeros(16, np.int64)
    count_magnitudes(values, top, counts)
    expected = [0] * 16
    for value in values:
        expected[min(15, int(abs(float(value)) * 16 / top))] += 1
    assert np.abs(counts - expected).sum() <= 2  # a value at an edge may fall on either side
    assert counts.sum() == len(values)


def test_a_table_is_kept_and_refused_where_it_does_not_belong(tmp_path):
    graph = network()
    table = measure_ranges(graph, feeds(), MINMAX)
    table.write(tmp_path / "ranges.json")
    again = read_ranges(tmp_path / "ranges.json")
    assert again == table
    again.check(graph, feeds(), MINMAX)
    for wrong in (
        lambda: again.check(network(1), feeds(), MINMAX),
        lambda: again.check(graph, feeds(2), MINMAX),
        lambda: again.check(graph, feeds(), Int8Options(method="entropy")),
        lambda: quantize(network(1), again, MINMAX),
    ):
        with pytest.raises(InputError, match="measure again"):
            wrong()
    (tmp_path / "ranges.json").write_text("{")
    with pytest.raises(InputError, match="is no calibration table"):
        read_ranges(tmp_path / "ranges.json")


def test_what_cannot_be_quantised_is_refused():
    graph, content = quantised()
    with pytest.raises(InputError, match="quantised already"):
        quantizable(content, MINMAX)
    with pytest.raises(InputError, match="no ONNX graph"):
        quantizable(b"junk", MINMAX)
    with pytest.raises(OptionError, match="keep names 'nobody'"):
        quantizable(graph, Int8Options(keep=("nobody",)))
    black = [{"x": np.zeros((1, 3, 8, 8), np.float32)}]
    with pytest.raises(InputError, match="zero in every run"):
        measure_ranges(graph, black, MINMAX)
    with pytest.raises(InputError, match="nothing to measure"):
        measure_ranges(graph, [], MINMAX)
    lacking = RangeTable({}, "minmax", None, hashlib.sha256(graph).hexdigest(), "")
    with pytest.raises(InputError, match="no range for 'x'"):
        quantize(graph, lacking, MINMAX)
    with pytest.raises(OptionError, match="expected one of"):
        Int8Options(method="median")
    with pytest.raises(OptionError, match="takes none"):
        Int8Options(method="minmax", percentile=99.0)


def test_only_some_layers_can_be_quantised():
    graph = network()
    table = measure_ranges(graph, feeds(), MINMAX)
    _, _, makers = parts(quantize(graph, table, MINMAX, only=["body"]))
    assert "third" in makers
    assert makers["positive.dequantized"].op_type == "DequantizeLinear"
    assert "x.dequantized" not in makers
    with pytest.raises(OptionError, match="only names"):
        quantize(graph, table, MINMAX, only=["head"])
