"""The skeleton that carries a body: bones, rest pose, proportions, and where the joints end up.

Body coordinates are metres: x to the person's left, y up, z to the front; the rest pose stands on
y = 0 with straight legs and the arms 45 degrees away from the body. Every rotation is relative to
the parent, in axes that are parallel to the body's own in the rest pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flowtrack.skeleton import COCO_17

Floats = npt.NDArray[np.float64]

BONES = (
    "pelvis", "abdomen", "chest", "neck", "head",
    "left_clavicle", "left_upper_arm", "left_forearm", "left_hand",
    "right_clavicle", "right_upper_arm", "right_forearm", "right_hand",
    "left_thigh", "left_shank", "left_foot", "right_thigh", "right_shank", "right_foot",
)  # fmt: skip
"""Bones, each parent before its children."""
BONE = {name: row for row, name in enumerate(BONES)}

_PARENTS = {
    "abdomen": "pelvis", "chest": "abdomen", "neck": "chest", "head": "neck",
    **{
        f"{side}_{bone}": parent if parent in ("chest", "pelvis") else f"{side}_{parent}"
        for side in ("left", "right")
        for bone, parent in (
            ("clavicle", "chest"), ("upper_arm", "clavicle"), ("forearm", "upper_arm"),
            ("hand", "forearm"), ("thigh", "pelvis"), ("shank", "thigh"), ("foot", "shank"),
        )
    },
}  # fmt: skip
PARENT = np.array([BONE[_PARENTS[name]] if name in _PARENTS else -1 for name in BONES])

ARM_DOWN = np.radians(45.0)
"""Angle of the resting arm below the horizontal."""
ALONG_ARM = np.array([np.cos(ARM_DOWN), -np.sin(ARM_DOWN), 0.0])
_SHOULDER = np.array([0.172, 1.418, -0.022])

# Origin of each bone (the joint about which it turns) in the rest pose; proportions are those of
# an adult 1.78 m tall, in agreement with the usual tables of segment lengths (Winter,
# Biomechanics and Motor Control of Human Movement: thigh 0.245, shank 0.246, upper arm 0.186,
# forearm 0.146 of the stature; an arm of the rest pose is measured along its axis).
_LEFT = {
    "clavicle": np.array([0.03, 1.435, 0.0]),
    "upper_arm": _SHOULDER,
    "forearm": _SHOULDER + 0.295 * ALONG_ARM,
    "hand": _SHOULDER + 0.555 * ALONG_ARM,
    "thigh": np.array([0.092, 0.935, 0.0]),
    "shank": np.array([0.100, 0.500, 0.008]),
    "foot": np.array([0.104, 0.082, -0.018]),
}
_MIRROR = np.array([-1.0, 1.0, 1.0])
REST = np.zeros((len(BONES), 3))
"""(bones, 3) origins of the bones in the rest pose."""
for _name, _place in {
    "pelvis": (0, 0.965, 0), "abdomen": (0, 1.06, -0.01), "chest": (0, 1.21, -0.02),
    "neck": (0, 1.475, -0.025), "head": (0, 1.565, 0.0),
}.items():  # fmt: skip
    REST[BONE[_name]] = _place
for _name, _origin in _LEFT.items():
    REST[BONE[f"left_{_name}"]] = _origin
    REST[BONE[f"right_{_name}"]] = _origin * _MIRROR
REST.flags.writeable = False

NOSE = np.array([0.0, 1.637, 0.121])
EYE = np.array([0.033, 1.672, 0.092])
EAR = np.array([0.083, 1.650, 0.002])
HEAD_TOP = np.array([0.0, 1.782, -0.005])
HEAD_BOTTOM = np.array([0.0, 1.468, -0.005])
CHIN = np.array([0.0, 1.552, 0.075])

# Landmarks: the bone that carries each and its place in the rest pose.
_KEYPOINTS: dict[str, tuple[str, Floats]] = {"nose": ("head", NOSE)}
for _side, _sign in (("left", 1.0), ("right", -1.0)):
    _flip = np.array([_sign, 1.0, 1.0])
    _KEYPOINTS[f"{_side}_eye"] = ("head", EYE * _flip)
    _KEYPOINTS[f"{_side}_ear"] = ("head", EAR * _flip)
    for _joint, _bone in (
        ("shoulder", "upper_arm"), ("elbow", "forearm"), ("wrist", "hand"),
        ("hip", "thigh"), ("knee", "shank"), ("ankle", "foot"),
    ):  # fmt: skip
        _KEYPOINTS[f"{_side}_{_joint}"] = (f"{_side}_{_bone}", REST[BONE[f"{_side}_{_bone}"]])
LANDMARKS = (*COCO_17.joints, "head_bottom", "head_top")
"""The joints of COCO-17, then the two head points of PoseTrack."""
_KEYPOINTS["head_bottom"] = ("neck", HEAD_BOTTOM)
_KEYPOINTS["head_top"] = ("head", HEAD_TOP)
LANDMARK_BONE = np.array([BONE[_KEYPOINTS[name][0]] for name in LANDMARKS])
LANDMARK_REST = np.array([_KEYPOINTS[name][1] for name in LANDMARKS])


@dataclass(frozen=True)
class Physique:
    """Proportions of one body relative to the rest pose; 1 is the average adult.

    Attributes:
        stature: of everything.
        weight: girth of the trunk, less of the limbs; the belly most.
        muscle: girth of limbs and chest.
        shoulders, hips: widths.
        legs: length of the legs.
        arms: length of the arms.
        head: size of the head, apart from the stature.
        bust: how much of a bust there is, 0 to 1.
    """

    stature: float = 1.0
    weight: float = 1.0
    muscle: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    legs: float = 1.0
    arms: float = 1.0
    head: float = 1.0
    bust: float = 0.0

    def scales(self) -> Floats:
        """(bones, 3, 3) symmetric matrices that stretch each bone about its origin."""
        out = np.tile(np.eye(3), (len(BONES), 1, 1))
        heavy, limb = self.weight, 0.45 * self.weight + 0.55
        out[BONE["pelvis"]] = np.diag([self.hips * (0.5 + 0.5 * heavy), 1.0, 0.3 + 0.7 * heavy])
        out[BONE["abdomen"]] = np.diag(
            [heavy * (0.5 + 0.25 * self.hips + 0.25 * self.shoulders), 1.0, heavy**1.35]
        )
        out[BONE["chest"]] = np.diag(
            [self.shoulders * (0.6 + 0.4 * heavy), 1.0, (0.35 + 0.65 * heavy) * self.muscle**0.5]
        )
        out[BONE["neck"]] = np.diag([1.0, 1.0, 1.0]) * (0.4 + 0.3 * heavy + 0.3 * self.muscle)
        out[BONE["neck"], 1, 1] = 1.0
        out[BONE["head"]] *= self.head
        for side in ("left", "right"):
            for name, child, length, girth in (
                ("upper_arm", "forearm", self.arms, limb * self.muscle),
                ("forearm", "hand", self.arms, (0.3 + 0.7 * limb) * self.muscle**0.6),
                ("thigh", "shank", self.legs, limb * self.muscle**0.7),
                ("shank", "foot", self.legs, (0.3 + 0.7 * limb) * self.muscle**0.7),
            ):
                bone = BONE[f"{side}_{name}"]
                axis = REST[BONE[f"{side}_{child}"]] - REST[bone]
                axis = axis / np.linalg.norm(axis)
                along = np.outer(axis, axis)
                out[bone] = girth * (np.eye(3) - along) + length * along
            out[BONE[f"{side}_clavicle"]] = np.diag(
                [self.shoulders, 1.0, 0.4 + 0.3 * heavy + 0.3 * self.muscle]
            )
            out[BONE[f"{side}_hand"]] *= 0.5 + 0.5 * self.arms
            out[BONE[f"{side}_foot"]] *= 0.5 + 0.5 * self.legs
        scaled: Floats = out * self.stature
        return scaled


def rotation(vector: npt.ArrayLike) -> Floats:
    """(..., 3, 3) rotations from rotation vectors (..., 3) in radians (Rodrigues)."""
    v = np.asarray(vector, float)
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    axis = v / np.maximum(angle, 1e-12)
    x, y, z = axis[..., 0], axis[..., 1], axis[..., 2]
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    sin, cos = np.sin(angle)[..., None], np.cos(angle)[..., None]
    turned: Floats = np.eye(3) + sin * cross + (1 - cos) * (cross @ cross)
    return turned


def turned(angles: npt.ArrayLike) -> Floats:
    """(..., 3, 3) rotations from angles (..., 3) in radians: about y, then z, then x."""
    sin, cos = np.sin(np.asarray(angles, float)), np.cos(np.asarray(angles, float))
    (sx, sy, sz), (cx, cy, cz) = np.moveaxis(sin, -1, 0), np.moveaxis(cos, -1, 0)
    rows = [
        cz * cy, -sz, cz * sy,
        cx * sz * cy + sx * sy, cx * cz, cx * sz * sy - sx * cy,
        sx * sz * cy - cx * sy, sx * cz, sx * sz * sy + cx * cy,
    ]  # fmt: skip
    return np.stack(rows, axis=-1).reshape(*np.shape(sx), 3, 3)


@dataclass(frozen=True)
class Stance:
    """Where one body is and how its joints are turned.

    Attributes:
        turns: (bones, 3) angles about x (bend), y (twist) and z (tilt) relative to the parent, see
            `turned`. Arms count from hanging straight down.
        place: (3,) world position of the point on the ground below the pelvis.
        heading: radians about the vertical; 0 faces +z.
        tumble: (3,) rotation vector of the whole body about the pelvis, before the heading.
        lift: metres above the ground of the body's lowest point.
    """

    turns: Floats
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    heading: float = 0.0
    tumble: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lift: float = 0.0


@dataclass(frozen=True)
class Posed:
    """Bones of one posed body in the world.

    Attributes:
        turn: (bones, 3, 3) world rotation of each bone.
        skin: (bones, 3, 3) rotation and stretch: what moves the surface.
        origin: (bones, 3) world position of each bone's origin.
    """

    turn: Floats
    skin: Floats
    origin: Floats

    def landmarks(self) -> Floats:
        """(19, 3) world positions of `LANDMARKS`."""
        local = LANDMARK_REST - REST[LANDMARK_BONE]
        moved: Floats = (
            np.einsum("nij,nj->ni", self.skin[LANDMARK_BONE], local) + self.origin[LANDMARK_BONE]
        )
        return moved


_ARMS_DOWN = {
    side: rotation([0, 0, -sign * (np.pi / 2 - ARM_DOWN)])
    for side, sign in (("left", 1.0), ("right", -1.0))
}
"""What lets a resting arm hang."""

_SOLE = ((0.104, 0.0, -0.055), (0.14, 0.0, 0.12), (0.085, 0.0, 0.15), (0.11, 0.0, 0.185))


def _contacts() -> list[tuple[str, Floats, float]]:
    """What may touch the ground: a bone, a point of it, and how far the surface reaches below."""
    points = [
        ("head", HEAD_TOP - np.array([0, 0.09, 0]), 0.1),
        ("pelvis", np.array([0, 0.95, -0.03]), 0.115),
        ("chest", np.array([0, 1.35, -0.01]), 0.115),
    ]
    for side, sign in (("left", 1.0), ("right", -1.0)):
        points += [(f"{side}_foot", np.array([sign * x, y, z]), 0.0) for x, y, z in _SOLE]
        for bone, reach in (("shank", 0.055), ("hand", 0.05), ("forearm", 0.045)):
            points.append((f"{side}_{bone}", REST[BONE[f"{side}_{bone}"]], reach))
        along = ALONG_ARM * np.array([sign, 1.0, 1.0])
        points.append((f"{side}_hand", REST[BONE[f"{side}_hand"]] + 0.14 * along, 0.02))
    return points


_CONTACTS = _contacts()
_CONTACT_BONE = np.array([BONE[name] for name, _, _ in _CONTACTS])
_CONTACT_REST = np.array([place for _, place, _ in _CONTACTS])
_CONTACT_REACH = np.array([reach for _, _, reach in _CONTACTS])


def posed(stance: Stance, scales: Floats) -> Posed:
    """The bones of a body of the given proportions in a stance, its lowest point on the ground.

    Args:
        stance: place and joint rotations.
        scales: (bones, 3, 3) of `Physique.scales`.
    """
    turns = turned(stance.turns)
    for side, down in _ARMS_DOWN.items():
        turns[BONE[f"{side}_upper_arm"]] = turns[BONE[f"{side}_upper_arm"]] @ down
        for name in ("forearm", "hand"):  # they, too, are turned about the axes of a hanging arm
            turns[BONE[f"{side}_{name}"]] = down.T @ turns[BONE[f"{side}_{name}"]] @ down
    turn, origin = np.empty((len(BONES), 3, 3)), np.zeros((len(BONES), 3))
    whole = rotation([(0.0, stance.heading, 0.0), stance.tumble])
    turn[0] = whole[0] @ whole[1] @ turns[0]
    steps = np.einsum("nij,nj->ni", scales[PARENT[1:]], REST[1:] - REST[PARENT[1:]])
    for bone, parent in enumerate(PARENT[1:].tolist(), start=1):
        turn[bone] = turn[parent] @ turns[bone]
        origin[bone] = origin[parent] + turn[parent] @ steps[bone - 1]
    skin = turn @ scales
    contacts = (
        np.einsum(
            "nij,nj->ni", skin[_CONTACT_BONE], _CONTACT_REST - REST[_CONTACT_BONE]
        )[:, 1]
        + origin[_CONTACT_BONE, 1]
        - _CONTACT_REACH * scales[_CONTACT_BONE, 0, 0]
    )  # fmt: skip
    origin += np.asarray(stance.place) + np.array([0, stance.lift - contacts.min(), 0])
    return Posed(turn, skin, origin)
