"""Boxes of MOTChallenge: reading, overlap, and the same machinery as for poses."""

import json
import math

import motmetrics
import numpy as np
import pytest

from flowtrack.errors import InputError
from flowtrack.evaluation.mot_boxes import (
    compare_boxes,
    evaluate_boxes,
    read_mot,
)
from tests.evaluation.samples import boxes, random_boxes

LINES = """\
2,4,10,20,30,40,1,-1,-1,-1
1,4,11,20,30,40,0,-1,-1,-1

1,5,1.5,2.5,3,4,0.25,1,0.5
"""


def written(tmp_path, text, name="clip.txt"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_lines_are_sorted_by_frame(tmp_path):
    clip = read_mot(written(tmp_path, LINES))
    assert clip.name == "clip"
    assert clip.frame.tolist() == [1, 1, 2]
    assert clip.track_id.tolist() == [4, 5, 4]
    assert clip.xyxy[1].tolist() == [1.5, 2.5, 4.5, 6.5]
    assert clip.score.tolist() == [0, 0.25, 1]


def test_of_the_truth_only_what_is_marked_counts(tmp_path):
    clip = read_mot(written(tmp_path, LINES), truth=True)
    assert clip.track_id.tolist() == [5, 4]


def test_an_empty_file_has_no_boxes(tmp_path):
    assert read_mot(written(tmp_path, "\n")).xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,2,3,4,5,1\n1,2,x,3,4,5,1\n", "line 2: could not convert .*'x'.*; expected frame, id"),
        ("1,1,2,3,4,5\n", "line 1 is '1,1,2,3,4,5', expected numbers frame"),
        ("1,1,2,3,nan,5,1\n", "line 1 is .*nan"),
        ("0,1,2,3,4,5,1\n", "line 1: frame 0 and id 1, expected .* from 1"),
        ("1.5,1,2,3,4,5,1\n", "line 1: frame 1.5"),
        ("1,1.5,2,3,4,5,1\n", "id 1.5, expected whole"),
        ("1,1,2,3,4,5,1\n2,7,2,3,4,5,1\n2,7,9,9,4,5,1\n", "frame 2: id 7 occurs twice"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"clip\.txt.*{message}"):
        read_mot(written(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.txt"):
        read_mot(tmp_path / "nowhere.txt")


def test_overlap_is_one_minus_distance():
    truth = boxes([(1, 1, 0, 0), (1, 2, 100, 0), (3, 1, 0, 0)])
    results = boxes([(1, 5, 0, 5), (2, 5, 0, 0), (3, 5, 10, 0)])
    compared = compare_boxes(truth, results)
    assert compared.truth_start.tolist() == [0, 2, 2, 3]
    assert compared.result_start.tolist() == [0, 1, 2, 3]
    # Half of each box is 50 of 150; boxes that only touch do not overlap.
    assert compared.distance[:, 0].tolist() == [1 - 50 / 150, math.inf, math.inf]


def figures(truth, results):
    scores = evaluate_boxes([boxes(truth)], [boxes(results)])
    summary = scores.summary()
    return [summary[name] for name in ("misses", "false_positives", "switches", "truths")]


CASES = {
    "perfect": ([(1, 1, 0, 0), (2, 1, 5, 0)], [(1, 7, 0, 0), (2, 7, 5, 0)], [0, 0, 0, 2]),
    "a switch": ([(1, 1, 0, 0), (2, 1, 0, 0)], [(1, 7, 0, 0), (2, 8, 0, 0)], [0, 0, 1, 2]),
    "a frame without results": ([(1, 1, 0, 0), (2, 1, 0, 0)], [(1, 7, 0, 0)], [1, 0, 0, 2]),
    "a frame without truth counts": ([(1, 1, 0, 0)], [(1, 7, 0, 0), (2, 7, 0, 0)], [0, 1, 0, 1]),
    "found above half": ([(1, 1, 0, 0)], [(1, 7, 3.33, 0)], [0, 0, 0, 1]),
    "missed below half": ([(1, 1, 0, 0)], [(1, 7, 3.34, 0)], [1, 1, 0, 1]),
    "kept against a better one": (
        [(1, 1, 0, 0), (2, 1, 0, 0)], [(1, 7, 0, 0), (2, 7, 3, 0), (2, 8, 0, 0)], [0, 1, 0, 2]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_counts_by_hand(case):
    truth, results, want = CASES[case]
    assert figures(truth, results) == want


def test_half_is_found():
    truth, results = boxes([(1, 1, 0, 0)]), boxes([(1, 7, 0, 0)])
    results.xyxy[0, 2] = 5
    assert evaluate_boxes([truth], [results]).summary()["misses"] == 0


def overlap(a, b):
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    common = max(width, 0) * max(height, 0)
    return common / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - common)


@pytest.mark.parametrize("seed", range(8))
def test_random_clips_agree_with_motmetrics(seed):
    truth, results = random_boxes(np.random.default_rng(seed), 60)
    accumulator = motmetrics.MOTAccumulator()
    for number in np.union1d(truth.frame, results.frame):
        rows, columns = (np.flatnonzero(side.frame == number) for side in (truth, results))
        distance = np.array(
            [[1 - overlap(truth.xyxy[i], results.xyxy[j]) for j in columns] for i in rows]
        ).reshape(len(rows), len(columns))
        distance[distance > 0.5] = math.nan
        accumulator.update(
            truth.track_id[rows].tolist(), results.track_id[columns].tolist(), distance,
            frameid=int(number),
        )  # fmt: skip
    names = {"mota": "MOTA", "idf1": "IDF1", "precision": "precision", "recall": "recall"}
    want = motmetrics.metrics.create().compute(
        accumulator, metrics=[*names, "num_switches", "num_misses"], return_dataframe=False
    )
    scores = evaluate_boxes([truth], [results])
    for theirs, ours in names.items():
        assert scores.figures()[ours] == pytest.approx(100 * want[theirs])
    assert scores.summary()["switches"] == want["num_switches"] > 3
    assert scores.summary()["misses"] == want["num_misses"] > 10


def test_table_and_dictionary():
    clips = [random_boxes(np.random.default_rng(seed), 20) for seed in (1, 2)]
    called = []
    scores = evaluate_boxes(*map(list, zip(*clips, strict=True)), lambda: called.append(1))
    assert len(called) == 2
    heading, *rows = scores.table()
    assert heading[:3] == ["clip", "frames", "MOTA"]
    assert [row[0] for row in rows] == ["clip", "clip", "all"]
    assert {len(row) for row in rows} == {len(heading)}
    got = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert rows[-1][2] == f"{got['MOTA']:.1f}"
    assert got["truths"] == sum(one["truths"] for one in got["clips"])
    empty = evaluate_boxes([boxes([])], [boxes([])])
    assert empty.summary()["MOTA"] is None
    assert empty.table()[-1][2] == "-"


def test_numbers_of_clips_must_agree():
    with pytest.raises(InputError, match="1 clips of truth come with 0"):
        evaluate_boxes([boxes([])], [])
    with pytest.raises(InputError, match="0 clips"):
        evaluate_boxes([], [])
