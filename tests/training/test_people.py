"""Annotated people: COCO and PoseTrack files, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from flowtrack.errors import InputError, SourceError
from flowtrack.skeleton import COCO_17, POSETRACK17_15, POSETRACK18_17
from flowtrack.training.data.people import (
    People,
    read_coco,
    read_posetrack17,
    read_posetrack18,
)
from flowtrack.training.data.sources import people_of, source_name, split_people
from flowtrack.training.recipe import Source
from tests.training.datasets import person, write_coco

BLACK = np.zeros((10, 10, 3), np.uint8)


@pytest.fixture
def coco(tmp_path):
    people = {
        "a.png": [
            person((1, 2, 5, 8), {"nose": (2, 3), "left_hip": (4, 7)}, hidden=("left_hip",)),
            person((0, 0, 9, 9), crowd=True),
        ],
        "c.png": [person((3, 3, 4, 9), {"nose": (3.5, 4)}), person((2, 2, 8, 8))],
    }
    return write_coco(tmp_path, dict.fromkeys(("a.png", "b.png", "c.png"), BLACK), people)


def test_coco(coco):
    people = read_coco(*coco)
    assert people.skeleton is COCO_17
    assert [path.name for path in people.paths] == ["a.png", "b.png", "c.png"]
    assert people.picture.tolist() == [0, 0, 2, 2]
    assert people.crowd.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(people.boxes[0], [1, 2, 5, 8])
    np.testing.assert_array_equal(people.joints[0, COCO_17.index("nose")], [2, 3, 2])
    np.testing.assert_array_equal(people.joints[0, COCO_17.index("left_hip")], [4, 7, 1])
    assert people.joints[0, :, 2].sum() == 3
    assert not people.joints[1].any()


def test_coco_takes_only_people_and_only_those_that_are_somewhere(coco):
    content = json.loads(coco[0].read_text())
    content["annotations"][1]["category_id"] = 18
    del content["annotations"][2]["bbox"], content["annotations"][2]["keypoints"]
    coco[0].write_text(json.dumps(content))
    assert read_coco(*coco).picture.tolist() == [0, 2]


def test_places_of_joints_that_are_not_labelled_are_forgotten(coco):
    content = json.loads(coco[0].read_text())
    content["annotations"][0]["keypoints"][:3] = [5, 5, 0]
    coco[0].write_text(json.dumps(content))
    assert not read_coco(*coco).joints[0, 0].any()


def changed(**entries):
    def change(content):
        content["annotations"][0].update(entries)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.pop("annotations"), "no list 'annotations'"),
        (lambda content: content.pop("images"), "KeyError 'images'"),
        (lambda content: content["images"][0].pop("file_name"), "file_name"),
        (lambda content: content["annotations"].append(3), "AttributeError"),
        (changed(image_id=7), "KeyError 7"),
        (changed(keypoints=[1, 2, 3]), "expected COCO's layout"),
        (changed(keypoints=[0] * 45), "expected COCO's layout"),
        (changed(bbox=[1, 2, 3]), "expected COCO's layout"),
        (changed(bbox=[1, 2, "wide", 4]), "expected COCO's layout"),
        (changed(bbox=[1, 2, float("nan"), 4]), "boxes that are not finite"),
        (changed(keypoints=[float("inf"), 1, 2] * 17), "joints that are not finite"),
    ],
)
def test_coco_of_another_layout_is_refused(coco, change, told):
    content = json.loads(coco[0].read_text())
    change(content)
    coco[0].write_text(json.dumps(content))
    with pytest.raises(SourceError, match=told) as refused:
        read_coco(*coco)
    assert str(coco[0]) in str(refused.value)


def test_keypoints_of_a_wrong_number_are_refused_even_where_they_add_up(coco):
    content = json.loads(coco[0].read_text())
    first = {**content["annotations"][0], "keypoints": [0] * 45}
    content["annotations"] = [first] * 17  # 17 x 45 numbers are as many as 15 x 51
    coco[0].write_text(json.dumps(content))
    with pytest.raises(SourceError, match="expected COCO's layout"):
        read_coco(*coco)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), (b"", "JSON"), (b"{", "JSON"), (b"\xff", "JSON"), (b"[]", "list")],
)
@pytest.mark.parametrize("read", [read_coco, read_posetrack17, read_posetrack18])
def test_what_is_no_annotation_file_is_refused(tmp_path, content, told, read):
    path = tmp_path / "people.json"
    if content is None and read is read_coco:
        told = "No such file"
    elif content is None:
        told = "no .json file"
    else:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read(path, tmp_path)


def test_a_file_without_people(tmp_path):
    people = read_coco(*write_coco(tmp_path, {"a.png": BLACK}, {}))
    assert (len(people), len(people.paths)) == (0, 1)
    assert len(people.with_joints(1)) == 0
    train, aside = people.split(0.5)
    assert len(train.paths) + len(aside.paths) == 1


def write_posetrack18(folder, name, images, annotations):
    folder.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": []}
    (folder / name).write_text(json.dumps(content))


def keypoints18(**joints):
    flat = [0.0] * 51
    for name, place in joints.items():
        at = 3 * POSETRACK18_17.index(name)
        flat[at : at + 3] = place
    return flat


def test_posetrack18(tmp_path):
    first = {"id": 1, "file_name": "images/v/1.jpg", "is_labeled": True}
    gap = {"id": 2, "file_name": "images/v/2.jpg", "is_labeled": False}
    keypoints = keypoints18(nose=(10, 20, 1), head_top=(10, 10, 1), left_ankle=(30, 50, 1))
    standing = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 90, 90], "keypoints": keypoints}
    in_gap = {**standing, "image_id": 2}
    bare = {"image_id": 1, "category_id": 1, "bbox": [], "keypoints": [0] * 51}
    write_posetrack18(tmp_path, "a.json", [first, gap], [standing, in_gap])
    second = {"id": 1, "file_name": "images/w/1.jpg"}
    write_posetrack18(tmp_path / "more", "b.json", [second], [bare, standing])
    people = read_posetrack18(tmp_path, tmp_path)
    assert people.skeleton is POSETRACK18_17
    assert [path.parent.name for path in people.paths] == ["v", "w"]
    assert people.picture.tolist() == [0, 1, 1]
    # The extent is 20 x 40, from (10, 10); 15% longer is 1.5 and 3 on each side.
    np.testing.assert_allclose(people.boxes[0], [8.5, 7, 31.5, 53])
    np.testing.assert_array_equal(people.boxes[1], 0)
    assert people.with_joints(1).picture.tolist() == [0, 1]


def point17(joint, x, y):
    return {"id": [joint], "x": [x], "y": [y]}


def annolist(*frames):
    return {
        "annolist": [
            {"image": [{"name": name}], "is_labeled": [labelled], "annorect": rects}
            for name, labelled, rects in frames
        ]
    }


def rect(*points):
    return {"annopoints": [{"point": list(points)}]}


def test_posetrack17(tmp_path):
    seen = rect(point17(13, 10, 20), point17(14, 10, 10), point17(5, 30, 50))
    frames = [("v/1.jpg", 0, []), ("v/2.jpg", 1, [{}, seen]), ("v/3.jpg", 1, None)]
    (tmp_path / "v.json").write_text(json.dumps(annolist(*frames)))
    people = read_posetrack17(tmp_path, tmp_path / "pictures")
    assert people.skeleton is POSETRACK17_15
    assert people.paths == tuple(tmp_path / "pictures" / "v" / f"{i}.jpg" for i in (2, 3))
    assert people.picture.tolist() == [0]
    np.testing.assert_allclose(people.boxes, [[8.5, 7, 31.5, 53]])
    np.testing.assert_array_equal(people.joints[0, 13], [10, 20, 2])
    assert people.joints[0, :, 2].sum() == 6
    np.testing.assert_array_equal(
        read_posetrack17(tmp_path / "v.json", tmp_path).boxes, people.boxes
    )


@pytest.mark.parametrize(
    "content",
    [
        {"annolist": [{"annorect": []}]},
        {"annolist": [7]},
        annolist(("a.jpg", 1, [rect(point17(15, 1, 1))])),
        annolist(("a.jpg", 1, [rect(point17(-1, 1, 1))])),
        annolist(("a.jpg", 1, [rect({"id": [0], "x": []})])),
        annolist(("a.jpg", 1, [rect(point17(0, float("nan"), 1))])),
        annolist(("a.jpg", 1, [{"annopoints": {"point": []}}])),
    ],
)
def test_posetrack17_of_another_layout_is_refused(tmp_path, content):
    path = tmp_path / "v.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SourceError, match=r"v\.json"):
        read_posetrack17(path, tmp_path)


def test_both_releases_tell_the_same(tmp_path):
    """The same person in both layouts, read as the 15 joints of 2017."""
    rng = np.random.default_rng(3)
    xy = rng.uniform(0, 90, (15, 2)).round(2)
    points = [point17(i, *xy[i].tolist()) for i in range(15)]
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "v.json").write_text(json.dumps(annolist(("v.jpg", 1, [rect(*points)]))))
    joints = {name: (*xy[i].tolist(), 1) for i, name in enumerate(POSETRACK17_15.joints)}
    annotation = {"image_id": 1, "category_id": 1, "keypoints": keypoints18(**joints)}
    images = [{"id": 1, "file_name": "v.jpg"}]
    write_posetrack18(tmp_path / "18", "v.json", images, [annotation])
    old, new = (
        people_of(Source(f"posetrack{year}", year, "."), tmp_path, POSETRACK17_15)
        for year in ("17", "18")
    )
    np.testing.assert_allclose(old.boxes, new.boxes, rtol=1e-6)
    np.testing.assert_allclose(old.joints[..., :2], new.joints[..., :2], rtol=1e-6)
    assert (old.joints[..., 2] > 0).all()
    assert (new.joints[..., 2] > 0).all()


def test_who_is_worth_a_crop():
    joints = np.zeros((5, 17, 3), np.float32)
    joints[:, :3, 2] = [1, 2, 2]
    joints[1, 0, 2] = 0
    boxes = np.tile(np.array([0, 0, 20, 30], np.float32), (5, 1))
    boxes[2, 2] = 1
    crowd = np.array([False, False, False, True, False])
    people = People(COCO_17, (), np.zeros(0, np.int64), boxes[:0], joints[:0], crowd[:0])
    assert len(people.with_joints(1)) == 0
    people = People(COCO_17, (Path("a"),), np.zeros(5, np.int64), boxes, joints, crowd)
    assert [len(people.with_joints(least)) for least in (1, 2, 3, 4)] == [3, 3, 2, 0]


def test_a_picture_decides_for_everybody_in_it(tmp_path):
    names = [f"{i:03}.png" for i in range(200)]
    two = [person((0, 0, 5, 5)), person((1, 1, 9, 9))]
    path = tmp_path / "people.json"
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    annotations = [{**one, "image_id": i} for i in range(200) for one in two]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    people = read_coco(path, tmp_path)
    train, aside = people.split(0.2)
    assert {*train.paths, *aside.paths} == {*people.paths}
    assert 20 < len(aside.paths) < 60
    for part in (train, aside):
        assert np.bincount(part.picture).tolist() == [2] * len(part.paths)
    everyone, nobody = people.split(0)
    assert (len(everyone), len(nobody), nobody.paths) == (400, 0, ())
    fewer = people.select(people.picture < 100).split(0.2)[1]
    assert fewer.paths == aside.paths
    with pytest.raises(InputError, match="held_out is 1"):
        people.split(1)


@pytest.mark.parametrize("numbers", [[-1], [1]])
def test_picture_numbers_must_exist(tmp_path, numbers):
    joints, boxes = np.zeros((1, 17, 3), np.float32), np.zeros((1, 4), np.float32)
    with pytest.raises(InputError, match="beyond the 1 pictures"):
        People(COCO_17, (tmp_path,), np.array(numbers), boxes, joints, np.zeros(1, bool))


def test_validation_sets_keep_names_of_their_own(tmp_path):
    write_coco(tmp_path / "a", {f"{i}.png": BLACK for i in range(8)}, {})
    source = Source("coco", "a/person_keypoints.json", "a/images", held_out=0.5)
    train, aside = split_people([source], [source, source], tmp_path, COCO_17)
    assert source_name(source) == "a"
    assert [*aside] == ["a", "a_2", "a_3"]
    assert len(train[0].paths) + len(aside["a"].paths) == len(aside["a_2"].paths) == 8


def test_a_source_without_pictures_to_train_on_is_refused(tmp_path):
    write_coco(tmp_path / "a", {}, {})
    with pytest.raises(SourceError, match="names no pictures"):
        split_people([Source("coco", "a/person_keypoints.json", "a/images")], [], tmp_path, COCO_17)
