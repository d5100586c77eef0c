"""`flowtrack calibrate thresholds`: the choice, where it goes, and wrong use."""

import json

import pytest
from typer.testing import CliRunner

from flowtrack.calibration import search
from flowtrack.cli.calibrate import app
from flowtrack.runtime.bundle import open_bundle
from tests.evaluation.deployed.puppet_samples import make_bundle, write_clip

RUNNER = CliRunner()
BAD = {"joint_threshold": 0.95}


def invoke(*arguments):
    result = RUNNER.invoke(app, ["thresholds", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrate")
    (folder / "set").mkdir()
    for seed, name in enumerate(("one", "two")):
        write_clip(folder / "set", name, seed=seed, frames=4)
    make_bundle(folder / "puppets.bundle", **BAD)
    return folder


def test_help_explains():
    result = RUNNER.invoke(app, ["thresholds", "--help"])
    assert result.exit_code == 0
    assert "plain run" in " ".join(result.output.split())


def test_a_choice_is_printed_kept_and_shown(place, tmp_path):
    copy, page = tmp_path / "copy.zip", tmp_path / "page.html"
    done = invoke(
        "--bundle", place / "puppets.bundle", "--truth", place / "set", "--joints", "shared13",
        "--out", copy, "--html", page, "--cache", tmp_path / "cache", "--threads", 1, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["data_set"], facts["clips"], facts["frames"]) == ("set", 2, 8)
    assert facts["replayed"]["MOTA"] > facts["before"]["MOTA"]
    assert facts["held_out"]["folds"] == "leave-one-clip-out"
    grid = len(search.GRID["box_threshold"]) * len(search.GRID["joint_threshold"])
    assert len(facts["tried"]) > grid + 20
    manifest = open_bundle(copy).manifest
    assert manifest.tracker == facts["options"]
    assert manifest.tracker_options.joint_threshold < 0.95
    assert manifest.thresholds.plain.mota == pytest.approx(facts["plain"]["MOTA"], abs=1e-3)
    assert open_bundle(place / "puppets.bundle").manifest.thresholds is None
    assert "The trade-off" in page.read_text()
    assert (tmp_path / "cache").is_dir()


def test_tables_and_a_bundle_written_in_place(place, tmp_path):
    own = make_bundle(tmp_path / "own.bundle", **BAD)
    done = invoke(
        "--bundle", own, "--truth", place / "set" / "one.json", "--joints", "shared13", "--write",
        "--threads", 1,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "joint_threshold" in done.output
    assert "chosen on the other half of the clip" in done.output
    manifest = open_bundle(own).manifest
    assert manifest.thresholds.folds == "split-half"
    assert manifest.thresholds.data_set == "one"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --truth"),
        (["--truth", "SET", "--synthetic", "3"], "expected one of --truth"),
        (["--synthetic", "3", "--images", "SET"], "--images would be ignored"),
        (["--truth", "SET", "--write", "--out", "OUT"], "--write and --out"),
        (["--truth", "SET", "--html", "SET"], "is a folder"),
        (["--truth", "SET", "--device", "tpu"], "tpu"),
        (["--truth", "SET", "--objective", "idf1"], "objective"),
        (["--truth", "SET", "--synthetic", "0"], "synthetic"),
        (["--truth", "SET", "--bundle", "FLOWLESS"], "has no optical flow"),
    ],
)
def test_wrong_use_ends_with_2(place, tmp_path, arguments, message):
    flowless = place / "flowless.bundle"
    if not flowless.exists():
        make_bundle(flowless, flow=False)
    names = {"SET": place / "set", "OUT": tmp_path / "out", "FLOWLESS": flowless}
    done = invoke("--bundle", place / "puppets.bundle", *(names.get(a, a) for a in arguments))
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not (tmp_path / "out").exists()


def test_failures_end_with_1(place, tmp_path):
    write_clip(tmp_path, "gone", frames=2)
    (tmp_path / "gone" / "00002.png").unlink()
    done = invoke("--bundle", place / "puppets.bundle", "--truth", tmp_path / "gone.json")
    assert done.exit_code == 1
    assert "frame 1: there is no picture" in " ".join(done.output.split())
