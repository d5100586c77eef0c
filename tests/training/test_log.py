"""The log: one line a record, and a page whose curves are those of the records."""

import itertools
import json
import re

import pytest

from flowtrack.errors import OutputError
from flowtrack.training.log import TrainingLog, page


def record(step, kind="training", **figures):
    return {"step": step, "samples": 8 * step, "kind": kind, **figures}


def test_records_are_lines_of_json(tmp_path):
    log = TrainingLog(tmp_path / "new" / "folder")
    log.write(1, 8, {"loss": 0.5})
    log.write(2, 16, {"ap50": 0.25}, validation=True)
    lines = (tmp_path / "new" / "folder" / "log.jsonl").read_text().splitlines()
    wanted = [record(1, loss=0.5), record(2, "validation", ap50=0.25)]
    assert [json.loads(line) for line in lines] == log.records == wanted


def test_a_log_goes_on_where_it_ended(tmp_path):
    first = TrainingLog(tmp_path)
    for step in range(5):
        first.write(step, 8 * step, {"loss": step})
    second = TrainingLog(tmp_path)
    assert second.records == first.records
    second.keep_until(2)
    second.write(3, 24, {"loss": 7})
    assert [r["loss"] for r in TrainingLog(tmp_path).records] == [0, 1, 2, 7]


def test_a_line_that_was_cut_off_is_forgotten(tmp_path):
    log = TrainingLog(tmp_path)
    log.write(1, 8, {"loss": 0.5})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 2, "samp')
    again = TrainingLog(tmp_path)
    assert again.records == [record(1, loss=0.5)]
    again.keep_until(1)
    again.write(2, 16, {"loss": 0.25})
    assert len(TrainingLog(tmp_path).records) == 2


@pytest.mark.parametrize("line", ["nothing", "{}", "[1]", "3", '{"step": "one"}', "\x00"])
def test_a_damaged_log_is_refused(tmp_path, line):
    (tmp_path / "log.jsonl").write_text(f"{line}\n")
    with pytest.raises(OutputError, match=r"log\.jsonl cannot be read, or is damaged"):
        TrainingLog(tmp_path)


def test_the_latest_validation(tmp_path):
    log = TrainingLog(tmp_path)
    assert log.last_validation() == {}
    log.write(1, 8, {"ar": 0.1, "pck": 0.2}, validation=True)
    log.write(2, 16, {"loss": 3})
    assert log.last_validation() == {"ar": 0.1, "pck": 0.2}


def test_a_log_that_does_not_write_leaves_nothing(tmp_path):
    log = TrainingLog(tmp_path / "none", writes=False)
    log.write(1, 8, {"loss": 1}, validation=True)
    log.keep_until(0)
    assert log.records == []
    assert not (tmp_path / "none").exists()


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    log = TrainingLog(tmp_path)
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"log\.jsonl cannot be written"):
        log.write(1, 8, {"loss": 1})


RECORDS = [record(i, loss=4.0 - i, rate=0.001) for i in range(4)] + [
    record(3, "validation", ap50=0.123456)
]


def test_the_page_shows_every_figure():
    text = page(RECORDS, "run <1>").html()
    captions = re.findall("<figcaption[^>]*>([^<]*)</figcaption>", text)
    assert captions == [
        "training: loss, last 1",
        "training: rate, last 0.001",
        "validation: ap50, last 0.1235",
    ]
    assert "<h1>run &lt;1&gt;</h1>" in text
    assert text.count(">samples</text>") == 3
    assert "<title>ap50: 24, 0.12346</title>" in text  # under the pointer


def test_curves_are_those_of_the_records():
    """From (0, 4) at the top left to (24, 1) at the bottom right of the axes, evenly."""
    line = re.search('<polyline[^>]*points="([^"]*)"', page(RECORDS, "run").html())
    points = [tuple(map(float, point.split(","))) for point in line[1].split()]
    assert len(points) == 4
    for axis in zip(*points, strict=True):
        steps = [b - a for a, b in itertools.pairwise(axis)]
        assert min(steps) > 20
        assert steps == pytest.approx([steps[0]] * 3, abs=0.21)


def test_a_run_without_records_has_a_page():
    assert "<figure" not in page([], "run").html()


def test_the_page_is_written_with_each_validation(tmp_path):
    log = TrainingLog(tmp_path)
    log.write(1, 8, {"loss": 1.0})
    assert not (tmp_path / "log.html").exists()
    log.write(1, 8, {"ar": 0.5}, validation=True)
    assert (tmp_path / "log.html").read_text() == page(log.records, tmp_path.name).html()
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "log.html"}
