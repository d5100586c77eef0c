"""Pictures of a data set: formats, damage, and what is kept."""

import os

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


@pytest.fixture(params=["read", "kept"])
def store_of(request, tmp_path):
    """A store of these paths; where pictures are kept, everything has been asked for before."""

    def made(paths):
        if request.param == "read":
            return PictureStore(paths)
        before = PictureStore(paths, cache=tmp_path / "new" / "cache")
        assert len([before[i] for i in range(len(paths))]) == len(paths)
        return PictureStore(paths, cache=tmp_path / "new" / "cache")

    return made


def test_pictures_come_as_bgr(files, store_of):
    colour, paths = files
    store = store_of(paths)
    assert len(store) == 3
    np.testing.assert_array_equal(store[0], colour)
    np.testing.assert_array_equal(store[1], np.repeat(colour[:, :, 1:2], 3, 2))
    np.testing.assert_array_equal(store[2], colour)
    assert type(store[0]) is np.ndarray


def test_pictures_cannot_be_written_to(files, store_of):
    with pytest.raises(ValueError, match="read-only"):
        store_of(files[1])[0][0] = 1


def test_kept_pictures_are_not_decoded_again(files, tmp_path):
    colour, paths = files
    kept = PictureStore(paths, cache=tmp_path / "cache")
    first = kept[0]
    state = paths[0].stat()
    paths[0].write_bytes(bytes(state.st_size))  # as long and as old, but no picture
    os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    np.testing.assert_array_equal(kept[0], first)
    np.testing.assert_array_equal(PictureStore(paths, cache=tmp_path / "cache")[0], colour)
    with pytest.raises(SourceError, match=r"colour\.png is no readable picture"):
        PictureStore(paths)[0]


def test_changed_pictures_are_decoded_anew(files, tmp_path):
    colour, paths = files
    np.testing.assert_array_equal(PictureStore(paths, cache=tmp_path / "cache")[0], colour)
    cv2.imwrite(str(paths[0]), 255 - colour)
    os.utime(paths[0], ns=(1, 1))
    np.testing.assert_array_equal(PictureStore(paths, cache=tmp_path / "cache")[0], 255 - colour)


@pytest.mark.parametrize("keep", [0, 40, 200])
def test_damaged_kept_pictures_are_decoded_anew(files, tmp_path, keep):
    colour, paths = files
    store = PictureStore(paths[:1], cache=tmp_path / "cache")
    assert store[0].shape == colour.shape
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:keep])
    np.testing.assert_array_equal(store[0], colour)
    np.testing.assert_array_equal(np.load(kept), colour)


def test_a_folder_that_cannot_keep_pictures_is_named(files, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match=r"file cannot be made"):
        PictureStore(files[1], cache=tmp_path / "file")
    store = PictureStore(files[1], cache=tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    with pytest.raises(SourceError, match=r"cannot be kept in .*cache: No such file.*; make room"):
        store[0]


def test_pictures_that_have_gone_are_named(files):
    store = PictureStore(files[1])
    files[1][0].unlink()
    with pytest.raises(SourceError, match=r"colour\.png cannot be read"):
        store[0]


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
