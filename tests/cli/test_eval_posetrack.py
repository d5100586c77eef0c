"""`flowtrack eval posetrack` on result files."""

import json

import numpy as np
import pytest

from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.evaluation.posetrack_writing import write_posetrack
from tests.cli.test_commands import invoke
from tests.evaluation.samples import frame, person, random_clips, sequence

BOXES = "1,1,0,0,10,10,1,-1,-1,-1\n2,1,0,0,10,10,1,-1,-1,-1\n2,3,50,0,10,10,0,-1,-1,-1\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posetrack")
    rng = np.random.default_rng(12)
    for side in ("truth", "results", "empty"):
        (folder / side).mkdir()
    for number in range(3):
        truth, results = random_clips(rng, 15)
        write_posetrack(folder / "truth" / f"clip{number}.json", sequence(truth), 2017)
        write_posetrack(folder / "results" / f"clip{number}.json.gz", sequence(results), 2018)
    (folder / "boxes.txt").write_text(BOXES)
    return folder


def pair(place, number=0):
    return [
        "--truth", place / "truth" / f"clip{number}.json",
        "--results", place / "results" / f"clip{number}.json.gz",
    ]  # fmt: skip


def test_the_form_of_the_documentation(place):
    done = invoke("eval", "posetrack", *pair(place), "--json")
    assert done.exit_code == 0, done.output
    got = json.loads(done.stdout)
    truth, results = (read_posetrack(path) for path in pair(place)[1::2])
    assert got == {**evaluate(truth, results).as_dict(), "intervals_95": {}}
    assert {"mAP", "MOTA", "MOTA_corrected", "MOTP_corrected", "IDF1", "HOTA"} <= set(got)


def test_folders_give_a_row_for_each_clip_and_intervals(place):
    arguments = ["--truth", place / "truth", "--results", place / "results"]
    done = invoke("eval", "posetrack", *arguments, "--json")
    got = json.loads(done.stdout)
    assert [clip["clip"] for clip in got["clips"]] == ["clip0", "clip1", "clip2"]
    assert got["frames"] == sum(clip["frames"] for clip in got["clips"])
    for measure, total in (("AP", got["mAP"]), ("MOTA", got["MOTA"])):
        assert got["intervals_95"][measure]["low"] <= total <= got["intervals_95"][measure]["high"]
    done = invoke("eval", "posetrack", *arguments)
    assert done.exit_code == 0, done.output
    for text in ("Shoulder", "MOTA, corrected", "HOTA", "clip2", "3 clips with"):
        assert text in " ".join(done.stdout.split())  # a long path wraps the title
    assert f"{got['MOTA']:.1f}" in done.stdout


def test_joints_are_chosen(place):
    done = invoke("eval", "posetrack", *pair(place), "--joints", "body12", "--json")
    assert len(json.loads(done.stdout)["joints"]) == 12
    assert invoke("eval", "posetrack", *pair(place), "--joints", "head").exit_code == 2


def test_a_page_is_written(place, tmp_path):
    page = tmp_path / "page.html"
    done = invoke("eval", "posetrack", *pair(place), "--html", page, "--json")
    assert done.exit_code == 0, done.output
    assert f"{json.loads(done.stdout)['MOTA']:.1f}" in page.read_text()


def test_boxes_are_known_by_their_ending(place):
    both = ["--truth", place / "boxes.txt", "--results", place / "boxes.txt"]
    got = json.loads(invoke("eval", "posetrack", *both, "--json").stdout)
    # In the truth the box with conf 0 does not count; as a result it is false.
    assert (got["truths"], got["false_positives"], got["MOTA"]) == (2, 1, 50)
    assert "50.0" in invoke("eval", "posetrack", *both).stdout
    for option in (["--joints", "all"], ["--html", "page.html"]):
        done = invoke("eval", "posetrack", *both, *option)
        assert done.exit_code == 2
        assert f"{option[0]} would be ignored" in done.output


@pytest.mark.parametrize("missing", ["--truth", "--results"])
def test_both_sides_are_needed(place, missing):
    arguments = pair(place)
    where = arguments.index(missing)
    del arguments[where : where + 2]
    done = invoke("eval", "posetrack", *arguments)
    assert done.exit_code == 2
    assert f"{missing} is missing" in done.output


NAN = '{"annolist":[{"annorect":[{"track_id":[1],"annopoints":[{"point":[{"id":[0],"x":[1],' \
      '"y":[1],"score":[NaN]}]}]}]}]}'  # fmt: skip
TWICE = '{"annolist":[{"annorect":[{"track_id":[1],"annopoints":[{"point":[]}]},' \
        '{"track_id":[1],"annopoints":[{"point":[]}]}]}]}'  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.json is empty"),
        ('{"annolist": [', "bad.json is not valid JSON (cut short?)"),
        ('{"annolist": []}', "bad.json has 0 frames, its truth"),
        (NAN, "bad.json: frame 0, person 0: 'score' of a point is nan"),
        (TWICE, "bad.json: frame 0: track ids [1, 1] repeat"),
        ('{"images": [{"id": 1}], "annotations": []}', "bad.json: 'categories' with the names"),
    ],
    ids=["empty", "cut short", "too few frames", "NaN", "id twice", "no categories"],
)
def test_bad_results_are_named_with_their_place(place, tmp_path, content, message):
    (tmp_path / "bad.json").write_text(content)
    done = invoke("eval", "posetrack", *pair(place)[:2], "--results", tmp_path / "bad.json")
    assert done.exit_code == 1
    assert message in done.output.replace("\n", " ")
    assert not done.stdout.strip().startswith("{")


def test_a_folder_that_lacks_a_clip(place):
    done = invoke("eval", "posetrack", "--truth", place / "truth", "--results", place / "empty")
    assert done.exit_code == 1
    assert (
        "has no results of clip0.json, expected clip0.json or clip0.posetrack.json" in done.output
    )


def test_lengths_that_differ_name_both_files(place, tmp_path):
    write_posetrack(tmp_path / "short.json", sequence([frame(person(1))]), 2017)
    done = invoke("eval", "posetrack", *pair(place)[:2], "--results", tmp_path / "short.json")
    assert done.exit_code == 1
    assert "short.json has 1 frames" in done.output
    assert "clip0.json 15" in done.output
