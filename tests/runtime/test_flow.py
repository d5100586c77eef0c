"""Flow networks whose output is known, and DIS on a picture that is moved by a known amount."""

import threading

import cv2
import numpy as np
import pytest

from flowtrack.errors import BundleError
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.flow import DisFlow, NetworkFlow
from flowtrack.runtime.manifest import FlowSpec, InputSpec
from flowtrack.structs import Frame
from tests.reference.kernels import propagate
from tests.support.graphs import assemble, constant, helper, network_file

INPUT = ("N", 3, "H", "W")


def frame(height=90, width=160, index=0, seed=0):
    rng = np.random.default_rng(seed)
    return Frame(index, 0.0, rng.integers(0, 256, (height, width, 3), np.uint8))


def spec(data, layout="nchw", unit="input", max_side=512, multiple=64, **feeding):
    pictures = {"dtype": "float32", "layout": "nchw", **feeding}
    file = network_file(data, "flow.onnx", InputSpec(("previous", "current"), **pictures))
    return FlowSpec("flow", file, layout, unit, max_side, multiple)


def network(data, **options):
    return NetworkFlow(open_engine(data, "cpu", 1), spec(data, **options))


def pair(shape=INPUT, dtype="float32"):
    return {"previous": (dtype, shape), "current": (dtype, shape)}


def fixed(flow, height, width, batch=1):
    """A network of fixed size that sees the same flow everywhere."""
    shapes = {"flow": ("N", *flow.shape[1:])} if batch == "N" else None
    return constant(pair((batch, 3, height, width)), {"flow": flow}, shapes)


def strided(stride, layout="nchw"):
    """A network of free size; its flow is the mean of the first picture's red and green."""
    nodes = [
        helper.make_node(
            "AveragePool",
            ["previous"],
            ["small"],
            kernel_shape=[stride, stride],
            strides=[stride, stride],
        ),
        helper.make_node("Slice", ["small", "zero", "two", "one"], ["flow_nchw"]),
        helper.make_node(
            "Transpose", ["flow_nchw"], ["flow"], perm=[0, 2, 3, 1] if layout == "nhwc" else None
        )
        if layout == "nhwc"
        else helper.make_node("Identity", ["flow_nchw"], ["flow"]),
    ]
    stored = {name: np.array([i], np.int64) for i, name in enumerate(("zero", "one", "two"))}
    shape = ("N", 2, "h", "w") if layout == "nchw" else ("N", "h", "w", 2)
    return assemble(pair(), nodes, {"flow": ("float32", shape)}, stored)


def between(method, first, second):
    return method.between(method.prepare(first), method.prepare(second))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("unit", ["input", "grid"])
@pytest.mark.parametrize("stride", [1, 4])
def test_constants_come_back_in_source_pixels(layout, unit, stride):
    """Input 64 x 128, frame 90 x 160: (3, 2) of the input or of the grid, in frame pixels."""
    height, width = 64 // stride, 128 // stride
    flow = np.empty((1, 2, height, width), np.float32)
    flow[:, 0], flow[:, 1] = 3.0, 2.0
    if layout == "nhwc":
        flow = flow.transpose(0, 2, 3, 1).copy()
    data = fixed(flow, 64, 128)
    field = between(
        network(data, layout=layout, unit=unit, batch=1, height=64, width=128),
        frame(index=4),
        frame(index=7),
    )
    cell = stride if unit == "grid" else 1
    assert field.uv.shape == (2, height, width)
    np.testing.assert_allclose(field.uv[0], 3.0 * cell * 160 / 128, rtol=1e-6)
    np.testing.assert_allclose(field.uv[1], 2.0 * cell * 90 / 64, rtol=1e-6)
    np.testing.assert_allclose(field.scale, (width / 160, height / 90))
    assert (field.from_index, field.to_index) == (4, 7)


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_grid_lies_where_the_picture_lies(stride, layout):
    """The left half is red, so the network says dx there; half-pixel centres align the grid."""
    image = np.zeros((128, 192, 3), np.uint8)
    image[:, :96, 2] = 40  # red in BGR
    image[64:, :, 1] = 20  # green
    still = Frame(0, 0.0, image)
    field = between(network(strided(stride, layout), layout=layout), still, still)
    assert field.uv.shape == (2, 128 // stride, 192 // stride)
    points = np.array([[[10, 10], [94, 10], [98, 10], [10, 70], [98, 70]]], float)
    moved = propagate(field.uv, field.scale, points) - points
    np.testing.assert_allclose(moved[0, 0], [40, 0])
    np.testing.assert_allclose(moved[0, 3], [40, 20])
    np.testing.assert_allclose(moved[0, 4], [0, 20])
    # Within a cell of the border the flow is interpolated.
    np.testing.assert_allclose(moved[0, [1, 2], 0], [40, 0], atol=10 if stride == 4 else 0)


@pytest.mark.parametrize(
    ("size", "max_side", "multiple", "want"),
    [
        ((480, 640), 512, 64, (384, 512)),
        ((1080, 1920), 512, 64, (256, 512)),  # 288 lies halfway between 256 and 320
        ((480, 640), None, 64, (512, 640)),
        ((90, 160), 512, 64, (64, 128)),
        ((10, 10), 512, 64, (64, 64)),
        ((100, 3000), 512, 64, (64, 512)),
        ((480, 640), 512, 8, (384, 512)),
        ((480, 640), 300, 32, (224, 288)),
    ],
)
def test_free_sizes_follow_the_frame(size, max_side, multiple, want):
    method = network(strided(4), max_side=max_side, multiple=multiple)
    image = method.prepare(Frame(0, 0.0, np.zeros((*size, 3), np.uint8)))
    height, width = image.data.shape[2:]
    assert height % multiple == width % multiple == 0
    assert (height, width) == want
    assert image.size == size


def test_a_size_from_the_manifest_is_fed_to_a_free_graph():
    method = network(strided(4), height=128, width=64)
    assert method.prepare(frame()).data.shape == (1, 3, 128, 64)
    half = network(strided(4), height=128)
    assert half.prepare(frame()).data.shape == (1, 3, 128, 192 - 64)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_filled(batch):
    flow = np.ones((batch, 2, 16, 16), np.float32)
    data = fixed(flow, 64, 64, batch)
    method = network(data, batch=batch, height=64, width=64)
    assert between(method, frame(), frame(index=1)).uv.shape == (2, 16, 16)


def test_previous_and_current_are_told_apart():
    """The flow is current minus previous; the graph names them in the other order."""
    nodes = [
        helper.make_node("Sub", ["current", "previous"], ["both"]),
        helper.make_node("Slice", ["both", "zero", "two", "one"], ["flow"]),
    ]
    stored = {name: np.array([i], np.int64) for i, name in enumerate(("zero", "one", "two"))}
    shape = (1, 3, 64, 64)
    data = assemble(
        {"current": ("float32", shape), "previous": ("float32", shape)},
        nodes,
        {"flow": ("float32", (1, 2, 64, 64))},
        stored,
    )
    dark, bright = (Frame(i, 0.0, np.full((64, 64, 3), 50 * i, np.uint8)) for i in range(2))
    field = between(network(data, batch=1, height=64, width=64), dark, bright)
    assert (field.uv == 50).all()


@pytest.mark.parametrize(
    ("flow", "layout"),
    [
        (np.zeros((1, 16, 16, 2), np.float32), "nchw"),
        (np.zeros((1, 2, 16, 16), np.float32), "nhwc"),
        (np.zeros((1, 3, 16, 16), np.float32), "nchw"),
    ],
)
def test_another_layout_is_refused(flow, layout):
    method = network(fixed(flow, 64, 64), layout=layout, batch=1, height=64, width=64)
    with pytest.raises(BundleError, match="expected 2 channels; correct `layout`"):
        between(method, frame(), frame(index=1))


def test_other_outputs_and_inputs_are_refused():
    flow = np.zeros((1, 2, 16, 16), np.float32)
    two = constant(pair((1, 3, 64, 64)), {"flow": flow, "more": flow})
    with pytest.raises(BundleError, match="reads one output of 4 axes"):
        network(two, batch=1, height=64, width=64)
    with pytest.raises(BundleError, match="reads one output of 4 axes"):
        network(constant(pair((1, 3, 64, 64)), {"flow": flow[0]}), batch=1, height=64, width=64)
    with pytest.raises(BundleError, match="correct height, width, batch or layout"):
        network(fixed(flow, 64, 64), batch=1, height=64, width=128)
    plain = constant(pair((3, 64, 64)), {"flow": flow})
    with pytest.raises(BundleError, match=r"of shape \(3, 64, 64\)"):
        network(plain, batch=1, height=64, width=64)


# OpenCV's DIS.


def textured(height=120, width=200, seed=0):
    """Soft noise, much larger than the picture, to cut moved pictures from."""
    rng = np.random.default_rng(seed)
    noise = rng.random((height + 60, width + 60, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def moved(dx, dy, height=120, width=200):
    """Two frames; what lies at x in the first lies at x + (dx, dy) in the second."""
    whole = textured(height, width)
    cut = [whole[30 - y : 30 - y + height, 30 - x : 30 - x + width] for x, y in ((0, 0), (dx, dy))]
    return [Frame(i, 0.0, np.ascontiguousarray(part)) for i, part in enumerate(cut)]


DIS = FlowSpec("dis", preset="medium")


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (-5, 2), (4, -7), (10, 6)])
@pytest.mark.parametrize("preset", ["fast", "medium"])
def test_dis_finds_a_translation(dx, dy, preset):
    field = between(DisFlow(FlowSpec("dis", preset=preset)), *moved(dx, dy))
    inside = field.uv[:, 20:-20, 20:-20]
    np.testing.assert_allclose(np.median(inside, axis=(1, 2)), [dx, dy], atol=0.25)
    assert np.abs(inside - np.array([dx, dy])[:, None, None]).mean() < 0.5


@pytest.mark.parametrize("max_side", [100, 50, None])
def test_dis_on_a_smaller_picture_still_gives_source_pixels(max_side):
    field = between(DisFlow(FlowSpec("dis", max_side=max_side, preset="medium")), *moved(8, -4))
    height, width = field.uv.shape[1:]
    assert width == (max_side or 200)
    assert height == max(32, round(width * 120 / 200))  # smaller ones crash OpenCV
    np.testing.assert_allclose(field.scale, (width / 200, height / 120))
    np.testing.assert_allclose(np.median(field.uv, axis=(1, 2)), [8, -4], atol=0.6)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (8, 8), (17, 33), (80, 16)])
@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
def test_dis_takes_pictures_of_any_size(size, preset):
    first, second = (frame(*size, index=i, seed=i) for i in range(2))
    field = between(DisFlow(FlowSpec("dis", preset=preset)), first, second)
    assert np.isfinite(field.uv).all()


def test_dis_is_deterministic_and_its_threads_do_not_meet():
    method = DisFlow(DIS)
    jobs = [moved(3, 1), moved(-6, 4), moved(0, 9)]
    images = [[method.prepare(one) for one in job] for job in jobs]
    want = [method.between(*some).uv for some in images]
    found: dict[int, list] = {i: [] for i in range(len(jobs))}

    def work(i):
        for _ in range(6):
            found[i].append(method.between(*images[i]).uv)

    threads = [threading.Thread(target=work, args=(i,)) for i in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, fields in found.items():
        assert len(fields) == 6
        for uv in fields:
            np.testing.assert_array_equal(uv, want[i])
