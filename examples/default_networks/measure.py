"""Measure a bundle on real material that its training has not seen.

    python -m examples.default_networks.measure flowtrack/default MATERIAL --out figures.json

MATERIAL holds `bonn/` (a PoseTrack17 clip), `coco_mini/` (COCO pictures and annotations) and
`flow/` (pairs with .flo). Needs pycocotools.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowtrack.evaluation.detection import average_precision
from flowtrack.evaluation.posetrack import PoseTrackScores, evaluate
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.flo import known, read_flo
from flowtrack.runtime import Pipeline, open_bundle, open_pipeline
from flowtrack.runtime.flow import DisFlow, FlowEstimator
from flowtrack.runtime.manifest import FlowSpec
from flowtrack.runtime.output import open_writers
from flowtrack.runtime.video import open_source
from flowtrack.structs import Boxes, Frame

JOINTS = "body12"
"""The joints that COCO and the clip's annotation share."""

_LEAST_JOINT_SCORE = 0.2  # joints that count for a person's score (COCO's usual convention)


def track(pipeline: Pipeline, clip: Path, truth: Path) -> PoseTrackScores:
    """Scores of a bundle's tracking of a clip."""
    with tempfile.TemporaryDirectory() as folder, open_source(clip) as source:
        with open_writers(Path(folder), source, pipeline.skeleton, ["posetrack"]) as writers:
            for frame, tracked in pipeline.run(source):
                writers.write(tracked, frame.image)
        return evaluate(read_posetrack(truth), read_posetrack(writers.paths["posetrack"]), JOINTS)


def coco_pictures(folder: Path) -> Iterator[tuple[dict[str, Any], Frame, list[dict[str, Any]]]]:
    """Each picture of a COCO folder that is there, with its people."""
    annotations = next(folder.glob("*.json"))
    content = json.loads(annotations.read_text(encoding="utf-8"))
    for index, image in enumerate(content["images"]):
        path = next(folder.rglob(image["file_name"]), None)
        if path is None:
            continue
        people = [p for p in content["annotations"] if p["image_id"] == image["id"]]
        yield image, Frame(index, 0.0, cv2.imread(str(path))), people


def xyxy(people: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(N, 4) boxes of COCO annotations."""
    boxes = np.array([person["bbox"] for person in people], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def detector_ap50(pipeline: Pipeline, folder: Path) -> float:
    """Average precision at IoU 0.5 of people."""
    found, truth, crowd = [], [], []
    for _, frame, people in coco_pictures(folder):
        found.append(pipeline.detector(frame))
        truth.append(xyxy(people))
        crowd.append(np.array([bool(p["iscrowd"]) for p in people], bool))
    return average_precision(
        [boxes.xyxy for boxes in found], [boxes.score for boxes in found], truth, crowd, iou=0.5
    )


def keypoint_ap(pipeline: Pipeline, folder: Path) -> float:
    """COCO's keypoint AP with the annotated boxes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results, pictures = [], []
    for image, frame, everybody in coco_pictures(folder):
        pictures.append(image["id"])
        people = [p for p in everybody if p["num_keypoints"] and not p["iscrowd"]]
        poses = pipeline.pose(frame, Boxes.detected(xyxy(people), np.ones(len(people))))
        for xy, score in zip(poses.xy, poses.score, strict=True):
            likely = score > _LEAST_JOINT_SCORE
            joints = np.concatenate((np.nan_to_num(xy), np.ones((len(xy), 1))), 1)
            results.append({
                "image_id": image["id"], "category_id": 1,
                "score": float(score[likely].mean()) if likely.any() else 0.0,
                "keypoints": joints.ravel().tolist(),
            })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(next(folder.glob("*.json"))))
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.params.imgIds = pictures
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def end_point_errors(flow: FlowEstimator, folder: Path) -> list[float]:
    """Mean end-point error of each pair, in pixels."""
    errors = []
    for path in sorted(folder.glob("*-gt.flo")):
        truth = read_flo(path)
        stem = path.name.removesuffix("-gt.flo")
        first, second = (
            flow.prepare(Frame(i, 0.0, cv2.imread(str(folder / f"{stem}-img{i}.ppm"))))
            for i in (0, 1)
        )
        field = flow.between(first, second)
        height, width = truth.shape[1:]
        uv = np.stack([cv2.resize(plane, (width, height)) for plane in field.uv])
        distance = np.sqrt(np.square(uv - truth).sum(0))
        errors.append(float(distance[known(truth)].mean()))
    return errors


def zero_errors(folder: Path) -> list[float]:
    """End-point error of no motion at all."""
    flows = [read_flo(path) for path in sorted(folder.glob("*-gt.flo"))]
    return [float(np.sqrt(np.square(uv).sum(0))[known(uv)].mean()) for uv in flows]


def figures(bundle: str, material: Path) -> dict[str, Any]:
    """All figures of a bundle."""
    opened = open_bundle(bundle)
    pipeline = open_pipeline(opened, device="cpu")
    clip, truth = material / "bonn", material / "bonn/posetrack17.json"
    tracked = track(pipeline, clip, truth)
    every_joint = replace(pipeline.options, joint_threshold=0.0)
    manifest = opened.manifest
    loose = track(open_pipeline(opened, every_joint, device="cpu"), clip, truth)
    result: dict[str, Any] = {
        "bonn": {
            "MOTA": tracked.mota, "mAP": tracked.mean_ap, **{
                k: tracked.as_dict()[k] for k in ("switches", "ids", "people")
            },
            "PCKh": loose.pckh,
        },
        "coco_mini": {
            "detector_AP50": detector_ap50(pipeline, material / "coco_mini"),
            "keypoint_AP": keypoint_ap(pipeline, material / "coco_mini"),
        },
    }  # fmt: skip
    methods = {"dis": end_point_errors(DisFlow(FlowSpec("dis")), material / "flow"),
               "zero": zero_errors(material / "flow")}  # fmt: skip
    if manifest.flow is not None and manifest.flow.file is not None and pipeline.flow is not None:
        methods["network"] = end_point_errors(pipeline.flow, material / "flow")
    result["flow"] = {name: {"mean": float(np.mean(v)), "pairs": v} for name, v in methods.items()}
    return result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("material", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file to write as well")
    arguments = parser.parse_args()
    text = json.dumps(figures(arguments.bundle, arguments.material), indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
