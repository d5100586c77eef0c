"""Complete the boxes of pictures in which not everybody is annotated.

    python -m examples.default_networks.relabel yolox_nano.onnx DATA --sets boxes_rf backgrounds

Writes DATA's sets once more, as `OUT/<set>/person_keypoints.json`: the annotated boxes, the boxes
of further people of whom the detector is sure, and, as crowd regions that neither count for nor
against a detector, those of whom it is not. Where boxes are only as wide as the joints (`--rough`),
those of which the detector is sure take their place. A set without annotations is a folder of
pictures in which nobody is annotated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import DetectorSpec, InputSpec, NetworkFile
from flowtrack.structs import Boxes, ByteArray, Frame
from flowtrack.tracker.boxes import iou_matrix

SURE, UNSURE = 0.5, 0.12
"""Scores from which on a box counts as a person, and as a region that does not count."""

SAME = 0.4
"""IoU from which on two boxes are one person."""

PART = 0.1
"""IoU from which on a box may be a part of somebody who is annotated roughly."""

_PICTURES = (".jpg", ".jpeg", ".png", ".webp")


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


def read_picture(path: Path) -> ByteArray:
    """(H, W, 3) BGR.

    Raises:
        SystemExit: it cannot be read.
    """
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"{path} is missing or no picture")
    return np.asarray(picture, np.uint8)


def without_annotations(folder: Path) -> dict[str, Any]:
    """COCO annotations of a folder of pictures in which nobody is annotated."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, 1)]
    return {
        "images": images,
        "annotations": [],
        "categories": [{"id": 1, "name": "person"}],
    }


def relabelled(
    content: dict[str, Any],
    pictures: Path,
    detector: Callable[[Frame], Boxes],
    *,
    rough: bool = False,
) -> dict[str, Any]:
    """COCO annotations with the detector's boxes added.

    Args:
        content: annotations as they are.
        pictures: folder of the pictures.
        detector: finds people, with scores from `UNSURE` on.
        rough: the annotated boxes are of the joints' extent. Somebody gets the box of which the
            detector is surest, if it is sure, and what overlaps somebody less does not count.
    """
    given: dict[int, list[dict[str, Any]]] = {}
    people = [dict(person) for person in content["annotations"]]
    for person in people:
        given.setdefault(person["image_id"], []).append(person)
    number = max((person["id"] for person in people), default=0)
    for index, image in enumerate(content["images"]):
        found = detector(Frame(index, 0.0, read_picture(pictures / image["file_name"])))
        there = given.get(image["id"], [])
        known = np.array([p["bbox"] for p in there], np.float32).reshape(-1, 4)
        known[:, 2:] += known[:, :2]
        overlap = iou_matrix(found.xyxy, known)
        for box, score, row in zip(found.xyxy, found.score, overlap, strict=True):
            x1, y1, x2, y2 = (round(float(v), 1) for v in box)
            extent = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            most = row.max(initial=0.0)
            if most >= SAME:
                same = there[int(row.argmax())]
                if rough and score >= SURE and "replaced" not in same:
                    same.update(extent, replaced=round(float(most), 3))
                continue
            number += 1
            people.append(
                {
                    "id": number, "image_id": image["id"], "category_id": 1,
                    "iscrowd": int(score < SURE or (rough and most >= PART)), **extent,
                    "num_keypoints": 0, "keypoints": [0.0] * 51, "score": round(float(score), 3),
                }
            )  # fmt: skip
    return {**content, "annotations": people}


def main() -> None:
    """Relabel each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", type=Path, help="YOLOX as ONNX")
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--rough", nargs="*", default=[], help="of these, with rough boxes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=416, help="of the detector's input, pixels")
    arguments = parser.parse_args()
    detector = yolox(arguments.detector, arguments.side)
    for name in arguments.sets:
        source = arguments.data / name
        annotations, pictures = source / "person_keypoints.json", source / "images"
        if annotations.is_file():
            content = json.loads(annotations.read_text(encoding="utf-8"))
        else:
            content, pictures = without_annotations(source), source
        result = relabelled(content, pictures, detector, rough=name in arguments.rough)
        target = arguments.out / name / "person_keypoints.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(result), encoding="utf-8")
        added = [p for p in result["annotations"] if "score" in p]
        sure = sum(p["score"] >= SURE for p in added)
        print(f"{name}: {sure} people and {len(added) - sure} regions added to "
              f"{len(content['annotations'])}")  # fmt: skip


if __name__ == "__main__":
    main()
