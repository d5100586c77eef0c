"""Bodies: skeleton, surface, clothes, postures and motions."""

import numpy as np
import pytest

from flowtrack.synthetic.people import anatomy, figure, postures, rig
from flowtrack.synthetic.people.atlas import atlas_at
from flowtrack.synthetic.people.hair import headwear, skirt
from flowtrack.synthetic.people.implicit import Capsule, smooth_union, surface_mesh
from flowtrack.synthetic.people.motions import MOTIONS, between, random_motion
from flowtrack.synthetic.people.painting import paint
from flowtrack.synthetic.people.wardrobe import HAIRSTYLES, random_look


def rng(seed=0):
    return np.random.default_rng(seed)


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return (a * np.cross(b, c)).sum() / 6


def test_a_ball_becomes_a_closed_mesh_that_faces_outwards():
    ball = smooth_union([Capsule(0, (0, 0, 0), (0, 0, 0), 0.1, 0.1)], 0.001)
    vertices, faces, normals = surface_mesh(ball, (-0.15,) * 3, (0.15,) * 3, 0.02)
    assert np.abs(np.linalg.norm(vertices, axis=1) - 0.1).max() < 1e-4
    assert (normals * vertices).sum(axis=1).min() > 0.099
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = {tuple(edge) for edge in edges.tolist()}
    assert len(forward) == len(edges)
    assert all((b, a) in forward for a, b in forward)
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * 0.1**3, rel=0.03)


def test_the_template_is_the_size_of_a_person():
    body = anatomy.template(1.7)
    extent = body.vertices.max(axis=0) - body.vertices.min(axis=0)
    assert extent[1] == pytest.approx(1.79, abs=0.03)
    assert body.vertices[:, 1].min() == pytest.approx(0.0, abs=0.01)
    # An adult of that height has about 70 litres; hands and head overlap the trunk a little.
    assert 0.055 < volume(body.vertices, body.faces) < 0.085
    np.testing.assert_allclose(body.weights.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(body.normals, axis=1), 1.0, atol=1e-6)


def test_limbs_do_not_move_the_other_side():
    body = anatomy.template(1.7)
    for side, sign in (("left", 1), ("right", -1)):
        own = [rig.BONE[name] for name in rig.BONES if name.startswith(side)]
        shares = np.where(np.isin(body.bones, own), body.weights, 0).sum(axis=1)
        assert shares[sign * body.vertices[:, 0] < -0.001].max() == 0


def test_the_rest_pose_gives_the_landmarks_back():
    angles = postures.neutral()
    for side, sign in (("left", 1), ("right", -1)):
        angles[rig.BONE[f"{side}_upper_arm"], 2] = sign * (np.pi / 2 - rig.ARM_DOWN)
    pose = rig.posed(rig.Stance(angles), rig.Physique().scales())
    np.testing.assert_allclose(pose.landmarks(), rig.LANDMARK_REST, atol=2e-3)


@pytest.mark.parametrize("seed", range(8))
def test_bones_keep_their_length_and_feet_reach_the_ground(seed):
    random = rng(seed)
    scales = random_look(random).physique.scales()
    sampled = postures.random_posture(random, 0.5)
    pose = rig.posed(sampled.at((1.0, 0.0, -3.0), 0.7), scales)
    for name in ("left_forearm", "right_hand", "left_shank", "right_foot"):
        bone = rig.BONE[name]
        parent = rig.PARENT[bone]
        length = np.linalg.norm(pose.origin[bone] - pose.origin[parent])
        rest = scales[parent] @ (rig.REST[bone] - rig.REST[parent])
        assert length == pytest.approx(np.linalg.norm(rest))
    body = figure.dress(random_look(rng(seed)), 0.5)
    vertices, normals = body.moved(rig.posed(sampled.at((1.0, 0.0, -3.0), 0.7), body.scales))
    assert vertices[:, 1].min() == pytest.approx(sampled.lift, abs=0.09)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-3)


def test_the_heading_turns_the_nose():
    for heading, towards in ((0.0, (0, 1)), (np.pi / 2, (1, 0)), (np.pi, (0, -1))):
        stance = rig.Stance(postures.neutral(), (0.0, 0.0, 0.0), heading)
        points = rig.posed(stance, rig.Physique().scales()).landmarks()
        nose = (points[0] - points[rig.LANDMARKS.index("head_top")])[[0, 2]]
        np.testing.assert_allclose(nose / np.linalg.norm(nose), towards, atol=0.02)


def test_left_is_left_and_a_mirror_swaps_the_sides():
    angles = postures.neutral()
    postures.arm(angles, "left", out=1.5)
    scales = rig.Physique().scales()
    raised = rig.posed(rig.Stance(angles), scales).landmarks()
    swapped = rig.posed(rig.Stance(postures.mirrored(angles)), scales).landmarks()
    left, right = (rig.LANDMARKS.index(f"{side}_wrist") for side in ("left", "right"))
    assert raised[left, 1] > raised[right, 1] + 0.4
    assert raised[left, 0] > 0.5  # facing +z, with y up, the left hand is at +x
    np.testing.assert_allclose(swapped[right], raised[left] * (-1, 1, 1), atol=1e-9)


def test_knees_and_elbows_bend_the_way_they_do():
    angles = postures.neutral()
    postures.arm(angles, "left", elbow=1.5)
    postures.leg(angles, "right", forward=1.2, knee=1.2)
    points = rig.posed(rig.Stance(angles), rig.Physique().scales()).landmarks()
    at = {name: points[i] for i, name in enumerate(rig.LANDMARKS)}
    assert at["left_wrist"][2] > at["left_elbow"][2] + 0.2
    assert at["right_knee"][2] > at["right_hip"][2] + 0.3
    assert at["right_ankle"][1] < at["right_knee"][1] - 0.3


@pytest.mark.parametrize("style", HAIRSTYLES)
def test_hair_and_hats_are_on_the_head(style):
    worn = headwear(style, 1.7)
    if style == "bald":
        assert worn is None
        return
    assert len(worn.faces) > 50
    assert worn.faces.max() < len(worn.vertices)
    np.testing.assert_allclose(worn.weights.sum(axis=1), 1.0, atol=1e-9)
    # Nothing covers the nose.
    near = np.linalg.norm(worn.vertices - rig.NOSE, axis=1)
    assert near.min() > 0.03


def test_a_skirt_has_an_inside():
    cloth = skirt(0.5, 0.1, 1.7)
    half = len(cloth.vertices) // 2
    np.testing.assert_allclose(cloth.normals[:half], -cloth.normals[half:])
    assert volume(cloth.vertices, cloth.faces) == pytest.approx(0.0, abs=0.02)


def test_the_same_look_is_painted_alike_and_others_differ():
    one, other = random_look(rng(3)), random_look(rng(4))
    assert (paint(one, 2) == paint(one, 2)).all()
    assert (paint(one, 2) != paint(other, 2)).mean() > 0.2
    assert paint(one, 2).shape == (*atlas_at(2).shape, 4)


def test_texels_lie_in_the_texture():
    for seed in range(6):
        body = figure.dress(random_look(rng(seed)), 0.9)
        height, width = body.texture.shape[:2]
        columns, rows = body.texels[:, 0::2], body.texels[:, 1::2]
        assert columns.min() >= 0
        assert rows.min() >= 0
        assert columns.max() <= width
        assert rows.max() <= height


@pytest.mark.parametrize("kind", MOTIONS)
def test_motions_are_smooth(kind):
    motion = random_motion(kind, (0.5, -4.0), 1.0, rng(1), 1.0)
    scales = rig.Physique().scales()
    points = np.array(
        [rig.posed(motion.at(0.01 * k), scales).landmarks() for k in range(0, 300, 3)]
    )
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1) / 0.03
    assert steps.max() < 16  # metres a second; a thrown hand reaches about 10
    assert np.isfinite(points).all()


@pytest.mark.parametrize("kind", ["walk", "run"])
def test_who_walks_is_where_he_was_sent_and_looks_ahead(kind):
    motion = random_motion(kind, (0.5, -4.0), 1.2, rng(5), 1.0)
    np.testing.assert_allclose(motion.at(1.2).place, (0.5, 0.0, -4.0), atol=1e-9)
    ahead = np.array([np.sin(motion.heading), np.cos(motion.heading)])
    speed = np.hypot(*motion.velocity)
    np.testing.assert_allclose(np.array(motion.velocity) / speed, ahead, atol=1e-9)
    assert (1.0 < speed < 1.8) if kind == "walk" else (2.8 < speed < 4.2)


def test_a_curve_passes_through_its_keys():
    keys = rng(0).normal(0, 1, (4, 19, 3))
    for number in range(4):
        np.testing.assert_allclose(between(keys, number / 4), keys[number], atol=1e-12)
        np.testing.assert_allclose(between(keys, 3 + number / 4), keys[number], atol=1e-9)
