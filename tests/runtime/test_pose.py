"""Every decode kind of the pose network against loops, and all people as one batch."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowtrack.errors import BundleError, OptionError
from flowtrack.runtime.clock import StageClock
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import InputSpec, PoseSpec
from flowtrack.runtime.pose import PoseEstimator, decode_heatmaps, flip_average
from flowtrack.skeleton import COCO_17, POSETRACK17_15, SKELETONS
from flowtrack.structs import Boxes, Frame
from tests.reference import decode as reference
from tests.reference.preprocess import affine, centre_and_scale
from tests.support.graphs import assemble, constant, helper, network_file, pooled_heatmaps

HEIGHT, WIDTH = 64, 48
K = len(COCO_17)


def noise(height=80, width=120, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def people(count, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-10, 60, (count, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(15, 50, (count, 2))], axis=1)
    return Boxes.detected(xyxy, rng.uniform(0.5, 1, count))


def estimator(
    data, decode, skeleton=COCO_17, dtype="float32", layout="nchw", batch=None, **options
):
    engine = open_engine(data, "cpu", 1)
    names = tuple(tensor.name for tensor in engine.inputs)
    height, width = options.pop("size", (HEIGHT, WIDTH))
    feeding = InputSpec(names, dtype, layout, batch=batch, height=height, width=width)
    return PoseEstimator(
        engine, PoseSpec(network_file(data, "p.onnx", feeding), decode, **options), skeleton
    )


# Heatmaps.


def assert_like_loops(maps, stride, offset):
    xy, score = decode_heatmaps(maps, stride, offset)
    assert xy.dtype == score.dtype == np.float32
    for n, k in np.ndindex(maps.shape[:2]):
        want_xy, want_score = reference.heatmap(maps[n, k], stride, offset)
        np.testing.assert_allclose(xy[n, k], want_xy, atol=1e-5)
        assert score[n, k] == np.float32(want_score)


@pytest.mark.parametrize("offset", ["quarter", "second", "none"])
@pytest.mark.parametrize("stride", [4.0, 2.0])
@pytest.mark.parametrize("shape", [(3, 5, 16, 12), (1, 2, 3, 3), (2, 3, 4, 9), (2, 2, 1, 7)])
def test_heatmaps_are_read_as_by_loops(offset, stride, shape):
    rng = np.random.default_rng(sum(shape))
    assert_like_loops(rng.normal(0, 1, shape).astype(np.float32), stride, offset)
    few_values = rng.integers(-1, 3, shape).astype(np.float32)  # many ties
    assert_like_loops(few_values, stride, offset)


@given(
    hnp.arrays(np.float32, (1, 2, 5, 6), elements=st.integers(-2, 2).map(float)),
    st.sampled_from(["quarter", "second", "none"]),
)
@settings(deadline=None)
def test_ties_and_borders_are_read_as_by_loops(maps, offset):
    assert_like_loops(maps, 4.0, offset)


@pytest.mark.parametrize(
    ("peak", "moved"),
    [
        ((0, 4), False), ((1, 4), False), ((2, 4), True), ((6, 4), True), ((7, 4), False),
        ((4, 0), False), ((4, 1), False), ((4, 2), True), ((4, 8), True), ((4, 9), False),
        ((1, 1), False), ((2, 2), True),
    ],
)  # fmt: skip
def test_the_quarter_stays_away_from_the_border(peak, moved):
    """1 < x < W - 1 on an 8 x 10 map: column 6 moves, column 7 does not."""
    x, y = peak
    maps = np.zeros((1, 1, 10, 8), np.float32)
    maps[0, 0, y, x] = 1.0
    if x < 7:
        maps[0, 0, y, x + 1] = 0.5
    if y < 9:
        maps[0, 0, y + 1, x] = 0.5
    xy, _ = decode_heatmaps(maps, 4)
    assert xy[0, 0].tolist() == [4 * x + moved, 4 * y + moved]


def test_flat_neighbours_do_not_move_the_joint():
    maps = np.zeros((1, 1, 9, 9), np.float32)
    maps[0, 0, 4, 4] = 1
    assert decode_heatmaps(maps, 4)[0].tolist() == [[[16, 16]]]


def test_the_first_of_equal_maxima_counts():
    maps = np.zeros((1, 1, 6, 6), np.float32)
    maps[0, 0, [1, 1, 4], [4, 5, 0]] = 0.7
    assert decode_heatmaps(maps, 1, "none")[0].tolist() == [[[4, 1]]]


@pytest.mark.parametrize("level", [-1.0, 0.0])
@pytest.mark.parametrize("offset", ["quarter", "second", "none"])
def test_maps_without_a_response_give_zero(level, offset):
    xy, score = decode_heatmaps(np.full((1, 2, 8, 8), level), 4, offset)
    assert (xy == 0).all()
    assert (score == level).all()


def test_the_score_is_the_raw_maximum():
    maps = np.zeros((1, 1, 8, 8), np.float32)
    maps[0, 0, 3, 3] = 1.75
    assert decode_heatmaps(maps, 4)[1].tolist() == [[1.75]]


def test_an_unknown_offset_is_refused():
    with pytest.raises(OptionError, match="offset is 'dark', expected one of quarter, second, non"):
        decode_heatmaps(np.zeros((1, 1, 4, 4)), 4, "dark")


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_flip_averages_are_those_of_loops(skeleton):
    rng = np.random.default_rng(1)
    maps, mirrored = rng.normal(size=(2, 2, len(skeleton), 5, 7)).astype(np.float32)
    kept = mirrored.copy()
    average = flip_average(maps, mirrored, skeleton)
    want = reference.flip_average(maps, mirrored, skeleton.flip_pairs)
    np.testing.assert_allclose(average, want, rtol=1e-6)
    np.testing.assert_array_equal(mirrored, kept)


def test_the_second_run_of_a_flip_test_sees_the_mirrored_crop():
    data = pooled_heatmaps(K, HEIGHT, WIDTH, 4)
    frame, boxes = Frame(0, 0.0, noise()), people(3)
    plain = estimator(data, "heatmap")
    flipped = estimator(data, "heatmap", flip_test=True)
    crops = []
    infer = plain.engine.infer

    class Recording:
        inputs, outputs, device = plain.engine.inputs, plain.engine.outputs, ""

        def infer(self, feeds):
            crops.append(feeds["data"].copy())
            return infer(feeds)

    flipped.engine = Recording()
    found = flipped(frame, boxes)
    first, second = crops
    np.testing.assert_array_equal(second, first[..., ::-1])
    maps = reference.flip_average(
        infer({"data": first})["maps"], infer({"data": second})["maps"], COCO_17.flip_pairs
    )
    for n in range(3):
        centre, scale = centre_and_scale(boxes.xyxy[n], HEIGHT, WIDTH, 1.25)
        matrix = affine(centre, scale, HEIGHT, WIDTH)
        for k in range(K):
            want, score = reference.heatmap(maps[n, k].astype(np.float32), 4, "quarter")
            assert found.missing[n, k] == (score <= 0)
            if score <= 0:
                continue
            np.testing.assert_allclose(
                found.xy[n, k], (want - matrix[:, 2]) / matrix[0, 0], atol=1e-3
            )
            np.testing.assert_allclose(found.score[n, k], score, rtol=1e-5)


def test_the_mirror_of_pixel_layout_turns_columns():
    spec = estimator(
        constant({"c": ("uint8", ("N", HEIGHT, WIDTH, 3))}, {"k": np.zeros((1, K, 16, 12), "f4")}),
        "heatmap", dtype="uint8", layout="nhwc", flip_test=True,
    )  # fmt: skip
    batch = np.arange(2 * HEIGHT * WIDTH * 3).reshape(2, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(spec._mirror(batch), batch[:, :, ::-1])


# The whole way of a box.


@pytest.mark.parametrize("offset", ["quarter", "second", "none"])
def test_joints_come_back_to_source_pixels(offset):
    data = pooled_heatmaps(K, HEIGHT, WIDTH, 4)
    pose = estimator(data, "heatmap", offset=offset, box_padding=1.1)
    frame, boxes = Frame(0, 0.0, noise()), people(4)
    found = pose(frame, boxes)
    np.testing.assert_array_equal(found.box, boxes.xyxy)
    np.testing.assert_array_equal(found.box_score, boxes.score)
    # Each person's maps alone, decoded by loops.
    for n in range(4):
        centre, scale = centre_and_scale(boxes.xyxy[n], HEIGHT, WIDTH, 1.1)
        matrix = affine(centre, scale, HEIGHT, WIDTH)
        crop = cv2.warpAffine(frame.image, matrix.astype(np.float32), (WIDTH, HEIGHT))
        fed = crop[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        maps = pose.engine.infer({"data": np.ascontiguousarray(fed)})["maps"][0]
        for k in range(K):
            want, score = reference.heatmap(maps[k], 4, offset)
            if not score > 0:
                assert found.missing[n, k]
                continue
            np.testing.assert_allclose(
                found.xy[n, k], (want - matrix[:, 2]) / matrix[0, 0], atol=1e-3
            )
            np.testing.assert_allclose(found.score[n, k], score, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 6])
@pytest.mark.parametrize("flip", [False, True])
def test_a_fixed_batch_gives_what_a_free_one_gives(batch, count, flip):
    frame, boxes = Frame(0, 0.0, noise()), people(count)
    free = estimator(pooled_heatmaps(K, HEIGHT, WIDTH, 4), "heatmap", flip_test=flip)
    data = pooled_heatmaps(K, HEIGHT, WIDTH, 4, batch=batch)
    fixed = estimator(data, "heatmap", batch=batch, flip_test=flip)
    one, other = free(frame, boxes), fixed(frame, boxes)
    np.testing.assert_allclose(one.xy, other.xy, atol=1e-4)
    np.testing.assert_allclose(one.score, other.score, rtol=1e-5)


def test_people_of_several_frames_are_one_batch():
    pose = estimator(pooled_heatmaps(K, HEIGHT, WIDTH, 4), "heatmap")
    frames = [Frame(i, 0.0, noise(seed=i)) for i in range(4)]
    boxes = [people(2), people(0), people(3, seed=1), people(0)]
    together = pose.estimate(frames, boxes)
    assert [len(poses) for poses in together] == [2, 0, 3, 0]
    for frame, some, poses in zip(frames, boxes, together, strict=True):
        alone = pose(frame, some)
        np.testing.assert_allclose(poses.xy, alone.xy, atol=1e-4)
        np.testing.assert_array_equal(poses.box, some.xyxy)


def test_nobody_costs_no_run():
    clock = StageClock()
    pose = estimator(pooled_heatmaps(K, HEIGHT, WIDTH, 4), "heatmap")
    pose.engine = None
    found = pose(Frame(0, 0.0, noise()), people(0), clock)
    assert found.xy.shape == (0, K, 2)
    assert clock.ms == {}


# Networks with known outputs.


def known(**outputs):
    return constant({"data": ("float32", ("N", 3, HEIGHT, WIDTH))}, outputs)


BOX = Boxes.detected([[10, 10, 58, 74]], [0.9])  # as large as the crop: without padding 1 to 1
AT = np.array([10, 10])
FRAME = Frame(0, 0.0, noise())


def keypoints(rows):
    rows = np.asarray(rows, np.float32)[None]
    return estimator(known(keypoints=rows), "keypoints", box_padding=1.0)


def test_keypoints_are_crop_pixels():
    rows = np.random.default_rng(0).uniform(0, 48, (K, 3))
    found = keypoints(rows)(FRAME, BOX)
    np.testing.assert_allclose(found.xy[0], rows[:, :2] + AT, rtol=1e-5)
    np.testing.assert_allclose(found.score[0], rows[:, 2], rtol=1e-6)


@pytest.mark.parametrize("row", [[5, 5, 0], [5, 5, -1], [5, 5, np.nan], [np.nan, 5, 0.9]])
def test_joints_without_a_place_or_a_positive_score_are_missing(row):
    rows = np.full((K, 3), 0.8)
    rows[3] = row
    found = keypoints(rows)(FRAME, BOX)
    assert np.flatnonzero(found.missing[0]).tolist() == [3]


def test_maps_with_holes():
    """A hole hides the map's maximum, so the joint is missing; other joints are not touched."""
    maps = np.random.default_rng(0).random((1, K, 16, 12)).astype(np.float32)
    clean = estimator(known(maps=maps), "heatmap")(FRAME, BOX)
    maps[0, 2] = np.nan
    maps[0, 5, 3, 3] = np.nan
    found = estimator(known(maps=maps), "heatmap")(FRAME, BOX)
    assert np.flatnonzero(found.missing[0]).tolist() == [2, 5]
    others = np.setdiff1d(np.arange(K), [2, 5])
    np.testing.assert_array_equal(found.xy[0, others], clean.xy[0, others])


def test_the_stride_follows_from_the_sizes():
    for stride in (2, 4, 8):
        maps = np.zeros((1, K, HEIGHT // stride, WIDTH // stride), np.float32)
        maps[0, :, 4, 3] = 1
        pose = estimator(known(maps=maps), "heatmap", offset="none", box_padding=1.0)
        np.testing.assert_allclose(
            pose(FRAME, BOX).xy[0] - AT, [[3 * stride, 4 * stride]] * K, atol=1e-4
        )


def simcc(size=(HEIGHT, WIDTH), ratio=2.0, swapped=False, seed=0):
    rng = np.random.default_rng(seed)
    along_x = rng.random((1, K, round(size[1] * ratio))).astype(np.float32)
    along_y = rng.random((1, K, round(size[0] * ratio))).astype(np.float32)
    both = {"b": along_y, "a": along_x} if swapped else {"a": along_x, "b": along_y}
    return constant({"data": ("float32", ("N", 3, *size))}, both), along_x[0], along_y[0]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 2.5])
def test_simcc_is_two_classifications(swapped, ratio):
    data, along_x, along_y = simcc(ratio=ratio, swapped=swapped)
    pose = estimator(data, "simcc", simcc_ratio=ratio, box_padding=1.0)
    found = pose(FRAME, BOX)
    for k in range(K):
        want = [int(np.argmax(along_x[k])) / ratio, int(np.argmax(along_y[k])) / ratio]
        np.testing.assert_allclose(found.xy[0, k] - AT, want, atol=1e-4)
        assert found.score[0, k] == min(along_x[k].max(), along_y[k].max())


def test_simcc_of_another_ratio_is_refused():
    pose = estimator(simcc(ratio=2.0)[0], "simcc", simcc_ratio=3.0)
    with pytest.raises(BundleError, match=r"makes \(144, 192\); correct simcc_ratio"):
        pose(FRAME, BOX)


@pytest.mark.parametrize("skeleton", [POSETRACK17_15, SKELETONS["aic-14"]], ids=["15", "14"])
def test_another_number_of_joints_is_refused_when_loading(skeleton):
    data = pooled_heatmaps(K, HEIGHT, WIDTH, 4)
    with pytest.raises(BundleError, match=rf"has {len(skeleton)} joints; correct `skeleton`"):
        estimator(data, "heatmap", skeleton)


@pytest.mark.parametrize("flip", [False, True])
def test_another_number_of_joints_is_refused_when_the_graph_keeps_it_open(flip):
    """Compress picks all joints, but only running it shows how many."""
    data = assemble(
        {"data": ("float32", ("N", 3, HEIGHT, WIDTH))},
        [helper.make_node("Compress", ["stored", "chosen"], ["maps"], axis=1)],
        {"maps": ("float32", (1, "K", 16, 12))},
        {"stored": np.ones((1, K, 16, 12), np.float32), "chosen": np.ones(K, bool)},
    )
    pose = estimator(data, "heatmap", POSETRACK17_15, flip_test=flip)
    with pytest.raises(BundleError, match=r"pose (gives 17 joints|does not give).*correct"):
        pose(FRAME, BOX)


@pytest.mark.parametrize(
    ("shape", "decode"),
    [
        ((1, K, 16, 12), "keypoints"),
        ((1, K, 2), "keypoints"),
        ((1, K, 3), "heatmap"),
        ((1, K), "heatmap"),
        ((1, K, 16, 16), "heatmap"),
        ((1, K, 8, 12), "heatmap"),
    ],
    ids=str,
)
def test_outputs_that_the_decode_kind_does_not_read_are_refused(shape, decode):
    pose = estimator(known(out=np.ones(shape, np.float32)), decode)
    with pytest.raises(BundleError, match=r"pose .*correct `decode` in the manifest"):
        pose(FRAME, BOX)


def test_another_number_of_outputs_is_refused():
    with pytest.raises(BundleError, match=r"gives \['a', 'b'\], decode 'heatmap' reads 1 outputs"):
        estimator(simcc()[0], "heatmap")
    with pytest.raises(BundleError, match=r"decode 'simcc' reads 2 outputs; correct `decode`"):
        estimator(pooled_heatmaps(K, HEIGHT, WIDTH, 4), "simcc")


def test_a_pose_graph_without_a_batch_axis_is_refused():
    nodes = [helper.make_node("Identity", ["stored"], ["keypoints"])]
    data = assemble(
        {"crop": ("float32", (3, HEIGHT, WIDTH))},
        nodes,
        {"keypoints": ("float32", (1, K, 3))},
        {"stored": np.ones((1, K, 3), np.float32)},
    )
    with pytest.raises(BundleError, match=r"takes 'crop' of shape \(3, 64, 48\), the manifest"):
        estimator(data, "keypoints")
