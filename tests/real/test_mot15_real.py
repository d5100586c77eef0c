"""The published figures of py-motmetrics for TUD-Campus, from the machinery that counts poses."""

from __future__ import annotations

import json

import pytest

from flowtrack.evaluation.mot_boxes import evaluate_boxes, read_mot
from tests.cli.test_commands import invoke


@pytest.fixture
def files(real):
    return real / "mot15" / "TUD-Campus-gt.txt", real / "mot15" / "TUD-Campus-result.txt"


def test_tud_campus_is_counted_as_published(files):
    truth, results = files
    scores = evaluate_boxes([read_mot(truth, truth=True)], [read_mot(results)])
    figures, counts = scores.figures(), scores.summary()
    assert round(figures["MOTA"], 1) == 52.6
    assert round(figures["IDF1"], 1) == 55.8
    assert round(figures["IDP"], 1) == 73.0
    assert round(figures["IDR"], 1) == 45.1
    assert round(figures["recall"], 1) == 58.2
    assert round(figures["precision"], 1) == 94.1
    assert round(1 - figures["MOTP"] / 100, 3) == 0.277
    assert [counts[name] for name in ("false_positives", "misses", "switches", "people")] == [
        13, 150, 7, 8
    ]  # fmt: skip
    # What JonathonLuiten/TrackEval gives for these files.
    assert [round(figures[name], 3) for name in ("HOTA", "DetA", "AssA")] == [
        39.140, 41.805, 36.912
    ]  # fmt: skip


def test_the_command_says_the_same(files):
    truth, results = files
    done = invoke("eval", "posetrack", "--truth", truth, "--results", results, "--json")
    assert done.exit_code == 0, done.output
    got = json.loads(done.stdout)
    assert (round(got["MOTA"], 1), round(got["IDF1"], 1)) == (52.6, 55.8)
    assert got["clips"][0]["clip"] == "TUD-Campus-gt"
