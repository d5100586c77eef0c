import json

import cv2
import numpy as np
import pytest

from flowtrack.errors import OptionError, OutputError
from flowtrack.flo import read_flo
from flowtrack.synthetic import ClipOptions, posetrack17, posetrack18, render_clip, write_clip
from tests.reference import poseval

OPTIONS = ClipOptions(width=160, height=120, frames=6, people=4, seed=2)
NAME = "000001_synthetic_test"


@pytest.fixture(scope="module")
def frames():
    return list(render_clip(OPTIONS))


@pytest.fixture(scope="module")
def names():
    return [f"{NAME}/{number:06d}.png" for number in range(1, OPTIONS.frames + 1)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    return write_clip(folder, OPTIONS, name=NAME, flow=True, video=True)


def test_the_truth_is_perfect_against_itself(written):
    first = poseval.read_posetrack(written.posetrack17)
    second = poseval.read_posetrack(written.posetrack18)
    assert len(first) == OPTIONS.frames
    for truth, results in ((first, first), (first, second), (second, first)):
        mota = poseval.mota(truth, results)
        assert mota.total == 100
        assert mota.ids == mota.truth_ids >= 3
        assert poseval.pckh(truth, results) == pytest.approx(100)


def test_the_files_hold_the_frames(written, frames):
    for path, frame in zip(written.pictures, frames, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(path)), frame.image)
    for path, frame in zip(written.flows, frames[:-1], strict=True):
        np.testing.assert_array_equal(read_flo(path), frame.flow.uv)
        mask = cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(mask > 0, frame.flow_valid)
    reader = cv2.VideoCapture(str(written.video))
    shown = [picture for ok, picture in iter(reader.read, (False, None)) if ok]
    assert len(shown) == OPTIONS.frames
    assert np.abs(shown[0].astype(int) - frames[0].image).mean() < 8


def test_only_what_can_be_seen_is_labelled_unless_asked_for(frames, names):
    seen, everything = posetrack17(frames, names), posetrack17(frames, names, hidden=True)

    def flags(content):
        return [
            point["is_visible"][0]
            for entry in content["annolist"]
            for rect in entry["annorect"]
            for point in rect["annopoints"][0]["point"]
        ]

    assert set(flags(seen)) == {1}
    assert set(flags(everything)) == {0, 1}
    assert sum(flags(everything)) == len(flags(seen))


def test_head_points_are_derived_or_measured(frames, names):
    def head_tops(head):
        content = posetrack17(frames, names, hidden=True, head=head)
        return np.array(
            [
                (point["x"][0], point["y"][0])
                for entry in content["annolist"]
                for rect in entry["annorect"]
                for point in rect["annopoints"][0]["point"]
                if point["id"] == [14]
            ]
        )

    nose, shoulders = frames[0].keypoints[0, 0, :2], frames[0].keypoints[0, 5:7, :2]
    wanted = 2 * nose - shoulders.mean(axis=0)
    assert np.linalg.norm(head_tops("derived") - wanted, axis=1).min() < 0.01
    measured = frames[0].posetrack[0, 14, :2]
    assert np.linalg.norm(head_tops("measured") - measured, axis=1).min() < 0.01


def test_the_2018_form_has_its_own_fields(frames, names):
    content = posetrack18(frames, names)
    assert [image["frame_id"] for image in content["images"]] == list(range(OPTIONS.frames))
    assert {image["vid_id"] for image in content["images"]} == {"000001"}
    for entry in content["annotations"]:
        joints = np.array(entry["keypoints"]).reshape(17, 3)
        assert (joints[3:5] == 0).all(), "ears are never labelled"
        labelled = joints[joints[:, 2] > 0, :2]
        x, y, width, height = entry["bbox"]
        extent = np.ptp(labelled, axis=0)
        np.testing.assert_allclose((width, height), 1.3 * extent, atol=0.01)
        np.testing.assert_allclose(
            (x + width / 2, y + height / 2), (labelled.min(0) + labelled.max(0)) / 2, atol=0.01
        )
    json.dumps(content, allow_nan=False)


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imwrite", lambda *_: False)
    with pytest.raises(OutputError, match="cannot write"):
        write_clip(tmp_path, ClipOptions(width=64, height=48, frames=1, people=1))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "clip.posetrack.json").write_text("mine")
    with pytest.raises(OutputError, match="there already"):
        write_clip(tmp_path, ClipOptions(width=64, height=48, frames=1, people=1))
    assert (tmp_path / "clip.posetrack.json").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_stay_in_the_folder(tmp_path, name):
    with pytest.raises(OptionError, match="plain file name"):
        write_clip(tmp_path, name=name)


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(OptionError, match="gif"):
        write_clip(tmp_path, pictures="gif")
