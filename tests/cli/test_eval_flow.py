"""`flowtrack eval flow`: result files, bundles, rendered pairs, and wrong use."""

import json

import numpy as np
import pytest

from flowtrack.cli.eval_pairs import render_pairs
from flowtrack.errors import OutputError
from flowtrack.evaluation.flow_pairs import find_pairs
from flowtrack.flo import write_flo
from flowtrack.runtime.bundle import write_bundle
from flowtrack.synthetic.chairs import ChairsOptions, flow_pair
from tests.cli.test_commands import invoke
from tests.evaluation.deployed.flow_samples import SIZE, chairs, write_pair, write_set
from tests.support.graphs import tiny_bundle


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    write_set(folder / "set")
    write_bundle(folder / "still.bundle", *tiny_bundle(flow=True))
    return folder


def figures(*arguments):
    done = invoke("eval", "flow", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_result_files(place, tmp_path):
    for index in (1, 2, 3):
        write_flo(tmp_path / f"0000{index}_flow.flo", np.full((2, *SIZE), 1, np.float32))
    found = figures("--truth", place / "set", "--results", tmp_path)
    assert (found["pairs"], found["pixels"]) == (3, 3 * SIZE[0] * SIZE[1])
    assert list(found["methods"]) == ["results", "zero"]
    epe = [pair["epe"] for pair in found["methods"]["results"]["pairs"]]
    assert epe == pytest.approx([1, 2**0.5, 41**0.5], abs=1e-6)
    mean = found["methods"]["results"]["mean_over_pairs"]
    assert mean["epe"] == pytest.approx(np.mean(epe), abs=1e-6)
    assert mean["fl"] == pytest.approx(100 / 3, abs=1e-6)


def test_two_files(place, tmp_path):
    truth = place / "set" / "00001_flow.flo"
    found = figures("--truth", truth, "--results", truth, "--no-baselines")
    assert list(found["methods"]) == ["results"]
    assert found["methods"]["results"]["mean_over_pairs"]["epe"] == 0


def test_a_bundle_beside_its_yardsticks(place, tmp_path):
    # Its network looks at no picture; OpenVINO would drop inputs that nothing reads.
    found = figures("--data", place / "set", "--bundle", place / "still.bundle", "--device", "cpu")
    assert list(found["methods"]) == ["bundle", "dis", "zero"]
    assert "flow.onnx" in found["methods"]["bundle"]["what"]
    means = {n: method["mean_over_pairs"]["epe"] for n, method in found["methods"].items()}
    assert means["bundle"] == means["zero"] > 10 * means["dis"]  # this network sees no motion


def test_the_package_s_own_bundle_is_the_default(place):
    found = figures("--data", place / "set", "--no-baselines", "--device", "cpu")
    assert list(found["methods"]) == ["bundle"]
    assert "default" in found["methods"]["bundle"]["what"]


def test_methods_are_chosen_and_not_shown_twice(place):
    found = figures("--data", place / "set", "--method", "dis-medium", "--method", "zero")
    assert list(found["methods"]) == ["dis-medium", "zero", "dis"]


def test_what_was_estimated_can_be_evaluated_again(place, tmp_path):
    ran = figures("--data", place / "set", "--method", "dis", "--out", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"dis"}  # and no flow of a yardstick
    again = figures("--truth", place / "set", "--results", tmp_path / "dis")
    first, second = ran["methods"]["dis"], again["methods"]["results"]
    assert {**first, "what": ""} == {**second, "what": ""}


def test_the_validation_part_of_a_set(place, tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("1\n1\n2\n")
    found = figures("--data", place / "set", "--split", split, "--method", "zero")
    assert [pair["name"] for pair in found["methods"]["zero"]["pairs"]] == ["00003_flow"]


def test_a_table_and_a_page(place, tmp_path):
    page = tmp_path / "new" / "report.html"
    done = invoke("eval", "flow", "--data", place / "set", "--method", "dis", "--html", page)
    assert done.exit_code == 0, done.output
    assert "3 pairs, 9,216 known pixels" in done.stdout
    assert "end-point error, px" in done.stdout
    assert "dis: OpenCV's DIS, fast" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 3
    assert text.count("<polyline") == 2


def test_rendered_pairs_are_evaluated_and_kept(tmp_path):
    found = figures("--synthetic", 2, "--method", "dis", "--out", tmp_path)
    assert found["pairs"] == 2
    assert set(found["methods"]["dis"]["groups"]) == {"chairs", "people"}
    assert found["methods"]["dis"]["mean_over_pairs"]["epe_occluded"] is not None
    again = figures("--truth", tmp_path / "pairs", "--results", tmp_path / "dis")
    assert again["methods"]["zero"] == found["methods"]["zero"]
    refused = invoke("eval", "flow", "--synthetic", 2, "--method", "dis", "--out", tmp_path)
    assert refused.exit_code == 1
    assert "is there already" in refused.output


def test_rendered_pairs_are_those_of_their_seeds(tmp_path):
    done = []
    render_pairs(tmp_path / "pairs", 3, lambda: done.append(1))
    assert len(done) == 3
    first, second, people = (files.load() for files in find_pairs(tmp_path / "pairs"))
    for pair, seed in ((first, 9_000_000), (second, 9_000_001)):
        wanted = flow_pair(ChairsOptions(), seed)
        np.testing.assert_array_equal(pair.previous, wanted.previous)
        np.testing.assert_array_equal(pair.current, wanted.current)
        np.testing.assert_array_equal(pair.uv, wanted.uv)
        np.testing.assert_array_equal(pair.visible, wanted.visible)
    assert people.name == "people/0001.flow/000001"
    assert people.uv.shape == (2, 480, 640)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot write into"):
        render_pairs(tmp_path / "file" / "pairs", 1, lambda: None)
    assert {path.name for path in tmp_path.iterdir()} == {"pairs", "file"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is given to evaluate on"),
        (["--truth", "a"], "--truth and --results go together"),
        (["--results", "a"], "--truth and --results go together"),
        (["--data", "a", "--synthetic", "3"], "--data and --synthetic is given"),
        (["--truth", "a", "--results", "b", "--bundle", "c"], "--bundle would be ignored"),
        (["--truth", "a", "--results", "b", "--method", "dis", "--out", "c"],
         "--method, --out would be ignored"),
        (["--truth", "a", "--results", "b", "--threads", "2", "--device", "cpu"],
         "--device, --threads would be ignored"),
        (["--synthetic", "2", "--split", "a"], "--split would be ignored"),
        (["--data", "a", "--method", "dis", "--bundle", "b"], "--bundle would be ignored"),
        (["--data", "a", "--method", "zero", "--threads", "1"], "--threads would be ignored"),
        (["--data", "a", "--method", "raft"], "unknown method 'raft'; known are bundle, dis"),
        (["--data", "a", "--method", "dis", "--method", "dis"], "repeats"),
        (["--data", "a", "--device", "abacus"], "unknown device 'abacus'"),
        (["--synthetic", "0"], "--synthetic"),
    ],
)  # fmt: skip
def test_wrong_use(arguments, message):
    done = invoke("eval", "flow", *arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_outputs_that_cannot_be_are_refused_first(place, tmp_path):
    (tmp_path / "file").write_text("")
    asked = ("eval", "flow", "--data", place / "set", "--method", "zero")
    for arguments, message in ((("--out", tmp_path / "file"), "is a file, expected a folder"),
                               (("--html", tmp_path), "is a folder, expected a file")):  # fmt: skip
        done = invoke(*asked, *arguments)
        assert done.exit_code == 2
        assert message in done.output


def test_a_damaged_set_is_named(tmp_path):
    write_pair(tmp_path, chairs("00001"))
    with (tmp_path / "00001_flow.flo").open("r+b") as file:
        file.truncate(999)
    done = invoke("eval", "flow", "--data", tmp_path, "--method", "zero")
    assert done.exit_code == 1
    assert "00001_flow.flo has 999 bytes" in done.output
    done = invoke("eval", "flow", "--data", tmp_path / "none", "--method", "zero")
    assert done.exit_code == 1
    assert "none is not there" in done.output
