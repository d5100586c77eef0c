"""Postures: how the joints are turned when people stand, walk, sit, throw or tumble.

Angles are radians (bones, 3) about x, y and z as in `rig.Stance`: x bends (negative lifts a thigh
or an arm forward), z tilts (positive lifts a left limb sideways), y twists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.people.rig import BONE, BONES, Stance

Floats = npt.NDArray[np.float64]
_SWAP = np.array(
    [BONE[n.replace("left_", "*").replace("right_", "left_").replace("*", "right_")] for n in BONES]
)
_SIGNS = np.array([1.0, -1.0, -1.0])


def neutral() -> Floats:
    """Standing at attention, arms hanging."""
    return np.zeros((len(BONES), 3))


def mirrored(angles: Floats) -> Floats:
    """The posture as seen in a mirror."""
    swapped: Floats = angles[_SWAP] * _SIGNS
    return swapped


def bend(angles: Floats, bone: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
    """Turn a bone further; "left_" and "right_" bones mirror y and z by themselves."""
    sign = -1.0 if bone.startswith("right_") else 1.0
    angles[BONE[bone]] += (x, sign * y, sign * z)


def arm(
    angles: Floats, side: str, forward: float = 0.0, out: float = 0.0, twist: float = 0.0,
    elbow: float = 0.0,
) -> None:  # fmt: skip
    """Turn an arm: lifted forward and outwards, twisted outwards, bent at the elbow."""
    bend(angles, f"{side}_upper_arm", -forward, twist, out)
    bend(angles, f"{side}_forearm", -elbow)
    # The shoulder blade follows a raised arm, about one third of the way (scapulohumeral rhythm).
    raised = max(0.0, max(abs(forward), out) - 1.0)
    bend(angles, f"{side}_clavicle", z=0.28 * raised)


def leg(
    angles: Floats, side: str, forward: float = 0.0, out: float = 0.0, twist: float = 0.0,
    knee: float = 0.0, foot: float = 0.0,
) -> None:  # fmt: skip
    """Turn a leg: lifted forward and outwards, bent at the knee, toes down."""
    bend(angles, f"{side}_thigh", -forward, twist, out)
    bend(angles, f"{side}_shank", knee)
    bend(angles, f"{side}_foot", foot)


def lean(angles: Floats, forward: float = 0.0, twist: float = 0.0, side: float = 0.0) -> None:
    """Bend the trunk, shared between its two joints; the head partly makes up for it."""
    for bone, share in (("abdomen", 0.5), ("chest", 0.5), ("neck", -0.2), ("head", -0.15)):
        angles[BONE[bone]] += share * np.array([forward, twist, side])


def stride(phase: float, speed: float) -> Floats:
    """A moment of walking or running.

    Args:
        phase: radians; at 0 the left leg is furthest ahead.
        speed: 0 stands, 1 walks, 2 runs.
    """
    angles = neutral()
    run = float(np.clip(speed - 1, 0, 1))
    walk = min(speed, 1.0)
    for side, at in (("left", phase), ("right", phase + np.pi)):
        swing = np.cos(at)
        hip = (0.42 + 0.30 * run) * walk * swing + 0.08 * walk + 0.22 * run
        # The knee bends most while the leg swings forward, a little when it takes the weight.
        lifting = max(0.0, np.sin(at + np.pi + 0.55))
        loading = max(0.0, np.sin(at - 0.25)) ** 2
        knee = walk * ((0.95 + 0.75 * run) * lifting**1.5 + (0.16 + 0.25 * run) * loading) + 0.05
        toe = walk * (0.35 * max(0.0, np.sin(at - 2.0)) ** 2 - 0.12 * max(0.0, swing))
        leg(angles, side, forward=hip, out=0.015, knee=knee, foot=toe)
        back = np.cos(at + np.pi)
        arm(
            angles,
            side,
            forward=(0.38 + 0.45 * run) * walk * back + 0.1 * run,
            out=0.10 + 0.05 * run,
            elbow=0.22 + 0.15 * walk * max(0.0, back) + 1.2 * run,
        )
    sway = np.cos(phase)
    angles[BONE["pelvis"]] += (0.0, -0.08 * walk * sway, 0.03 * walk * np.sin(phase))
    lean(angles, forward=0.03 * walk + 0.20 * run, twist=0.22 * walk * sway)
    return angles


def _stand(rng: np.random.Generator) -> Floats:
    angles = neutral()
    shift = rng.normal(0, 0.05)
    for side in ("left", "right"):
        leg(angles, side, rng.normal(0.02, 0.05), rng.uniform(0.0, 0.14), rng.normal(0.12, 0.12),
            knee=abs(rng.normal(0.04, 0.08)))  # fmt: skip
        arm(angles, side, rng.normal(0.05, 0.15), rng.uniform(0.06, 0.22), rng.normal(0, 0.25),
            abs(rng.normal(0.25, 0.2)))  # fmt: skip
    lean(angles, rng.normal(0.02, 0.06), rng.normal(0, 0.12), shift)
    return angles


def _walk(rng: np.random.Generator) -> Floats:
    return stride(rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1))


def _run(rng: np.random.Generator) -> Floats:
    return stride(rng.uniform(0, 2 * np.pi), rng.uniform(1.6, 2.0))


def _gesture(angles: Floats, side: str, rng: np.random.Generator) -> None:
    kind = int(rng.integers(9))
    if kind == 0:  # on the hip
        arm(angles, side, 0.0, 0.75, -0.9, 1.6)
    elif kind == 1:  # waving
        arm(angles, side, 0.0, rng.uniform(1.3, 2.3), rng.uniform(0.9, 1.8), rng.uniform(0.4, 1.4))
    elif kind == 2:  # telephone
        arm(angles, side, 0.45, 0.35, 0.2, 2.35)
    elif kind == 3:  # pointing
        arm(angles, side, rng.uniform(1.1, 1.7), rng.uniform(-0.1, 0.7), 0.0, rng.uniform(0, 0.3))
    elif kind == 4:  # folded in front
        arm(angles, side, 0.45, 0.1, -1.1, rng.uniform(1.5, 2.0))
    elif kind == 5:  # overhead
        arm(angles, side, rng.uniform(2.3, 3.0), rng.uniform(0.0, 0.5), 0.0, rng.uniform(0, 1.0))
    elif kind == 6:  # sideways
        arm(angles, side, 0.0, rng.uniform(0.7, 1.7), rng.normal(0, 0.5), rng.uniform(0, 0.5))
    elif kind == 7:  # carrying, reading
        arm(angles, side, rng.uniform(0.2, 0.8), 0.15, rng.normal(-0.3, 0.2), rng.uniform(1.0, 1.9))
    else:  # behind the back
        arm(angles, side, -0.55, 0.30, -0.55, rng.uniform(0.7, 1.1))


def _gestures(rng: np.random.Generator) -> Floats:
    angles = _stand(rng)
    both = rng.random() < 0.4
    sides = ("left", "right") if both else (("left", "right")[int(rng.integers(2))],)
    state = rng.bit_generator.state
    for side in sides:
        angles[[BONE[f"{side}_upper_arm"], BONE[f"{side}_forearm"], BONE[f"{side}_clavicle"]]] = 0
        if rng.random() < 0.8 and both:
            rng.bit_generator.state = state  # the same gesture on both sides
        _gesture(angles, side, rng)
    return angles


def _sit(rng: np.random.Generator) -> Floats:
    angles = neutral()
    for side in ("left", "right"):
        leg(angles, side, rng.uniform(1.25, 1.65), rng.uniform(0.0, 0.35), rng.normal(0, 0.1),
            rng.uniform(1.0, 1.8), rng.normal(0, 0.1))  # fmt: skip
        arm(angles, side, rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.3), rng.normal(-0.3, 0.2),
            rng.uniform(0.3, 1.5))  # fmt: skip
    lean(angles, rng.normal(0.12, 0.2), rng.normal(0, 0.15), rng.normal(0, 0.08))
    return angles


def _squat(rng: np.random.Generator) -> Floats:
    angles = neutral()
    depth = rng.uniform(0.4, 1.0)
    for side in ("left", "right"):
        leg(angles, side, 2.05 * depth, rng.uniform(0.1, 0.5), 0.25, 2.2 * depth, -0.45 * depth)
        arm(angles, side, rng.uniform(0.4, 1.5), rng.uniform(0.0, 0.3), 0.0, rng.uniform(0.1, 1.2))
    lean(angles, 0.55 * depth, rng.normal(0, 0.1))
    return angles


def _lunge(rng: np.random.Generator) -> Floats:
    angles = neutral()
    deep = rng.uniform(0.5, 1.0)
    leg(angles, "left", 1.35 * deep, 0.08, 0.0, 1.45 * deep, -0.1)
    leg(angles, "right", -0.45 * deep, 0.08, 0.0, 0.55 * deep, 0.3)
    for side in ("left", "right"):
        arm(angles, side, rng.uniform(-0.5, 1.6), rng.uniform(0.1, 0.9), rng.normal(0, 0.4),
            rng.uniform(0.1, 1.6))  # fmt: skip
    lean(angles, rng.uniform(0.0, 0.5), rng.normal(0, 0.4), rng.normal(0, 0.1))
    return angles


def _throw(rng: np.random.Generator) -> Floats:
    angles = _lunge(rng)
    for bone in ("upper_arm", "forearm", "clavicle"):
        angles[BONE[f"right_{bone}"]] = 0
    arm(angles, "right", rng.uniform(-0.6, 0.9), rng.uniform(1.2, 2.2), rng.uniform(0.8, 1.8),
        rng.uniform(0.3, 1.7))  # fmt: skip
    lean(angles, rng.uniform(-0.2, 0.3), rng.uniform(-0.6, 0.3))
    return angles


def _kick(rng: np.random.Generator) -> Floats:
    angles = _stand(rng)
    leg(
        angles,
        "left",
        rng.uniform(0.6, 1.6),
        rng.uniform(0.0, 0.5),
        0.0,
        rng.uniform(0.1, 0.9),
        0.4,
    )
    for side in ("left", "right"):
        arm(angles, side, rng.normal(0, 0.5), rng.uniform(0.3, 1.2), 0.0, rng.uniform(0.1, 1.0))
    lean(angles, rng.normal(-0.15, 0.1), rng.normal(0, 0.3))
    return angles


def _bow(rng: np.random.Generator) -> Floats:
    angles = _stand(rng)
    deep = rng.uniform(0.4, 1.3)
    angles[BONE["pelvis"], 0] += 0.5 * deep
    for side in ("left", "right"):
        leg(angles, side, 0.5 * deep, knee=rng.uniform(0.0, 0.5))
        arm(angles, side, rng.uniform(0.5, 1.2) * deep, 0.1, 0.0, rng.uniform(0, 0.6))
    lean(angles, 0.9 * deep, rng.normal(0, 0.2))
    return angles


def _dance(rng: np.random.Generator) -> Floats:
    angles = neutral()
    for side in ("left", "right"):
        leg(angles, side, rng.normal(0.3, 0.4), rng.uniform(0.0, 0.6), rng.normal(0.1, 0.3),
            abs(rng.normal(0.4, 0.4)), rng.normal(0.1, 0.2))  # fmt: skip
        arm(angles, side, rng.normal(0.5, 0.9), rng.uniform(0.0, 1.9), rng.normal(0, 0.7),
            rng.uniform(0.0, 2.1))  # fmt: skip
    lean(angles, rng.normal(0, 0.25), rng.normal(0, 0.35), rng.normal(0, 0.2))
    return angles


POSTURES: MappingProxyType[str, Callable[[np.random.Generator], Floats]] = MappingProxyType(
    {"stand": _stand, "gesture": _gestures, "walk": _walk, "run": _run, "sit": _sit,
     "squat": _squat, "lunge": _lunge, "throw": _throw, "kick": _kick, "bow": _bow,
     "dance": _dance}
)  # fmt: skip
"""Random postures by kind; in each the feet are about below the body."""

_SHARES = np.array([0.20, 0.20, 0.14, 0.08, 0.08, 0.05, 0.05, 0.05, 0.04, 0.05, 0.06])


@dataclass(frozen=True)
class Sampled:
    """A random posture: its joint angles, and how the whole body is turned and lifted."""

    turns: Floats
    tumble: tuple[float, float, float]
    lift: float

    def at(self, place: tuple[float, float, float], heading: float) -> Stance:
        """The posture at a place on the ground."""
        return Stance(self.turns, place, heading, self.tumble, self.lift)


def random_posture(rng: np.random.Generator, extreme: float = 0.08) -> Sampled:
    """A posture for training: mostly what people do, some of it jumping, falling or upside down.

    Args:
        rng: where chance comes from.
        extreme: share of people who lie, crawl, jump or stand on their hands.
    """
    name = str(rng.choice(list(POSTURES), p=_SHARES / _SHARES.sum()))
    angles = POSTURES[name](rng)
    tumble, lift = (0.0, 0.0, 0.0), 0.0
    if rng.random() < extreme:
        kind = int(rng.integers(4))
        if kind == 0:  # lying on the back, the front or a side
            tumble = (float(rng.choice([-1.0, 1.0])) * np.pi / 2, float(rng.normal(0, 0.5)), 0.0)
        elif kind == 1:  # hands and knees
            angles = neutral()
            for side in ("left", "right"):
                leg(angles, side, 1.5 + rng.normal(0, 0.2), 0.1, 0.0, 1.5 + rng.normal(0, 0.2), 0.6)
                arm(angles, side, 1.5 + rng.normal(0, 0.2), 0.1, 0.0, abs(rng.normal(0, 0.3)))
            bend(angles, "head", -0.5)
            tumble = (1.45, 0.0, 0.0)
        elif kind == 2:  # in the air
            lift = float(rng.uniform(0.1, 0.7))
            tumble = (float(rng.normal(0, 0.3)), 0.0, float(rng.normal(0, 0.25)))
        else:  # a cartwheel or handstand
            angles = neutral()
            for side in ("left", "right"):
                leg(
                    angles,
                    side,
                    rng.normal(0, 0.3),
                    rng.uniform(0.1, 0.9),
                    0.0,
                    abs(rng.normal(0, 0.3)),
                )
                arm(angles, side, rng.uniform(2.7, 3.1), 0.2, 0.0, abs(rng.normal(0, 0.2)))
            tumble = (0.0, 0.0, float(rng.uniform(1.2, 2 * np.pi - 1.2)))
    angles = angles + rng.normal(0, 0.05, angles.shape)
    angles[BONE["head"]] += rng.normal(0, (0.16, 0.35, 0.10))
    if rng.random() < 0.5:
        angles = mirrored(angles)
    return Sampled(angles, tumble, lift)
