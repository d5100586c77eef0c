import json
import subprocess
import sys
from hashlib import sha256

import cv2
import numpy as np
import pytest

from flowtrack.errors import OptionError
from flowtrack.synthetic import SceneOptions, render_scene, write_scenes

SMALL = SceneOptions(width=160, height=120, people=(3, 3), scale=(0.3, 1.0))


def digest(frame):
    arrays = (frame.image, frame.ids, frame.keypoints, frame.posetrack, frame.boxes,
              frame.head_boxes, frame.areas)  # fmt: skip
    return sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(SMALL, seed) for seed in range(5)]


def test_the_same_seed_gives_the_same_bytes_in_any_process(scenes):
    assert digest(render_scene(SMALL, 4)) == digest(scenes[4])
    code = "from tests.synthetic.test_scene import *; print(digest(render_scene(SMALL, 4)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(scenes[4])


def test_seeds_differ(scenes):
    assert len({digest(scene) for scene in scenes}) == len(scenes)


def test_boxes_and_joints_agree(scenes):
    for scene in scenes:
        height, width = scene.image.shape[:2]
        assert (scene.boxes[:, :2] >= -0.5).all()
        assert (scene.boxes[:, 2:] <= (width - 0.5, height - 0.5)).all()
        assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()
        seen = scene.keypoints[..., 2] == 2
        x, y = scene.keypoints[..., 0], scene.keypoints[..., 1]
        left, top, right, bottom = (scene.boxes[:, i : i + 1] for i in range(4))
        # A joint that is seen lies in what is seen of the body, but for a joint at its edge.
        inside = (x > left - 2) & (x < right + 2) & (y > top - 2) & (y < bottom + 2)
        assert inside[seen].mean() > 0.98
        beyond = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
        assert (scene.keypoints[..., 2][beyond] == 0).all()


def test_the_two_standards_agree_on_the_joints_they_share(scenes):
    for scene in scenes:
        # right_ankle, left_wrist and nose of both
        np.testing.assert_array_equal(scene.posetrack[:, 0], scene.keypoints[:, 16])
        np.testing.assert_array_equal(scene.posetrack[:, 11], scene.keypoints[:, 9])
        np.testing.assert_array_equal(scene.posetrack[:, 13], scene.keypoints[:, 0])


def test_head_boxes_hold_the_face(scenes):
    for scene in scenes:
        for box, joints in zip(scene.head_boxes, scene.keypoints, strict=True):
            assert (joints[:5, :2] > box[:2] - 2).all()
            assert (joints[:5, :2] < box[2:] + 2).all()


def test_an_empty_place():
    scene = render_scene(SceneOptions(width=96, height=64, people=(0, 0), things=0), 1)
    assert len(scene) == 0
    assert scene.keypoints.shape == (0, 17, 3)
    assert scene.image.std() > 0


def test_pictures_of_a_folder_become_backgrounds(tmp_path):
    pixels = np.zeros((50, 80, 3), np.uint8)
    pixels[:, :, 1] = 200
    cv2.imwrite(str(tmp_path / "green.png"), pixels)
    (tmp_path / "notes.txt").write_text("not a picture")
    options = SceneOptions(width=96, height=64, people=(0, 0), things=0, backgrounds=tmp_path,
                           photo_share=1.0, degrade=0.0)  # fmt: skip
    image = render_scene(options, 0).image
    assert image[..., 1].min() > 190
    assert image[..., [0, 2]].max() < 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 10}, "10 x 480"), ({"people": (3, 2)}, "people is"),
        ({"people": (0, 99)}, "people is"),
        ({"scale": (0.5, 0.2)}, "scale"), ({"crowd": 1.5}, "crowd"), ({"degrade": -1}, "degrade"),
        ({"things": 50}, "things"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(changes, words):
    with pytest.raises(OptionError, match=words):
        SceneOptions(**changes)


def test_bad_folders_and_seeds_are_refused(tmp_path):
    with pytest.raises(OptionError, match="folder of pictures"):
        SceneOptions(backgrounds=tmp_path / "missing")
    with pytest.raises(OptionError, match="no picture"):
        SceneOptions(backgrounds=tmp_path)
    with pytest.raises(OptionError, match="seed is -1"):
        render_scene(SMALL, -1)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    options = SceneOptions(width=64, height=48, backgrounds=tmp_path, photo_share=1.0)
    with pytest.raises(OptionError, match=r"broken\.png"):
        render_scene(options, 0)


def test_a_training_set_has_the_layout_of_coco(tmp_path):
    done = []
    path = write_scenes(tmp_path / "set", 2, SMALL, seed=7, progress=done.append)
    assert done == [1, 2]
    content = json.loads(path.read_text())
    assert [image["file_name"] for image in content["images"]] == ["00000007.jpg", "00000008.jpg"]
    first = render_scene(SMALL, 7)
    own = [entry for entry in content["annotations"] if entry["image_id"] == 1]
    assert len(own) == len(first)
    for row, entry in enumerate(own):
        joints = np.array(entry["keypoints"]).reshape(17, 3)
        labelled = joints[:, 2] > 0
        assert entry["num_keypoints"] == labelled.sum()
        np.testing.assert_array_equal(joints[:, 2], first.keypoints[row, :, 2])
        np.testing.assert_allclose(
            joints[labelled, :2], first.keypoints[row, labelled, :2], atol=0.006
        )
        assert (joints[~labelled] == 0).all()
        x, y, w, h = entry["bbox"]
        box = np.clip(first.boxes[row], 0, [160, 120, 160, 120])
        np.testing.assert_allclose([x, y, x + w, y + h], box, atol=0.02)
    ids = [entry["id"] for entry in content["annotations"]]
    assert len(set(ids)) == len(ids)
    image = cv2.imread(str(tmp_path / "set" / "images" / "00000007.jpg"))
    assert np.abs(image.astype(int) - first.image).mean() < 4
    assert len(content["categories"][0]["keypoints"]) == 17


def test_a_training_set_needs_pictures(tmp_path):
    with pytest.raises(OptionError, match="count is 0"):
        write_scenes(tmp_path, 0)
