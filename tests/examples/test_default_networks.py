"""How the default networks are made: completed boxes, and what is done again and what is not."""

from __future__ import annotations

import subprocess

import cv2
import numpy as np
import pytest

from examples.default_networks.build import Build
from examples.default_networks.relabel import SURE, UNSURE, relabelled
from flowtrack.structs import Boxes


def test_further_people_are_added_and_doubtful_ones_do_not_count(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 200, 3), np.uint8))
    given = {"id": 7, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 10, 30, 60]}
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [given]}
    found = Boxes.detected(
        np.array([[11, 11, 40, 70], [80, 10, 110, 70], [150, 10, 180, 70]], np.float32),
        np.array([0.9, SURE, (SURE + UNSURE) / 2], np.float32),
    )
    people = relabelled(content, tmp_path, lambda frame: found)["annotations"]
    assert people[0] == given
    assert [(p["id"], p["bbox"], p["iscrowd"]) for p in people[1:]] == [
        (8, [80.0, 10.0, 30.0, 60.0], 0),
        (9, [150.0, 10.0, 30.0, 60.0], 1),
    ]


@pytest.mark.parametrize(
    ("there", "started", "resumed"),
    [((), True, False), (("last.pt",), True, True), (("last.pt", "final.pt"), False, False)],
)
def test_what_is_finished_is_not_done_again(tmp_path, monkeypatch, there, started, resumed):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: commands.append(words))
    out = tmp_path / "default-pose-small"
    out.mkdir()
    for name in there:
        (out / name).touch()
    build = Build(tmp_path, tmp_path, "cpu", 1, effort=2)
    assert build.train("pose", "default-pose:small") == out / "final.pt"
    assert bool(commands) is started
    if started:
        assert ("--resume" in commands[0]) is resumed
        assert "schedule.samples=260000" in commands[0]
