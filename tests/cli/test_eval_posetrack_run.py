"""`flowtrack eval posetrack` on bundles: plain runs, Table 5, rendered clips, and wrong use."""

import json

import pytest

from flowtrack.cli import clip_data
from flowtrack.synthetic import ClipOptions, validation
from tests.cli.test_commands import invoke
from tests.evaluation.deployed.puppet_samples import make_bundle, write_clip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "set").mkdir()
    for seed, name in enumerate(("one", "two")):
        write_clip(folder / "set", name, seed=seed, frames=5)
    make_bundle(folder / "puppets.bundle")
    make_bundle(folder / "flowless.bundle", flow=False)
    return folder


def run(place, *arguments):
    return invoke(
        "eval", "posetrack", "--bundle", place / "puppets.bundle", "--threads", 1, *arguments
    )


def test_a_bundle_is_measured_and_its_results_can_be_measured_again(place, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page.html"
    done = run(place, "--truth", place / "set", "--joints", "shared13", "--out", out, "--json",
               "--html", page)  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["bundle"], facts["data_set"], facts["frames"]) == ("puppets", "set", 10)
    assert facts["mAP"] > 80
    assert "intervals_95" in facts
    assert "Worst frames" in page.read_text()
    assert "data:image/jpeg" in page.read_text()
    again = invoke("eval", "posetrack", "--truth", place / "set", "--results", out, "--joints",
                   "shared13", "--json")  # fmt: skip
    assert again.exit_code == 0, again.output
    figures = json.loads(again.stdout)
    assert {name: facts[name] for name in figures} == figures


def test_tables_for_people(place):
    done = run(place, "--truth", place / "set" / "one.json", "--images", place / "set")
    assert done.exit_code == 0, done.output
    assert "puppets on one" in done.output
    assert "MOTA" in done.output


def test_table_5(place, tmp_path):
    page = tmp_path / "page.html"
    words = ["--truth", place / "set", "--joints", "shared13", "--ablation", "--weaken", "0.4",
             "--cache", tmp_path / "cache"]  # fmt: skip
    done = run(place, *words, "--json", "--html", page)
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert [row["method"] for row in facts["rows"]] == [f"{b}{r}" for b in "ab" for r in "123456"]
    assert {row["lost_detections"] for row in facts["rows"]} == {0.4, 0.0}
    assert {row["options"]["pose_nms"] for row in facts["rows"]} == {None}
    assert len(facts["claims"]) == 8
    assert "S_Multi-Flow" in page.read_text()
    shown = run(place, *words, "--pose-nms", "--paper")
    assert shown.exit_code == 0, shown.output
    assert "S_Bbox" in shown.output
    assert "62.9" in shown.output  # the paper's b6


def test_two_bundles_side_by_side(place):
    done = run(place, "--bundle", place / "puppets.bundle", "--truth", place / "set", "--ablation",
               "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 12
    assert [row["MOTA"] for row in rows[:6]] == [row["MOTA"] for row in rows[6:]]


def test_rendered_clips_are_kept_on_request(place, tmp_path, monkeypatch):
    small = ClipOptions(width=96, height=64, frames=2, people=1)
    monkeypatch.setattr(
        validation, "validation_clips", lambda count: {f"c{i}": small for i in range(count)}
    )
    done = run(place, "--synthetic", 2, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["data_set"], facts["frames"]) == ("2 rendered clips", 4)
    assert len(facts["joints"]) == 13
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "clips", "c0.posetrack.json", "c1.posetrack.json"
    }  # fmt: skip
    assert (tmp_path / "out" / "clips" / "c1" / "000002.jpg").is_file()
    ablation = run(place, "--synthetic", 2, "--ablation", "--json")
    assert ablation.exit_code == 0, ablation.output
    assert json.loads(ablation.stdout)["clips"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --truth"),
        (["--truth", "SET", "--synthetic", "2"], "expected one of --truth"),
        (["--synthetic", "2", "--images", "SET"], "--images would be ignored"),
        (["--truth", "SET", "--results", "SET"], "--bundle, --threads would be ignored"),
        (["--truth", "SET", "--weaken", "0.2"], "--weaken would be ignored"),
        (["--truth", "SET", "--pose-nms"], "--pose-nms would be ignored"),
        (["--truth", "SET", "--paper", "--cache", "OUT"], "--paper, --cache would be ignored"),
        (["--truth", "SET", "--bundle", "TWIN"], "2 bundles are given"),
        (["--truth", "SET", "--out", "SET"], "holds the truth"),
        (["--truth", "SET/one.json", "--out", "SET"], "holds the truth"),
        (["--truth", "SET", "--out", "SET/one.json"], "is a file"),
        (["--truth", "SET", "--ablation", "--out", "OUT"], "--out would be ignored"),
        (["--truth", "SET", "--ablation", "--weaken", "1"], "expected 0 to below 1"),
        (["--truth", "SET", "--ablation", "--weaken", "0.1", "--bundle", "TWIN"], "weakened"),
        (["--truth", "SET", "--ablation", "--bundle", "FLOWLESS"], "has no optical flow"),
        (["--truth", "SET", "--device", "tpu"], "tpu"),
        (["--truth", "SET", "--joints", "toes"], "toes"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_runs(place, tmp_path, arguments, message):
    names = {
        "SET": place / "set", "OUT": tmp_path / "out", "TWIN": place / "puppets.bundle",
        "FLOWLESS": place / "flowless.bundle", "SET/one.json": place / "set" / "one.json",
    }  # fmt: skip
    done = run(place, *(names.get(word, word) for word in arguments))
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
    assert {path.name for path in (place / "set").iterdir()} == {
        "one", "two", "one.json", "two.json"
    }  # fmt: skip


def test_a_missing_picture_ends_with_1(place, tmp_path):
    write_clip(tmp_path, "gone", frames=2)
    (tmp_path / "gone" / "00002.png").unlink()
    done = run(place, "--truth", tmp_path / "gone.json", "--ablation")
    assert done.exit_code == 1
    assert "frame 1: there is no picture" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("truth", "name"),
    [("a/clip.json", "clip"), ("a/clip.json.gz", "clip"), ("a/val", "val")],
)
def test_the_name_of_the_data(tmp_path, truth, name):
    assert clip_data.ClipData(tmp_path / truth, None, None).name == name
