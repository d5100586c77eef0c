"""Small COCO files."""

from __future__ import annotations

import json

import numpy as np

from flowtrack.skeleton import COCO_17

PERSON = {"id": 1, "name": "person", "keypoints": list(COCO_17.joints)}


def joints_at(x, y, step=4.0, mark=2):
    """17 joints on a grid that begins at (x, y), as the flat list of a file."""
    return [v for j in range(17) for v in (x + step * (j % 4), y + step * (j // 4), mark)]


def person(number, image_id, x=20.0, y=20.0, side=40.0, **more):
    """An annotated person whose joints are all labelled."""
    return {
        "id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": side * side,
        "bbox": [x, y, side, side], "keypoints": joints_at(x + 8, y + 8), "num_keypoints": 17,
    } | more  # fmt: skip


def pose(image_id, score, x=20.0, y=20.0, **more):
    """A result that finds the `person` at the same place exactly."""
    return {
        "image_id": image_id, "category_id": 1, "score": score,
        "keypoints": joints_at(x + 8, y + 8, mark=1),
    } | more  # fmt: skip


def truth_of(annotations, pictures=(1, 2), **more):
    """A file of pictures of 128 x 96 pixels, named a.png, b.png ..."""
    images = [{"id": id_, "file_name": f"{chr(96 + n)}.png", "width": 128, "height": 96}
              for n, id_ in enumerate(pictures, 1)]  # fmt: skip
    return {"images": images, "annotations": annotations, "categories": [PERSON]} | more


def written(folder, content, name):
    """A file with `content` as JSON."""
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def random_set(seed, pictures=6):
    """A truth and results near it: people without joints, crowds, doubles and strangers too."""
    rng = np.random.default_rng(seed)
    annotations, found = [], []
    for image_id in range(1, pictures + 1):
        for _ in range(rng.integers(0, 5)):
            box = np.concatenate([rng.uniform(0, 200, 2), rng.uniform(15, 180, 2)])
            xy = box[:2] + rng.random((17, 2)) * box[2:]
            seen = rng.integers(0, 3, 17) * (rng.random() > 0.2)
            flat = np.concatenate([xy * (seen > 0)[:, None], seen[:, None]], axis=1)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": 1,
                "iscrowd": int(rng.random() < 0.15), "area": float(box[2] * box[3] * 0.6),
                "bbox": box.tolist(), "keypoints": flat.ravel().tolist(),
                "num_keypoints": int((seen > 0).sum()),
            })  # fmt: skip
            for _ in range(rng.integers(0, 3)):
                near = xy + rng.normal(0, rng.choice([1, 5, 12]), (17, 2))
                found.append({
                    "image_id": image_id, "category_id": 1, "score": float(rng.random()),
                    "keypoints": np.concatenate([near, np.ones((17, 1))], 1).ravel().tolist(),
                    "bbox": (box + rng.normal(0, 4, 4)).tolist(),
                })  # fmt: skip
    return truth_of(annotations, range(1, pictures + 1)), found
