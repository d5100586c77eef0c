"""Bundles on data sets: figures in memory are those of the files that are written."""

import numpy as np
import pytest

from flowtrack.errors import SourceError
from flowtrack.evaluation.deployed.posetrack import run_clips
from flowtrack.evaluation.deployed.posetrack_pictures import worst_frames
from flowtrack.evaluation.deployed.posetrack_set import open_clips
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.evaluation.sequences import PoseFrame, PoseSequence
from flowtrack.tracker.options import TrackerOptions
from tests.evaluation.deployed.puppet_samples import make_bundle, opened, sparse, write_clip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posetrack")
    (folder / "set").mkdir()
    for seed, name in enumerate(("one", "two")):
        write_clip(folder / "set", name, seed=seed)
    make_bundle(folder / "puppets.bundle")
    return folder


@pytest.fixture(scope="module")
def pipeline(place):
    return opened(place / "puppets.bundle").pipeline(TrackerOptions())


def assert_same_frames(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found.frames, expected.frames, strict=True):
        assert one.track_id.tolist() == other.track_id.tolist()
        np.testing.assert_array_equal(one.present, other.present)
        np.testing.assert_array_equal(one.xy[one.present], other.xy[other.present])
        np.testing.assert_array_equal(one.score[one.present], other.score[other.present])


def test_results_in_memory_are_those_of_the_files(place, pipeline, tmp_path):
    clips = open_clips(place / "set")
    told = []
    results = {
        clip.name: found
        for clip, found in run_clips(pipeline, clips, tmp_path, lambda: told.append(1))
    }
    assert len(told) == sum(map(len, clips)) == 16
    assert {path.name for path in tmp_path.iterdir()} == {
        "one.posetrack.json", "two.posetrack.json"
    }  # fmt: skip
    for clip in clips:
        written = read_posetrack(tmp_path / f"{clip.name}.posetrack.json")
        assert_same_frames(results[clip.name], written)
        assert [frame.name for frame in written.frames] == [f.name for f in clip.truth.frames]
    scores = evaluate([clip.truth for clip in clips], list(results.values()), "shared13")
    assert scores.mean_ap > 80


def test_frames_that_the_truth_does_not_list_are_tracked_through(place, pipeline, tmp_path):
    whole = open_clips(place / "set" / "one.json")
    ((_, everything),) = run_clips(pipeline, whole)
    path = sparse(place / "set" / "one.json", tmp_path / "one.json", slice(0, 8, 3))
    some = open_clips(path, place / "set")
    assert len(some[0]) == 7
    ((_, found),) = run_clips(pipeline, some, tmp_path / "out")
    assert_same_frames(found, PoseSequence("one", everything.frames[0:8:3]))
    written = read_posetrack(tmp_path / "out" / "one.posetrack.json")
    assert_same_frames(found, written)
    assert [frame.name for frame in written.frames] == [f"one/{n:05d}.png" for n in (1, 4, 7)]


def test_a_picture_that_cannot_be_read_is_named(place, pipeline, tmp_path):
    write_clip(tmp_path, "bad", frames=3)
    (tmp_path / "bad" / "00002.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"00002\.png"):
        list(run_clips(pipeline, open_clips(tmp_path / "bad.json")))


def test_the_worst_frames_lead(place):
    """Everybody is lost in one frame, and somebody invented in another."""
    clip, _ = open_clips(place / "set")
    frames = list(clip.truth.frames)
    perfect = PoseSequence("one", tuple(frames))
    rows = np.arange(15)
    assert worst_frames([(clip, perfect)], rows) == []
    joints = int(frames[4].present.sum())
    empty = PoseFrame.of([], np.zeros((0, 15, 2)))
    invented = PoseFrame.of([*frames[2].track_id, 99], [*frames[2].xy, np.full((15, 2), 5.0)])
    frames[4], frames[2] = empty, invented
    worst = worst_frames([(clip, PoseSequence("one", tuple(frames)))], rows)
    assert [(bad.place, bad.missed, bad.false) for bad in worst] == [(4, joints, 0), (2, 0, 15)]
    one_joint = worst_frames([(clip, PoseSequence("one", tuple(frames)))], rows[:1])
    assert {bad.false for bad in one_joint} == {0, 1}
