"""The log: one line a record, and a page whose curves are those of the records."""

import json
import re
from html.parser import HTMLParser

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


class Figures(HTMLParser):
    """Captions, texts and curves of a page, and whatever it would load."""

    def __init__(self, text):
        super().__init__()
        self.captions, self.texts, self.curves, self.loaded, self.open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        given = dict(attributes)
        if tag == "polyline":
            points = [tuple(map(float, p.split(","))) for p in given["points"].split()]
            self.curves.append(points)
        self.loaded += [value for name, value in given.items() if name in ("src", "href")]

    def handle_data(self, data):
        if self.open[-1:] == ["figcaption"]:
            self.captions.append(data)
        elif self.open[-1:] == ["text"]:
            self.texts.append(data)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass


RECORDS = [record(i, loss=4.0 - i, rate=0.001) for i in range(4)] + [
    record(3, "validation", ap50=0.123456)
]


def test_the_page_shows_every_figure():
    shown = Figures(page(RECORDS, "run <1>"))
    assert shown.captions == [
        "training: loss, last 1",
        "training: rate, last 0.001",
        "validation: ap50, last 0.1235",
    ]
    assert shown.texts[:4] == ["4", "1", "0", "24 samples"]  # highest, lowest, first, last


def test_curves_are_those_of_the_records():
    curve = Figures(page(RECORDS, "run")).curves[0]
    # From (0, 4) at the top left to (24, 1) at the bottom right of the axes, evenly.
    x, y = zip(*dict.fromkeys(curve), strict=True)
    assert x == pytest.approx([48 + i * (560 - 96) / 3 for i in range(4)], abs=0.06)
    assert y == pytest.approx([48 + i * (220 - 96) / 3 for i in range(4)], abs=0.06)


def test_the_page_needs_nothing_else():
    text = page(RECORDS, "run")
    assert Figures(text).loaded == []
    assert not re.search(r"https?:|<script|<link|@import|url\(", text)
    assert "run &lt;1&gt;" in page(RECORDS, "run <1>")


def test_long_curves_are_thinned_and_keep_their_end():
    many = [record(i, loss=float(i % 7)) for i in range(5001)] + [record(5001, loss=6.0)]
    (curve,) = Figures(page(many, "run")).curves
    assert len(curve) < 500
    assert curve[-1] == (512.0, 48.0)


def test_few_and_equal_values_can_be_plotted():
    for records in ([], [record(0, loss=0.0)], [record(i, loss=2.0) for i in range(3)]):
        shown = Figures(page(records, "run"))
        assert len(shown.curves) == bool(records)


def test_the_page_is_written_with_each_validation(tmp_path):
    log = TrainingLog(tmp_path)
    log.write(1, 8, {"loss": 1.0})
    assert not (tmp_path / "log.html").exists()
    log.write(1, 8, {"ar": 0.5}, validation=True)
    assert (tmp_path / "log.html").read_text() == page(log.records, tmp_path.name)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "log.html"}
