"""The page about a COCO evaluation: its numbers, its curves, and which pictures it shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flowtrack.evaluation.coco import evaluate
from flowtrack.evaluation.coco_files import read_results, read_truth
from flowtrack.evaluation.deployed.coco_report import coco_report, draw_people, figure
from flowtrack.evaluation.deployed.coco_set import open_set
from tests.evaluation.coco_samples import person, pose, truth_of, written

pytest.importorskip("pycocotools")

BOX = [20, 20, 40, 40]


def page(folder, results, kind, pictures=True):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.full((96, 128, 3), 90, np.uint8))
    content = truth_of([person(1, 1), person(2, 2)])
    truth = read_truth(written(folder, content, "t.json"), kind)
    found = read_results(written(folder, results, "r.json"), truth)
    scores = evaluate(truth, found)
    shown = open_set(truth, folder) if pictures else None
    return coco_report(scores, found, shown, "AP of a test", {"results": "r.json"}).html()


def test_a_page_has_numbers_curves_and_the_worst_picture(tmp_path):
    html = page(tmp_path, [pose(1, 0.9), pose(2, 0.8, x=90)], "keypoints")
    for words in ("AP of a test", "r.json", "0.505", "recall at OKS 0.75", "OKS 0.95", "precision"):
        assert words in html
    assert html.count("<img") == 1
    assert "b.png: 0 of 1 people found" in html


def test_false_positives_are_told(tmp_path):
    stranger = pose(1, 0.95, bbox=[80, 40, 30, 30])
    html = page(tmp_path, [stranger, pose(1, 0.9, bbox=BOX), pose(2, 0.8, bbox=BOX)], "boxes")
    assert "a.png: 1 of 1 people found, mean IoU 1.000, 1 false positive" in html
    assert html.count("<img") == 1
    assert "AP100" not in html
    assert "AR100: average recall, 100 boxes a picture" in html


@pytest.mark.parametrize("found", [True, False])
def test_without_anything_wrong_or_without_pictures_none_is_shown(tmp_path, found):
    results = [pose(1, 0.9), pose(2, 0.8)] if found else []
    html = page(tmp_path, results, "keypoints", pictures=found)
    assert "<img" not in html
    assert "Worst" not in html


def test_with_nothing_found_all_are_worst(tmp_path):
    html = page(tmp_path, [], "keypoints")
    assert html.count("0 of 1 people found") == 2 * 2  # a caption and the picture's text


def test_figures():
    assert [figure(value) for value in (0.5, 1.0, float("nan"))] == ["0.500", "1.000", "\u2013"]


def test_people_are_drawn_in_their_colour_and_only_those_asked_for():
    color = (0, 94, 213)
    image = np.zeros((96, 128, 3), np.uint8)
    keypoints = np.zeros((2, 17, 3))
    keypoints[0, 5], keypoints[0, 6] = (20, 30, 1), (60, 30, 1)
    keypoints[1, 5], keypoints[1, 6] = (20, 70, 1), (60, 70, 1)
    draw_people(image, None, keypoints, np.array([True, False]), color)
    assert np.abs(image[30, 40].astype(int) - color).max() < 40  # smoothed at its edges
    assert not image[60:].any()
    assert not image[:10].any()  # joints without a score, which lie at (0, 0)


def test_boxes_far_outside_do_no_harm():
    image = np.zeros((96, 128, 3), np.uint8)
    boxes = np.array([[10, 20, 50, 40], [-1e30, -5, 1e30, 3]])
    draw_people(image, boxes, None, np.array([True, True]), (1, 2, 3))
    assert 0 < image[20, 30].max() < 40
    assert not image[40, 30].any()
