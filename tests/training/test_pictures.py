"""Pictures of a data set: formats, damage, and what is kept in memory."""

import cv2
import numpy as np
import pytest

from flowtrack.errors import SourceError
from flowtrack.training.data.pictures import PictureStore
from tests.training.datasets import noise


@pytest.fixture
def files(tmp_path):
    colour = noise(20, 30, 1)
    cv2.imwrite(str(tmp_path / "colour.png"), colour)
    cv2.imwrite(str(tmp_path / "grey.png"), colour[:, :, 1])
    cv2.imwrite(str(tmp_path / "ünïcode.webp"), colour, [cv2.IMWRITE_WEBP_QUALITY, 101])
    return colour, [tmp_path / name for name in ("colour.png", "grey.png", "ünïcode.webp")]


@pytest.mark.parametrize("in_memory", [False, True])
def test_pictures_come_as_bgr(files, in_memory):
    colour, paths = files
    store = PictureStore(paths, in_memory=in_memory)
    assert len(store) == 3
    np.testing.assert_array_equal(store[0], colour)
    np.testing.assert_array_equal(store[1], np.repeat(colour[:, :, 1:2], 3, 2))
    np.testing.assert_array_equal(store[2], colour)


@pytest.mark.parametrize("in_memory", [False, True])
def test_pictures_cannot_be_written_to(files, in_memory):
    store = PictureStore(files[1], in_memory=in_memory)
    with pytest.raises(ValueError, match="read-only"):
        store[0][0] = 1


def test_pictures_in_memory_outlive_their_files(files):
    colour, paths = files
    kept, read = PictureStore(paths, in_memory=True), PictureStore(paths)
    paths[0].unlink()
    np.testing.assert_array_equal(kept[0], colour)
    with pytest.raises(SourceError, match=r"colour\.png cannot be read"):
        read[0]


def test_missing_pictures_are_noticed_at_once(files):
    paths = [*files[1], *(files[1][0].with_name(f"{i}.png") for i in range(3))]
    with pytest.raises(SourceError, match=r"0\.png is missing, and so are 2 other .* of 6"):
        PictureStore(paths)


@pytest.mark.parametrize("keep", [0, 1, 40])
def test_damaged_pictures_are_named(files, keep):
    path = files[1][0]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"colour\.png is no readable picture"):
        PictureStore([path])[0]
    with pytest.raises(SourceError, match=r"colour\.png is no readable picture"):
        PictureStore([path], in_memory=True)
