import struct

import cv2
import numpy as np
import pytest

from flowtrack.errors import SourceError
from flowtrack.runtime.video import SourceOptions, open_source, read_picture

RNG = np.random.default_rng(0)
SMOOTH = cv2.GaussianBlur(RNG.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 6)


def save(path, image, params=()):
    assert cv2.imwrite(str(path), image, params)
    return path


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment of a single entry, the orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHII I", 8, 1, 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.fixture
def folder(tmp_path):
    """Pictures 1 to 12; the left half of picture n is grey of level 20 n."""
    path = tmp_path / "walk"
    path.mkdir()
    for number in range(1, 13):
        save(path / f"{number}.png", np.full((20, 30, 3), 20 * number, np.uint8))
    (path / "labels.json").write_text("{}")
    (path / ".hidden.png").write_text("no picture")
    return path


def levels(frames):
    return [int(frame.image[0, 0, 0]) // 20 for frame in frames]


def test_folder_in_natural_order_with_times_and_names(folder):
    with open_source(folder) as source:
        frames = list(source)
    assert levels(frames) == list(range(1, 13))
    assert [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 25)
    assert (source.name, source.frame_count, source.fps) == ("walk", 12, 25.0)
    assert (source.width, source.height) == (30, 20)
    assert [source.frame_name(i) for i in (0, 1, 9)] == ["walk/1.png", "walk/2.png", "walk/10.png"]


def test_choosing_pictures(folder):
    options = SourceOptions(start_s=0.3, stride=3, max_frames=3, fps=10)
    with open_source(folder, options) as source:
        frames = list(source)
    assert [(f.index, f.time_s) for f in frames] == [(3, 0.3), (6, 0.6), (9, 0.9)]
    assert source.frame_count == 3
    with pytest.raises(SourceError, match=r"start is 2 s.*1\.1 s"):
        open_source(folder, SourceOptions(start_s=2, fps=10))


def test_broken_pictures_are_skipped_and_reported(folder, caplog):
    jpeg = save(folder / "5.jpg", SMOOTH[:20, :30]).read_bytes()
    (folder / "5.png").unlink()
    (folder / "5.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "7.png").write_text("no picture")
    (folder / "8.png").write_bytes(b"")
    with open_source(folder) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 5, 8, 9, 10, 11]
    assert [list(problem.indices) for problem in source.problems] == [[4], [6], [7]]
    for problem, name in zip(source.problems, ("5.jpg", "7.png", "8.png"), strict=True):
        assert name in problem.message
        assert name in caplog.text


def test_a_folder_of_broken_pictures(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(SourceError, match=r"none of the pictures can be read.*a\.png"):
        list(open_source(tmp_path))


def test_sizes_may_not_change(folder):
    save(folder / "6.png", np.zeros((21, 30, 3), np.uint8))
    with pytest.raises(SourceError, match=r"6\.png is 30x21 pixels.*30x20"):
        list(open_source(folder))


def test_a_single_picture(folder):
    with open_source(folder / "3.png") as source:
        frames = list(source)
    assert levels(frames) == [3]
    assert source.name == "3"


def test_glob(folder):
    with open_source(f"{folder}/1*.png") as source:
        assert levels(source) == [1, 10, 11, 12]
    assert source.name == "walk"
    assert source.frame_name(1) == "walk/10.png"


def test_grey_alpha_and_deep_pictures_become_bgr(tmp_path):
    grey = save(tmp_path / "grey.png", SMOOTH[..., 0])
    np.testing.assert_array_equal(read_picture(grey), np.repeat(SMOOTH[..., :1], 3, axis=2))
    alpha = RNG.integers(0, 256, (48, 64, 1), np.uint8)
    transparent = save(tmp_path / "alpha.png", np.concatenate([SMOOTH, alpha], axis=2))
    np.testing.assert_array_equal(read_picture(transparent), SMOOTH)
    deep = save(tmp_path / "deep.png", SMOOTH.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(deep), SMOOTH)
    deep_grey = save(tmp_path / "deep.tif", SMOOTH[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(deep_grey), np.repeat(SMOOTH[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (6, lambda image: np.rot90(image, -1)),
        (8, lambda image: np.rot90(image)),
    ],
)
def test_exif_orientation(tmp_path, orientation, turned):
    plain = save(tmp_path / "plain.jpg", SMOOTH, (cv2.IMWRITE_JPEG_QUALITY, 100))
    tagged = tmp_path / "tagged.jpg"
    tagged.write_bytes(with_exif_orientation(plain.read_bytes(), orientation))
    np.testing.assert_array_equal(read_picture(tagged), turned(read_picture(plain)))


def test_a_cut_jpeg_with_a_whole_thumbnail_is_still_cut(tmp_path):
    jpeg = save(tmp_path / "a.jpg", SMOOTH).read_bytes()
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(jpeg) + 2) + jpeg
    whole = jpeg[:2] + thumbnail + jpeg[2:]
    (tmp_path / "whole.jpg").write_bytes(whole + b"trailer \xff\xda of a phone")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "whole.jpg"), read_picture(tmp_path / "a.jpg")
    )
    (tmp_path / "cut.jpg").write_bytes(whole[:-40])
    with pytest.raises(SourceError, match="cut off"):
        read_picture(tmp_path / "cut.jpg")


def test_a_missing_picture(tmp_path):
    with pytest.raises(SourceError, match=r"cannot read .*gone\.png"):
        read_picture(tmp_path / "gone.png")
