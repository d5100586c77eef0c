"""Every decode kind of the detector, on graphs whose outputs are known."""

import dataclasses

import numpy as np
import pytest

from flowtrack.errors import BundleError
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import DetectorSpec, InputSpec, Letterbox
from flowtrack.structs import DETECTED, Frame
from tests.reference import decode as reference
from tests.reference.kernels import nms
from tests.support.graphs import assemble, blind_detector, constant, helper, network_file

FRAME = Frame(0, 0.0, np.zeros((50, 100, 3), np.uint8))  # twice the size of a 32 x 64 input


def detector(data, decode, names=("image",), dtype="uint8", layout="nhwc", **options):
    size = {name: options.pop(name, default) for name, default in
            (("batch", 1), ("height", 32), ("width", 64))}  # fmt: skip
    feeding = InputSpec(names, dtype, layout, **size)
    spec = DetectorSpec(network_file(data, "d.onnx", feeding), decode, **options)
    return Detector(open_engine(data, "cpu", 1), spec)


def boxes_graph(boxes, scores):
    return blind_detector(boxes, scores, 32, 64)


@pytest.mark.parametrize(
    ("letterbox", "scale", "offset"),
    [
        # 50 x 100 fits 32 x 64 by its width, 0.64, and 32 rows are filled exactly.
        (Letterbox(), (0.64, 0.64), (0, 0)),
        (None, (0.64, 0.64), (0, 0)),
    ],
)
def test_boxes_come_back_to_source_pixels(letterbox, scale, offset):
    data = boxes_graph([[6.4, 3.2, 32, 16]], [0.9])
    found = detector(data, "boxes", letterbox=letterbox)(FRAME)
    np.testing.assert_allclose(found.xyxy, [[10, 5, 50, 25]], rtol=1e-5)
    assert found.origin.tolist() == [DETECTED]


def test_a_centred_letterbox_is_undone():
    """A 100 x 20 frame in 32 x 64: scale 0.32, 6 x 32 px, 29 columns to the left."""
    data = boxes_graph([[29, 0, 35, 32]], [0.9])
    frame = Frame(0, 0.0, np.zeros((100, 20, 3), np.uint8))
    found = detector(data, "boxes", letterbox=Letterbox("center"))(frame)
    np.testing.assert_allclose(found.xyxy, [[0, 0, 20, 100]], rtol=1e-5)


def test_the_network_sees_the_letterboxed_picture():
    """The box's corners are the picture's own mean colours, so that feeding is seen, too."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=1),
        helper.make_node("ReduceMean", ["float"], ["rgb"], axes=[1, 2], keepdims=0),
        helper.make_node("Concat", ["rgb", "one"], ["four"], axis=1),
        helper.make_node("Unsqueeze", ["four", "axis"], ["boxes"]),
        helper.make_node("Identity", ["score"], ["scores"]),
    ]
    data = assemble(
        {"image": ("uint8", (1, 32, 64, 3))},
        nodes,
        {"boxes": ("float32", (1, 1, 4)), "scores": ("float32", (1, 1))},
        {
            "one": np.array([[300.0]], np.float32),
            "axis": np.array([1], np.int64),
            "score": np.array([[0.9]], np.float32),
        },
    )
    image = np.empty((32, 32, 3), np.uint8)
    image[:] = (10, 20, 30)  # BGR; the other half of the input is filled with 114
    (box,) = detector(data, "boxes")(Frame(0, 0.0, image)).xyxy
    np.testing.assert_allclose(box, [(30 + 114) / 2, (20 + 114) / 2, (10 + 114) / 2, 300])


def test_best_first_above_the_floor_and_no_more_than_asked():
    scores = [0.3, 0.04, 0.9, 0.05, 0.6, np.nan]
    boxes = [[i, 0, i + 5, 5] for i in range(5)] + [[0, 0, 1, 1]]
    found = detector(boxes_graph(boxes, scores), "boxes", letterbox=None)(FRAME)
    np.testing.assert_allclose(found.score, [0.9, 0.6, 0.3, 0.05], rtol=1e-6)
    np.testing.assert_allclose(found.xyxy[:, 0] * 0.64, [2, 4, 0, 3], atol=1e-5)
    few = detector(boxes_graph(boxes, scores), "boxes", max_boxes=2, score_floor=0.2)(FRAME)
    np.testing.assert_allclose(few.score, [0.9, 0.6], rtol=1e-6)
    assert len(detector(boxes_graph(boxes, scores), "boxes", score_floor=0.95)(FRAME)) == 0


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_boxes_with_holes_never_leave(hole):
    boxes = np.array([[0, 0, 5, 5], [1, 1, hole, 6], [2, 2, 7, 7]])
    found = detector(boxes_graph(boxes, [0.5, 0.9, 0.7]), "boxes")(FRAME)
    np.testing.assert_allclose(found.score, [0.7, 0.5])


def test_equal_scores_keep_the_network_order():
    """So many that a sort which is not stable would mix them."""
    boxes = [[i, 0, i + 5, 5] for i in range(60)]
    scores = [0.5 + 0.1 * (i % 2) for i in range(60)]
    found = detector(boxes_graph(boxes, scores), "boxes", letterbox=None)(FRAME)
    order = [*range(1, 60, 2), *range(0, 60, 2)]
    np.testing.assert_allclose(found.xyxy[:, 0] * 0.64, order, atol=1e-4)


def test_half_precision_outputs_are_read():
    data = constant(
        {"image": ("uint8", (1, 32, 64, 3))},
        {
            "boxes": np.array([[[6, 3, 32, 16]]], np.float16),
            "scores": np.array([[0.5]], np.float16),
        },
    )
    assert detector(data, "boxes")(FRAME).xyxy.dtype == np.float32


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_networks_of_a_fixed_batch_are_fed_that_many(batch):
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=1),
        helper.make_node("ReduceMax", ["float"], ["peak"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["peak", "one"], ["three"]),
        helper.make_node("Concat", ["three", "three"], ["six"], axis=2),
        helper.make_node("Slice", ["six", "zero", "four", "two"], ["boxes"]),
        helper.make_node("ReduceMax", ["peak"], ["score"], axes=[1], keepdims=1),
        helper.make_node("Div", ["score", "grey"], ["scores"]),
    ]
    stored = {"zero": [0], "one": [1], "two": [2], "four": [4]}
    data = assemble(
        {"image": ("uint8", (batch, 32, 64, 3))},
        nodes,
        {"boxes": ("float32", (batch, 1, 4)), "scores": ("float32", (batch, 1))},
        {
            **{name: np.array(value, np.int64) for name, value in stored.items()},
            "grey": np.array(255, np.float32),
        },
    )
    frame = Frame(0, 0.0, np.zeros((32, 32, 3), np.uint8))
    found = detector(data, "boxes", batch=None if batch == "N" else batch)(frame)
    assert len(found) == 1
    np.testing.assert_allclose(found.score, [114 / 255], rtol=1e-6)  # the letterbox's grey


# YOLOX: one level of stride 16 on 32 x 64 makes 2 x 4 cells.


def yolox_graph(rows):
    rows = np.asarray(rows, np.float32)[None]
    return constant({"images": ("float32", (1, 3, 32, 64))}, {"output": rows})


def yolox(rows, **options):
    strides = options.pop("strides", (16,))
    return detector(
        yolox_graph(rows), "yolox", ("images",), "float32", "nchw", strides=strides,
        letterbox=None, **options,
    )  # fmt: skip


def test_a_yolox_row_by_hand():
    rows = np.zeros((8, 7))
    # Cell 6 is row 1, column 2: centre ((0.5 + 2) 16, (0.25 + 1) 16) = (40, 20); size (32, 8).
    rows[6] = [0.5, 0.25, np.log(2), np.log(0.5), 0.9, 0.5, 0.8]
    found = yolox(rows)(Frame(0, 0.0, np.zeros((32, 64, 3), np.uint8)))
    np.testing.assert_allclose(found.xyxy, [[24, 16, 56, 24]], rtol=1e-5)
    np.testing.assert_allclose(found.score, [0.45], rtol=1e-5)
    other = yolox(rows, person_class=1)(FRAME)
    np.testing.assert_allclose(other.score, [0.72], rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_yolox_against_loops(seed):
    rng = np.random.default_rng(seed)
    size, strides = (32, 64), (8, 16, 32)
    count = sum((32 // s) * (64 // s) for s in strides)
    rows = np.concatenate(
        [rng.normal(0, 1, (count, 2)), rng.normal(0.3, 0.5, (count, 2)), rng.random((count, 4))],
        axis=1,
    ).astype(np.float32)
    frame = Frame(0, 0.0, np.zeros((*size, 3), np.uint8))
    found = yolox(rows, strides=strides, person_class=2, score_floor=0.1, nms_iou=0.4)(frame)
    boxes, scores = reference.yolox(rows, size, strides, 2)
    boxes, scores = boxes[scores >= 0.1], scores[scores >= 0.1]
    kept = nms(boxes, scores, 0.4)
    assert 5 < len(kept) < len(boxes)
    np.testing.assert_allclose(found.xyxy, boxes[kept], atol=1e-3)
    np.testing.assert_allclose(found.score, scores[kept], rtol=1e-5)


def test_yolox_rows_with_holes_or_endless_boxes_go():
    rows = np.zeros((8, 6))
    rows[:, 4:] = 0.9
    rows[0, 2] = 200  # exp overflows
    rows[1, 0] = np.nan
    rows[2, 4] = np.nan
    rows[3:, 2:4] = -3
    found = yolox(rows)(FRAME)
    assert len(found) == 5
    assert np.isfinite(found.xyxy).all()


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (np.zeros((9, 6)), {}),
        (np.zeros((7, 6)), {}),
        (np.zeros((8, 6)), {"strides": (8, 16)}),
        (np.zeros((8, 6)), {"person_class": 1}),
        (np.zeros((8, 5)), {}),
    ],
    ids=["too many", "too few", "other strides", "no such class", "no class"],
)
def test_yolox_of_another_shape_is_refused(rows, options):
    with pytest.raises(BundleError, match=r"decode 'yolox' with input \(32, 64\).*correct"):
        yolox(rows, **options)(FRAME)


# Torchvision's detectors.


def rcnn_graph(boxes, labels, scores, dtype="int64", order="bls", shape=(3, 32, 64)):
    outputs = {
        "boxes": np.asarray(boxes, np.float32),
        "labels": np.asarray(labels, dtype),
        "scores": np.asarray(scores, np.float32),
    }
    named = {"b": "boxes", "l": "labels", "s": "scores"}
    return constant({"image": ("float32", shape)}, {named[o]: outputs[named[o]] for o in order})


@pytest.mark.parametrize("order", ["bls", "sbl", "lsb"])
@pytest.mark.parametrize("shape", [(3, 32, 64), (1, 3, 32, 64)], ids=["plain", "batch of one"])
@pytest.mark.parametrize(("person", "want"), [(None, [0.9, 0.4]), (18, [0.8]), (0, [])])
def test_rcnn_keeps_people(order, shape, person, want):
    boxes = [[6.4, 6.4, 12.8, 12.8]] * 4
    data = rcnn_graph(boxes, [1, 18, 1, 3], [0.4, 0.8, 0.9, 0.7], order=order, shape=shape)
    found = detector(
        data, "rcnn", dtype="float32", layout="nchw", letterbox=None, person_class=person
    )(FRAME)  # fmt: skip
    np.testing.assert_allclose(found.score, want, rtol=1e-6)
    assert found.xyxy.shape == (len(want), 4)
    if want:
        np.testing.assert_allclose(found.xyxy[0], [10, 10, 20, 20], rtol=1e-5)


def test_rcnn_with_nobody_in_the_picture():
    data = rcnn_graph(np.zeros((0, 4)), [], [])
    found = detector(data, "rcnn", dtype="float32", layout="nchw", letterbox=None)(FRAME)
    assert len(found) == 0


def three(*shapes):
    outputs = {f"o{i}": np.zeros(shape, kind) for i, (shape, kind) in enumerate(shapes)}
    return constant({"image": ("float32", (3, 32, 64))}, outputs)


@pytest.mark.parametrize(
    "outputs",
    [
        [((2, 4), "float32"), ((2,), "float32"), ((2,), "float32")],
        [((1, 2, 4), "float32"), ((1, 2), "int64"), ((1, 2), "float32")],
        [((2, 5), "float32"), ((2,), "int64"), ((2,), "float32")],
        [((2, 4), "float32"), ((2,), "int64"), ((3,), "float32")],
    ],
    ids=["no labels", "with a batch axis", "five numbers a box", "other counts"],
)
def test_outputs_that_are_not_rcnn_are_refused(outputs):
    unfit = detector(three(*outputs), "rcnn", dtype="float32", layout="nchw", letterbox=None)
    with pytest.raises(BundleError, match=r"'rcnn' reads.*correct `decode`"):
        unfit(FRAME)


@pytest.mark.parametrize(
    "outputs",
    [
        {"boxes": np.zeros((1, 4), np.float32), "scores": np.zeros(1, np.float32)},
        {"scores": np.zeros((1, 2), np.float32), "boxes": np.zeros((1, 2, 4), np.float32)},
        {"boxes": np.zeros((1, 2, 5), np.float32), "scores": np.zeros((1, 2), np.float32)},
        {"boxes": np.zeros((1, 2, 4), np.float32), "scores": np.zeros((1, 3), np.float32)},
    ],
    ids=["no batch axis", "swapped", "five numbers a box", "other counts"],
)
def test_outputs_that_are_not_boxes_are_refused(outputs):
    unfit = detector(constant({"image": ("uint8", (1, 32, 64, 3))}, outputs), "boxes")
    with pytest.raises(BundleError, match=r"decode 'boxes' reads.*correct `decode`"):
        unfit(FRAME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("picture",)}, r"takes inputs \['image'\], the manifest names \['picture'\]"),
        ({"dtype": "float32"}, "takes 'image' as uint8, the manifest says float32"),
        ({"layout": "nchw"}, r"of shape \[?\(1, 32, 64, 3\).*the manifest says \(1, 3, 32, 64\)"),
        ({"height": 64}, "correct height, width, batch or layout"),
        ({"width": None}, "correct height, width, batch or layout"),
        ({"batch": None}, "correct height, width, batch or layout"),
    ],
)
def test_a_network_that_is_not_the_manifests_is_refused(change, message):
    data = boxes_graph([[0, 0, 1, 1]], [1])
    plain = {"names": ("image",), "dtype": "uint8", "layout": "nhwc"}
    with pytest.raises(BundleError, match=message):
        detector(data, "boxes", **{**plain, **change})


@pytest.mark.parametrize("decode", ["yolox", "rcnn"])
def test_another_number_of_outputs_is_refused(decode):
    with pytest.raises(BundleError, match=rf"\['boxes', 'scores'\], decode '{decode}' reads"):
        detector(boxes_graph([[0, 0, 1, 1]], [1]), decode)


def test_free_sizes_take_the_frame_as_it_is():
    nodes = [
        helper.make_node("Shape", ["image"], ["size"], start=1, end=3),
        helper.make_node("Cast", ["size"], ["hw"], to=1),
        helper.make_node("Concat", ["hw", "hw"], ["four"], axis=0),
        helper.make_node("Reshape", ["four", "shape"], ["boxes"]),
        helper.make_node("Identity", ["score"], ["scores"]),
    ]
    data = assemble(
        {"image": ("uint8", ("N", "H", "W", 3))},
        nodes,
        {"boxes": ("float32", (1, 1, 4)), "scores": ("float32", (1, 1))},
        {"shape": np.array([1, 1, 4], np.int64), "score": np.array([[0.9]], np.float32)},
    )
    found = detector(data, "boxes", batch=None, height=None, width=None)(FRAME)
    np.testing.assert_array_equal(found.xyxy, [[50, 100, 50, 100]])


def test_time_is_counted_by_stage():
    clock = StageClock()
    find = detector(boxes_graph([[0, 0, 1, 1]], [1]), "boxes")
    find(FRAME, clock)
    assert list(clock.ms) == ["detector.prepare", "detector.engine", "detector.decode"]
    first = dict(clock.ms)
    find(FRAME, clock)
    assert all(clock.ms[stage] > first[stage] >= 0 for stage in first)


def test_the_manifest_says_how_the_picture_is_fitted():
    """The same network behind another letterbox gives other boxes."""
    data = boxes_graph([[0, 0, 32, 16]], [0.9])
    frame = Frame(0, 0.0, np.zeros((64, 64, 3), np.uint8))
    one = detector(data, "boxes")
    other = Detector(one.engine, dataclasses.replace(one.spec, letterbox=None))
    np.testing.assert_allclose(one(frame).xyxy, [[0, 0, 64, 32]])
    np.testing.assert_allclose(other(frame).xyxy, [[0, 0, 32, 32]])
