"""Views of pictures: boxes move exactly as pixels do, and what counts as somebody to find."""

import numpy as np
import pytest

from flowtrack.errors import OptionError
from flowtrack.runtime.manifest import Letterbox
from flowtrack.runtime.preprocess import fit
from flowtrack.training.data.augment import Looks
from flowtrack.training.data.people import read_coco
from flowtrack.training.data.pictures import PictureStore
from flowtrack.training.data.views import (
    IGNORED,
    LETTERBOX,
    MOST_BOXES,
    NOBODY,
    PERSON,
    PeopleViews,
    ViewOptions,
)
from tests.training.datasets import noise, person, write_coco

SIZE = (96, 128)
GREY = 114


def views_of(folder, pictures, people, options=LETTERBOX, size=SIZE):
    read = read_coco(*write_coco(folder, pictures, people))
    return PeopleViews(read, PictureStore(read.paths), size, options)


def painted(height, width, boxes):
    """A rectangle in each channel, on the grey that is also beyond the picture."""
    picture = np.full((height, width, 3), GREY, np.uint8)
    for channel, (x1, y1, x2, y2) in enumerate(boxes):
        picture[y1:y2, x1:x2, channel] = 255
    return picture


def found_again(plane):
    """x1 y1 x2 y2 of the rectangle in a channel, to fractions of a pixel, from its moments."""
    there = np.maximum(plane.astype(float) - GREY, 0)
    box = []
    for axis in (1, 0):
        profile = there.sum(1 - axis)
        places = np.arange(len(profile)) + 0.5
        centre = (profile * places).sum() / profile.sum()
        half = profile.sum() / profile.max() / 2
        box.append((centre - half, centre + half))
    return np.array([box[0][0], box[1][0], box[0][1], box[1][1]])


BOXES = [(30, 20, 70, 80), (90, 60, 130, 95), (140, 15, 175, 110)]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("zoom", [(0.4, 0.9), (0.9, 2.5)])
def test_boxes_move_as_pixels_do(tmp_path, seed, zoom):
    people = [person(box) for box in BOXES]
    options = ViewOptions(zoom=zoom, shift=1, flip=0.5)
    views = views_of(tmp_path, {"a.png": painted(130, 200, BOXES)}, {"a.png": people}, options)
    sample = views.sample(0, np.random.default_rng(seed))
    boxes = sample["boxes"][sample["kind"] == PERSON]
    for channel in range(3):
        plane = sample["view"][..., channel]
        if (np.delete(plane, np.s_[2:-2], 0) == GREY).all() and (
            np.delete(plane, np.s_[2:-2], 1) == GREY
        ).all() and plane.max() > 250:  # all of it is in the view  # fmt: skip
            nearest = np.abs(boxes - found_again(plane)).max(1).min()
            assert nearest < 0.2


@pytest.mark.parametrize("size", [(96, 128), (130, 200), (333, 500), (500, 333), (64, 64)])
def test_the_letterbox_is_the_runtimes_to_within_a_pixel(tmp_path, size):
    height, width = size
    box = (width // 5, height // 4, width // 2, height - height // 5)
    picture = painted(height, width, [box])
    views = views_of(tmp_path, {"a.png": picture}, {"a.png": [person(box)]})
    sample = views.sample(0, np.random.default_rng(0))
    theirs, placed = fit(picture, *SIZE, Letterbox(anchor="center"))
    there = np.array(box) * np.tile(placed[:2], 2) + np.tile(placed[2:], 2)
    assert np.abs(sample["boxes"][0] - there).max() < 1
    assert np.abs(found_again(sample["view"][..., 0]) - found_again(theirs[..., 0])).max() < 1
    if size == SIZE:
        np.testing.assert_array_equal(sample["view"], theirs)


def test_beyond_the_picture_it_is_the_runtimes_grey(tmp_path):
    picture = np.zeros((50, 50, 3), np.uint8)
    view = views_of(tmp_path, {"a.png": picture}, {}).sample(0, np.random.default_rng(0))["view"]
    assert (view[:, :10] == Letterbox().fill).all()
    assert (view[1:-1, 18:110] == 0).all()


def placement(tmp_path, options):
    """Magnification, and left and right margins, of many views of a white square."""
    picture = np.full((80, 80, 3), 255, np.uint8)
    views = views_of(tmp_path, {"a.png": picture}, {"a.png": [person((0, 0, 80, 80))]}, options)
    for seed in range(150):
        view = views.sample(0, np.random.default_rng(seed))["view"][..., 0].astype(int)
        columns = np.flatnonzero((view > 184).any(0))
        yield len(columns), columns[0], SIZE[1] - 1 - columns[-1]


def test_zoom_and_shift_are_within_their_limits(tmp_path):
    widths, left, right = np.array(list(placement(tmp_path, ViewOptions(zoom=(0.5, 1.0))))).T
    assert (widths.min(), widths.max()) == (pytest.approx(48, abs=2), pytest.approx(96, abs=2))
    assert np.abs(left - right).max() <= 1  # without shift it stays in the middle
    moved = ViewOptions(zoom=(0.5, 1.0), shift=1)
    _, left, right = np.array(list(placement(tmp_path, moved))).T
    assert min(left.min(), right.min()) <= 2
    assert np.abs(left - right).max() > 40


def kinds(tmp_path, people, options=LETTERBOX, picture=None):
    picture = np.zeros((*SIZE, 3), np.uint8) if picture is None else picture
    views = views_of(tmp_path, {"a.png": picture}, {"a.png": people}, options)
    return views.sample(0, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (person((10, 10, 30, 60)), PERSON),
        (person((10, 10, 16, 16)), PERSON),
        (person((10, 10, 15.9, 60)), IGNORED),  # too narrow to be found for certain
        (person((10, 10, 30, 60), crowd=True), IGNORED),
        (person((10, 10, 11.9, 60)), NOBODY),  # nothing to see
        (person((-30, 10, 10, 60)), IGNORED),  # a quarter is in the picture
        (person((-20, 10, 10, 60)), PERSON),  # a third
        (person((130, 10, 150, 60)), NOBODY),
        (person(None, {"nose": (50, 50)}), NOBODY),  # no box
    ],
)
def test_who_is_to_be_found(tmp_path, entry, kind):
    sample = kinds(tmp_path, [entry])
    assert sample["kind"][0] == kind
    assert (sample["kind"][1:] == NOBODY).all()
    assert (sample["boxes"] >= 0).all()
    assert (sample["boxes"] <= [*SIZE[::-1], *SIZE[::-1]]).all()


def test_boxes_are_cut_to_the_view(tmp_path):
    boxes = kinds(tmp_path, [person((-20, 10, 20, 200))])["boxes"]
    np.testing.assert_array_equal(boxes[0], [0, 10, 20, 96])


def test_of_too_many_the_largest_are_kept(tmp_path):
    entries = [person((0, 0, 20, 20 + i)) for i in range(MOST_BOXES + 6)]
    sample = kinds(tmp_path, entries)
    assert (sample["kind"] == PERSON).all()
    sides = sample["boxes"][:, 3]
    assert sides.max() == MOST_BOXES + 25
    assert sides.min() == 26


def test_pictures_of_nobody_count_too(tmp_path):
    pictures = {"a.png": noise(50, 60, 1), "b.png": noise(50, 60, 2)}
    views = views_of(tmp_path, pictures, {"b.png": [person((5, 5, 40, 40))]})
    assert len(views) == 2
    samples = [views.sample(i, np.random.default_rng(0)) for i in range(2)]
    assert [int((sample["kind"] == PERSON).sum()) for sample in samples] == [0, 1]
    forms = {
        tuple((name, v.shape, v.dtype.str) for name, v in sample.items()) for sample in samples
    }
    assert forms == {
        (("view", (*SIZE, 3), "|u1"), ("boxes", (64, 4), "<f4"), ("kind", (64,), "<i8"))
    }


def test_looks_are_applied(tmp_path):
    grey = ViewOptions(looks=Looks(grey=1))
    view = kinds(tmp_path, [], grey, noise(*SIZE, 4))["view"]
    assert (view == view[..., :1]).all()


@pytest.mark.parametrize("zoom", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_a_zoom_must_be_a_range(zoom):
    with pytest.raises(OptionError, match="zoom"):
        ViewOptions(zoom=zoom)
