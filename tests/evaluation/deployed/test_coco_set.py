"""The pictures of a COCO truth: all there, some missing, or not the annotated ones."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from flowtrack.errors import InputError, SourceError
from flowtrack.evaluation.coco_files import read_truth
from flowtrack.evaluation.deployed.coco_set import open_set
from tests.evaluation.coco_samples import person, truth_of, written


def picture(folder, name, width=128, height=96):
    folder.mkdir(exist_ok=True)
    image = np.random.default_rng(len(name)).integers(0, 255, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(folder / name), image)
    return image


@pytest.fixture
def truth(tmp_path):
    content = truth_of([person(1, 5)], (7, 5, 6))
    return read_truth(written(tmp_path, content, "t.json"), "keypoints")


def test_all_pictures_in_the_truths_order(truth, tmp_path):
    images = [picture(tmp_path / "set", name) for name in ("a.png", "b.png", "c.png")]
    pictures = open_set(truth, tmp_path / "set")
    assert (len(pictures), pictures.missing) == (3, 0)
    for (id_, frame), expected, image in zip(pictures.frames(), (7, 5, 6), images, strict=True):
        assert id_ == expected
        assert np.array_equal(frame.image, image)


def test_missing_pictures_are_counted_and_the_first_is_named(truth, tmp_path):
    picture(tmp_path / "set", "b.png")
    with pytest.raises(InputError, match=re.escape("lacks 2 of the 3 pictures")) as caught:
        open_set(truth, tmp_path / "set")
    for words in ("a.png", "t.json", "--partial", str(tmp_path / "set")):
        assert words in str(caught.value)


def test_the_pictures_that_are_there(truth, tmp_path):
    picture(tmp_path / "set", "c.png")
    pictures = open_set(truth, tmp_path / "set", partial=True)
    assert pictures.pictures.tolist() == [6]
    assert pictures.missing == 2
    assert [id_ for id_, _ in pictures.frames()] == [6]


def test_not_one_picture_is_an_error_even_so(truth, tmp_path):
    with pytest.raises(InputError, match="lacks 3 of the 3 pictures"):
        open_set(truth, tmp_path / "nowhere", partial=True)


def test_pictures_without_a_name_are_missing(tmp_path):
    content = truth_of([person(1, 1)], images=[{"id": 1}])
    truth = read_truth(written(tmp_path, content, "t.json"), "keypoints")
    with pytest.raises(InputError, match="without a 'file_name'"):
        open_set(truth, tmp_path)


def test_a_picture_of_another_size_is_refused(truth, tmp_path):
    picture(tmp_path, "a.png", width=64)
    with pytest.raises(InputError, match=r"64 x 96 pixels, .*t\.json says 128 x 96"):
        next(open_set(truth, tmp_path, partial=True).frames())


def test_a_damaged_picture_is_named(truth, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=re.escape("a.png")):
        next(open_set(truth, tmp_path, partial=True).frames())


def test_pictures_are_taken_as_they_are_stored(tmp_path):
    """COCO's coordinates are those of the stored picture, whatever its EXIF orientation."""
    content = truth_of([person(1, 1)], (1,))
    content["images"][0]["file_name"] = "a.jpg"
    picture(tmp_path, "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    exif = (
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turned by 90
    )
    marker = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(data[:2] + marker + data[2:])
    assert cv2.imread(str(tmp_path / "a.jpg")).shape == (128, 96, 3)
    truth = read_truth(written(tmp_path, content, "t.json"), "keypoints")
    _, frame = next(open_set(truth, tmp_path).frames())
    assert frame.image.shape == (96, 128, 3)
