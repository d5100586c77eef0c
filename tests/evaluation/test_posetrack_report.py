"""The page about tracked poses."""

import numpy as np

from flowtrack.evaluation.bootstrap import Bootstrap
from flowtrack.evaluation.posetrack import MEASURES, PARTS, evaluate
from flowtrack.evaluation.posetrack_report import posetrack_report
from tests.evaluation.samples import frame, person, random_clips, sequence


def test_page_holds_tables_curves_and_the_worst_clips():
    rng = np.random.default_rng(6)
    truths, results = [], []
    for number in range(3):
        truth, found = random_clips(rng, 20)
        truths.append(sequence(truth, f"clip{number}"))
        results.append(sequence(found))
    scores = evaluate(truths, results)
    intervals = {"MOTA": Bootstrap(3).interval(scores, "MOTA")}
    page = posetrack_report(scores, "What was measured", intervals).html()
    assert "What was measured" in page
    for text in (*PARTS, *(name.replace("_", ", ") for name in MEASURES), "95%"):
        assert text in page
    assert page.count("<svg") >= 2
    worst = min(scores.by_clip, key=lambda one: one.mota).clips[0].name
    assert f"Lowest MOTA: {worst} (" in page


def test_page_of_a_single_clip_in_which_nothing_is_found():
    scores = evaluate(sequence([frame(person(1))] * 2), sequence([frame()] * 2), "body12")
    page = posetrack_report(scores, "Nothing").html()
    assert "Lowest MOTA" not in page
    assert "Head" in page
