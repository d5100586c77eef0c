"""Folders of result files, counted in one process or several."""

import numpy as np
import pytest

from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation import folders
from flowtrack.evaluation.folders import evaluate_files
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.posetrack_files import pair_files, read_pairs
from flowtrack.evaluation.posetrack_writing import write_posetrack
from tests.evaluation.samples import frame, person, random_clips, sequence


@pytest.fixture
def place(tmp_path):
    rng = np.random.default_rng(8)
    for side in ("truth", "results"):
        (tmp_path / side).mkdir()
    for number in range(3):
        for side, clip in zip(("truth", "results"), random_clips(rng, 20), strict=True):
            write_posetrack(tmp_path / side / f"clip{number}.json", sequence(clip), 2017)
    return tmp_path


def pairs(place):
    return pair_files(place / "truth", place / "results")


def test_files_are_counted_as_in_memory(place):
    called = []
    scores = evaluate_files(pairs(place), "body12", progress=lambda: called.append(1))
    truth, results = zip(*read_pairs(place / "truth", place / "results"), strict=True)
    assert scores.as_dict() == evaluate(truth, results, "body12").as_dict()
    assert [clip.name for clip in scores.clips] == ["clip0", "clip1", "clip2"]
    assert len(called) == 3


def test_several_processes_count_the_same(place, monkeypatch):
    monkeypatch.setattr(folders, "_WORTH_BYTES", 0)
    called = []
    scores = evaluate_files(pairs(place), processes=2, progress=lambda: called.append(1))
    assert scores.as_dict() == evaluate_files(pairs(place)).as_dict()
    assert len(called) == 3


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_wrong_with_a_file_is_said(place, monkeypatch, processes):
    monkeypatch.setattr(folders, "_WORTH_BYTES", 0)
    (place / "results" / "clip1.json").write_text('{"annolist": [')
    with pytest.raises(InputError, match=r"results.clip1\.json is not valid JSON \(cut short\?\)"):
        evaluate_files(pairs(place), processes=processes)


def test_frame_counts_that_differ_name_both_files(place):
    write_posetrack(place / "results" / "clip2.json", sequence([frame(person(1))]), 2017)
    with pytest.raises(
        InputError, match=r"results.clip2\.json has 1 frames, its truth .*truth.clip2\.json 20;"
    ):
        evaluate_files(pairs(place))


def test_a_missing_head_box_names_file_and_frame(place):
    headless = sequence([frame(person(1)), frame(person(4, head=None))])
    write_posetrack(place / "truth" / "clip0.json", headless, 2017)
    write_posetrack(place / "results" / "clip0.json", headless, 2017)
    with pytest.raises(InputError, match=r"truth.clip0\.json: frame 1: person 4 .* no head box"):
        evaluate_files(pairs(place))


def test_wrong_requests_are_refused(place):
    with pytest.raises(OptionError, match="processes is 0"):
        evaluate_files(pairs(place), processes=0)
    with pytest.raises(OptionError, match="joint set 'legs'"):
        evaluate_files(pairs(place), "legs")


def test_boxes_are_paired_by_name(tmp_path):
    for side in ("truth", "results"):
        (tmp_path / side).mkdir()
    (tmp_path / "truth" / "a.txt").touch()
    (tmp_path / "truth" / "notes.json").touch()
    with pytest.raises(InputError, match=r"no results of a\.txt, expected a\.txt$"):
        pair_files(tmp_path / "truth", tmp_path / "results", (".txt",))
    (tmp_path / "results" / "a.txt").touch()
    ((truth, results),) = pair_files(tmp_path / "truth", tmp_path / "results", (".txt",))
    assert (truth.parent.name, results.parent.name) == ("truth", "results")
