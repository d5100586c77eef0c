"""COCO's numbers on real material: those that pycocotools gives, for files and for networks."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from flowtrack.evaluation.coco import MEANINGS
from flowtrack.runtime import open_bundle, open_pipeline
from flowtrack.runtime.bundle import Bundle
from flowtrack.structs import Boxes, Frame
from tests.cli.test_commands import invoke
from tests.evaluation.test_coco_conventions import by_loops

pycocotools_coco = pytest.importorskip("pycocotools.coco")
pycocotools_eval = pytest.importorskip("pycocotools.cocoeval")

SIX_DIGITS = 5e-7


@pytest.fixture(scope="module")
def bundle(real, tmp_path_factory):
    """As in the documentation: a real detector and a real pose network."""
    path = tmp_path_factory.mktemp("real") / "real.bundle"
    done = invoke(
        "bundle", path, "--skeleton", "coco-17",
        "--detector", real / "nets/yolox_nano.onnx", "--detector-decode", "yolox",
        "--pose", real / "nets/ultralight_simplepose_deploy.onnx", "--pose-decode", "heatmap",
        "--pose-color", "rgb", "--pose-mean", "imagenet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def mini(real):
    """(truth, its content, folder of pictures)."""
    truth = real / "coco_mini/person_keypoints_val2017.json"
    return truth, json.loads(truth.read_text()), real / "coco_mini/val2017"


def measured(name, bundle, mini, *words):
    done = invoke("eval", name, "--truth", mini[0], "--images", mini[2], "--partial", "--bundle",
                  bundle, "--device", "cpu", "--json", *words)  # fmt: skip
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def by_pycocotools(truth, results, pictures, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = pycocotools_coco.COCO(str(truth))
        counter = pycocotools_eval.COCOeval(annotated, annotated.loadRes(results), kind)
        counter.params.imgIds = pictures
        counter.evaluate()
        counter.accumulate()
        counter.summarize()
    return counter.stats


def frames(content, folder):
    for image in content["images"]:
        if (folder / image["file_name"]).is_file():
            yield image["id"], Frame(0, 0.0, cv2.imread(str(folder / image["file_name"])))


def results_by_loops(poses, picture, padding=1.25, aspect=192 / 256):
    """Official results of one picture, person by person and joint by joint."""
    xy, scores, areas = [], [], []
    for row in range(len(poses)):
        x1, y1, x2, y2 = (float(v) for v in poses.box[row])
        width = padding * max(x2 - x1, aspect * (y2 - y1))
        height = width / aspect
        corner = ((x1 + x2 - width) / 2, (y1 + y2 - height) / 2)
        good = [float(s) for s in poses.score[row] if s > 0.2]
        scores.append(float(poses.box_score[row]) * (sum(good) / len(good) if good else 0.0))
        xy.append([corner if np.isnan(x) else (float(x), float(y)) for x, y in poses.xy[row]])
        areas.append(width * height)
    return [
        {"image_id": picture, "category_id": 1, "score": scores[row],
         "keypoints": [v for x, y in xy[row] for v in (x, y, 1.0)]}
        for row in by_loops(xy, scores, areas, 0.9)
    ]  # fmt: skip


def test_the_stored_numbers_of_pycocotools(real):
    folder = real / "xtcocoapi"
    done = invoke("eval", "coco", "--truth", folder / "example_coco_val.json",
                  "--results", folder / "example_coco_preds.json", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    stored = json.loads((folder / "example_coco_expected_pycocotools.json").read_text())
    assert [result[name] for name in MEANINGS["keypoints"]] == pytest.approx(stored, abs=SIX_DIGITS)


def flipping(path):
    """The pipeline of a bundle that averages with the mirrored crop."""
    bundle = open_bundle(path)
    pose = replace(bundle.manifest.pose, flip_test=True)
    return open_pipeline(Bundle(path, replace(bundle.manifest, pose=pose)), device="cpu")


@pytest.mark.parametrize(
    ("boxes", "flip", "least"),
    [("truth", False, 0.50), ("truth", True, 0.49), ("detector", False, 0.44)],
)
def test_poses_of_real_networks(bundle, mini, boxes, flip, least):
    """AP was 0.513, 0.504 and 0.453 when this was written."""
    truth, content, folder = mini
    pipeline = flipping(bundle) if flip else open_pipeline(bundle, device="cpu")
    results, pictures = [], []
    for picture, frame in frames(content, folder):
        people = [a for a in content["annotations"] if a["image_id"] == picture]
        xywh = [a["bbox"] for a in people if a["num_keypoints"] and not a["iscrowd"]]
        if boxes == "truth":
            xyxy = [[x, y, x + w, y + h] for x, y, w, h in xywh]
            given = Boxes.detected(np.array(xyxy).reshape(-1, 4), np.ones(len(xyxy)))
        else:
            given = pipeline.detector(frame)
        results += results_by_loops(pipeline.pose(frame, given), picture)
        pictures.append(picture)
    stats = by_pycocotools(truth, results, pictures, "keypoints")
    words = ("--boxes", boxes, "--flip" if flip else "--no-flip")
    result = measured("coco", bundle, mini, *words)
    assert (result["pictures"], result["missing_pictures"], result["people"]) == (32, 47, 68)
    assert (result["detections"], result["flip"]) == (len(results), flip)
    assert [result[n] for n in MEANINGS["keypoints"]] == pytest.approx(list(stats), abs=SIX_DIGITS)
    assert result["AP"] >= least


def test_boxes_of_a_real_network(bundle, mini):
    truth, content, folder = mini
    detector = open_pipeline(bundle, device="cpu").detector
    results, pictures = [], []
    for picture, frame in frames(content, folder):
        boxes = detector(frame)
        for (x1, y1, x2, y2), score in zip(boxes.xyxy.tolist(), boxes.score.tolist(), strict=True):
            results.append({"image_id": picture, "category_id": 1, "score": score,
                            "bbox": [x1, y1, x2 - x1, y2 - y1]})  # fmt: skip
        pictures.append(picture)
    stats = by_pycocotools(truth, results, pictures, "bbox")
    result = measured("detector", bundle, mini)
    assert [result[name] for name in MEANINGS["boxes"]] == pytest.approx(
        list(stats), abs=SIX_DIGITS
    )
    assert result["AP"] >= 0.47  # 0.483 when this was written
