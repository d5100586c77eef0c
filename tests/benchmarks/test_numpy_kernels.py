"""The numpy kernels give what numba's give: only then do their times compare."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import numpy_kernels as plain
from benchmarks.crowds import SIGMAS, flow_field, joined, walk
from benchmarks.kernels import subjects
from benchmarks.tracking import STEPS, track
from flowtrack.tracker import boxes, matching, motion, oks
from flowtrack.tracker.options import TrackerOptions

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(0, 12)


def people(rng, count):
    """Some coincide, some joints are not there."""
    centre = rng.uniform(0, 300, (count, 1, 2))
    centre[count // 2 :] = centre[: count - count // 2] + rng.normal(0, 5, (1, 1, 2))
    xy = (centre + rng.normal(0, 30, (count, 17, 2))).astype(np.float32)
    holes = rng.random((count, 17)) < 0.1
    xy[holes] = rng.choice([np.nan, np.inf, -np.inf], (int(holes.sum()), 1))
    return xy, rng.random((count, 17)) < 0.8


def areas(rng, count):
    area = rng.uniform(0, 9000, count).astype(np.float32)
    area[rng.random(count) < 0.1] = np.nan
    return area


def rectangles(rng, count):
    corner = rng.uniform(0, 100, (count, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(-5, 60, (count, 2))], axis=1)
    xyxy[rng.random(count) < 0.1, 2] = np.nan
    return xyxy.astype(np.float32)


@given(SEEDS, COUNTS)
@settings(deadline=None)
def test_motion(seed, count):
    rng = np.random.default_rng(seed)
    uv = rng.normal(0, 10, (2, 6, 8)).astype(np.float32)
    uv[:, rng.random((6, 8)) < 0.1] = np.nan
    xy, usable = people(rng, count)
    given_ = uv, (8 / 300, 6 / 300), xy
    np.testing.assert_allclose(
        plain.propagate(*given_), motion.propagate(*given_), rtol=1e-5, atol=1e-3
    )
    given_ = xy, usable, 0.15
    np.testing.assert_allclose(
        plain.joint_boxes(*given_), motion.joint_boxes(*given_), rtol=1e-5, atol=1e-4
    )


@given(SEEDS, COUNTS, COUNTS)
@settings(deadline=None)
def test_boxes(seed, count, others):
    rng = np.random.default_rng(seed)
    a, b = rectangles(rng, count), rectangles(rng, others)
    np.testing.assert_allclose(plain.iou_matrix(a, b), boxes.iou_matrix(a, b), atol=1e-6)
    score = np.round(rng.random(count), 1).astype(np.float32)
    np.testing.assert_array_equal(plain.nms(a, score, 0.5), boxes.nms(a, score, 0.5))


@given(SEEDS, COUNTS, COUNTS)
@settings(deadline=None)
def test_similarity_of_poses(seed, count, others):
    rng = np.random.default_rng(seed)
    (a, a_usable), (b, b_usable) = people(rng, count), people(rng, others)
    area = areas(rng, count)
    given_ = a, a_usable, area, b, b_usable, SIGMAS
    np.testing.assert_allclose(plain.oks_matrix(*given_), oks.oks_matrix(*given_), atol=2e-6)
    score = np.round(rng.random(count), 1).astype(np.float32)
    given_ = a, a_usable, area, score, SIGMAS, 0.6
    np.testing.assert_array_equal(plain.pose_nms(*given_), oks.pose_nms(*given_))


@given(SEEDS, COUNTS, COUNTS)
@settings(deadline=None)
def test_matching(seed, rows, columns):
    rng = np.random.default_rng(seed)
    table = np.round(rng.random((rows, columns)), 1).astype(np.float32)
    table[rng.random(table.shape) < 0.1] = np.nan
    given_ = table, rng.integers(0, 6, rows), 0.3
    np.testing.assert_array_equal(plain.greedy_match(*given_), matching.greedy_match(*given_))


@pytest.mark.parametrize("dense", [False, True])
def test_what_is_timed_gives_the_same(dense):
    for name, (fast, slow) in subjects(20, dense).items():
        got, want = slow(), fast()
        assert len(want), name
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-4, err_msg=name)


def test_a_dense_crowd_is_alike_and_a_spread_one_is_not():
    def links(dense):
        now, queue = (frames := walk(30, 6, dense))[-1], joined(frames[:-1])
        table = oks.oks_matrix(queue.xy, queue.usable, queue.area, now.xy, now.usable, SIGMAS)
        assert table.shape == (150, 30)
        return (table >= 0.2).mean()

    assert links(dense=True) > 0.95
    assert links(dense=False) < 0.1


def test_people_of_a_walk_keep_their_track():
    first, second = walk(12, 2)
    table = oks.oks_matrix(first.xy, first.usable, first.area, second.xy, second.usable, SIGMAS)
    match = matching.greedy_match(table, first.track, 0.2)
    np.testing.assert_array_equal(first.track[match], second.track)


def test_every_step_of_the_tracker_is_timed():
    samples = track(walk(4, 4), TrackerOptions(queue=2), repeats=3)
    assert list(samples) == [*STEPS, "all"]
    # Frames 2 and 3 of each pass find the queue full.
    assert [len(values) for values in samples.values()] == [4] * 5
    parts = np.sum([samples[step] for step in STEPS], axis=0)
    np.testing.assert_allclose(samples["all"], parts, rtol=1e-6)


def test_the_flow_leads_on_by_one_frame():
    field = flow_field(3)
    assert (field.from_index, field.to_index) == (3, 4)
