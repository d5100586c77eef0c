"""Records, their files, and the comparison of two runs."""

import io
import json
import time

import pytest
from rich.console import Console

from benchmarks.compare import compare
from benchmarks.environment import cpu_model, describe_environment, git_commit
from benchmarks.measure import Effort, calls_per_sample, one_core, take_turns
from benchmarks.records import Record, Report
from benchmarks.table import show_comparison, show_report


def record(name="oks", samples=(1.0, 3.0, 2.0), unit="ms", limit=None, **parameters):
    return Record("kernels", name, parameters, unit, samples, limit)


def shown(show, *given):
    console = Console(file=io.StringIO(), width=200)
    show(*given, console)
    return console.file.getvalue()


def test_a_report_comes_back_from_its_file(tmp_path):
    networks = {"pose": "ab" * 32}
    written = Report(
        {"cpu": "x", "cores": 2},
        [record(people=5, limit=2.5), Record("stages", "frame", {}, "ms", (0.1,), None, networks)],
        {"start": "no reason"},
    )
    path = tmp_path / "new" / "run.json"
    written.write(path)
    found = Report.read(path)
    assert [r.key for r in found.records] == [r.key for r in written.records]
    assert [tuple(r.samples) for r in found.records] == [(1.0, 3.0, 2.0), (0.1,)]
    assert (found.environment, found.skipped) == (written.environment, written.skipped)
    assert found.records[0].limit == 2.5
    assert found.records[1].networks == networks


def test_a_file_carries_the_statistics_and_a_line_a_record(tmp_path):
    path = tmp_path / "run.json"
    Report({}, [record(), record(people=2)]).write(path)
    values = json.loads(path.read_text())["records"][0]
    assert (values["min"], values["median"], values["p90"]) == (1.0, 2.0, 2.8)
    assert len([line for line in path.read_text().splitlines() if '"samples"' in line]) == 2


def test_an_empty_report_is_valid_json(tmp_path):
    Report({}, []).write(tmp_path / "run.json")
    assert Report.read(tmp_path / "run.json").records == []


def test_a_file_of_another_form_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match="schema_version"):
        Report.read(path)


@pytest.mark.parametrize(
    ("unit", "limit", "kept"),
    [("ms", 2.0, True), ("ms", 1.9, False), ("times", 2.0, True), ("times", 2.1, False)],
)
def test_a_limit_binds_the_median_in_the_direction_of_the_unit(unit, limit, kept):
    assert record(unit=unit, limit=limit).within_limit is kept


def test_without_limit_there_is_no_verdict():
    assert record().within_limit is None


def test_comparison_pairs_by_parameters_and_says_which_way():
    rate = "rate", (10.0,), "frames/s"
    slow = "rate", (5.0,), "frames/s"
    first = [record(people=5), record(people=9), record(*rate), record("gone")]
    second = [record(*slow), record(samples=(1.0,), people=9), record(samples=(2.1,), people=5)]
    before, after = Report({"cpu": "x"}, first), Report({"cpu": "y"}, second)
    found = compare(before, after)
    got = [(pair.before.name, pair.ratio, pair.verdict) for pair in found.pairs]
    assert got == [("oks", 1.05, ""), ("oks", 0.5, "better"), ("rate", 0.5, "worse")]
    assert found.remarks == ["cpu differs: x in A, y in B", "1 records are in A only"]


def test_comparison_names_changed_networks():
    one, other = (Report({}, [Record("stages", "frame", {}, "ms", (1.0,), None, {"pose": h})])
                  for h in "ab")  # fmt: skip
    assert compare(one, other).remarks == ["stages: the networks are not the same files"]


def test_tables_show_verdicts_and_reasons():
    text = shown(show_report, Report({"cpu": "x"}, [record(limit=1.0)], {"video": "no [clip]"}))
    assert "BROKEN (1)" in text
    assert "video is left out: no [clip]" in text
    slower = Report({}, [record(samples=(4.0,))])
    assert "worse" in shown(show_comparison, compare(Report({}, [record()]), slower))


def test_subjects_take_turns():
    calls = []
    subjects = {name: lambda name=name: (calls.append(name), time.sleep(1e-4)) for name in "ab"}
    effort = Effort(repeats=4, sample_ms=0.01, passes=1, frames=1)
    samples = take_turns(subjects, effort)
    assert [len(values) for values in samples.values()] == [4, 4]
    assert "".join(calls).endswith("abababab")
    assert all(value > 0.09 for values in samples.values() for value in values)


def test_short_work_is_repeated_within_a_sample():
    assert calls_per_sample(lambda: None, 0.5) > 100
    assert calls_per_sample(lambda: time.sleep(2e-3), 0.5) == 1


def test_the_core_is_given_back():
    import os

    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not bind threads to cores")
    before = os.sched_getaffinity(0)
    with one_core() as pinned:
        assert not pinned or len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_environment_names_what_decides_speed(tmp_path):
    found = describe_environment()
    assert {"python", "numpy", "numba", "onnxruntime", "cpu", "cores", "flowtrack"} <= set(found)
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU: 3 GHz\n")
    assert cpu_model(info) == "Some CPU: 3 GHz"
    assert git_commit(tmp_path) is None
