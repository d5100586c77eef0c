import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowtrack.errors import OptionError, SourceError
from flowtrack.runtime.video import SourceOptions, expand_sources, open_source
from flowtrack.runtime.video.container import without_password
from tests.runtime.video.samples import make_video

REAL = Path(__file__).parents[4] / "shared" / "real"


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    return path


def names(*texts):
    return [spec.name for spec in expand_sources([str(text) for text in texts])]


def test_a_folder_of_videos_becomes_its_videos(tmp_path):
    for name in ("b10.mp4", "b2.avi", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).touch()
    specs = expand_sources([str(tmp_path)])
    assert [(spec.text, spec.name) for spec in specs] == [
        (str(tmp_path / "b2.avi"), "b2"), (str(tmp_path / "b10.mp4"), "b10"),
    ]  # fmt: skip
    with pytest.raises(SourceError, match="holds 2 videos"):
        open_source(tmp_path)


def test_patterns_and_folders(tmp_path):
    for clip in ("x", "y"):
        for number in (1, 2):
            picture(tmp_path / clip / f"{number}.jpg")
    (tmp_path / "z.mp4").touch()
    assert names(f"{tmp_path}/*") == ["x", "y", "z"]
    assert names(f"{tmp_path}/x/*.jpg", tmp_path / "y") == ["x", "y"]
    one = expand_sources([f"{tmp_path}/**/1.jpg"])
    assert len(one) == 1
    assert [path.parent.name for path in one[0].pictures] == ["x", "y"]
    with one[0].open() as source:
        assert [frame.index for frame in source] == [0, 1]
        assert source.frame_name(1) == "y/1.jpg"


def test_equal_names_are_told_apart(tmp_path):
    for name in ("a/clip.mp4", "b/clip.mp4", "b/Clip.avi", "c/other.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    got = names(*(tmp_path / n for n in ("a/clip.mp4", "b/clip.mp4", "c/other.mp4")))
    assert got == ["a_clip", "b_clip", "other"]
    got = names(*(tmp_path / n for n in ("a/clip.mp4", "b/clip.mp4", "b/Clip.avi")))
    assert got == ["a_clip", "b_clip_mp4", "b_Clip_avi"]


def test_what_is_named_twice_is_taken_once(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").touch()
    monkeypatch.chdir(tmp_path)
    assert names("clip.mp4", "./clip.mp4", tmp_path / "clip.mp4") == ["clip"]


def test_names_of_cameras_and_streams():
    assert names("0", "rtsp://u:p@10.0.0.5:554/cam/1?x=2", "http://host/a/clip.mp4") == [
        "camera0", "10.0.0.5_cam_1", "clip",
    ]  # fmt: skip


def test_the_folder_itself(tmp_path, monkeypatch):
    picture(tmp_path / "walk" / "1.jpg")
    monkeypatch.chdir(tmp_path / "walk")
    assert names(".") == ["walk"]
    with open_source(".") as source:
        assert source.name == "walk"
        assert source.frame_name(0) == "walk/1.jpg"


@pytest.mark.parametrize("function", [open_source, lambda text: expand_sources([text])])
def test_errors_before_opening(tmp_path, function):
    with pytest.raises(SourceError, match=r"no file or folder .*gone\.mp4.*expected a video"):
        function(str(tmp_path / "gone.mp4"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds nothing"):
        function(str(tmp_path / "empty"))
    with pytest.raises(SourceError, match=r"pattern .*matches no file"):
        function(f"{tmp_path}/*.jpg")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    with pytest.raises(SourceError, match="holds 1 files, none of them"):
        function(str(tmp_path / "texts"))
    with pytest.raises(SourceError, match=r"matches only a\.txt"):
        function(f"{tmp_path}/texts/*")
    picture(tmp_path / "both" / "1.jpg")
    (tmp_path / "both" / "1.mp4").touch()
    with pytest.raises(SourceError, match="1 pictures and 1 videos"):
        function(str(tmp_path / "both"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 2)
    path.chmod(0)
    with pytest.raises(SourceError, match=r"cannot read .*clip\.mp4: Permission denied"):
        open_source(path)


def test_a_pattern_with_several_clips_is_not_one_source(tmp_path):
    make_video(tmp_path / "a.mp4", 2)
    make_video(tmp_path / "b.mp4", 2)
    with pytest.raises(SourceError, match="stands for 2 clips"):
        open_source(f"{tmp_path}/*.mp4")
    with open_source(f"{tmp_path}/a*.mp4", name="mine") as source:
        assert (source.name, len(list(source))) == ("mine", 2)


def test_brackets_in_a_name_are_no_pattern_if_the_file_is_there(tmp_path):
    path = make_video(tmp_path / "clip[1].mp4", 2)
    with open_source(str(path)) as source:
        assert len(list(source)) == 2


def test_passwords_are_hidden():
    assert without_password("rtsp://me:secret@cam/1") == "rtsp://me:***@cam/1"
    assert without_password("rtsp://me:a@b:c@cam/1") == "rtsp://me:***@cam/1"
    assert without_password("http://cam:80/me@x") == "http://cam:80/me@x"
    with pytest.raises(SourceError) as caught:
        open_source("rtsp://me:secret@127.0.0.1:9/x", timeout_s=1.0)
    assert "secret" not in str(caught.value)
    assert "rtsp://me:***@127.0.0.1:9/x" in str(caught.value)
    assert "check the address" in str(caught.value)


def test_no_camera():
    with pytest.raises(SourceError, match="camera 97"):
        open_source("97", timeout_s=1.0)


@pytest.mark.parametrize(
    ("name", "count", "size", "last_s"),
    [
        ("mmaction2_demo_skeleton.mp4", 72, (1920, 1080), 2.533),
        ("pose2sim_multi_cam01.mp4", 100, (1088, 1920), 1.65),
        ("vtest_gautam.avi", 795, (480, 360), 79.4),
    ],
)
def test_real_videos(name, count, size, last_s):
    path = REAL / "video" / name
    if not path.is_file():
        pytest.skip(f"the real video {name} is not beside this repository")
    with open_source(path) as source:
        last = None
        for frame in source:
            last = frame
    assert last is not None
    assert (last.index, source.frame_count) == (count - 1, count)
    assert last.time_s == pytest.approx(last_s, abs=2e-3)
    assert (source.width, source.height) == size
    assert source.problems == []


def test_a_rate_is_for_pictures_only(tmp_path):
    picture(tmp_path / "walk" / "1.jpg")
    with open_source(tmp_path / "walk", SourceOptions(fps=10)) as source:
        assert source.fps == 10
    with pytest.raises(OptionError):
        open_source(make_video(tmp_path / "a.mp4", 2), SourceOptions(fps=10))
