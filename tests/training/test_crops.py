"""Crops of people: joints move exactly as pixels do, and the augmentation is the paper's."""

import cv2
import numpy as np
import pytest

from flowtrack.runtime.preprocess import crop_matrices, crop_people
from flowtrack.skeleton import COCO_17, POSETRACK17_15
from flowtrack.training.data.augment import Looks
from flowtrack.training.data.crops import PADDING, PLAIN, CropOptions, PersonCrops
from flowtrack.training.data.people import People, read_coco
from flowtrack.training.data.pictures import PictureStore
from tests.training.datasets import noise, person, write_coco

SIZE = (96, 72)
SPOTS = {"nose": (101.3, 70.8), "left_shoulder": (80.6, 110.2), "right_hip": (118.9, 128.4)}
"""One for each channel of the picture."""
BOX = (70.0, 50.0, 130.0, 150.0)


def spots(height, width, places):
    """A gaussian in each channel."""
    y, x = np.indices((height, width))
    planes = [
        255 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 3.0**2))
        for place in places
    ]
    return np.stack(planes, -1).round().astype(np.uint8)


def centroid(plane):
    y, x = np.indices(plane.shape)
    return np.array([(x * plane).sum(), (y * plane).sum()]) / plane.sum()


def crops_of(folder, picture, people, options=PLAIN, size=SIZE, **more):
    read = read_coco(*write_coco(folder, {"a.png": picture}, {"a.png": people}))
    return PersonCrops(read, PictureStore(read.paths), size, options, **more)


@pytest.fixture
def marked(tmp_path):
    def made(options=PLAIN, **more):
        picture = spots(200, 220, SPOTS.values())
        return crops_of(tmp_path, picture, [person(BOX, SPOTS)], options, **more)

    return made


def test_without_augmentation_a_crop_is_the_runtimes(tmp_path):
    picture = noise(200, 220, 3)
    boxes = [BOX, (0, 0, 30, 15), (150, 160, 260, 240), (10.5, 20.25, 12.25, 90.75)]
    crops = crops_of(tmp_path, picture, [person(box, {"nose": box[:2]}) for box in boxes])
    matrices = crop_matrices(np.array(boxes, np.float32), *SIZE, PADDING)
    theirs = crop_people(picture, matrices, *SIZE)
    for index, box in enumerate(boxes):
        sample = crops.sample(index, np.random.default_rng(index))
        assert np.abs(sample["crop"].astype(int) - theirs[index]).max() <= 2
        wanted = matrices[index] @ [*box[:2], 1]
        np.testing.assert_allclose(sample["joints"][0], wanted, atol=1e-3)
        scale = matrices[index][0, 0]
        area = (box[2] - box[0]) * (box[3] - box[1]) * scale**2
        assert sample["area"] == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize("seed", range(30))
def test_joints_move_as_pixels_do(marked, seed):
    options = CropOptions(scale=0.3, rotation=40, rotated=0.8, flip=0.5, shift=0.1)
    sample = marked(options).sample(0, np.random.default_rng(seed))
    found = {name: centroid(sample["crop"][..., i]) for i, name in enumerate(SPOTS)}
    partner = {name: COCO_17.joints[COCO_17.flip_order[COCO_17.index(name)]] for name in SPOTS}
    flipped = sample["weight"][COCO_17.index("right_shoulder")] > 0
    checked = 0
    for name in SPOTS:
        joint = COCO_17.index(partner[name] if flipped else name)
        xy = sample["joints"][joint]
        if (xy > 14).all() and (xy < np.array(SIZE[::-1]) - 15).all():  # the spot is all there
            assert np.abs(found[name] - xy).max() < 0.1
            assert sample["weight"][joint] == 1
            checked += 1
    assert checked
    assert sample["weight"].sum() <= 3


def test_a_flip_swaps_left_and_right(marked):
    plain = marked().sample(0, np.random.default_rng(0))
    flip = marked(CropOptions(scale=0, rotation=0, rotated=0, flip=1))
    mirrored = flip.sample(0, np.random.default_rng(0))
    labelled = {COCO_17.joints[i] for i in np.flatnonzero(mirrored["weight"])}
    assert labelled == {"nose", "right_shoulder", "left_hip"}
    order = COCO_17.flip_order
    np.testing.assert_allclose(
        mirrored["joints"][order, 0][plain["weight"] > 0],
        SIZE[1] - 1 - plain["joints"][plain["weight"] > 0, 0],
        atol=1e-4,
    )
    assert np.abs(mirrored["crop"][:, ::-1].astype(int) - plain["crop"]).max() <= 4


def test_joints_that_are_hidden_outside_or_unlabelled_weigh_less(tmp_path):
    joints = {"nose": (100, 100), "left_eye": (101, 95), "left_wrist": (1, 1)}
    people = [person(BOX, joints, hidden=("left_eye",))]
    crops = crops_of(tmp_path, noise(200, 220, 1), people, hidden_weight=0.25)
    weight = crops.sample(0, np.random.default_rng(0))["weight"]
    names = ("nose", "left_eye", "left_wrist", "right_ankle")
    assert [weight[COCO_17.index(name)] for name in names] == [1, 0.25, 0, 0]


def test_unlabelled_joints_may_be_known_to_be_absent(tmp_path):
    joints = {"nose": (100, 100), "left_eye": (101, 95), "left_wrist": (1, 1)}
    people = [person(BOX, joints, hidden=("left_eye",))]
    options = CropOptions(scale=0, rotated=0, flip=1)
    crops = crops_of(tmp_path, noise(200, 220, 1), people, options, absent_weight=0.5)
    absent = crops.sample(0, np.random.default_rng(0))["absent"]
    names = ("nose", "right_eye", "right_wrist", "left_wrist")  # mirrored
    assert [absent[COCO_17.index(name)] for name in names] == [0, 0, 0, 0.5]
    plain = crops_of(tmp_path, noise(200, 220, 1), people)
    assert not plain.sample(0, np.random.default_rng(0))["absent"].any()


def geometry(sample, marks):
    """Scale and rotation (degrees, clockwise) of a crop, from two of its joints."""
    first, second = (sample["joints"][COCO_17.index(name)] for name in marks)
    before = np.subtract(SPOTS[marks[1]], SPOTS[marks[0]])
    after = second - first
    angle = np.arctan2(after[1], after[0]) - np.arctan2(before[1], before[0])
    turned = (np.rad2deg(angle) + 180) % 360 - 180
    return np.linalg.norm(after) / np.linalg.norm(before), turned


def test_scale_and_rotation_are_spread_as_in_the_paper(marked):
    crops = marked(CropOptions(flip=0))
    pairs = [
        geometry(crops.sample(0, np.random.default_rng(seed)), ("nose", "left_shoulder"))
        for seed in range(600)
    ]
    scale, turned = np.array(pairs).T
    plain = SIZE[1] / (75 * PADDING)  # the box's height is 100, three quarters of it are wider
    factor = plain / scale  # of the crop's width in the picture
    assert factor.min() == pytest.approx(0.7, abs=1e-3)
    assert factor.max() == pytest.approx(1.3, abs=1e-3)
    # Of N(0, 1), 15.9% lie beyond 1 on either side.
    assert np.mean(factor > 1.2999) == pytest.approx(0.159, abs=0.05)
    assert np.mean(factor < 0.7001) == pytest.approx(0.159, abs=0.05)
    assert np.mean(np.abs(turned) > 1e-3) == pytest.approx(0.6, abs=0.06)
    assert np.abs(turned).max() == pytest.approx(80, abs=1e-2)
    some = turned[(np.abs(turned) > 1e-3)]
    assert np.mean(np.abs(some) < 40) == pytest.approx(0.683, abs=0.06)


def test_flips_are_half_of_all(marked):
    crops = marked(CropOptions())
    weights = [crops.sample(0, np.random.default_rng(seed))["weight"] for seed in range(300)]
    flipped = np.mean([weight[COCO_17.index("left_shoulder")] == 0 for weight in weights])
    assert flipped == pytest.approx(0.5, abs=0.1)


def test_half_bodies_are_nearer_and_about_one_half(tmp_path):
    rng = np.random.default_rng(5)
    upper = {
        name: (90 + rng.uniform(0, 20), 60 + rng.uniform(0, 30)) for name in COCO_17.joints[:11]
    }
    lower = {
        name: (90 + rng.uniform(0, 20), 110 + rng.uniform(0, 40)) for name in COCO_17.joints[11:]
    }
    people = [person(BOX, {**upper, **lower}), person(BOX, dict(list(upper.items())[:7]))]
    options = CropOptions(scale=0, rotation=0, rotated=0, flip=0, half_body=1)
    crops = crops_of(tmp_path, noise(200, 220, 1), people, options)
    plain = crops_of(tmp_path, noise(200, 220, 1), people).sample(0, rng)
    seen = set()
    for seed in range(20):
        sample = crops.sample(0, np.random.default_rng(seed))
        assert sample["area"] > plain["area"]
        inside = {COCO_17.joints[i] for i in np.flatnonzero(sample["weight"])}
        assert inside >= {*upper} or inside >= {*lower}
        seen.add("upper" if inside >= {*upper} else "lower")
    assert seen == {"upper", "lower"}
    few = crops.sample(1, np.random.default_rng(0))  # too few joints for a half of them
    assert few["area"] == pytest.approx(plain["area"])


def test_boxes_around_joints_are_what_the_crop_is_centred_on(tmp_path):
    names = COCO_17.joints
    # Joints reach from (60, 40) to (140, 140); the box holds the right half only.
    places = {names[i]: (60 + 20 * (i % 5), 40 + 25 * (i // 3 % 5)) for i in range(17)}
    few = {name: places[name] for name in names[:5]}
    people = [person((100, 40, 140, 140), joints) for joints in (places, few)]
    rng = np.random.default_rng(0)

    def crop(index, joint_box):
        options = CropOptions(scale=0, rotation=0, rotated=0, flip=0, joint_box=joint_box)
        return crops_of(tmp_path, noise(200, 220, 1), people, options).sample(index, rng)

    height, width = SIZE
    around_joints = crop(0, 1.0)["joints"]
    low, high = around_joints.min(0), around_joints.max(0)
    np.testing.assert_allclose((low + high) / 2, [width / 2, height / 2], atol=0.6)
    assert ((high - low) * PADDING * 1.15 / SIZE[::-1]).max() == pytest.approx(1, abs=0.01)
    assert crop(0, 0.0)["joints"].mean(0)[0] < width / 2 - 2
    np.testing.assert_array_equal(crop(1, 1.0)["joints"], crop(1, 0.0)["joints"])  # too few


def test_a_cover_hides_a_part_of_the_crop_and_no_more(tmp_path):
    picture = np.zeros((200, 220, 3), np.uint8)
    people = [person(BOX, SPOTS)]
    read = read_coco(*write_coco(
        tmp_path,
        {"a.png": picture, "b.png": np.full((40, 300, 3), 255, np.uint8)},
        {"a.png": people},
    ))  # fmt: skip
    options = CropOptions(scale=0, rotation=0, rotated=0, flip=0, cover=1)
    crops = PersonCrops(read, PictureStore(read.paths), SIZE, options)
    shares = []
    for seed in range(40):
        sample = crops.sample(0, np.random.default_rng(seed))
        assert sample["weight"].sum() == 3
        rows, columns = np.nonzero(sample["crop"][..., 0])
        if rows.size:
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert rows.size == height * width
            shares.append((height / SIZE[0], width / SIZE[1]))
    assert 10 < len(shares) < 30  # the other picture in about half of them
    assert np.min(shares) >= 0.14
    assert np.max(shares) <= 0.51


def test_samples_have_one_form(marked):
    options = CropOptions(cover=1, half_body=1, looks=Looks(brightness=0.3, noise=4, blur=0.5))
    forms = {
        tuple((name, np.shape(v), np.asarray(v).dtype.str) for name, v in sample.items())
        for seed in range(20)
        for sample in [marked(options).sample(0, np.random.default_rng(seed))]
    }
    assert forms == {
        (
            ("crop", (*SIZE, 3), "|u1"),
            ("joints", (17, 2), "<f4"),
            ("weight", (17,), "<f4"),
            ("absent", (17,), "<f4"),
            ("area", (), "<f4"),
        )
    }


def test_other_skeletons_flip_by_their_own_pairs(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), noise(200, 220, 1))
    joints = np.zeros((1, 15, 3), np.float32)
    joints[0, 0] = 100, 100, 2  # right ankle
    people = People(
        POSETRACK17_15, (tmp_path / "a.png",), np.zeros(1, np.int64),
        np.array([BOX], np.float32), joints, np.zeros(1, bool),
    )  # fmt: skip
    options = CropOptions(scale=0, rotation=0, rotated=0, flip=1)
    crops = PersonCrops(people, PictureStore(people.paths), SIZE, options)
    assert np.flatnonzero(crops.sample(0, np.random.default_rng(0))["weight"]).tolist() == [5]
