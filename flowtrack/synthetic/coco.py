"""Training sets of random pictures in the layout of COCO: `images/` and `person_keypoints.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowtrack.errors import OptionError, OutputError
from flowtrack.skeleton import COCO_17
from flowtrack.synthetic.files import write_json
from flowtrack.synthetic.scene import SceneOptions, render_scene
from flowtrack.synthetic.truth import SyntheticFrame

_DIGITS = 2
_JPEG_QUALITY = 92

CATEGORY: dict[str, Any] = {
    "id": 1,
    "name": "person",
    "keypoints": list(COCO_17.joints),
    "skeleton": [[a + 1, b + 1] for a, b in COCO_17.edges],
}
"""The entry for people in `categories`."""


def write_scenes(
    folder: Path,
    count: int,
    options: SceneOptions | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Render random pictures into `folder`.

    Picture i is `render_scene(options, seed + i)`, so that sets of different seeds can be made side
    by side and joined.

    Args:
        folder: gets `images/*.jpg` and `person_keypoints.json`; made if it is not there.
        count: of pictures.
        options: what they hold.
        seed: of the first picture.
        progress: told the number of pictures that are done.

    Returns:
        The path of the annotations, which are written last.

    Raises:
        OptionError: `count` is less than 1.
        OutputError: a file cannot be written.
    """
    if count < 1:
        raise OptionError(f"count is {count}, expected 1 or more pictures")
    options = options or SceneOptions()
    scenes = ((f"{seed + i:08d}", render_scene(options, seed + i)) for i in range(count))
    return write_coco(folder, scenes, progress)


def write_coco(
    folder: Path,
    frames: Iterable[tuple[str, SyntheticFrame]],
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write rendered frames into `folder`, in the layout of COCO.

    Args:
        folder: gets `images/*.jpg` and `person_keypoints.json`; made if it is not there.
        frames: each with the name of its picture, without an ending.
        progress: told the number of pictures that are done.

    Returns:
        The path of the annotations, which are written last.

    Raises:
        OutputError: a file cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    _make_folder(folder / "images")
    for number, (stem, frame) in enumerate(frames, 1):
        name = f"{stem}.jpg"
        path = folder / "images" / name
        if not cv2.imwrite(str(path), frame.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
            raise OutputError(f"cannot write {path}; is the folder writable and the disk not full?")
        height, width = frame.image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        annotations += people_of(frame, number, len(annotations) + 1)
        if progress is not None:
            progress(number)
    path = folder / "person_keypoints.json"
    write_json(path, {"images": images, "annotations": annotations, "categories": [CATEGORY]})
    return path


def people_of(frame: SyntheticFrame, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """The people of a frame as annotations of COCO; joints outside the picture are not labelled."""
    height, width = frame.image.shape[:2]
    entries = []
    for row in range(len(frame)):
        joints = frame.keypoints[row].astype(float)
        joints[joints[:, 2] == 0] = 0.0
        x1, y1, x2, y2 = np.clip(frame.boxes[row], 0, [width, height] * 2).tolist()
        entries.append(
            {
                "id": first_id + row,
                "image_id": image_id,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [round(v, _DIGITS) for v in (x1, y1, x2 - x1, y2 - y1)],
                "area": round(float(frame.areas[row]), _DIGITS),
                "num_keypoints": int((joints[:, 2] > 0).sum()),
                "keypoints": [round(float(v), _DIGITS) for v in joints.reshape(-1)],
            }
        )
    return entries


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error}") from error
