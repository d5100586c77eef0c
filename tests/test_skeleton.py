"""Names and orders of the annotation standards, and what becomes of joints between them."""

import numpy as np
import pytest

from flowtrack.errors import InputError, OptionError
from flowtrack.skeleton import (
    AIC_14,
    COCO_17,
    POSETRACK17_15,
    POSETRACK18_17,
    SKELETONS,
    conversion_weights,
    convert_joints,
    convert_poses,
    skeleton_named,
)
from flowtrack.structs import Poses

EACH = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)

# r_, l_ and neck are the short names of the standards' own lists.
POSETRACK17_IDS = """0 r_ankle 1 r_knee 2 r_hip 3 l_hip 4 l_knee 5 l_ankle 6 r_wrist 7 r_elbow
    8 r_shoulder 9 l_shoulder 10 l_elbow 11 l_wrist 12 head_bottom 13 nose 14 head_top"""
COCO_NAMES = """nose l_eye r_eye l_ear r_ear l_shoulder r_shoulder l_elbow r_elbow l_wrist r_wrist
    l_hip r_hip l_knee r_knee l_ankle r_ankle"""


def full(name):
    return name.replace("l_", "left_", 1) if name.startswith("l_") else name.replace("r_", "right_")


def person(skeleton, seed=0):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 400, (1, len(skeleton), 2)).astype(np.float32)
    return xy, rng.uniform(0.2, 1, (1, len(skeleton))).astype(np.float32)


def test_orders_of_the_standards():
    numbered = POSETRACK17_IDS.split()
    for number, name in zip(numbered[::2], numbered[1::2], strict=True):
        assert POSETRACK17_15.joints[int(number)] == full(name)
    coco = tuple(full(name) for name in COCO_NAMES.split())
    assert coco == COCO_17.joints
    head = ("nose", "head_bottom", "head_top", "left_ear", "right_ear")
    assert POSETRACK18_17.joints == head + coco[5:]
    assert [len(s) for s in SKELETONS.values()] == [17, 15, 17, 14]


def test_sigmas_of_coco():
    tenfold = ".26 .25 .25 .35 .35 .79 .79 .72 .72 .62 .62 1.07 1.07 .87 .87 .89 .89"
    np.testing.assert_allclose(COCO_17.sigmas * 10, [float(s) for s in tenfold.split()], rtol=1e-6)


def test_shared_joints_have_shared_sigmas():
    for other in (POSETRACK17_15, POSETRACK18_17):
        for joint in set(other.joints) & set(COCO_17.joints):
            assert other.sigmas[other.index(joint)] == COCO_17.sigmas[COCO_17.index(joint)]


@EACH
def test_tables_fit_together(skeleton):
    assert len(set(skeleton.joints)) == len(skeleton)
    assert skeleton.sigmas.shape == (len(skeleton),)
    assert (skeleton.sigmas > 0).all()
    assert len({frozenset(edge) for edge in skeleton.edges}) == len(skeleton.edges)
    assert all(0 <= a < len(skeleton) and 0 <= b < len(skeleton) for a, b in skeleton.edges)
    reached = {joint for edge in skeleton.edges for joint in edge}
    lonely = {"left_ear", "right_ear"} if skeleton is POSETRACK18_17 else set()
    assert {skeleton.joints[i] for i in set(range(len(skeleton))) - reached} == lonely
    assert skeleton_named(skeleton.name) is skeleton


@EACH
def test_flipping_twice_changes_nothing(skeleton):
    order = skeleton.flip_order
    np.testing.assert_array_equal(order[order], np.arange(len(skeleton)))
    for joint, partner in enumerate(order):
        one, other = skeleton.joints[joint], skeleton.joints[partner]
        assert other == one.replace("left", "LEFT").replace("right", "left").replace(
            "LEFT", "right"
        )
    sided = [name for name in skeleton.joints if name.startswith("left_")]
    assert len(skeleton.flip_pairs) == len(sided)
    assert all(order[a] == b and a < b for a, b in skeleton.flip_pairs)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(OptionError, match="unknown skeleton 'openpose'; known are coco-17"):
        skeleton_named("openpose")
    with pytest.raises(InputError, match=r"coco-17 has no joint 'neck'; it has nose, left_eye"):
        COCO_17.index("neck")


@pytest.mark.parametrize("target", [POSETRACK17_15, POSETRACK18_17], ids=["2017", "2018"])
def test_coco_to_posetrack(target):
    xy, score = person(COCO_17)
    out, out_score = convert_joints(xy, score, COCO_17, target)
    nose, left, right = (COCO_17.index(j) for j in ("nose", "left_shoulder", "right_shoulder"))
    middle = (xy[0, left] + xy[0, right]) / 2
    neck, top = target.index("head_bottom"), target.index("head_top")
    np.testing.assert_allclose(out[0, neck], middle, rtol=1e-5)
    np.testing.assert_allclose(out[0, top], 2 * xy[0, nose] - middle, rtol=1e-4)
    assert out_score[0, neck] == score[0, [left, right]].min()
    assert out_score[0, top] == score[0, [nose, left, right]].min()
    for joint in set(target.joints) & set(COCO_17.joints):
        there, here = target.index(joint), COCO_17.index(joint)
        np.testing.assert_array_equal(out[0, there], xy[0, here])
        assert out_score[0, there] == score[0, here]


def test_posetrack_years_differ_in_the_ears_only():
    xy, score = person(POSETRACK17_15)
    newer, newer_score = convert_joints(xy, score, POSETRACK17_15, POSETRACK18_17)
    ears = [POSETRACK18_17.index("left_ear"), POSETRACK18_17.index("right_ear")]
    assert np.isnan(newer[0, ears]).all()
    assert (newer_score[0, ears] == 0).all()
    back, back_score = convert_joints(newer, newer_score, POSETRACK18_17, POSETRACK17_15)
    np.testing.assert_array_equal(back, xy)
    np.testing.assert_array_equal(back_score, score)


def test_ai_challenger_has_a_neck_and_no_nose():
    xy, score = person(AIC_14)
    out, out_score = convert_joints(xy, score, AIC_14, POSETRACK17_15)
    neck = POSETRACK17_15.index("head_bottom")
    np.testing.assert_array_equal(out[0, neck], xy[0, AIC_14.index("neck")])
    nose = POSETRACK17_15.index("nose")
    assert np.isnan(out[0, nose]).all()
    assert out_score[0, nose] == 0
    assert np.isfinite(np.delete(out[0], nose, axis=0)).all()


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("left_shoulder", {"left_shoulder", "head_bottom", "head_top"}),
        ("nose", {"nose", "head_top"}),
        ("left_eye", set()),
        ("right_ankle", {"right_ankle"}),
    ],
)
@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_a_missing_joint_takes_with_it_what_follows_from_it(gone, missing, hole):
    xy, score = person(COCO_17)
    xy[0, COCO_17.index(gone)] = hole
    out, _ = convert_joints(xy, score, COCO_17, POSETRACK17_15)
    lost = ~np.isfinite(out[0]).all(axis=1)
    assert {POSETRACK17_15.joints[i] for i in np.flatnonzero(lost)} == missing


@EACH
def test_conversion_to_itself_and_weights(skeleton):
    np.testing.assert_array_equal(conversion_weights(skeleton, skeleton), np.eye(len(skeleton)))
    for target in SKELETONS.values():
        total = conversion_weights(skeleton, target).sum(axis=1)
        assert set(total.tolist()) <= {0.0, 1.0}


def test_poses_keep_their_boxes():
    xy, score = person(COCO_17)
    out = convert_poses(Poses(xy, score, [[0, 1, 2, 3]], [0.7]), COCO_17, POSETRACK17_15)
    assert out.xy.shape == (1, 15, 2)
    assert out.box.tolist() == [[0, 1, 2, 3]]
    assert len(convert_poses(Poses.empty(17), COCO_17, POSETRACK17_15)) == 0


def test_wrong_joint_counts_are_refused():
    with pytest.raises(InputError, match=r"expected \(N, 17, 2\)"):
        convert_joints(np.zeros((1, 15, 2)), np.zeros((1, 15)), COCO_17, POSETRACK17_15)
