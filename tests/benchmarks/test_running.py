"""The benchmarks themselves: what they count as overhead, what they feed, how they are called."""

import json

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import kernels, stages, start, workload
from benchmarks.measure import Effort
from benchmarks.records import Record, Report, Skipped
from flowtrack.runtime.pipeline import open_pipeline
from flowtrack.runtime.video import open_source

TINY = Effort(repeats=2, sample_ms=0.01, passes=1, frames=8)


@pytest.fixture(scope="module")
def puppets():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workload, "REAL", workload.ROOT / "no such folder")
        with workload.prepared(8) as prepared:
            yield prepared


def test_networks_and_flow_are_no_overhead():
    timing = {"detector.prepare": 1.0, "detector.engine": 50.0, "flow.prepare": 6.0,
              "flow.engine": 4.0, "pose.engine": 30.0, "assign": 1.0}  # fmt: skip
    assert stages.overhead(timing, 100.0) == pytest.approx(0.1)


def test_the_puppets_stand_in_where_there_is_nothing_real(puppets):
    assert puppets.name == "puppets"
    assert not puppets.trained
    assert set(puppets.networks) == {"detector", "pose", "flow"}
    assert all(frame.image.shape == (1080, 1920, 3) for frame in puppets.frames)
    with open_source(puppets.clip) as source:
        assert sum(1 for _ in source) == 8
    pipeline = open_pipeline(puppets.bundle)
    passed = stages._Pass()
    stages.step_by_step(pipeline, puppets.frames, passed)
    assert len(passed.frame_ms) == 8 - stages.SETTLED
    assert min(passed.people) >= 2
    assert all(0.0 < share < 1.0 for share in passed.overhead)


def test_stages_bear_no_verdict_on_puppets(puppets):
    records = list(stages._stages(open_pipeline(puppets.bundle), puppets, TINY))
    names = [record.name for record in records]
    assert {"detector.engine", "flow.engine", "pose.engine", "frame", "overhead"} <= set(names)
    assert all(record.limit is None for record in records)
    assert records[0].networks == puppets.networks


def test_run_is_held_against_step(puppets):
    step, run, ratio = stages._rates(open_pipeline(puppets.bundle), puppets, TINY)
    assert ratio.samples[0] == pytest.approx(run.samples[0] / step.samples[0])


def test_kernels_are_measured_at_every_size(monkeypatch):
    monkeypatch.setattr(kernels, "PEOPLE", (3, 50))
    records = list(kernels.measure(TINY))
    assert len({record.key for record in records}) == len(records)
    limited = [record for record in records if record.limit is not None]
    assert [(r.parameters["crowd"], r.parameters["code"]) for r in limited] == [
        ("spread", "numba"), ("dense", "numba")
    ]  # fmt: skip
    assert all(np.isfinite(record.samples).all() for record in records)


def test_a_fresh_process_tells_its_memory_and_modules():
    seconds, told = start.run_fresh("import json; first = 2.5; x = bytearray(40 << 20)")
    assert seconds > 0
    assert told["first"] == 2.5
    assert 40 < told["peak_mb"] < 200
    assert told["heavy"] == []
    with pytest.raises(RuntimeError, match="no such thing"):
        start.run_fresh("raise ValueError('no such thing')")


def test_importing_the_runtime_loads_nothing_heavy():
    assert start.run_fresh(start.IMPORTS["import flowtrack.runtime"])[1]["heavy"] == []


def fake(effort):
    yield Record("kernels", "oks", {"people": effort.repeats}, "ms", (1.0, 2.0))


def nothing(effort):
    raise Skipped("no clip")
    yield


def test_command_writes_what_it_measured_and_compares(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "BENCHMARKS", {"kernels": fake, "video": nothing})
    out = tmp_path / "run.json"
    assert command.main(["all", "--out", str(out), "--quick"]) == 0
    assert "video is left out: no clip" in capsys.readouterr().out
    assert json.loads(out.read_text())["skipped"] == {"video": "no clip"}
    assert Report.read(out).records[0].parameters == {"people": command.QUICK.repeats}
    assert command.main(["compare", str(out), str(out)]) == 0
    assert "1.000" in capsys.readouterr().out


def test_command_refuses_what_it_cannot_do(tmp_path, capsys):
    absent = str(tmp_path / "none.json")
    assert command.main(["compare", absent, absent]) == 2
    assert "cannot compare" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        command.main(["juggling"])
    assert left.value.code == 2


def test_commands_of_the_readme_are_understood():
    text = (workload.ROOT / "benchmarks" / "README.md").read_text()
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    commands = [words[3:] for words in lines if words[:3] == ["python", "-m", "benchmarks"]]
    assert {words[0] for words in commands} == {"all", "kernels", "stages", "compare"}
    for words in commands:
        command._parser().parse_args(words)


def test_results_that_are_kept_can_be_read():
    files = sorted((workload.ROOT / "benchmarks" / "results").glob("*.json"))
    assert [file.stem for file in files if file.stem != "gpu"] == sorted(command.BENCHMARKS)
    for file in files:
        report = Report.read(file)
        assert {record.benchmark for record in report.records} == {file.stem}
        assert file.stem == "gpu" or not report.skipped  # a GPU's machine may lack TensorRT
