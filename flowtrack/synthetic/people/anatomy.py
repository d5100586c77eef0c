"""The template bodies: capsules that make a person, meshed once, with skinning weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.people.implicit import Capsule, gradient, smooth_union, surface_mesh
from flowtrack.synthetic.people.rig import ALONG_ARM, BONE, BONES, EAR, REST

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Point = tuple[float, float, float]

# Across the palm of the resting left hand; the palm faces the thigh when the arm hangs.
_PALM = (-float(ALONG_ARM[1]), float(ALONG_ARM[0]), 0.0)


def _on_arm(along_m: float, up_m: float = 0.0, front_m: float = 0.0) -> Point:
    """A point of the resting left arm, measured from the shoulder."""
    place = REST[BONE["left_upper_arm"]] + along_m * ALONG_ARM + up_m * np.array(_PALM)
    return float(place[0]), float(place[1]), float(place[2] + front_m)


_TRUNK = (
    ("pelvis", (-0.062, 0.975, 0.0), (0.062, 0.975, 0.0), 0.103, 0.103, 0.84),
    ("pelvis", (0.0, 0.90, 0.0), (0.0, 0.96, 0.0), 0.06, 0.09, 0.9),
    ("abdomen", (-0.042, 1.10, 0.006), (0.042, 1.10, 0.006), 0.103, 0.103, 0.84),
    ("chest", (-0.058, 1.25, -0.004), (0.058, 1.25, -0.004), 0.108, 0.108, 0.86),
    ("chest", (-0.085, 1.345, -0.015), (0.085, 1.345, -0.015), 0.088, 0.088, 0.90),
    ("neck", (0.0, 1.44, -0.025), (0.0, 1.50, -0.015), 0.058, 0.054, 1.0),
)  # fmt: skip
_LEFT_TRUNK = (
    ("pelvis", (0.072, 0.925, -0.048), (0.078, 0.89, -0.040), 0.082, 0.075, 1.0),
    ("left_clavicle", (0.05, 1.425, -0.022), (0.155, 1.415, -0.022), 0.050, 0.050, 1.0),
    ("neck", (0.025, 1.478, -0.030), (0.10, 1.445, -0.028), 0.034, 0.038, 1.0),
    ("chest", (0.075, 1.325, 0.050), (0.06, 1.34, 0.052), 0.050, 0.045, 0.7),
)
_LEFT_LEG = (
    ("left_thigh", (0.088, 0.90, 0.0), (0.098, 0.53, 0.008), 0.086, 0.055, 1.0),
    ("left_thigh", (0.10, 0.78, 0.012), (0.102, 0.66, 0.018), 0.072, 0.060, 1.0),
    ("left_shank", (0.100, 0.505, 0.012), (0.100, 0.46, 0.012), 0.053, 0.047, 1.0),
    ("left_shank", (0.100, 0.46, 0.0), (0.104, 0.09, -0.018), 0.048, 0.033, 1.0),
    ("left_shank", (0.102, 0.39, -0.022), (0.103, 0.31, -0.026), 0.050, 0.042, 1.0),
    ("left_foot", (0.104, 0.062, -0.038), (0.105, 0.050, -0.035), 0.036, 0.040, 1.0),
    ("left_foot", (0.104, 0.075, -0.01), (0.110, 0.034, 0.10), 0.036, 0.036, 1.0),
    ("left_foot", (0.110, 0.030, 0.09), (0.116, 0.026, 0.165), 0.042, 0.030, 1.0),
)
_ARM = (
    ("left_upper_arm", _on_arm(-0.01, -0.004), _on_arm(0.07), 0.058, 0.050),
    ("left_upper_arm", _on_arm(0.05), _on_arm(0.285), 0.046, 0.038),
    ("left_upper_arm", _on_arm(0.13, 0.0, 0.008), _on_arm(0.19, 0.0, 0.006), 0.047, 0.043),
    ("left_forearm", _on_arm(0.295), _on_arm(0.55), 0.039, 0.026),
    ("left_forearm", _on_arm(0.335, 0.0, 0.004), _on_arm(0.40), 0.043, 0.037),
)
_HEAD = (
    ("neck", (0.0, 1.44, -0.025), (0.0, 1.58, -0.008), 0.057, 0.052, (0.0, 0.0, 1.0), 1.0),
    ("head", (0.0, 1.698, -0.022), (0.0, 1.690, 0.016), 0.086, 0.082, (1.0, 0.0, 0.0), 0.93),
    ("head", (0.0, 1.64, 0.034), (0.0, 1.69, 0.034), 0.060, 0.066, (1.0, 0.0, 0.0), 0.95),
    ("head", (0.0, 1.605, 0.036), (0.0, 1.578, 0.060), 0.054, 0.030, (0.0, 0.0, 1.0), 1.0),
    ("head", (-0.024, 1.612, 0.03), (0.024, 1.612, 0.03), 0.040, 0.040, (0.0, 0.0, 1.0), 1.0),
    ("head", (0.0, 1.672, 0.098), (0.0, 1.640, 0.112), 0.008, 0.0125, (0.0, 0.0, 1.0), 1.0),
    ("head", (-0.008, 1.636, 0.104), (0.008, 1.636, 0.104), 0.0095, 0.0095, (0.0, 0.0, 1.0), 1.0),
    ("head", (-0.034, 1.694, 0.084), (0.034, 1.694, 0.084), 0.012, 0.012, (0.0, 0.0, 1.0), 1.0),
    ("head", (-0.012, 1.606, 0.088), (0.012, 1.606, 0.088), 0.012, 0.012, (0.0, 0.0, 1.0), 1.0),
)
_EAR_AT = (float(EAR[0]), float(EAR[1]), float(EAR[2]))
_LEFT_HEAD = (
    ("head", (_EAR_AT[0], 1.668, -0.010), (_EAR_AT[0] - 0.006, 1.634, 0.002), 0.021, 0.014,
     (1.0, 0.0, 0.0), 0.45),
    ("head", (0.042, 1.640, 0.064), (0.036, 1.648, 0.070), 0.022, 0.020, (0.0, 0.0, 1.0), 1.0),
)  # fmt: skip


def _hand() -> list[Capsule]:
    bone, wrist = BONE["left_hand"], 0.555
    parts = [
        Capsule(BONE["left_forearm"], _on_arm(wrist - 0.05), _on_arm(wrist), 0.0275, 0.0255),
        Capsule(bone, _on_arm(wrist), _on_arm(wrist + 0.03), 0.026, 0.034, _PALM, 0.62),
        Capsule(bone, _on_arm(wrist + 0.04, 0, -0.012), _on_arm(wrist + 0.04, 0, 0.012),
                0.031, 0.031, _PALM, 0.50),
        Capsule(bone, _on_arm(wrist + 0.07, 0, -0.022), _on_arm(wrist + 0.07, 0, 0.022),
                0.021, 0.021, _PALM, 0.62),
        Capsule(bone, _on_arm(wrist + 0.03, 0, 0.028), _on_arm(wrist + 0.095, -0.018, 0.056),
                0.015, 0.0095),
    ]  # fmt: skip
    for finger, length in enumerate((0.155, 0.172, 0.178, 0.165)):
        across = -0.031 + 0.0205 * finger
        parts.append(
            Capsule(bone, _on_arm(wrist + 0.07, 0, across),
                    _on_arm(wrist + length, -0.022, 1.12 * across), 0.0112, 0.0085)
        )  # fmt: skip
    return parts


def _mirrored(capsule: Capsule) -> Capsule:
    def flip(point: Point) -> Point:
        return -point[0], point[1], point[2]

    name = BONES[capsule.bone]
    other = BONE[name.replace("left_", "right_")]
    return replace(
        capsule,
        bone=other,
        start=flip(capsule.start),
        end=flip(capsule.end),
        thin=flip(capsule.thin),
    )


def _both(capsules: list[Capsule]) -> list[Capsule]:
    return capsules + [_mirrored(capsule) for capsule in capsules]


def body_capsules() -> list[Capsule]:
    """Trunk, legs and arms."""
    front = (0.0, 0.0, 1.0)
    middle = [Capsule(BONE[b], p, q, r, s, front, f) for b, p, q, r, s, f in _TRUNK]
    left = [
        Capsule(BONE[b], p, q, r, s, front, f) for b, p, q, r, s, f in (*_LEFT_TRUNK, *_LEFT_LEG)
    ]
    left += [Capsule(BONE[b], p, q, r, s) for b, p, q, r, s in _ARM]
    return middle + _both(left)


def head_capsules() -> list[Capsule]:
    """Head and neck."""
    middle = [Capsule(BONE[b], p, q, r, s, t, f) for b, p, q, r, s, t, f in _HEAD]
    return middle + _both(
        [Capsule(BONE[b], p, q, r, s, t, f) for b, p, q, r, s, t, f in _LEFT_HEAD]
    )


def _bust() -> list[Capsule]:
    left = Capsule(BONE["chest"], (0.078, 1.285, 0.080), (0.075, 1.31, 0.062), 0.055, 0.045)
    return _both([left])


BODY, HEAD, HANDS = 0, 1, 2
"""Pieces of a template, see `Template.piece`."""


@dataclass(frozen=True)
class Template:
    """A body in the rest pose.

    Attributes:
        vertices: (V, 3) metres.
        normals: (V, 3) unit length.
        faces: (F, 3) counter-clockwise from outside.
        bones: (V, 4) the bones that move a vertex.
        weights: (V, 4) float, their shares.
        bust: (V, 3) displacement of a full bust.
        piece: (V,) `BODY`, `HEAD` or `HANDS`.
    """

    vertices: Floats
    normals: Floats
    faces: Ints
    bones: Ints
    weights: Floats
    bust: Floats
    piece: Ints


def skin_weights(points: Floats, capsules: list[Capsule], softness_m: float) -> tuple[Ints, Floats]:
    """The four bones nearest to each point and their shares, by distance to the capsules.

    Limbs of one side do not move points of the other.
    """
    distance = np.full((len(BONES), len(points)), np.inf)
    for capsule in capsules:
        distance[capsule.bone] = np.minimum(distance[capsule.bone], capsule.distance(points))
    for bone, name in enumerate(BONES):
        if name.startswith("left_"):
            distance[bone, points[:, 0] < 0] = np.inf
        elif name.startswith("right_"):
            distance[bone, points[:, 0] > 0] = np.inf
    share = np.exp((distance.min(axis=0) - distance) / softness_m).T
    bones = np.argsort(-share, axis=1, kind="stable")[:, :4]
    weights = np.take_along_axis(share, bones, axis=1)
    return bones, weights / weights.sum(axis=1, keepdims=True)


@lru_cache(maxsize=4)
def template(coarseness: float = 1.0) -> Template:
    """The neutral body; made once a process.

    Args:
        coarseness: 1 for people of some hundred pixels; 2 has a quarter of the triangles.
    """
    body, head, hand = body_capsules(), head_capsules(), _hand()
    hands = hand + [_mirrored(capsule) for capsule in hand]
    pieces = []
    trunk = smooth_union(body, 0.016)
    soled = lambda points: np.maximum(trunk(points), -points[..., 1])  # noqa: E731
    pieces.append(
        surface_mesh(soled, (-0.67, -0.03, -0.20), (0.67, 1.55, 0.23), 0.022 * coarseness)
    )
    pieces.append(
        surface_mesh(smooth_union(head, 0.010), (-0.13, 1.42, -0.14), (0.13, 1.80, 0.15),
                     0.0115 * coarseness)
    )  # fmt: skip
    for side in (hand, hands[len(hand) :]):
        ends = np.array([c.start for c in side] + [c.end for c in side])
        low, high = ends.min(axis=0) - 0.05, ends.max(axis=0) + 0.05
        pieces.append(
            surface_mesh(smooth_union(side, 0.004), low, high, 0.0105 * min(coarseness, 1.5))
        )
    counts = [len(vertices) for vertices, _, _ in pieces]
    starts = np.cumsum([0, *counts[:-1]])
    vertices = np.concatenate([vertices for vertices, _, _ in pieces])
    faces = np.concatenate([f + start for (_, f, _), start in zip(pieces, starts, strict=True)])
    normals = np.concatenate([n for _, _, n in pieces])
    bones, weights = skin_weights(vertices, [*body, *head, *hands], 0.018)
    kinds = np.repeat([BODY, HEAD, HANDS, HANDS], counts)
    full = smooth_union([*body, *_bust()], 0.016)
    moved = vertices[: counts[0]].copy()
    near = (np.abs(moved[:, 1] - 1.3) < 0.16) & (moved[:, 2] > 0.0) & (np.abs(moved[:, 0]) < 0.2)
    for _ in range(6):
        slope = gradient(full, moved[near])
        moved[near] -= 0.7 * full(moved[near])[:, None] * slope
    bust = np.zeros_like(vertices)
    bust[: counts[0]] = moved - vertices[: counts[0]]
    return Template(vertices, normals, faces, bones, weights, bust, kinds)
