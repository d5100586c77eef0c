"""Pairs in the manner of FlyingChairs: their flow is exact, and they are what the options say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import OptionError, SourceError
from flowtrack.synthetic.chairs import ChairsGenerator, ChairsOptions, flow_pair
from flowtrack.synthetic.chairs_canvas import Canvases, FlyingObject
from flowtrack.synthetic.chairs_motion import (
    BACKGROUND,
    OBJECT,
    Component,
    Deformation,
    about,
    affine_grid,
    inverse,
    mapped,
    similarity,
)
from flowtrack.synthetic.chairs_objects import _KINDS, draw_object
from flowtrack.synthetic.chairs_textures import Patterns, Photographs, add_noise

PLAIN = {"noise": 0.0, "lighting": 0.0}


@pytest.fixture(scope="module")
def generator():
    return ChairsGenerator(ChairsOptions(256, 192, scale=0.5, **PLAIN))


def warped(image, uv):
    """`image` fetched back along the flow."""
    y, x = np.mgrid[: uv.shape[1], : uv.shape[2]].astype(np.float32)
    return cv2.remap(image, x + uv[0], y + uv[1], cv2.INTER_LINEAR)


@pytest.mark.parametrize("seed", range(8))
def test_the_second_picture_warped_by_the_flow_is_the_first(generator, seed):
    pair = generator.pair(seed)
    # Edges mix two surfaces in a pixel, so what is compared is a pixel away from anything hidden.
    inner = cv2.erode(pair.visible.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    smooth = [cv2.GaussianBlur(image, (0, 0), 1.0) for image in (pair.previous, pair.current)]
    right = cv2.absdiff(smooth[0], warped(smooth[1], pair.uv))[inner].mean()
    wrong = cv2.absdiff(smooth[0], warped(smooth[1], -pair.uv))[inner].mean()
    assert inner.mean() > 0.4
    assert right < 2.5
    assert right < 0.5 * wrong


def test_pictures_and_flow_have_the_shapes_they_should(generator):
    pair = generator.pair(0)
    assert pair.previous.shape == pair.current.shape == (192, 256, 3)
    assert pair.previous.dtype == pair.current.dtype == np.uint8
    assert pair.uv.shape == (2, 192, 256)
    assert pair.uv.dtype == np.float32
    assert np.isfinite(pair.uv).all()
    assert pair.visible.shape == (192, 256)
    assert pair.visible.dtype == np.bool_


def same(first, second):
    names = ("previous", "current", "uv", "visible")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def test_a_pair_depends_on_its_options_and_seed_only():
    options = ChairsOptions(96, 64, scale=0.2, objects=(9, 9))
    generator = ChairsGenerator(options)
    forwards = [generator.pair(seed) for seed in range(4)]
    backwards = [generator.pair(seed) for seed in reversed(range(4))]
    assert all(map(same, forwards, reversed(backwards)))
    assert same(forwards[3], flow_pair(options, 3))
    assert not same(forwards[0], forwards[1])


def spot(side, x, y):
    """An opaque black square with a small white spot, as an object's picture."""
    rows, columns = np.mgrid[:side, :side]
    grey = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2))
    return np.dstack((grey, grey, grey, np.full_like(grey, 255))).round().astype(np.uint8)


def centroid(image):
    grey = image[..., 0].astype(np.float64)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return np.array([(grey * x).sum(), (grey * y).sum()]) / grey.sum()


def empty_canvases(camera, width=240, height=200):
    canvases = Canvases(width, height)
    canvases.background(np.zeros((70, 90, 3), np.uint8), np.eye(3), camera)
    return canvases


CAMERA = about((100.0, 80.0), similarity(2.0, 1.03, (4.0, -3.0)))


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_point_of_an_object_goes_where_the_flow_says(seed, bent):
    rng = np.random.default_rng(seed)
    canvases = empty_canvases(CAMERA)
    first = about((40.0, 40.0), similarity(rng.normal(0, 10), 1.1, (60.0, 50.0)))
    own = OBJECT.draw((100.0, 90.0), rng, strength=0.5)
    bending = Deformation.random(80, 0.05, rng) if bent else None
    point = rng.uniform(20, 60, 2)
    canvases.paint(FlyingObject(spot(80, *point), first, CAMERA @ own @ first, bending))

    moved = point.copy()
    if bending is not None:
        moved = point + bending.at(*(np.full((1, 1), v, np.float32) for v in point))[0, 0]
        assert np.linalg.norm(moved - point) > 0.1
    here, there = mapped(first, point), mapped(CAMERA, mapped(own, mapped(first, moved)))
    assert np.linalg.norm(centroid(canvases.previous) - here) < 0.05
    # Bending also changes the shape of the spot a little.
    assert np.linalg.norm(centroid(canvases.current) - there) < (0.3 if bent else 0.05)
    flow = [cv2.getRectSubPix(u, (1, 1), tuple(here.tolist()))[0, 0] for u in canvases.uv]
    assert np.linalg.norm(flow - (there - here)) < 0.01


def test_the_background_moves_by_the_camera():
    canvases = empty_canvases(CAMERA)
    for x, y in ((0, 0), (239, 0), (120, 77), (239, 199)):
        expected = CAMERA[:2, :2] @ (x, y) + CAMERA[:2, 2] - (x, y)
        np.testing.assert_allclose(canvases.uv[:, y, x], expected, atol=1e-4)


def test_hidden_points_keep_their_own_flow_and_are_not_visible():
    canvases = empty_canvases(np.eye(3), 100, 60)
    covered = np.full((20, 20, 4), 255, np.uint8)
    at = [similarity(0, 1, (x, 20.0)) for x in (10.0, 40.0, 70.0)]
    canvases.paint(FlyingObject(covered, at[0], at[1], None))  # goes behind the next
    canvases.paint(FlyingObject(covered, at[2], at[1], None))
    visible = canvases.visible()
    np.testing.assert_array_equal(canvases.uv[0, 20:40, 10:30], 30)
    np.testing.assert_array_equal(canvases.uv[0, 20:40, 70:90], -30)
    expected = np.ones((60, 100), bool)
    expected[20:40, 10:30] = False  # the first object is behind the second
    expected[20:40, 40:60] = False  # the background there gets covered
    np.testing.assert_array_equal(visible, expected)


def test_points_that_leave_the_picture_are_not_visible():
    canvases = empty_canvases(similarity(0, 1, (30.0, 0.0)), 100, 60)
    expected = np.ones((60, 100), bool)
    expected[:, 70:] = False
    np.testing.assert_array_equal(canvases.visible(), expected)


def test_half_transparent_edges_mix_what_is_behind():
    canvases = Canvases(30, 30)
    canvases.background(np.full((64, 64, 3), 200, np.uint8), np.eye(3), np.eye(3))
    picture = np.zeros((10, 10, 4), np.uint8)
    picture[..., :3], picture[..., 3] = 50, 100  # premultiplied
    canvases.paint(
        FlyingObject(picture, similarity(0, 1, (10, 10)), similarity(0, 1, (12, 9)), None)
    )
    expected = 50 + 200 * (1 - 100 / 255)
    assert abs(canvases.previous[15, 15, 0] - expected) <= 1
    assert (canvases.uv == 0).all()  # less than half covered: the background counts


@given(st.integers(0, 10**6), st.floats(0.001, 1.0))
def test_bending_has_an_inverse(seed, strength):
    bending = Deformation.random(64, strength, np.random.default_rng(seed))
    x, y = affine_grid(similarity(10, 1.2, (-5, 3)), 0, 0, 50, 40)
    px, py = bending.origin(x, y)
    there = np.stack((px, py), axis=-1) + bending.at(px, py)
    np.testing.assert_allclose(there, np.stack((x, y), axis=-1), atol=0.02)


@given(
    st.floats(-90, 90), st.floats(0.2, 4), st.floats(-99, 99), st.floats(-99, 99),
    st.floats(-300, 300), st.floats(-300, 300),
)  # fmt: skip
def test_affine_maps_do_what_they_say(angle, zoom, dx, dy, cx, cy):
    matrix = about((cx, cy), similarity(angle, zoom, (dx, dy)))
    np.testing.assert_allclose(mapped(matrix, (cx, cy)), (cx + dx, cy + dy), atol=1e-6)
    # One px right of the centre: `zoom` px away, at `angle` clockwise (y points down).
    away = mapped(matrix, (cx + 1, cy)) - mapped(matrix, (cx, cy))
    radians = np.deg2rad(angle)
    np.testing.assert_allclose(away, zoom * np.array([np.cos(radians), np.sin(radians)]), atol=1e-6)
    np.testing.assert_allclose(inverse(matrix) @ matrix, np.eye(3), atol=1e-6)
    x, y = affine_grid(matrix, 3, -2, 4, 5)
    np.testing.assert_allclose((x[4, 1], y[4, 1]), mapped(matrix, (4, 2)), rtol=1e-5, atol=1e-3)


def test_a_motion_parameter_is_drawn_as_described():
    rng = np.random.default_rng(0)
    component = Component(power=2, mean=1.0, sigma=0.5, low=0.2, high=2.0, share=0.6)
    values = np.array([component.draw(rng) for _ in range(20_000)])
    gaussian = rng.normal(1.0, 0.5, 200_000)
    expected = np.clip(np.sign(gaussian) * gaussian**2, 0.2, 2.0)
    assert (values == 1.0).mean() == pytest.approx(0.4, abs=0.01)
    drawn = values[values != 1.0]
    assert drawn.mean() == pytest.approx(expected.mean(), abs=0.02)
    assert (drawn == 2.0).mean() == pytest.approx((expected == 2.0).mean(), abs=0.01)


def test_the_flow_has_the_statistics_of_flying_chairs():
    generator = ChairsGenerator(ChairsOptions(128, 96, scale=0.25, **PLAIN))
    size = np.concatenate([4 * np.hypot(*generator.pair(i).uv).ravel() for i in range(60)])
    # In px at 512 x 384: the mean is published as about 11; small ones abound, a few reach 100.
    assert 7 < size.mean() < 15
    assert 1 < np.median(size) < 8
    assert 0.005 < (size > 50).mean() < 0.06
    assert 60 < size.max() < 250


def test_without_motion_nothing_moves():
    options = ChairsOptions(96, 64, scale=0.2, motion=0.0, deformed=1.0, **PLAIN)
    pair = flow_pair(options, 1)
    assert np.abs(pair.uv).max() < 1e-9
    assert pair.visible.all()
    np.testing.assert_array_equal(pair.previous, pair.current)


def test_motion_and_scale_multiply_the_flow():
    whole = flow_pair(ChairsOptions(objects=(0, 0), **PLAIN), 2).uv
    half = flow_pair(ChairsOptions(256, 192, scale=0.5, objects=(0, 0), **PLAIN), 2).uv
    np.testing.assert_allclose(half[:, 96, 128], whole[:, 192, 256] / 2, atol=0.02)
    eased = flow_pair(ChairsOptions(objects=(0, 0), motion=0.25, **PLAIN), 2).uv
    np.testing.assert_allclose(eased[:, 192, 256], whole[:, 192, 256] / 4, atol=1e-3)


def test_light_and_noise_differ_between_the_pictures():
    still = {"motion": 0.0, "objects": (0, 0)}
    noisy = flow_pair(ChairsOptions(lighting=0, noise=8, **still), 3)
    difference = noisy.previous.astype(int) - noisy.current
    assert 1 < difference.std() < 8 * 2**0.5
    assert abs(difference.mean()) < 0.1
    lit = flow_pair(ChairsOptions(lighting=0.5, noise=0, **still), 3)
    bright = (lit.previous > 40) & (lit.current < 255)
    ratio = lit.current[bright] / lit.previous[bright]
    assert abs(ratio.mean() - 1) > 0.02
    assert ratio.std() < 0.02


@given(st.floats(0.5, 20), st.integers(0, 1000))
def test_noise_has_the_standard_deviation_asked_for(sigma, seed):
    grey = np.full((61, 83, 3), 128, np.uint8)
    noise = add_noise(grey, sigma, np.random.default_rng(seed)).astype(float) - 128
    assert noise.std() == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.1)
    assert abs(noise.mean()) < 0.1 * sigma
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.05


def test_no_noise_changes_nothing():
    grey = np.full((8, 8, 3), 7, np.uint8)
    np.testing.assert_array_equal(add_noise(grey, 0.0, np.random.default_rng(0)), grey)


@pytest.mark.parametrize("kind", [draw for draw, _ in _KINDS], ids=lambda draw: draw.__name__)
def test_every_kind_of_object_covers_something_with_clean_edges(kind):
    covers = []
    for seed in range(20):
        canvas = np.zeros((96, 96, 4), np.uint8)
        kind(canvas, np.random.default_rng(seed))
        covers.append((canvas[..., 3] > 127).mean())
        border = np.ones((96, 96), bool)
        border[1:-1, 1:-1] = False
        assert (canvas[border, 3] > 127).sum() <= 96
        # Premultiplied: no colour is brighter than its pixel is covered.
        assert (canvas[..., :3].max(axis=-1).astype(int) <= canvas[..., 3].astype(int) + 4).all()
    assert min(covers) > 0.003
    assert np.std(covers) > 0.005


def test_objects_differ_and_repeat_with_their_numbers():
    textures = Patterns(count=3)
    objects = [draw_object(48, textures, np.random.default_rng(seed)) for seed in range(10)]
    again = [draw_object(48, textures, np.random.default_rng(seed)) for seed in range(10)]
    assert len({picture.tobytes() for picture in objects}) == 10
    for picture, second in zip(objects, again, strict=True):
        assert picture.shape == (48, 48, 4)
        np.testing.assert_array_equal(picture, second)


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of one grey each, some in a subfolder, and other files."""
    (tmp_path / "deep").mkdir()
    for i in range(12):
        place = tmp_path / "deep" if i % 2 else tmp_path
        cv2.imwrite(str(place / f"{i:02d}.png"), np.full((80, 120, 3), 10 * i + 5, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_photographs_are_found_below_the_folder_and_limited(folder):
    rng = np.random.default_rng(0)
    everything = Photographs([folder], 100)
    assert len(everything.paths) == 12
    assert {int(everything.draw(rng)[0, 0, 0]) for _ in range(200)} == set(range(5, 125, 10))
    some = Photographs([folder], 4)
    assert len({int(some.draw(rng)[0, 0, 0]) for _ in range(100)}) == 4


def test_a_photograph_is_read_once(folder):
    photographs = Photographs([folder], 1)
    first = photographs.draw(np.random.default_rng(0))
    photographs.paths[0].unlink()
    assert photographs.draw(np.random.default_rng(1)) is first


def test_large_photographs_shrink_and_tiny_ones_grow(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((1000, 2000, 3), np.uint8))
    assert Photographs([tmp_path], 9).draw(np.random.default_rng(0)).shape == (320, 640, 3)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 16, 3), np.uint8))
    assert Photographs([tmp_path], 9).draw(np.random.default_rng(0)).shape == (64, 128, 3)


def test_backgrounds_come_from_the_folder(folder):
    options = ChairsOptions(64, 48, objects=(0, 0), backgrounds=(folder,), **PLAIN)
    generator = ChairsGenerator(options)
    for seed in range(5):
        picture = generator.pair(seed).previous
        assert (picture == picture[0, 0]).all()


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(SourceError, match="no pictures below"):
        ChairsGenerator(ChairsOptions(backgrounds=(tmp_path,)))
    with pytest.raises(SourceError, match="not a folder"):
        ChairsGenerator(ChairsOptions(backgrounds=(tmp_path / "none",)))


def test_a_damaged_picture_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    generator = ChairsGenerator(ChairsOptions(64, 48, backgrounds=(tmp_path,)))
    with pytest.raises(SourceError, match=r"bad\.png cannot be decoded"):
        generator.pair(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 8}, {"height": 0}, {"scale": 0}, {"scale": np.nan}, {"motion": -1},
        {"motion": np.inf}, {"objects": (3, 2)}, {"objects": (0, 255)}, {"object_px": (0, 5)},
        {"object_px": (9, 5)}, {"deformed": 1.5}, {"deformation": -0.1}, {"noise": 41},
        {"lighting": 2}, {"pictures": 0},
    ],
    ids=str,
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(OptionError, match=f"^{next(iter(wrong))} is "):
        ChairsOptions(**wrong)


def test_camera_motions_are_gentler_than_those_of_objects():
    rng = np.random.default_rng(0)
    camera, things = (
        np.array([motion.draw((0, 0), rng)[:2, 2] for _ in range(2000)])
        for motion in (BACKGROUND, OBJECT)
    )
    assert np.abs(camera).max() <= 40 < np.abs(things).max() <= 120
    assert np.abs(camera).mean() < 0.7 * np.abs(things).mean()
