"""`flowtrack eval coco` and `eval detector`: what is typed, what is printed, what is refused."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from flowtrack.cli import eval_pictures
from flowtrack.evaluation.coco import MEANINGS
from flowtrack.runtime.bundle import write_bundle
from flowtrack.synthetic import SceneOptions
from flowtrack.synthetic.coco import write_scenes
from tests.cli.test_commands import invoke
from tests.evaluation.coco_samples import person, pose, truth_of, written
from tests.support.graphs import tiny_bundle

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    write_bundle(path, *tiny_bundle())
    return path


@pytest.fixture
def place(tmp_path):
    """A truth with two pictures, of which one is in the folder, and results for both."""
    (tmp_path / "set").mkdir()
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "set/a.png"), rng.integers(0, 255, (96, 128, 3), np.uint8))
    written(tmp_path, truth_of([person(1, 1), person(2, 2)]), "t.json")
    box = [20, 20, 40, 40]
    written(tmp_path, [pose(1, 0.9, bbox=box), pose(2, 0.8, x=90, bbox=box)], "r.json")
    return tmp_path


def files(place):
    return "--truth", place / "t.json", "--results", place / "r.json"


def run(place, bundle):
    return "--truth", place / "t.json", "--images", place / "set", "--bundle", bundle


def test_result_files_as_json(place):
    done = invoke("eval", "coco", *files(place), "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["kind"] == "keypoints"
    assert result["AP"] == pytest.approx(51 / 101)
    assert result["AP(L)"] is None
    assert (result["pictures"], result["people"], result["detections"]) == (2, 2, 2)
    assert set(MEANINGS["keypoints"]) <= set(result)
    boxes = json.loads(invoke("eval", "detector", *files(place), "--json").stdout)
    assert boxes["AP"] == pytest.approx(1.0)
    assert set(MEANINGS["boxes"]) <= set(boxes)


def test_a_table_for_people(place):
    done = invoke("eval", "coco", *files(place))
    assert done.exit_code == 0, done.output
    assert "2 people on 2 pictures" in done.stdout
    for words in ("AP50", "0.505", "average precision"):
        assert words in done.stdout


def test_results_on_the_pictures_that_are_there(place):
    done = invoke("eval", "coco", *files(place), "--images", place / "set", "--partial", "--json",
                  "--html", place / "page.html")  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["pictures"], result["missing_pictures"]) == (1, 1)
    assert result["AP"] == pytest.approx(1.0)
    assert "COCO keypoints" in (place / "page.html").read_text()


def test_a_bundle_on_pictures(place, bundle):
    out, page = place / "out", place / "page.html"
    common = (*run(place, bundle), "--partial", "--device", "cpu", "--threads", "1", "--json")
    done = invoke("eval", "coco", *common, "--boxes", "truth", "--out", out, "--html", page)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["boxes"], result["flip"], result["detections"]) == ("truth", False, 1)
    assert (result["pictures"], result["missing_pictures"]) == (1, 1)
    assert result["file"] == str(out / "keypoints.json")
    assert page.is_file()
    # The file holds what was counted.
    again = json.loads(
        invoke("eval", "coco", "--truth", place / "t.json", "--results", out / "keypoints.json",
               "--images", place / "set", "--partial", "--json").stdout
    )  # fmt: skip
    numbers = [*MEANINGS["keypoints"], "pictures", "people", "detections"]
    assert {name: again[name] for name in numbers} == {name: result[name] for name in numbers}
    flipped = json.loads(invoke("eval", "coco", *common, "--flip").stdout)
    assert (flipped["flip"], flipped["boxes"]) == (True, "detector")
    boxes = json.loads(invoke("eval", "detector", *common, "--out", out).stdout)
    assert boxes["detections"] == 1
    assert (out / "boxes.json").is_file()


def test_rendered_pictures(bundle, tmp_path, monkeypatch):
    """They come from seeds of their own, and stay where a folder is named."""
    seeds = []

    def small(folder, count, options=None, seed=0, progress=None):
        seeds.append(seed)
        options = SceneOptions(128, 96, people=(1, 2), things=0, degrade=0.0)
        return write_scenes(folder, count, options, seed, progress)

    monkeypatch.setattr("flowtrack.synthetic.write_scenes", small)
    out = tmp_path / "out"
    done = invoke("eval", "coco", "--synthetic", 2, "--bundle", bundle, "--boxes", "truth", "--out",
                  out, "--device", "cpu", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["pictures"], result["truth"]) == (2, "2 rendered pictures")
    assert {path.name for path in out.iterdir()} == {
        "images", "person_keypoints.json", "keypoints.json"
    }  # fmt: skip
    done = invoke("eval", "detector", "--synthetic", 1, "--bundle", bundle, "--device", "cpu",
                  "--html", tmp_path / "page.html", "--json")  # fmt: skip
    assert json.loads(done.stdout)["pictures"] == 1
    assert seeds == [eval_pictures.SYNTHETIC_SEED] * 2 == [9_000_000] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--truth is missing"),
        (["--truth", "t.json"], "nothing to evaluate"),
        (["--truth", "t.json", "--results", "r.json", "--bundle", "b"], "--bundle would"),
        (["--truth", "t.json", "--results", "r.json", "--out", "o"], "--out would"),
        (["--truth", "t.json", "--results", "r.json", "--device", "cpu"], "--device would"),
        (["--truth", "t.json", "--results", "r.json", "--threads", "2"], "--threads would"),
        (["--truth", "t.json", "--results", "r.json", "--partial"], "--partial would"),
        (["--truth", "t.json", "--results", "r.json", "--images", "set"], "--images would"),
        (["--synthetic", "3", "--truth", "t.json"], "--truth would"),
        (["--synthetic", "3", "--images", "set"], "--images would"),
        (["--synthetic", "3", "--results", "r.json"], "--results would"),
        (["--synthetic", "3", "--partial"], "--partial would"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["coco", "detector"])
def test_wrong_use_ends_with_2(name, words, message):
    done = invoke("eval", name, *words)
    assert done.exit_code == 2, done.output
    assert message in done.output


@pytest.mark.parametrize(
    "words", [["--flip"], ["--no-flip"], ["--boxes", "truth"], ["--boxes", "detector"]]
)
def test_what_a_result_file_would_ignore_is_refused(place, words):
    done = invoke("eval", "coco", *files(place), *words)
    assert done.exit_code == 2
    assert f"{words[0]} would be ignored" in done.output


def test_no_pictures_to_render_is_wrong_use():
    assert invoke("eval", "coco", "--synthetic", 0).exit_code == 2


def test_missing_pictures_end_with_1_and_the_remedy(place, bundle):
    done = invoke("eval", "coco", *run(place, bundle))
    assert done.exit_code == 1
    for words in ("lacks 1 of the 2 pictures", "b.png", "--partial"):
        assert words in done.output


@pytest.mark.parametrize(
    ("data", "message"),
    [("", "is empty"), ('[{"image_id": 1', "cut short"), ('[{"image_id": 4}]', "image 4")],
)
def test_bad_results_end_with_1_and_name_the_file(place, data, message):
    (place / "r.json").write_text(data)
    done = invoke("eval", "coco", *files(place))
    assert done.exit_code == 1
    assert message in done.output
    assert "r.json" in done.output


def test_nothing_found_is_a_result(place):
    (place / "r.json").write_text("[]")
    result = json.loads(invoke("eval", "coco", *files(place), "--json").stdout)
    assert (result["AP"], result["AR"], result["detections"]) == (0.0, 0.0, 0)
