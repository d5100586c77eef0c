"""COCO's numbers: those that pycocotools gives by itself, and small cases counted by hand."""

import builtins
import contextlib
import copy
import io
import math

import numpy as np
import pytest

from flowtrack.errors import DependencyError, InputError
from flowtrack.evaluation.coco import MEANINGS, evaluate
from flowtrack.evaluation.coco_files import read_results, read_truth
from flowtrack.evaluation.detection import average_precision
from tests.evaluation.coco_samples import joints_at, person, pose, random_set, truth_of, written

pycocotools_coco = pytest.importorskip("pycocotools.coco")
pycocotools_eval = pytest.importorskip("pycocotools.cocoeval")


def scored(folder, annotations, results, kind="keypoints", pictures=None, **more):
    truth = read_truth(written(folder, truth_of(annotations, **more), "truth.json"), kind)
    found = read_results(written(folder, results, "results.json"), truth)
    return evaluate(truth, found, pictures)


def by_pycocotools(truth, results, kind, pictures=None):
    """The way of its own documentation, on the files' content as it is."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = pycocotools_coco.COCO()
        annotated.dataset = copy.deepcopy(truth)
        annotated.createIndex()
        counter = pycocotools_eval.COCOeval(
            annotated, annotated.loadRes(copy.deepcopy(results)), kind
        )
        if pictures is not None:
            counter.params.imgIds = pictures
        counter.evaluate()
        counter.accumulate()
        counter.summarize()
    return counter


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("boxed", [True, False])
def test_joints_equal_pycocotools(tmp_path, seed, boxed):
    truth, results = random_set(seed)
    if not boxed:
        results = [{k: v for k, v in result.items() if k != "bbox"} for result in results]
    ours = scored(tmp_path, truth["annotations"], results, pictures=None, images=truth["images"])
    counter = by_pycocotools(truth, results, "keypoints")
    stats = [math.nan if value == -1 else value for value in counter.stats]
    assert list(ours.values.values()) == pytest.approx(stats, abs=1e-12, nan_ok=True)
    assert np.array_equal(ours.precision, counter.eval["precision"][:, :, 0, 0, 0])


@pytest.mark.parametrize("seed", range(6))
def test_boxes_equal_pycocotools_and_the_counter_of_the_training(tmp_path, seed):
    truth, results = random_set(seed, pictures=8)
    ours = scored(tmp_path, truth["annotations"], results, "boxes", images=truth["images"])
    stats = by_pycocotools(truth, results, "bbox").stats
    stats = [math.nan if value == -1 else value for value in stats]
    assert list(ours.values.values()) == pytest.approx(stats, abs=1e-12, nan_ok=True)

    def of(records, picture, key):
        return [r[key] for r in records if r["image_id"] == picture]

    def xyxy(records, picture):
        boxes = np.array(of(records, picture, "bbox")).reshape(-1, 4)
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)

    pictures = [image["id"] for image in truth["images"]]
    people = truth["annotations"]
    ap50 = average_precision(
        [xyxy(results, p) for p in pictures],
        [of(results, p, "score") for p in pictures],
        [xyxy(people, p) for p in pictures],
        [np.array(of(people, p, "iscrowd"), bool) for p in pictures],
    )
    assert ours.values["AP50"] == pytest.approx(ap50, abs=1e-9)


def test_only_the_pictures_asked_for_count(tmp_path):
    truth, results = random_set(3)
    ours = scored(tmp_path, truth["annotations"], results, pictures=[4, 2], images=truth["images"])
    stats = by_pycocotools(truth, results, "keypoints", [2, 4]).stats
    assert ours.values["AP"] == pytest.approx(stats[0], abs=1e-12)
    assert ours.pictures.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("results", "ap", "ar"),
    [
        ([pose(1, 0.9), pose(2, 0.8)], 1.0, 1.0),
        ([], 0.0, 0.0),
        ([pose(1, 0.9)], 51 / 101, 0.5),  # recalls 0, 0.01 ... 0.5 have precision 1
        ([pose(1, 0.9), pose(2, 0.8, x=90)], 51 / 101, 0.5),
        # a stranger before both: precisions 0, 1/2, 2/3
        ([pose(1, 0.9, x=90), pose(1, 0.8), pose(2, 0.7)], 2 / 3, 1.0),
        # a second pose of somebody who is found is a stranger; after all people it costs nothing
        ([pose(1, 0.9), pose(2, 0.8), pose(1, 0.7)], 1.0, 1.0),
        ([pose(1, 0.9), pose(1, 0.8), pose(2, 0.7)], (51 + 50 * 2 / 3) / 101, 1.0),
    ],
)
def test_cases_counted_by_hand(tmp_path, results, ap, ar):
    scores = scored(tmp_path, [person(1, 1), person(2, 2)], results)
    assert scores.values["AP"] == pytest.approx(ap, abs=1e-9)
    assert scores.values["AR"] == pytest.approx(ar, abs=1e-9)


def test_crowds_and_people_without_joints_need_not_be_found(tmp_path):
    crowd = person(1, 1, iscrowd=1)
    bare = person(2, 2, keypoints=[0] * 51, num_keypoints=0)
    wanted = person(3, 2, x=80.0, y=40.0)
    scores = scored(tmp_path, [crowd, bare, wanted], [pose(2, 0.5, x=80, y=40), pose(2, 0.9)])
    assert scores.people.tolist() == [0, 1]
    assert scores.values["AP"] == pytest.approx(1.0)  # the other pose lies on the bare one
    assert scores.false_positives.tolist() == [0, 0]
    boxes = scored(tmp_path, [crowd, bare, wanted], [pose(2, 0.9, bbox=[80, 40, 40, 40])], "boxes")
    assert boxes.people.tolist() == [0, 2]


def test_an_annotation_numbered_0_can_be_found(tmp_path):
    """pycocotools itself takes it for unmatched."""
    scores = scored(tmp_path, [person(0, 1)], [pose(1, 0.9)])
    assert scores.values["AP"] == pytest.approx(1.0)


def test_nobody_to_find_is_nan_and_not_minus_one(tmp_path):
    scores = scored(tmp_path, [], [pose(1, 0.9)])
    assert all(math.isnan(value) for value in scores.values.values())
    assert np.isnan(scores.precision).all()
    assert scores.operating_score == math.inf
    small = scored(tmp_path, [person(1, 1)], [pose(1, 0.9)])
    assert math.isnan(small.values["AP(L)"])
    assert small.values["AP(M)"] == pytest.approx(1.0)


def test_other_categories_leave_the_numbers_alone(tmp_path):
    dog = {"id": 18, "name": "dog"}
    human = {"id": 1, "name": "person"}
    hound = {"id": 9, "image_id": 1, "category_id": 18, "bbox": [0, 0, 9, 9]}
    bark = {"image_id": 1, "category_id": 18, "score": 1.0, "bbox": [0, 0, 9, 9]}
    found = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [20, 20, 40, 40]}
    scores = scored(
        tmp_path, [hound, person(1, 1)], [bark, found], "boxes", categories=[dog, human]
    )
    assert scores.values["AP"] == pytest.approx(1.0)
    assert scores.people.sum() == 1


def test_what_went_wrong_is_counted_per_picture(tmp_path):
    """At score 0.6, two of three people and one stranger: F1 = 4/6; at 0.3 two strangers more."""
    people = [person(1, 1), person(2, 2), person(3, 2, x=80.0, y=40.0)]
    shifted = joints_at(29.0, 28.0)  # one pixel off
    results = [
        pose(1, 0.9, keypoints=shifted), pose(2, 0.8, x=200), pose(2, 0.6),
        pose(1, 0.3, x=200), pose(1, 0.3, x=240),
    ]  # fmt: skip
    scores = scored(tmp_path, people, results)
    assert scores.operating_score == 0.6
    assert scores.people.tolist() == [1, 2]
    assert scores.found.tolist() == [1, 1]
    assert scores.false_positives.tolist() == [0, 1]
    # d = 1 px, area 1600 px^2; the person has joints of 9 different sigmas.
    sigmas = [
        0.26,
        0.25,
        0.25,
        0.35,
        0.35,
        0.79,
        0.79,
        0.72,
        0.72,
        0.62,
        0.62,
        1.07,
        1.07,
        0.87,
        0.87,
        0.89,
        0.89,
    ]
    oks = sum(math.exp(-1 / (2 * 1600 * (2 * s / 10) ** 2)) for s in sigmas) / 17
    assert scores.likeness.tolist() == pytest.approx([oks, 1.0], abs=1e-9)
    assert scores.loss.tolist() == pytest.approx([1 - oks, 2.0], abs=1e-9)


def test_likeness_is_that_of_the_person_found_although_ignored_people_come_first(tmp_path):
    crowd = person(1, 1, iscrowd=1, bbox=[60, 20, 40, 40], keypoints=joints_at(68, 28))
    people = [crowd, person(2, 1), person(3, 1, x=80.0, y=60.0)]
    scores = scored(tmp_path, people, [pose(1, 0.9, x=80, y=60), pose(1, 0.8)])
    assert scores.likeness.tolist() == pytest.approx([2.0, 0.0])


def test_nothing_is_printed(tmp_path, capsys):
    scored(tmp_path, [person(1, 1)], [pose(1, 0.9)])
    assert capsys.readouterr().out == ""


def test_every_number_is_explained():
    assert list(MEANINGS["keypoints"]) == [
        "AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR", "AR50", "AR75", "AR(M)", "AR(L)",
    ]  # fmt: skip
    assert list(MEANINGS["boxes"]) == [
        "AP", "AP50", "AP75", "AP(S)", "AP(M)", "AP(L)", "AR1", "AR10", "AR100", "AR(S)", "AR(M)",
        "AR(L)",
    ]  # fmt: skip


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match=r"pip install 'flowtrack\[eval\]'"):
        scored(tmp_path, [person(1, 1)], [pose(1, 0.9)])


def test_results_of_the_other_kind_are_refused(tmp_path):
    file = written(tmp_path, truth_of([person(1, 1)]), "truth.json")
    joints, boxes = read_truth(file, "keypoints"), read_truth(file, "boxes")
    found = read_results(written(tmp_path, [pose(1, 0.9)], "results.json"), joints)
    with pytest.raises(InputError, match="boxes"):
        evaluate(boxes, found)
    with pytest.raises(InputError, match="no picture"):
        evaluate(joints, found, [])
