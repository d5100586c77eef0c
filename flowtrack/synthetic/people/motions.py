"""Motions: how postures follow one another while somebody walks, dances, throws or turns over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.people.postures import (
    POSTURES,
    arm,
    bend,
    lean,
    leg,
    mirrored,
    neutral,
    stride,
)
from flowtrack.synthetic.people.rig import BONE, Stance

Floats = npt.NDArray[np.float64]

STRIDE_M = 1.42
"""Way of two steps at a brisk walk."""
_RUN_STRIDE_M = 2.5
_TUMBLE_S = 1.25


@dataclass(frozen=True)
class Motion:
    """What one person does during a clip.

    Attributes:
        kind: one of `MOTIONS`.
        start: (x, z) at time 0, metres.
        velocity: (x, z) metres a second.
        heading: radians about the vertical at time 0.
        phase: radians, where in the motion time 0 is.
        period_s: length of one repetition.
        keys: (K, bones, 3) postures that are passed through in a repetition.
        hop_m: height of a jump in each repetition.
        habit: (bones, 3) what is added all the time: nobody moves like another.
    """

    kind: str
    start: tuple[float, float]
    velocity: tuple[float, float]
    heading: float
    phase: float
    period_s: float
    keys: Floats
    hop_m: float = 0.0
    habit: Floats = field(default_factory=neutral)

    def at(self, time_s: float) -> Stance:
        """The stance at a time."""
        turn = time_s / self.period_s + self.phase / (2 * np.pi)
        x = self.start[0] + self.velocity[0] * time_s
        z = self.start[1] + self.velocity[1] * time_s
        tumble, lift = (0.0, 0.0, 0.0), 0.0
        if self.kind in ("walk", "run"):
            speed = 1.0 if self.kind == "walk" else 2.0
            angles = stride(2 * np.pi * turn, speed)
            if self.kind == "run":
                lift = 0.045 * (1 - np.cos(4 * np.pi * turn + 0.6))
        else:
            angles = between(self.keys, turn)
            if self.hop_m:
                # A parabola during the middle half of a repetition.
                share = np.clip((turn % 1.0 - 0.25) / 0.5, 0, 1)
                lift = self.hop_m * 4 * share * (1 - share)
        if self.kind == "cartwheel":
            # Once over, then a rest, as often as the period allows.
            share = np.clip((turn % 1.0) * self.period_s / _TUMBLE_S, 0, 1)
            smooth = share * share * (3 - 2 * share)
            side = -1.0 if self.phase > np.pi else 1.0
            tumble = (0.0, 0.0, -2 * np.pi * smooth * side)
            whole = np.floor(turn) - np.floor(self.phase / (2 * np.pi))
            x += side * np.cos(self.heading) * 1.6 * (smooth + whole)
            z -= side * np.sin(self.heading) * 1.6 * (smooth + whole)
        return Stance(angles + self.habit, (x, 0.0, z), self.heading, tumble, lift)


def between(keys: Floats, turn: float) -> Floats:
    """A closed smooth curve through the keys (Catmull-Rom), `turn` counting repetitions."""
    count = len(keys)
    place = (turn % 1.0) * count
    first = int(np.floor(place)) % count
    t = place - np.floor(place)
    p, q, r, s = (keys[(first + i) % count] for i in (-1, 0, 1, 2))
    curve: Floats = 0.5 * (
        2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3
    )
    return curve


Keys = Callable[[np.random.Generator], tuple[Floats, float, float]]
"""Postures of a repetition, its length in seconds, and the height of a jump."""


def _idle(rng: np.random.Generator) -> tuple[Floats, float, float]:
    base = POSTURES["stand"](rng)
    others = [base + 0.35 * (POSTURES["stand"](rng) - base) for _ in range(3)]
    return np.array([base, *others]), rng.uniform(5, 9), 0.0


def _talk(rng: np.random.Generator) -> tuple[Floats, float, float]:
    base = POSTURES["stand"](rng)
    keys = []
    for _ in range(4):
        pose = base.copy()
        for side in ("left", "right"):
            arm(pose, side, rng.uniform(0.0, 0.6), rng.uniform(0.0, 0.3), rng.normal(-0.2, 0.3),
                rng.uniform(0.2, 1.5))  # fmt: skip
        pose[BONE["head"]] += rng.normal(0, (0.1, 0.25, 0.05))
        keys.append(pose)
    return np.array(keys), rng.uniform(3.0, 5.0), 0.0


def _wave(rng: np.random.Generator) -> tuple[Floats, float, float]:
    base = POSTURES["stand"](rng)
    for bone in ("upper_arm", "forearm"):
        base[BONE[f"right_{bone}"]] = 0
    keys = []
    for elbow, out in ((0.45, 1.75), (1.25, 1.6)):
        pose = base.copy()
        arm(pose, "right", 0.0, out, 1.5, elbow)
        keys.append(pose)
    return np.array(keys), rng.uniform(0.6, 1.0), 0.0


def _jumping_jack(rng: np.random.Generator) -> tuple[Floats, float, float]:
    closed, opened, low = neutral(), neutral(), neutral()
    for side in ("left", "right"):
        arm(closed, side, 0.0, 0.15, 0.0, 0.2)
        leg(closed, side, 0.1, 0.02, 0.0, 0.15, 0.0)
        arm(opened, side, 0.0, 2.6, 0.0, 0.3)
        leg(opened, side, 0.05, 0.45, 0.0, 0.1, 0.5)
        arm(low, side, 0.0, 1.2, 0.0, 0.2)
        leg(low, side, 0.35, 0.22, 0.0, 0.6, -0.25)
    return np.array([closed, low, opened, low]), rng.uniform(0.95, 1.25), rng.uniform(0.10, 0.2)


def _jump(rng: np.random.Generator) -> tuple[Floats, float, float]:
    stand, crouch, air = neutral(), neutral(), neutral()
    for side in ("left", "right"):
        arm(stand, side, 0.1, 0.1, 0.0, 0.3)
        leg(stand, side, 0.05, 0.05, 0.0, 0.08)
        arm(crouch, side, -0.7, 0.15, 0.0, 0.3)
        leg(crouch, side, 1.1, 0.1, 0.0, 1.4, -0.3)
        arm(air, side, 2.7, 0.2, 0.0, 0.1)
        leg(air, side, -0.1, 0.1, 0.0, 0.2, 0.6)
    lean(crouch, 0.6)
    return np.array([crouch, air, crouch, stand]), rng.uniform(1.3, 1.8), rng.uniform(0.3, 0.5)


def _squats(rng: np.random.Generator) -> tuple[Floats, float, float]:
    low, high = POSTURES["squat"](rng), neutral()
    for side in ("left", "right"):
        arm(high, side, 0.1, 0.1, 0.0, 0.2)
    return np.array([high, 0.5 * (low + high), low, 0.5 * (low + high)]), rng.uniform(2.0, 3.0), 0.0


def _dance(rng: np.random.Generator) -> tuple[Floats, float, float]:
    keys = [POSTURES["dance"](rng) for _ in range(6)]
    return np.array(keys), rng.uniform(3.0, 4.2), 0.0


def _throw(rng: np.random.Generator) -> tuple[Floats, float, float]:
    rest, back, release, after = (neutral() for _ in range(4))
    for side in ("left", "right"):
        arm(rest, side, 0.3, 0.1, 0.0, 0.7)
    arm(back, "right", -0.4, 1.5, 1.4, 1.5)
    arm(back, "left", 1.2, 0.3, 0.0, 0.2)
    leg(back, "left", 0.7, 0.1, 0.0, 0.5)
    lean(back, -0.2, -0.7)
    arm(release, "right", 1.9, 0.5, 0.3, 0.3)
    arm(release, "left", -0.2, 0.4, 0.0, 0.8)
    leg(release, "left", 0.6, 0.1, 0.0, 0.5)
    leg(release, "right", -0.5, 0.1, 0.0, 0.2, 0.3)
    lean(release, 0.25, 0.5)
    arm(after, "right", 0.6, -0.3, -0.3, 0.4)
    arm(after, "left", -0.4, 0.3, 0.0, 0.6)
    leg(after, "left", 0.7, 0.1, 0.0, 0.8)
    leg(after, "right", -0.4, 0.1, 0.0, 0.5, 0.4)
    lean(after, 0.6, 0.7)
    return np.array([rest, back, release, after, rest]), rng.uniform(1.8, 2.6), 0.0


def _kicks(rng: np.random.Generator) -> tuple[Floats, float, float]:
    rest, back, kick = (neutral() for _ in range(3))
    for side in ("left", "right"):
        arm(rest, side, 0.2, 0.15, 0.0, 0.7)
        arm(back, side, 0.2, 0.5, 0.0, 0.6)
        arm(kick, side, 0.1, 0.9, 0.0, 0.4)
    leg(back, "right", -0.7, 0.1, 0.0, 1.2, 0.4)
    leg(kick, "right", 1.35, 0.15, 0.0, 0.15, 0.5)
    lean(kick, -0.3, 0.3)
    return np.array([rest, back, kick, rest]), rng.uniform(1.5, 2.3), 0.0


def _stretch(rng: np.random.Generator) -> tuple[Floats, float, float]:
    keys = [POSTURES[name](rng) for name in ("lunge", "gesture", "bow", "gesture")]
    return np.array(keys), rng.uniform(4.5, 6.5), 0.0


def _cartwheel(rng: np.random.Generator) -> tuple[Floats, float, float]:
    pose = neutral()
    for side in ("left", "right"):
        arm(pose, side, 0.0, 2.5, 0.0, 0.1)
        leg(pose, side, 0.0, 0.55, 0.0, 0.05)
    bend(pose, "head", -0.1)
    return np.array([pose]), rng.uniform(1.9, 2.6), 0.0


_IN_PLACE: MappingProxyType[str, Keys] = MappingProxyType(
    {"stand": _idle, "talk": _talk, "wave": _wave, "jumping jack": _jumping_jack, "jump": _jump,
     "squat": _squats, "dance": _dance, "throw": _throw, "kick": _kicks, "stretch": _stretch,
     "cartwheel": _cartwheel}
)  # fmt: skip
MOTIONS = ("walk", "run", *_IN_PLACE)
"""What people can do."""


def random_motion(
    kind: str, place: tuple[float, float], meets_s: float, rng: np.random.Generator, legs: float
) -> Motion:
    """Somebody who does `kind`, and who is at `place` at the time `meets_s`.

    Args:
        kind: one of `MOTIONS`.
        place: (x, z), metres.
        meets_s: seconds.
        rng: where chance comes from.
        legs: leg length relative to the average adult's.
    """
    habit = rng.normal(0, 0.03, neutral().shape)
    phase = float(rng.uniform(0, 2 * np.pi))
    if kind in ("walk", "run"):
        step = STRIDE_M if kind == "walk" else _RUN_STRIDE_M
        period = float(rng.uniform(1.0, 1.2) if kind == "walk" else rng.uniform(0.68, 0.78))
        speed = step * legs / period
        heading = float(rng.choice([-1.0, 1.0])) * np.pi / 2 + float(rng.normal(0, 0.22))
        vx, vz = speed * np.sin(heading), speed * np.cos(heading)
        start = (place[0] - vx * meets_s, place[1] - vz * meets_s)
        return Motion(kind, start, (vx, vz), heading, phase, period, neutral()[None], 0.0, habit)
    keys, period, hop = _IN_PLACE[kind](rng)
    if rng.random() < 0.5:
        keys = np.array([mirrored(key) for key in keys])
    heading = float(np.clip(rng.normal(0, 0.6), -1.6, 1.6))
    return Motion(kind, place, (0.0, 0.0), heading, phase, float(period), keys, float(hop), habit)
