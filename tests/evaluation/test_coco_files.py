"""COCO files: what is read, what is refused and how the message leads to it, what is written."""

import gzip
import json
import re

import numpy as np
import pytest

from flowtrack.errors import InputError, OutputError
from flowtrack.evaluation.coco_files import CocoResults, read_results, read_truth, write_results
from flowtrack.skeleton import POSETRACK18_17
from tests.evaluation.coco_samples import PERSON, person, pose, random_set, truth_of, written


def without(record, key):
    return {name: value for name, value in record.items() if name != key}


def test_a_truth_is_read_as_columns(tmp_path):
    crowd = without(person(5, 7, x=10.0, iscrowd=1), "num_keypoints")
    dog = {"id": 18, "name": "dog"}
    hound = {"id": 1, "image_id": 7, "category_id": 18}
    content = truth_of([hound, person(2, 8), crowd], (8, 7), categories=[dog, PERSON])
    truth = read_truth(written(tmp_path, content, "t.json"), "keypoints")
    assert (truth.person, truth.categories) == (1, {1, 18})
    assert truth.pictures.tolist() == [8, 7]
    assert truth.files == ("a.png", "b.png")
    assert truth.sizes.tolist() == [[128, 96], [128, 96]]
    assert truth.image_id.tolist() == [8, 7]
    assert truth.boxes.tolist() == [[20, 20, 40, 40], [10, 20, 40, 40]]
    assert truth.crowd.tolist() == [False, True]
    assert truth.labelled.tolist() == [17, 17]
    assert truth.keypoints[1, :2].tolist() == [[18, 28, 2], [22, 28, 2]]
    assert truth.ignored.tolist() == [False, True]


def test_gzip_is_unpacked(tmp_path):
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(truth_of([person(1, 1)])).encode()))
    truth = read_truth(packed, "boxes")
    assert truth.keypoints is None
    found = tmp_path / "r.json.gz"
    found.write_bytes(gzip.compress(b"[]"))
    assert len(read_results(found, truth)) == 0


def test_the_only_category_is_people_whatever_its_name(tmp_path):
    content = truth_of([person(1, 1)], categories=[{"id": 1, "name": "pedestrian"}])
    assert read_truth(written(tmp_path, content, "t.json"), "boxes").person == 1


GOOD = truth_of([person(1, 1), person(2, 2)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "t.json: 'images'"),
        (without(GOOD, "images"), "t.json: 'images'"),
        (without(GOOD, "annotations"), "t.json: 'annotations'"),
        (without(GOOD, "categories"), "t.json: 'categories'"),
        ({**GOOD, "images": []}, "'images' is empty"),
        ({**GOOD, "images": [3]}, "image 0"),
        ({**GOOD, "images": [{"id": 1}, {"id": "two"}]}, "image 1: 'id' is 'two'"),
        ({**GOOD, "images": [{"id": 1}, {"id": 2}, {"id": 1}]}, "image id 1 occurs twice"),
        ({**GOOD, "categories": []}, "0 of 0 'categories'"),
        ({**GOOD, "categories": [PERSON, {**PERSON, "id": 2}]}, "2 of 2 'categories'"),
        ({**GOOD, "categories": [{**PERSON, "keypoints": list(POSETRACK18_17.joints)}]},
         "head_bottom"),
        (truth_of([person(1, 1), person(1, 2)]), "annotation id 1 occurs twice"),
        (truth_of([person(1, 1), person(2, 3)]), "annotation 1 is of image 3"),
        (truth_of([person(1, 1), without(person(2, 2), "area")]),
         "annotation 1 (image 2): 'area' is None"),
        (truth_of([person(1, 2, area=float("nan"))]), "annotation 0 (image 2): 'area' is nan"),
        (truth_of([without(person(1, 2), "keypoints")]),
         "annotation 0 (image 2): 'keypoints' is None, expected 51 numbers"),
        (truth_of([person(1, 2, keypoints=[1] * 45)]),
         "annotation 0 (image 2): 'keypoints' is a list of 45, expected 51 numbers"),
        (truth_of([person(1, 1), person(2, 2, bbox=[1, 2, "3", 4])]),
         "annotation 1 (image 2): a number in 'bbox' is '3'"),
        (truth_of([person(1, 1, bbox=[1, 2, 3])]), "'bbox' is a list of 3, expected 4 numbers"),
    ],
)  # fmt: skip
def test_a_bad_truth_is_refused_with_its_place(tmp_path, content, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_truth(written(tmp_path, content, "t.json"), "keypoints")
    assert "t.json" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": []}, "r.json is no list"),
        ([pose(1, 0.5), 7], "r.json: result 1"),
        ([pose(1, 0.5), pose(3, 0.5)], "r.json: result 1 is of image 3"),
        ([pose(1, 0.5), without(pose(2, 0.5), "image_id")], "r.json: result 1: 'image_id' is None"),
        ([without(pose(2, 0.5), "category_id")],
         "r.json: result 0 (image 2): 'category_id' is None"),
        ([pose(2, 0.5, category_id=0)], "result 0 (image 2) has category 0"),
        ([pose(1, 0.5), pose(2, float("nan"))], "result 1 (image 2): 'score' is nan"),
        ([without(pose(2, 0.5), "score")], "result 0 (image 2): 'score' is None"),
        ([pose(2, True)], "result 0 (image 2): 'score' is True"),
        ([pose(2, 0.5, keypoints=[0.0] * 42)],
         "result 0 (image 2): 'keypoints' is a list of 42, expected 51 numbers"),
        ([pose(1, 0.5), pose(2, 0.5, keypoints=[*[0.0] * 50, float("inf")])],
         "result 1 (image 2): a number in 'keypoints' is inf"),
        ([pose(1, 0.5), pose(2, 0.5, bbox=[1, 2, 3, 4])], "result 0 (image 1): 'bbox' is None"),
    ],
)  # fmt: skip
def test_bad_results_are_refused_with_their_place(tmp_path, content, message):
    truth = read_truth(written(tmp_path, GOOD, "t.json"), "keypoints")
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_results(written(tmp_path, content, "r.json"), truth)
    assert "r.json" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("r.json", b"", "is empty"),
        ("r.json", b'[{"image_id": 1, "sco', "cut short"),
        ("r.json", b"\xff\xfe", "not valid JSON"),
        ("r.json.gz", gzip.compress(b"[" * 5000, mtime=0)[:-9], "cannot read"),
        ("missing.json", None, "cannot read"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    truth = read_truth(written(tmp_path, GOOD, "t.json"), "keypoints")
    for read in (lambda path: read_truth(path, "boxes"), lambda path: read_results(path, truth)):
        with pytest.raises(InputError, match=message) as caught:
            read(tmp_path / name)
        assert name in str(caught.value)


def test_boxes_need_a_box(tmp_path):
    truth = read_truth(written(tmp_path, GOOD, "t.json"), "boxes")
    with pytest.raises(InputError, match=re.escape("result 0 (image 1): 'bbox' is None")):
        read_results(written(tmp_path, [pose(1, 0.5)], "r.json"), truth)


@pytest.mark.parametrize("kind", ["keypoints", "boxes"])
def test_what_is_written_is_read_again(tmp_path, kind):
    content, results = random_set(1)
    truth = read_truth(written(tmp_path, content, "t.json"), kind)
    first = read_results(written(tmp_path, results, "r.json"), truth)
    path = tmp_path / "new" / "again.json"
    write_results(path, first, truth.person)
    again = read_results(path, truth)
    for name in ("image_id", "score", "keypoints", "boxes"):
        assert np.array_equal(getattr(again, name), getattr(first, name)), name
    assert [p.name for p in path.parent.iterdir()] == ["again.json"]


def test_results_that_cannot_be_written_leave_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder")
    nothing = CocoResults(np.zeros(0, np.int64), np.zeros(0), None, np.zeros((0, 4)))
    with pytest.raises(OutputError, match="again"):
        write_results(tmp_path / "file" / "again.json", nothing, 1)
    taken = tmp_path / "taken.json"
    taken.mkdir()
    with pytest.raises(OutputError, match="taken"):
        write_results(taken, nothing, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.json"]
