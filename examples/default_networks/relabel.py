"""Complete the boxes of pictures in which not everybody is annotated.

    python -m examples.default_networks.relabel yolox_nano.onnx DATA --sets boxes_rf jhmdb

Writes DATA's sets once more, as `OUT/<set>/person_keypoints.json`: the annotated boxes, the boxes
of further people of whom the detector is sure, and, as crowd regions that neither count for nor
against a detector, those of whom it is not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import DetectorSpec, InputSpec, NetworkFile
from flowtrack.structs import Frame
from flowtrack.tracker.boxes import iou_matrix

SURE, UNSURE = 0.5, 0.12
"""Scores from which on a box counts as a person, and as a region that does not count."""

SAME = 0.4
"""IoU from which on two boxes are one person."""


def yolox(path: Path, side: int) -> Detector:
    """A YOLOX detector as its project publishes it (FACTS of its export: BGR, 0 to 255)."""
    spec = DetectorSpec(
        file=NetworkFile(
            path=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            input=InputSpec(
                names=("images",),
                height=side,
                width=side,
                dtype="float32",
                layout="nchw",
                color="bgr",
                scale=1.0,
                batch=1,
            ),
        ),
        decode="yolox",
        score_floor=UNSURE,
    )
    return Detector(open_engine(path, "cpu", threads=1), spec)


def relabelled(content: dict[str, Any], pictures: Path, detector: Detector) -> dict[str, Any]:
    """COCO annotations with the detector's boxes added."""
    given: dict[int, list[dict[str, Any]]] = {}
    for person in content["annotations"]:
        given.setdefault(person["image_id"], []).append(person)
    people = list(content["annotations"])
    number = max((person["id"] for person in people), default=0)
    for index, image in enumerate(content["images"]):
        picture = cv2.imread(str(pictures / image["file_name"]))
        found = detector(Frame(index, 0.0, picture))
        known = np.array([p["bbox"] for p in given.get(image["id"], [])], np.float32).reshape(-1, 4)
        known[:, 2:] += known[:, :2]
        overlap = iou_matrix(found.xyxy, known)
        for box, score, best in zip(
            found.xyxy, found.score, overlap.max(axis=1, initial=0.0), strict=True
        ):
            if best >= SAME:
                continue
            number += 1
            x1, y1, x2, y2 = (round(float(v), 1) for v in box)
            people.append(
                {
                    "id": number, "image_id": image["id"], "category_id": 1,
                    "iscrowd": int(score < SURE), "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1), "num_keypoints": 0, "keypoints": [0.0] * 51,
                    "score": round(float(score), 3),
                }
            )  # fmt: skip
    return {**content, "annotations": people}


def main() -> None:
    """Relabel each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", type=Path, help="YOLOX as ONNX")
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=416, help="of the detector's input, pixels")
    arguments = parser.parse_args()
    detector = yolox(arguments.detector, arguments.side)
    for name in arguments.sets:
        source = arguments.data / name
        content = json.loads((source / "person_keypoints.json").read_text(encoding="utf-8"))
        result = relabelled(content, source / "images", detector)
        target = arguments.out / name / "person_keypoints.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(result), encoding="utf-8")
        added = [p for p in result["annotations"] if "score" in p]
        sure = sum(p["score"] >= SURE for p in added)
        print(f"{name}: {sure} people and {len(added) - sure} regions added to "
              f"{len(content['annotations'])}")  # fmt: skip


if __name__ == "__main__":
    main()
