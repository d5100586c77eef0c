"""Cameras, floors, walls and things."""

import numpy as np
import pytest

from flowtrack.synthetic.places.grounds import GROUNDS, cloud, random_ground
from flowtrack.synthetic.places.props import random_prop
from flowtrack.synthetic.places.scenery import random_scenery
from flowtrack.synthetic.places.walls import WALLS, random_wall
from flowtrack.synthetic.rendering.camera import Camera
from flowtrack.synthetic.rendering.picture import Grade, Sensor, on_screen

CAMERA = Camera.looking((0.3, 1.5, 0.2), (0.1, 1.1, -4.0), 200.0, (160, 120), 0.05)


def test_the_middle_of_the_picture_is_what_the_camera_looks_at():
    straight = Camera.looking((0, 1, 0), (0, 1, -5), 100.0, (101, 81))
    pixels, depth = straight.project(np.array([[0, 1, -5], [1, 1, -5], [0, 2, -5], [0, 1, 5.0]]))
    np.testing.assert_allclose(pixels[0], (50, 40))
    np.testing.assert_allclose(pixels[1], (70, 40))
    np.testing.assert_allclose(pixels[2], (50, 20))
    np.testing.assert_allclose(depth, (5, 5, 5, -5))


def test_homographies_agree_with_projection():
    rng = np.random.default_rng(0)
    origin, u, v = rng.normal(0, 1, (3, 3)) + [0, 0, -5]
    plane = rng.normal(0, 1, (20, 2))
    mapped = np.column_stack([plane, np.ones(20)]) @ CAMERA.plane_homography(origin, u, v).T
    points = origin + plane[:, :1] * u + plane[:, 1:] * v
    pixels, depth = CAMERA.project(points)
    front = depth > 0.1
    np.testing.assert_allclose((mapped[:, :2] / mapped[:, 2:])[front], pixels[front], atol=1e-6)


@pytest.mark.parametrize("kind", GROUNDS)
def test_floors_have_texture_and_repeat(kind):
    ground = random_ground(np.random.default_rng(1), kind)
    tile = ground.levels[0].astype(float)
    assert tile.std() > 1
    assert [level.shape[0] for level in ground.levels[:3]] == [512, 256, 128]
    seam = np.abs(tile[:, 0] - tile[:, -1]).mean()
    inner = max(np.abs(tile[:, i] - tile[:, i + 1]).mean() for i in range(0, 510))
    assert seam <= inner + 1


@pytest.mark.parametrize("kind", WALLS)
def test_walls_are_painted(kind):
    wall = random_wall(np.random.default_rng(2), kind)
    assert wall.pixels.std() > 3
    assert wall.kind == kind


def test_noise_wraps_around():
    noise = cloud(np.random.default_rng(0), 8, (64, 64))
    seam = np.abs(noise[:, 0] - noise[:, -1]).mean()
    assert seam < 2 * np.abs(np.diff(noise, axis=1)).mean()


def test_floor_and_wall_meet_where_the_wall_stands():
    scenery = random_scenery(np.random.default_rng(3), 6.0)
    foot, along = scenery.wall_axes()
    ground = scenery.is_ground(CAMERA)
    for metres in (-1.0, 0.0, 1.0):
        point = foot + metres * along
        (x, y), depth = CAMERA.project(point)
        assert depth > 0
        if 0 <= x < 160 and 3 <= y < 117:
            assert ground[round(y) + 2, round(x)]
            assert not ground[round(y) - 2, round(x)]
    assert scenery.drawn(CAMERA).shape == (120, 160, 3)


def test_things_stand_on_the_ground_and_face_outwards():
    for seed in range(12):
        thing = random_prop(np.random.default_rng(seed), (1.0, 0.0, -4.0))
        assert thing.vertices[:, 1].min() == pytest.approx(0.0, abs=1e-6)
        a, b, c = (thing.vertices[thing.faces[:, i]] for i in range(3))
        across = np.cross(b - a, c - a)
        along = (across * thing.normals[thing.faces[:, 0]]).sum(axis=1)
        assert (along > 0).all()


def test_highlights_bend_instead_of_wrapping():
    light = np.linspace(0, 5, 400, dtype=np.float32)[:, None].repeat(3, 1)
    shown = on_screen(light)[:, 0].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert shown[0] == 0
    assert 230 < shown[-1] <= 255


def test_a_perfect_camera_changes_nothing_and_others_do():
    rng = np.random.default_rng(0)
    picture = rng.integers(40, 200, (60, 80, 3), dtype=np.uint8)
    perfect = Sensor(Grade(), (80, 60), rng)
    np.testing.assert_array_equal(perfect.developed(picture, rng), picture)
    for grade in (Grade(gain=(1.2, 1.0, 0.9)), Grade(vignette=0.5), Grade(noise=4.0),
                  Grade(blur_px=1.0), Grade(jpeg=50), Grade(shake_px=6.0)):  # fmt: skip
        other = Sensor(grade, (80, 60), rng).developed(picture, rng)
        assert other.shape == picture.shape
        assert (other != picture).mean() > 0.2
