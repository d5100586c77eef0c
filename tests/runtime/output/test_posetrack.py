import json
import logging
from dataclasses import dataclass

import numpy as np
import pytest

from flowtrack.runtime.output import NamedClip, PoseTrack17Writer, PoseTrack18Writer
from flowtrack.skeleton import COCO_17, POSETRACK18_17
from flowtrack.structs import Poses, TrackedFrame, Tracks
from tests.runtime.output.samples import SKELETON, frame, picture


@dataclass(frozen=True)
class Gone:
    indices: range


def written(path, kind, frames, *, skeleton=SKELETON, clip=None, complete=True):
    writer = kind(path, skeleton, clip or NamedClip("walk"))
    for item in frames:
        writer.write(item, picture())
    writer.close(complete=complete)
    return json.loads(path.read_text())


def test_2017_by_hand(tmp_path):
    frames = [frame(0, {3: [0, 14], 4: []}), frame(1, {})]
    got = written(tmp_path / "a.json", PoseTrack17Writer, frames)
    assert got == {
        "annolist": [
            {
                "image": [{"name": "walk/000000.jpg"}],
                "annorect": [
                    {
                        "track_id": [3],
                        "score": [0.456],  # 0.8 * mean(0.50, 0.64)
                        "annopoints": [
                            {
                                "point": [
                                    {"id": [0], "x": [30.0], "y": [100.0], "score": [0.5]},
                                    {"id": [14], "x": [44.0], "y": [114.0], "score": [0.64]},
                                ]
                            }
                        ],
                    }
                ],
            },
            {"image": [{"name": "walk/000001.jpg"}], "annorect": []},
        ]
    }


def coco_frame():
    xy = np.full((1, 17, 2), np.nan, np.float32)
    for joint, point in {
        "nose": (50, 20), "left_ear": (55, 20), "left_shoulder": (70, 40),
        "right_shoulder": (30, 44), "right_ankle": (32, 200),
    }.items():  # fmt: skip
        xy[0, COCO_17.index(joint)] = point
    score = np.full((1, 17), 0.9, np.float32)
    score[0, COCO_17.index("right_shoulder")] = 0.6
    poses = Poses(xy, score, [[10, 5, 90, 205]], [0.5])
    return TrackedFrame(0, 0.0, poses, Tracks([8], [0], [np.nan]))


def test_coco_joints_become_posetrack_2017(tmp_path):
    got = written(tmp_path / "a.json", PoseTrack17Writer, [coco_frame()], skeleton=COCO_17)
    person = got["annolist"][0]["annorect"][0]
    points = {p["id"][0]: (p["x"][0], p["y"][0], p["score"][0]) for p in
              person["annopoints"][0]["point"]}  # fmt: skip
    assert points == {
        0: (32.0, 200.0, 0.9), 8: (30.0, 44.0, 0.6), 9: (70.0, 40.0, 0.9),
        12: (50.0, 42.0, 0.6),  # neck: middle of the shoulders
        13: (50.0, 20.0, 0.9),
        14: (50.0, -2.0, 0.6),  # head top: as far above the nose as the neck is below
    }  # fmt: skip
    assert person["score"] == [pytest.approx(0.5 * (0.9 * 4 + 0.6) / 5)]


def test_2018_by_hand(tmp_path):
    frames = [coco_frame(), TrackedFrame(1, 0.04, Poses.empty(17), Tracks.empty())]
    got = written(tmp_path / "a.json", PoseTrack18Writer, frames, skeleton=COCO_17)
    assert got["images"] == [
        {"id": 0, "frame_id": 0, "file_name": "walk/000000.jpg", "vid_id": "walk", "nframes": 2,
         "is_labeled": True},
        {"id": 1, "frame_id": 1, "file_name": "walk/000001.jpg", "vid_id": "walk", "nframes": 2,
         "is_labeled": False},
    ]  # fmt: skip
    (person,) = got["annotations"]
    assert person["image_id"] == 0
    assert person["track_id"] == 8
    assert person["category_id"] == 1
    assert person["bbox"] == [10.0, 5.0, 80.0, 200.0]
    keypoints = np.array(person["keypoints"]).reshape(17, 3)
    want = np.zeros((17, 3))
    for joint, point in {
        "nose": (50, 20, 1), "head_bottom": (50, 42, 1), "head_top": (50, -2, 1),
        "left_shoulder": (70, 40, 1), "right_shoulder": (30, 44, 1), "right_ankle": (32, 200, 1),
    }.items():  # fmt: skip
        want[POSETRACK18_17.index(joint)] = point
    np.testing.assert_array_equal(keypoints, want)  # the ear is never labelled
    scores = np.array(person["scores"])
    assert scores.shape == (17,)
    assert (scores > 0).tolist() == (want[:, 2] > 0).tolist()
    (category,) = got["categories"]
    assert category["keypoints"] == list(POSETRACK18_17.joints)
    assert category["name"] == "person"
    assert min(min(edge) for edge in category["skeleton"]) >= 1


def test_2018_box_around_the_joints_where_there_is_none(tmp_path):
    item = coco_frame()
    poses = Poses(item.poses.xy, item.poses.score, [[np.nan] * 4], [0.5])
    item = TrackedFrame(0, 0.0, poses, item.tracks)
    got = written(tmp_path / "a.json", PoseTrack18Writer, [item], skeleton=COCO_17)
    assert got["annotations"][0]["bbox"] == [30.0, -2.0, 40.0, 202.0]


def names_17(got):
    return [entry["image"][0]["name"][-10:-4] for entry in got["annolist"]]


def names_18(got):
    return [image["file_name"][-10:-4] for image in got["images"]]


@pytest.mark.parametrize(
    ("kind", "names"), [(PoseTrack17Writer, names_17), (PoseTrack18Writer, names_18)]
)
def test_lost_frames_have_entries_so_that_positions_stay_right(tmp_path, kind, names):
    clip = NamedClip("walk", problems=(Gone(range(2, 4)), Gone(range(0)), Gone(range(6, 8))))
    frames = [frame(i, {1: [0]}) for i in (0, 1, 4, 5)]
    got = written(tmp_path / "a.json", kind, frames, clip=clip)
    assert names(got) == [f"{i:06d}" for i in range(8)]
    # A run that was stopped has not reached the last ones, though reading was ahead.
    got = written(tmp_path / "a.json", kind, frames, clip=clip, complete=False)
    assert names(got) == [f"{i:06d}" for i in range(6)]


def test_lost_frames_at_the_start_and_strides(tmp_path):
    clip = NamedClip("walk", problems=(Gone(range(0, 4, 2)),))
    got = written(tmp_path / "a.json", PoseTrack17Writer, [frame(4, {})], clip=clip)
    assert names_17(got) == ["000000", "000002", "000004"]


@pytest.mark.parametrize("kind", [PoseTrack17Writer, PoseTrack18Writer])
def test_without_frames_the_file_is_valid(tmp_path, kind):
    got = written(tmp_path / "a.json", kind, [])
    assert got.get("annolist", got.get("images")) == []


def test_ids_that_poseval_refuses_are_pointed_out(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "flowtrack"):
        written(tmp_path / "a.json", PoseTrack17Writer, [frame(0, {9_999: [0]})])
        assert not caplog.records
        written(tmp_path / "a.json", PoseTrack17Writer, [frame(i, {10_000: [0]}) for i in (0, 1)])
    assert len(caplog.records) == 1


def test_memory_stays_bounded(tmp_path):
    import tracemalloc

    people = {i: list(range(15)) for i in range(5)}
    writer = PoseTrack17Writer(tmp_path / "a.json", SKELETON, NamedClip("walk"))
    writer.write(frame(0, people), picture())
    tracemalloc.start()
    for index in range(1, 150):
        writer.write(frame(index, people), picture())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    writer.close()
    assert (tmp_path / "a.json").stat().st_size > 500_000
    assert peak < 200_000
