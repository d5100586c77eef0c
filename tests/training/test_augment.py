"""Random changes of pictures: geometry against drawn marks, colours against plain formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.runtime.preprocess import crop_matrices
from flowtrack.training.data.augment import Looks, crop_matrix, vary_looks, warp
from tests.reference import preprocess as oracle
from tests.training.datasets import noise

SIZE = (64, 48)


def through(matrix, x, y):
    return matrix @ [x, y, 1]


@given(
    corner=st.tuples(st.floats(-50, 500), st.floats(-50, 500)),
    sides=st.tuples(st.floats(1, 400), st.floats(1, 400)),
)
def test_without_rotation_it_is_the_runtimes(corner, sides):
    box = np.array([*corner, corner[0] + sides[0], corner[1] + sides[1]])
    centre = tuple((box[:2] + box[2:]) / 2)
    width = max(sides[0], sides[1] * SIZE[1] / SIZE[0]) * 1.25
    theirs = crop_matrices(box[None], *SIZE, 1.25)[0]
    np.testing.assert_allclose(crop_matrix(centre, width, SIZE), theirs, rtol=1e-4, atol=1e-4)


def test_the_centre_stays_and_the_content_turns_clockwise():
    turned = crop_matrix((100, 200), 48, SIZE, rotation=90)
    np.testing.assert_allclose(through(turned, 100, 200), [24, 32], atol=1e-4)
    np.testing.assert_allclose(through(turned, 110, 200), [24, 42], atol=1e-4)  # right to below
    np.testing.assert_allclose(through(turned, 100, 190), [34, 32], atol=1e-4)  # above to right


def test_a_mirrored_crop_is_the_crop_mirrored():
    picture = noise(90, 120, 3)
    for rotation in (0, 37.5):
        plain, flipped = (
            warp(picture, crop_matrix((60, 45), 70, SIZE, rotation=rotation, flip=flip), SIZE)
            for flip in (False, True)
        )
        # OpenCV rounds places to 1/32 pixel, on either side.
        assert np.abs(plain[:, ::-1].astype(int) - flipped).max() <= 6


def test_pixels_go_where_the_matrix_says():
    picture = noise(40, 50, 4)
    matrix = crop_matrix((30.3, 18.6), 37, SIZE, rotation=20, flip=True)
    wanted = oracle.warp(picture, matrix, *SIZE)
    assert np.abs(warp(picture, matrix, SIZE) - wanted).max() < 8
    assert not warp(picture, crop_matrix((500, 500), 37, SIZE), SIZE).any()


def test_looks_that_vary_nothing_leave_the_picture_alone():
    picture = noise(20, 30, 5)
    assert vary_looks(picture, Looks(), np.random.default_rng(0)) is picture


EVERY_LOOK = Looks(
    brightness=0.3, contrast=0.3, gamma=0.3, colour=1, grey=0.5, blur=0.5, noise=10
)  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_looks_keep_the_form_of_a_picture(seed):
    picture = noise(21, 33, seed)
    before = picture.copy()
    first, second = (vary_looks(picture, EVERY_LOOK, np.random.default_rng(seed)) for _ in range(2))
    assert (first.dtype, first.shape, first.flags.c_contiguous) == (np.uint8, (21, 33, 3), True)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(picture, before)
    assert not np.array_equal(first, picture)


class Scripted:
    """A generator that draws what it is told."""

    def __init__(self, *draws):
        self.draws = [np.asarray(draw, float) for draw in draws]

    def uniform(self, low, high, size=None):
        return self.draws.pop(0)

    def standard_normal(self, shape, dtype):
        return np.full(shape, self.draws.pop(0), dtype)


ALL = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)


@pytest.mark.parametrize(
    ("looks", "uniform", "wanted"),
    [
        (Looks(brightness=0.5), [0.4, 0, 0, 0, 0, 0], lambda v, mean: v * 1.2),
        (Looks(contrast=0.5), [0, -0.8, 0, 0, 0, 0], lambda v, mean: (v - mean) * 0.6 + mean),
        (Looks(gamma=0.5), [0, 0, -1, 0, 0, 0], lambda v, mean: 255 * (v / 255) ** np.exp(-0.5)),
        (Looks(colour=1), [0, 0, 0, 1, 0, -1], lambda v, mean: v * [1.08, 1, 0.92]),
    ],
    ids=["brightness", "contrast", "gamma", "colour"],
)
def test_tones(looks, uniform, wanted):
    found = vary_looks(ALL, looks, Scripted(uniform, [1, 1, 1]))
    expected = np.clip(wanted(ALL.astype(float), 127.5), 0, 255)
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_grey_pictures_have_equal_channels():
    found = vary_looks(noise(9, 9, 1), Looks(grey=0.5), Scripted([0] * 6, [0.4, 1, 1]))
    assert (found == found[..., :1]).all()


def test_noise_is_rounded_not_cut():
    for value in (0.6, -0.6):
        found = vary_looks(ALL, Looks(noise=1), Scripted([0] * 6, [1, 1, 1], value))
        np.testing.assert_array_equal(
            found, np.clip(ALL.astype(int) + round(value), 0, 255).astype(np.uint8)
        )


def test_blurred_pictures_lose_what_is_fine():
    checks = (np.indices((40, 40)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    found = vary_looks(checks, Looks(blur=0.5), Scripted([0] * 6, [1, 0.4, 1], 0.5))
    assert found.std() < 0.2 * checks.std()
