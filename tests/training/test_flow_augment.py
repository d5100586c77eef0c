"""Augmented pairs keep an exact flow: by formula, by tracked points, and by warping."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import OptionError
from flowtrack.synthetic.chairs import ChairsOptions
from flowtrack.synthetic.chairs_motion import about, affine_grid, inverse, mapped, similarity
from flowtrack.training.data.augment import Looks
from flowtrack.training.flow_augment import (
    PLAIN_FLOW,
    AugmentedFlow,
    FlowAugmentOptions,
    PairTransform,
    draw_transform,
    transformed,
)
from flowtrack.training.flow_data import ChairsPairs, flow_sample

RNG = np.random.default_rng
GEOMETRY = FlowAugmentOptions(
    step_translation=0.03, step_rotation=3, step_scale=0.05, looks=Looks(), difference=Looks(),
    noise=0,
)  # fmt: skip


def sample_of(uv, valid=None):
    """A sample with this flow and smooth pictures that do not matter."""
    picture = np.zeros((*uv.shape[1:], 3), np.uint8)
    return flow_sample(
        picture, picture, uv, np.ones(uv.shape[1:], bool) if valid is None else valid
    )


def affine_flow(matrix, height, width):
    return np.stack(affine_grid(matrix - np.eye(3), 0, 0, width, height))


@given(st.integers(0, 2**31), st.floats(-20, 20), st.floats(0.8, 1.25))
def test_an_affine_flow_becomes_the_conjugated_one(seed, angle, zoom):
    motion = about((60.0, 40.0), similarity(angle, zoom, (7.0, -4.0)))
    transform = draw_transform((90, 120), (40, 64), GEOMETRY, RNG(seed))
    changed = transformed(sample_of(affine_flow(motion, 90, 120)), transform, (40, 64))
    expected = affine_flow(inverse(transform.second) @ motion @ transform.first, 40, 64)
    assert changed["valid"].all()
    # OpenCV interpolates at steps of 1/32 px: off by 1/64 px each way, times the flow's slope of
    # at most 0.5 px/px, times the enlargement of at most 2.1.
    np.testing.assert_allclose(changed["uv"], expected, atol=0.025)


@given(st.integers(0, 2**31))
def test_across_an_edge_every_pixel_keeps_one_of_the_motions(seed):
    uv = np.zeros((2, 90, 120), np.float32)
    uv[0, 30:60, 40:80] = 12.0
    transform = draw_transform((90, 120), (40, 64), GEOMETRY, RNG(seed))
    changed = transformed(sample_of(uv), transform, (40, 64))
    moves = (
        affine_flow(inverse(transform.second) @ similarity(0, 1, (dx, 0)) @ transform.first, 40, 64)
        for dx in (0.0, 12.0)
    )
    away = np.minimum(*(np.hypot(*(changed["uv"] - move)) for move in moves))
    assert away.max() < 1e-3


@given(st.integers(0, 2**31))
def test_unknown_pixels_stay_unknown_and_do_not_leak(seed):
    rng = RNG(seed)
    valid = cv2.resize((rng.random((9, 12)) < 0.7).astype(np.uint8), (120, 90)) > 0
    uv = np.where(valid, np.float32(0.4), rng.choice([0.0, 5.0, np.nan])).astype(np.float32)
    uv = np.stack((uv, uv))
    transform = draw_transform((90, 120), (40, 64), GEOMETRY, rng)
    changed = transformed(sample_of(uv, valid), transform, (40, 64))
    x, y = affine_grid(transform.first, 0, 0, 64, 40)
    # The nearest pixel of the source decides; exactly half-way either may.
    clear = (np.abs(x % 1 - 0.5) > 0.01) & (np.abs(y % 1 - 0.5) > 0.01)
    nearest = valid[np.rint(y).astype(int), np.rint(x).astype(int)]
    np.testing.assert_array_equal(changed["valid"][clear], nearest[clear])
    motion = inverse(transform.second) @ similarity(0, 1, (0.4, 0.4)) @ transform.first
    expected = np.where(changed["valid"], affine_flow(motion, 40, 64), 0)
    np.testing.assert_allclose(changed["uv"], expected, atol=2e-3)


@given(
    st.integers(0, 2**31), st.integers(2, 80), st.integers(2, 80), st.integers(2, 80),
    st.integers(2, 80),
)  # fmt: skip
def test_a_crop_lies_within_the_picture(seed, height, width, crop_height, crop_width):
    transform = draw_transform((height, width), (crop_height, crop_width), GEOMETRY, RNG(seed))
    corners = [[x, y] for x in (0, crop_width - 1) for y in (0, crop_height - 1)]
    inside = mapped(transform.first, corners)
    assert (inside > -1e-6).all()
    assert (inside < np.array([width, height]) - 1 + 1e-6).all()


def test_crops_lie_everywhere_with_the_scale_and_rotation_asked_for():
    drawn = [draw_transform((384, 512), (96, 128), GEOMETRY, RNG(seed)) for seed in range(400)]
    linear = np.array([transform.first[:2, :2] for transform in drawn])
    scale = 1 / np.sqrt(np.abs(np.linalg.det(linear)))
    assert 0.9 <= scale.min() < 0.92
    assert 1.9 < scale.max() <= 2.0 + 1e-9
    assert 0.4 < (np.linalg.det(linear) < 0).mean() < 0.6  # mirrored
    angle = np.rad2deg(np.arctan2(linear[:, 1, 0], np.abs(linear[:, 0, 0])))
    assert 16 < np.abs(angle).max() < 17 + 1e-9
    middle = np.array([mapped(transform.first, (63.5, 47.5)) for transform in drawn])
    assert (middle.min(axis=0) < (90, 70)).all()
    assert (middle.max(axis=0) > (420, 310)).all()
    steps = np.array([inverse(t.first) @ t.second for t in drawn])
    assert np.std(np.log(np.linalg.det(steps)) / 2) == pytest.approx(0.05, rel=0.15)
    about_middle = np.array([mapped(step, (63.5, 47.5)) for step in steps]) - (63.5, 47.5)
    assert about_middle.std() == pytest.approx(0.03 * 128, rel=0.15)


def test_what_does_not_fit_is_enlarged():
    transform = draw_transform((50, 100), (100, 100), PLAIN_FLOW, RNG(0))
    assert 1 / transform.first[0, 0] == pytest.approx(99 / 49)


def test_tracked_points_arrive_where_the_flow_says():
    """A white spot on black, in both pictures, augmented: its centroids and the flow agree."""
    rows, columns = np.mgrid[:160, :200]

    def spot(x, y):
        grey = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
        return np.dstack([grey.round().astype(np.uint8)] * 3)

    def centroid(picture):
        grey = picture[..., 0].astype(float)
        y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
        return np.array([(grey * x).sum(), (grey * y).sum()]) / grey.sum()

    uv = np.empty((2, 160, 200), np.float32)
    uv[0], uv[1] = 9.25, -6.5
    sample = flow_sample(spot(100, 80), spot(109.25, 73.5), uv, np.ones((160, 200), bool))
    for seed in range(10):
        rng = RNG(seed)
        step = similarity(rng.normal(0, 3), 1.03, tuple(rng.normal(0, 3, 2)))
        first = similarity(rng.uniform(-17, 17), 0.8, (30.0, 12.0))
        transform = PairTransform(first, first @ step)
        changed = transformed(sample, transform, (150, 180))
        here, there = centroid(changed["previous"]), centroid(changed["current"])
        x, y = np.rint(here).astype(int)
        assert np.linalg.norm(here + changed["uv"][:, y, x] - there) < 0.1


def test_augmented_pairs_agree_with_their_flow_when_warped():
    chairs = ChairsOptions(192, 144, scale=0.375, noise=0, lighting=0, objects=(2, 4))
    source = AugmentedFlow(ChairsPairs(chairs, 4), (96, 128), GEOMETRY)
    right, wrong = [], []
    for index in range(4):
        sample = source.sample(index, RNG((1, index)))
        y, x = np.mgrid[:96, :128].astype(np.float32)
        first = cv2.GaussianBlur(sample["previous"], (0, 0), 1.0)
        second = cv2.GaussianBlur(sample["current"], (0, 0), 1.0)
        for sign, errors in ((1, right), (-1, wrong)):
            u, v = sign * sample["uv"]
            fetched = cv2.remap(second, x + u, y + v, cv2.INTER_LINEAR)
            inner = (x + u >= 4) & (x + u < 124) & (y + v >= 4) & (y + v < 92)
            errors.append(np.median(np.abs(first.astype(int) - fetched)[inner]))
    assert max(right) <= 2
    assert np.mean(wrong) > 4 * np.mean(right)


def test_a_plain_crop_is_a_window_of_the_source():
    rng = RNG(0)
    pictures = rng.integers(0, 256, (2, 40, 50, 3), np.uint8)
    uv = rng.normal(0, 9, (2, 40, 50)).astype(np.float32)
    sample = flow_sample(*pictures, uv, rng.random((40, 50)) < 0.8)
    window = PairTransform(similarity(0, 1, (7, 3)), similarity(0, 1, (7, 3)))
    cut = transformed(sample, window, (20, 30))
    np.testing.assert_array_equal(cut["previous"], pictures[0, 3:23, 7:37])
    np.testing.assert_array_equal(cut["current"], pictures[1, 3:23, 7:37])
    np.testing.assert_array_equal(cut["valid"], sample["valid"][3:23, 7:37])
    np.testing.assert_allclose(cut["uv"], sample["uv"][:, 3:23, 7:37], atol=1e-4)


@pytest.fixture(scope="module")
def source():
    return ChairsPairs(ChairsOptions(96, 64, scale=0.2), 2)


def test_a_sample_depends_on_its_index_and_numbers_only(source):
    augmented = AugmentedFlow(source, (48, 64), FlowAugmentOptions())
    first, again = (augmented.sample(1, RNG(5)) for _ in range(2))
    other = augmented.sample(1, RNG(6))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert not np.array_equal(first["previous"], other["previous"])
    assert len(augmented) == 2
    assert first["previous"].shape == first["current"].shape == (48, 64, 3)
    assert first["previous"].dtype == np.uint8
    assert first["uv"].shape == (2, 48, 64)
    assert first["uv"].dtype == np.float32
    assert first["valid"].shape == (48, 64)


def test_looks_change_both_pictures_alike_and_noise_does_not(source):
    still = {
        "scale": (1.0, 1.0), "rotation": 0, "flip": 0, "step_translation": 0, "step_rotation": 0,
        "step_scale": 0,
    }  # fmt: skip
    grey = flow_sample(
        *np.full((2, 40, 40, 3), 90, np.uint8), np.zeros((2, 40, 40)), np.ones((40, 40), bool)
    )

    class Grey:
        def __len__(self):
            return 1

        def sample(self, index, rng):
            return grey

    def drawn(**options):
        augmented = AugmentedFlow(Grey(), (40, 40), FlowAugmentOptions(**still, **options))
        pairs = [augmented.sample(0, RNG(seed)) for seed in range(20)]
        return [np.stack((p["previous"], p["current"])).astype(float) for p in pairs]

    alike = drawn(difference=Looks(), noise=0)
    assert all((pair[0] == pair[1]).all() for pair in alike)
    assert np.std([pair.mean() for pair in alike]) > 5
    differing = drawn(looks=Looks(), noise=0)
    assert all((pair[0] == 90).all() for pair in differing)
    assert 0.5 < np.std([pair[1].mean() for pair in differing]) < 6
    noisy = drawn(looks=Looks(), difference=Looks(), noise=10)
    assert max(pair.std() for pair in noisy) < 11
    loudest = max(noisy, key=np.std)
    assert loudest.std() > 5
    assert abs(np.corrcoef(loudest[0].ravel(), loudest[1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    "wrong",
    [{"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}, {"looks": Looks(noise=1)},
     {"difference": Looks(noise=1)}],
    ids=str,
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        FlowAugmentOptions(**wrong)


def test_a_size_of_nothing_is_refused(source):
    with pytest.raises(OptionError, match="size is"):
        AugmentedFlow(source, (0, 64))
