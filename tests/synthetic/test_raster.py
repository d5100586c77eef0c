import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.synthetic.rendering.raster import face_of, inverse_depth_of, rasterize
from tests.synthetic.oracles import nearest_faces

SHAPE = (12, 17)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.8, 3.0, 9.0, 40.0]))
def test_every_sample_shows_the_nearest_front_face(seed, size):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-4, 20, (8, 1, 2))
    xy = (centres + rng.normal(0, size, (8, 3, 2))).reshape(-1, 2).astype(np.float32)
    near = rng.uniform(-0.05, 1.0, len(xy)).astype(np.float32)
    faces = np.arange(len(xy)).reshape(-1, 3)
    found = face_of(rasterize(xy, near, faces, SHAPE))
    wanted = nearest_faces(xy, near, faces, SHAPE)
    # Edges may fall to either side by rounding.
    assert (found != wanted).mean() < 0.01


def test_depth_is_interpolated():
    xy = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
    keys = rasterize(xy, np.array([1.0, 0.5, 0.25], np.float32), np.array([[0, 1, 2]]), (11, 11))
    depth = inverse_depth_of(keys)
    assert depth[0, 0] == pytest.approx(1.0)
    assert depth[0, 10] == pytest.approx(0.5)
    assert depth[5, 0] == pytest.approx(0.625)
    assert depth[10, 10] == 0
    assert face_of(keys)[10, 10] == -1


def test_a_face_that_covers_everything_is_drawn_to_the_edges():
    xy = np.array([[-500, -500], [900, -500], [-500, 900]], np.float32)
    keys = rasterize(xy, np.ones(3, np.float32), np.array([[0, 1, 2]]), SHAPE)
    assert (face_of(keys) == 0).all()


@pytest.mark.parametrize("faces", [np.zeros((0, 3), np.int64), np.array([[0, 2, 1]])])
def test_nothing_to_draw(faces):
    xy = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
    assert (rasterize(xy, np.ones(3, np.float32), faces, SHAPE) == 0).all()
