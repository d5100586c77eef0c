import json
import logging

import numpy as np
import pytest

from flowtrack.errors import InputError, SourceError
from flowtrack.runtime.output import JsonLinesWriter, read_jsonl
from flowtrack.runtime.output.jsonl import to_line
from flowtrack.structs import Poses, TrackedFrame, Tracks
from tests.runtime.output.samples import frame, picture

TWO = TrackedFrame(
    index=7,
    time_s=0.28,
    poses=Poses(
        xy=[[[1.234567, 2], [np.nan, np.nan]], [[3, 4.004], [-5.5, 1e6]]],
        score=[[0.91234567, 0.1], [0.5, 1.0]],
        box=[[0, 1, 2, 3.333], [4, 5, 6, 7]],
        box_score=[0.5, 0.8],
    ),
    tracks=Tracks([3, 11], [0, 0], [np.nan, 0.5]),
)


def write(path, frames):
    with JsonLinesWriter(path) as writer:
        for item in frames:
            writer.write(item, picture())
    return path


def test_a_line_is_what_the_design_says():
    assert json.loads(to_line(TWO)) == {
        "frame": 7,
        "time_s": 0.28,
        "people": [
            {
                "id": 3,
                "score": 0.4562,  # 0.5 * 0.91234567: the missing joint does not count
                "box": [0.0, 1.0, 2.0, 3.33],
                "keypoints": [[1.23, 2.0, 0.9123], None],
            },
            {
                "id": 11,
                "score": 0.6,  # 0.8 * mean(0.5, 1.0)
                "box": [4.0, 5.0, 6.0, 7.0],
                "keypoints": [[3.0, 4.0, 0.5], [-5.5, 1000000.0, 1.0]],
            },
        ],
    }


def test_numbers_that_json_cannot_hold_become_null():
    poses = Poses([[[1, 2]]], [[0.5]], [[np.nan, np.inf, 1, 2]], [np.nan])
    line = to_line(TrackedFrame(0, 0.0, poses, Tracks([0], [0], [0])))
    person = json.loads(line)["people"][0]
    assert person["box"] == [None, None, 1.0, 2.0]
    assert person["score"] is None


def test_round_trip(tmp_path):
    frames = [frame(0, {}), frame(1, {2: [0, 1, 14], 5: [7]}), frame(4, {2: [3]}), frame(5, {})]
    got = list(read_jsonl(write(tmp_path / "clip.jsonl", frames)))
    assert [(f.index, f.time_s) for f in got] == [(f.index, f.time_s) for f in frames]
    for a, b in zip(got, frames, strict=True):
        np.testing.assert_array_equal(a.tracks.id, b.tracks.id)
        np.testing.assert_array_equal(a.poses.missing, b.poses.missing)
        np.testing.assert_allclose(a.poses.xy, b.poses.xy, atol=0.005)
        there = ~b.poses.missing
        np.testing.assert_allclose(a.poses.score[there], b.poses.score[there], atol=5e-5)
        np.testing.assert_allclose(a.poses.box, b.poses.box, atol=0.005)
        np.testing.assert_allclose(a.poses.instance_score, b.poses.instance_score, atol=1e-4)
        assert a.poses.xy.shape[1] == 15
    assert got[2].tracks.age.tolist() == [3]


def test_a_clip_without_people(tmp_path):
    path = write(tmp_path / "clip.jsonl", [frame(0, {}), frame(1, {})])
    assert path.read_text() == (
        '{"frame":0,"time_s":0.0,"people":[]}\n{"frame":1,"time_s":0.04,"people":[]}\n'
    )
    assert [len(f.poses) for f in read_jsonl(path)] == [0, 0]


def test_what_a_killed_process_leaves_can_be_read(tmp_path, caplog):
    path = write(tmp_path / "clip.jsonl", [frame(i, {1: [0]}) for i in range(3)])
    path.write_text(path.read_text()[:-20])
    with caplog.at_level(logging.WARNING, "flowtrack"):
        assert [f.index for f in read_jsonl(path)] == [0, 1]
    assert "cut off" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"frame":0}\n', "without 'people'"),
        ("[1, 2]\n", "without 'people'"),
        ("nonsense\n{}\n", "line 1 is not JSON"),
        ('{"frame":0,"time_s":0,"people":[{"keypoints":[],"box":[0,0,1,1]}]}\n', "line 1"),
    ],
)
def test_foreign_lines_are_refused(tmp_path, text, message):
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_jsonl(path))


def test_a_missing_file(tmp_path):
    with pytest.raises(SourceError, match=r"cannot read .*gone\.jsonl"):
        list(read_jsonl(tmp_path / "gone.jsonl"))
