"""Table 5 and the choice of thresholds with real networks on the real clip."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from flowtrack.cli.calibrate import app as calibrate
from flowtrack.runtime.bundle import open_bundle
from tests.cli.test_commands import invoke
from tests.real.test_real_material import make


@pytest.fixture(scope="module")
def bundle(real, tmp_path_factory):
    return make(tmp_path_factory.mktemp("ablation") / "real.bundle", "--flow", "dis")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def on_bonn(real, bundle, *arguments):
    done = invoke(
        "eval", "posetrack", "--truth", real / "bonn" / "posetrack17.json", "--images",
        real / "bonn", "--bundle", bundle, "--joints", "body12", "--json", *arguments,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_bundle_as_it_is(real, bundle, tmp_path):
    """The figures of `flowtrack track`, see test_real_material.py."""
    page = tmp_path / "page.html"
    facts = on_bonn(real, bundle, "--out", tmp_path / "out", "--html", page)
    assert facts["MOTA"] >= 83.5
    assert facts["mAP"] >= 87.5
    assert facts["ids"] == 4
    assert (tmp_path / "out" / "posetrack17.posetrack.json").is_file()
    assert page.read_text().count("data:image/jpeg") == 2


def rows_of(facts):
    return {row["method"]: row for row in facts["rows"]}


def test_table_5_with_poses_unified(real, bundle, cache):
    """A weak detector that propagates does better than a strong one that does not."""
    facts = on_bonn(real, bundle, "--ablation", "--pose-nms", "--cache", cache)
    mota = {method: row["MOTA"]["value"] for method, row in rows_of(facts).items()}
    mean_ap = {method: row["mAP"]["value"] for method, row in rows_of(facts).items()}
    assert 80 <= mota["b1"] < 83.5
    for block in "ab":
        assert mota[f"{block}3"] > mota[f"{block}1"] + 1
        assert mean_ap[f"{block}3"] > mean_ap[f"{block}1"]
        assert mota[f"{block}6"] >= mota[f"{block}5"] >= mota[f"{block}3"]
    assert mota["a3"] > mota["b1"]
    assert mota["a1"] < 50


def test_table_5_as_the_paper_has_it(real, bundle, cache):
    """Two boxes on one person cost more than propagation gains, unless the detector is weak."""
    rows = rows_of(on_bonn(real, bundle, "--ablation", "--cache", cache))
    mota = {method: row["MOTA"]["value"] for method, row in rows.items()}
    assert mota["a3"] > mota["a1"] + 20
    assert mota["b3"] < mota["b1"]
    assert rows["b3"]["misses"] < rows["b1"]["misses"]
    assert rows["b3"]["false_positives"] > rows["b1"]["false_positives"] + 50


def test_thresholds_are_chosen(real, bundle, tmp_path):
    out = tmp_path / "chosen.zip"
    done = CliRunner().invoke(
        calibrate,
        ["thresholds", "--truth", str(real / "bonn" / "posetrack17.json"), "--images",
         str(real / "bonn"), "--bundle", str(bundle), "--joints", "body12", "--out", str(out),
         "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["replayed"] == facts["plain"]  # this network takes one crop at once
    assert facts["plain"]["MOTA"] >= facts["before"]["MOTA"] >= 83.5
    assert 80 < facts["held_out"]["MOTA"] <= facts["plain"]["MOTA"]
    assert facts["held_out"]["folds"] == "split-half"
    assert open_bundle(out).manifest.thresholds.data_set == "posetrack17"
