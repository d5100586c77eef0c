"""Data sets in PoseTrack's forms: which pictures belong to a clip, and what is refused."""

import gzip
import json

import cv2
import numpy as np
import pytest

from flowtrack.errors import InputError, SourceError
from flowtrack.evaluation.deployed.posetrack_set import open_clips
from flowtrack.skeleton import POSETRACK18_17
from flowtrack.synthetic import ClipOptions
from flowtrack.synthetic.writing import write_clip

KEYPOINTS = list(POSETRACK18_17.joints)


def pictures(folder, names, size=(8, 6)):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((*size[::-1], 3), number, np.uint8))


def truth17(path, names):
    content = {"annolist": [{"image": [{"name": name}], "annorect": []} for name in names]}
    path.write_text(json.dumps(content))
    return path


def truth18(path, names):
    images = [
        {"id": 10 + i, "frame_id": i, "file_name": name, "vid_id": "1"}
        for i, name in enumerate(names)
    ]
    category = {"id": 1, "name": "person", "keypoints": KEYPOINTS}
    content = {"images": images, "annotations": [], "categories": [category]}
    path.write_text(json.dumps(content))
    return path


NAMES = [f"images/val/7_mpii/{n:08d}.jpg" for n in (1, 2, 3)]


@pytest.mark.parametrize("write", [truth17, truth18])
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_pictures_are_found_with_or_without_leading_folders(tmp_path, write, cut):
    pictures(tmp_path / "set", ["/".join(name.split("/")[cut:]) for name in NAMES])
    (clip,) = open_clips(write(tmp_path / "7_mpii.json", NAMES), tmp_path / "set")
    assert clip.name == "7_mpii"
    assert [frame.image[0, 0, 0] for frame in clip.frames()] == pytest.approx([0, 1, 2], abs=1)
    assert [frame.index for frame in clip.frames()] == [0, 1, 2]
    assert clip.listed == (0, 1, 2)
    assert [clip.frame_name(i) for i in range(3)] == NAMES


def test_the_truths_folder_is_where_names_start(tmp_path):
    pictures(tmp_path, NAMES)
    (clip,) = open_clips(truth17(tmp_path / "a.json", NAMES))
    assert [path.name for path in clip.pictures] == [name.split("/")[-1] for name in NAMES]


def test_a_packed_truth(tmp_path):
    pictures(tmp_path, NAMES)
    plain = truth17(tmp_path / "a.json", NAMES)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    (clip,) = open_clips(tmp_path / "b.json.gz", tmp_path)
    assert (clip.name, len(clip)) == ("b", 3)


def test_what_the_synthetic_writer_leaves(tmp_path):
    options = ClipOptions(width=64, height=48, frames=2, people=1)
    for name in ("b", "a"):
        write_clip(tmp_path, options, name=name)
    clips = open_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a", "b"]  # each once, though in both forms
    assert [len(clip) for clip in clips] == [2, 2]
    assert clips[0].truth.frames[0].name == "a/000001.png"


@pytest.mark.parametrize(
    ("there", "listed", "tracked"),
    [
        ([1, 2, 3, 4, 5, 6, 7], [2, 4, 6], [2, 3, 4, 5, 6]),
        ([1, 5, 9], [1, 5, 9], [1, 5, 9]),
        ([8, 9, 10, 11], [9, 11], [9, 10, 11]),
        ([1, 2, 3], [3, 1], [3, 1]),  # no order to go by
        ([4], [4], [4]),
    ],
)
def test_pictures_between_those_of_the_truth_are_tracked(tmp_path, there, listed, tracked):
    pictures(tmp_path, [f"c/{n:04d}.png" for n in there])
    pictures(tmp_path, ["c/other_0003.png", "c/0003.jpg", "c/0003.txt.png"])
    path = truth17(tmp_path / "c.json", [f"c/{n:04d}.png" for n in listed])
    (clip,) = open_clips(path)
    assert [int(picture.stem) for picture in clip.pictures] == tracked
    assert [tracked[place] for place in clip.listed] == listed
    for place, picture in enumerate(clip.pictures):
        number = int(picture.stem)
        expected = f"c/{number:04d}.png" if number in listed else f"{number:04d}.png"
        assert clip.frame_name(place) == expected


def test_numbers_count_and_not_suffixes(tmp_path):
    for name in ("img1_09.jp2", "img1_10.jp2", "img1_11.jp2", "img2_10.jp2"):
        (tmp_path / name).touch()
    (clip,) = open_clips(truth17(tmp_path / "c.json", ["img1_09.jp2", "img1_11.jp2"]))
    assert [path.name for path in clip.pictures] == ["img1_09.jp2", "img1_10.jp2", "img1_11.jp2"]


def test_a_missing_picture_is_named(tmp_path):
    pictures(tmp_path, NAMES[:1] + NAMES[2:])
    path = truth17(tmp_path / "a.json", NAMES)
    with pytest.raises(SourceError, match=r"a\.json: frame 1: there is no picture .*00000002\.jpg"):
        open_clips(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"frame 0: .*; name the folder .* with --images"):
        open_clips(path, tmp_path / "empty")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([NAMES[0], NAMES[1], NAMES[0]], "frame 2 names the picture .* once more"),
        ([NAMES[0], ""], "frame 1: the picture's name is ''"),
        (["../a.jpg"], r"frame 0: the picture's name is '\.\./a\.jpg'"),
        ([], "lists no frames"),
    ],
)
def test_bad_names_are_refused(tmp_path, names, message):
    pictures(tmp_path, NAMES)
    with pytest.raises(InputError, match=message):
        open_clips(truth17(tmp_path / "a.json", names))


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.json file"):
        open_clips(tmp_path)
    pictures(tmp_path, NAMES)
    path = truth17(tmp_path / "a.json", NAMES)
    with pytest.raises(SourceError, match="is no folder"):
        open_clips(path, path)
    truth17(tmp_path / "a.posetrack.json", NAMES)
    with pytest.raises(InputError, match="more than one file is of clip 'a'"):
        open_clips(tmp_path)


def test_another_size_is_named(tmp_path):
    pictures(tmp_path, ["1.png", "2.png"])
    pictures(tmp_path, ["3.png"], size=(6, 6))
    (clip,) = open_clips(truth17(tmp_path / "a.json", ["1.png", "2.png", "3.png"]))
    with pytest.raises(SourceError, match=r"3\.png is 6x6 pixels, .*1\.png 8x6"):
        list(clip.frames())


def test_the_digest_is_of_the_pictures_alone(tmp_path):
    pictures(tmp_path, ["a/1.png", "a/2.png"])
    pictures(tmp_path, ["b/x.png", "b/y.png"])
    one, other = (
        open_clips(truth17(tmp_path / f"{names[0][0]}.json", names))[0]
        for names in (["a/1.png", "a/2.png"], ["b/x.png", "b/y.png"])
    )
    assert one.digest() == other.digest()
    pictures(tmp_path, ["b/y.png"])
    assert one.digest() != other.digest()
