"""The pictures that frame-in graphs make, against plain loops and the CPU."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.export.frame_graphs import sampling_graph
from flowtrack.export.frame_parity import awkward_boxes, grey_record
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.flow import input_size
from flowtrack.runtime.manifest import Letterbox
from flowtrack.runtime.preprocess import crop_matrices, fit, mirrored_matrices
from flowtrack.structs import Boxes
from tests.reference import frame_in as reference
from tests.support.frames import HEIGHT, TENSORRT_HAS, WIDTH, manifest_of, pictured


@pytest.fixture(scope="module")
def cropping():
    return open_engine(sampling_graph("pose", manifest_of()), "cpu", 1)


def cropped(engine, image, matrices):
    return engine.infer({"frame": image, "affine": matrices})["picture_0"]


sides = st.integers(1, 41)
corners = st.floats(-80, 120, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), sides, sides, st.lists(st.tuples(*[corners] * 4), min_size=1,
                                                     max_size=3))  # fmt: skip
def test_crops_are_those_of_plain_loops(cropping, seed, height, width, boxes):
    """Boxes of any size, upside down and far outside; frames of a pixel and of odd sides."""
    image = pictured(seed, height, width)
    matrices = crop_matrices(boxes, HEIGHT, WIDTH, 1.25)
    expected = reference.crops(image, matrices, HEIGHT, WIDTH)
    # Where a value lies half way between two, either is right.
    assert np.abs(cropped(cropping, image, matrices) - expected).max() <= 0.5 + 0.02


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31), st.floats(-3.2, 3.2), st.floats(0.05, 20), st.booleans(),
    st.floats(-30, 30), st.floats(-30, 30),
)  # fmt: skip
def test_any_affine_map_is_inverted(cropping, seed, angle, scale, mirror, dx, dy):
    image = pictured(seed, 23, 37)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.array([[cos, -sin, dx], [sin, cos, dy]], np.float32)[None]
    if mirror:
        matrix = mirrored_matrices(matrix, WIDTH)
    expected = reference.crops(image, matrix, HEIGHT, WIDTH)
    assert np.abs(cropped(cropping, image, matrix) - expected).max() <= 0.5 + 0.05


def test_mirrored_matrices_give_mirrored_crops(cropping):
    image = pictured(0, 50, 70)
    matrices = crop_matrices([[10, 5, 40, 45], [-5, 20, 30, 80]], HEIGHT, WIDTH, 1.25)
    turned = cropped(cropping, image, mirrored_matrices(matrices, WIDTH))
    straight = cropped(cropping, image, matrices)
    np.testing.assert_allclose(turned[:, :, ::-1].astype(int), straight, atol=1)
    assert (turned != straight).mean() > 0.5


def test_zeros_that_fill_up_a_batch_do_no_harm(cropping):
    image = pictured(1, 30, 20)
    matrices = np.zeros((3, 2, 3), np.float32)
    matrices[1] = crop_matrices([[2, 2, 12, 22]], HEIGHT, WIDTH, 1.25)[0]
    found = cropped(cropping, image, matrices)
    np.testing.assert_array_equal(found[1], cropped(cropping, image, matrices[1:2])[0])
    assert (found[[0, 2]] == image[0, 0]).all()


@pytest.mark.parametrize("anchor", ["top-left", "center"])
@pytest.mark.parametrize(
    "size", [(32, 48), (64, 48), (17, 200), (200, 17), (1, 1), (1, 90), (33, 47), (135, 240)]
)
def test_the_letterbox_is_the_cpus(size, anchor):
    letterbox = Letterbox(anchor, 77)
    engine = open_engine(sampling_graph("detector", manifest_of(letterbox=letterbox)), "cpu", 1)
    image = pictured(2, *size)
    found = engine.infer({"frame": image})["picture_0"][0]
    expected, _ = fit(image, 32, 48, letterbox)
    assert np.abs(found.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal((found == 77).all(axis=2), (expected == 77).all(axis=2))
    loops = reference.letterboxed(image, 32, 48, anchor == "center", 77)
    assert np.abs(found - loops).max() <= 0.5 + 0.02


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_a_letterbox_covers_what_the_cpus_does(boxing, height, width):
    """Whole numbers in the graph and out of it: the picture's border lies at the same pixel."""
    image = np.full((height, width, 3), 255, np.uint8)
    found = boxing.infer({"frame": image})["picture_0"][0]
    np.testing.assert_array_equal(found, fit(image, 32, 48, Letterbox("center", 0))[0])


@pytest.fixture(scope="module")
def boxing():
    manifest = manifest_of(letterbox=Letterbox("center", 0))
    return open_engine(sampling_graph("detector", manifest), "cpu", 1)


@pytest.mark.parametrize("size", [(32, 48), (97, 131), (1, 1), (540, 300)])
def test_stretching_is_the_cpus(size):
    engine = open_engine(sampling_graph("detector", manifest_of()), "cpu", 1)
    image = pictured(3, *size)
    found = engine.infer({"frame": image})["picture_0"][0]
    assert np.abs(found.astype(int) - fit(image, 32, 48, None)[0]).max() <= 1


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700))
def test_a_free_flow_size_is_the_cpus(reducing, height, width):
    engine, spec = reducing
    image = np.zeros((height, width, 3), np.uint8)
    found = engine.infer({"previous": image, "current": image})
    assert found["picture_0"].shape[1:3] == input_size((height, width), spec)
    assert found["picture_1"].shape == found["picture_0"].shape


@pytest.fixture(scope="module", params=[(None, 4), (40, 4), (64, 8), (45, 6)])
def reducing(request):
    most, multiple = request.param
    manifest = manifest_of(max_side=most, multiple=multiple)
    return open_engine(sampling_graph("flow", manifest), "cpu", 1), manifest.flow


@pytest.mark.parametrize(("side", "expected"), [(1080, 256), (1920, 512), (720, 256), (1, 64)])
def test_halves_between_two_sizes_go_to_the_even_multiple(side, expected):
    longer = 1280 if side == 720 else 1920
    size = input_size((side, longer), manifest_of(max_side=512, multiple=64).flow)
    assert size == (expected, 512)


@pytest.mark.parametrize("part", ["detector", "pose", "flow"])
@pytest.mark.parametrize("letterbox", [None, Letterbox()])
def test_only_operators_that_tensorrt_has(part, letterbox):
    manifest = manifest_of(letterbox=letterbox, max_side=64)
    for opset, word in ((16, b"bilinear"), (20, b"linear")):
        model = onnx.load_model_from_string(sampling_graph(part, manifest, opset))
        assert {node.op_type for node in model.graph.node} <= TENSORRT_HAS
        modes = [
            attribute.s for node in model.graph.node if node.op_type == "GridSample"
            for attribute in node.attribute if attribute.name == "mode"
        ]  # fmt: skip
        assert set(modes) <= {word}


def test_the_frame_is_made_float_once_however_many_people(cropping):
    """The whole batch is sampled in one picture: GridSample has a batch of one."""
    model = onnx.load_model_from_string(sampling_graph("pose", manifest_of()))
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [axis.dim_value or axis.dim_param for axis in value.type.tensor_type.shape.dim]
        for value in inferred.graph.value_info
    }
    (node,) = (node for node in model.graph.node if node.op_type == "GridSample")
    assert shapes[node.input[0]][:2] == [1, 3]
    assert shapes[node.output[0]][0] == 1


def test_grey_levels_are_counted_on_every_box():
    record = grey_record("pose", manifest_of(), [pictured(7, 61, 83)])
    assert 0 <= record["grey_mean"] < 0.3
    assert record["grey_max"] <= 8  # noise, and OpenCV 4 rounds places
    boxes = awkward_boxes(61, 83)
    assert (boxes[:, 0] < 0).any()
    assert (boxes[:, 2] > 83).any()
    assert Boxes.detected(boxes, np.ones(len(boxes), np.float32))
