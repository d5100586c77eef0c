"""One puppet: how its joints move, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.skeleton import COCO_17

Floats = npt.NDArray[np.float64]
Color = tuple[int, int, int]

# All colours are RGB. The joints' are at least 80 apart from one another and from every shade of
# clothes, skin and ground below, which are all muted.
JOINT_COLORS: tuple[Color, ...] = (
    (70, 0, 192), (180, 255, 0), (70, 255, 255), (180, 0, 0), (180, 128, 255), (70, 192, 64),
    (180, 255, 128), (180, 0, 128), (180, 128, 0), (70, 128, 255), (70, 255, 0), (70, 255, 128),
    (125, 64, 255), (125, 192, 0), (125, 192, 255), (125, 255, 64), (125, 255, 192),
)  # fmt: skip
BIB_KEY: Color = (255, 0, 255)
BIB_RED_LEFT, BIB_RED_RIGHT = 10, 245
"""Red of the bib's two data fields; green and blue hold distances from the bib's centre to the
sides of the box in pixels: (left, right) in the left field, (bottom, top) in the right one."""
BIB_STEP_PX = 10
"""From the bib's centre to the centre of a data field."""
BIB_HALF_PX = 5

CLOTHES: tuple[Color, ...] = (
    (176, 92, 84), (96, 112, 150), (120, 136, 104), (150, 132, 108), (112, 104, 128),
    (84, 120, 124), (164, 148, 140), (98, 90, 88), (136, 112, 92), (88, 98, 116),
)  # fmt: skip
SKINS: tuple[Color, ...] = ((196, 152, 128), (170, 126, 102), (124, 90, 72))
HAIR: tuple[Color, ...] = ((72, 54, 46), (104, 80, 60), (84, 78, 76))

# Lengths as shares of the standing height.
HEAD_RADIUS = 0.092
_THIGH, _SHIN, _TORSO, _UPPER_ARM, _FOREARM = 0.245, 0.235, 0.30, 0.165, 0.15
_MARKER, _FACE_MARKER = 0.023, 0.018

NOSE, L_EYE, R_EYE, L_EAR, R_EAR = range(5)
L_SHOULDER, R_SHOULDER, L_ELBOW, R_ELBOW, L_WRIST, R_WRIST = range(5, 11)
L_HIP, R_HIP, L_KNEE, R_KNEE, L_ANKLE, R_ANKLE = range(11, 17)


@dataclass(frozen=True)
class Looks:
    """Colours of one puppet."""

    shirt: Color
    trousers: Color
    skin: Color
    hair: Color


@dataclass(frozen=True)
class Posture:
    """One puppet at one moment.

    Attributes:
        x, ground: pixels below the hip's centre, where the lower foot stands.
        height: standing height in pixels.
        phase: of the step, radians.
        gait: 0 stands, 1 walks, 1.6 runs.
        facing: 1 to the right, -1 to the left.
        wave: 0 or the phase of a waving right arm, radians.
    """

    x: float
    ground: float
    height: float
    phase: float
    gait: float
    facing: int
    wave: float = 0.0


def _by(dx: float, dy: float) -> Floats:
    return np.array([dx, dy])


def _reach(start: Floats, length: float, angle: float) -> Floats:
    """From `start` along `angle`: 0 hangs down, positive turns to the right."""
    return start + length * np.array([np.sin(angle), np.cos(angle)])


def _leg(hip: Floats, posture: Posture, phase: float) -> tuple[Floats, Floats]:
    swing = 0.42 * posture.gait * np.sin(phase)
    bend = 0.06 + 0.55 * posture.gait * max(0.0, np.sin(phase + 1.9))
    knee = _reach(hip, _THIGH * posture.height, posture.facing * swing)
    return knee, _reach(knee, _SHIN * posture.height, posture.facing * (swing - bend))


def _arm(shoulder: Floats, posture: Posture, phase: float, outward: int) -> tuple[Floats, Floats]:
    swing = 0.45 * posture.gait * np.sin(phase)
    bend = 0.25 + 0.75 * max(0.0, posture.gait - 0.8) + 0.2 * np.sin(phase)
    upper = posture.facing * swing + 0.16 * outward
    elbow = _reach(shoulder, _UPPER_ARM * posture.height, upper)
    return elbow, _reach(elbow, _FOREARM * posture.height, upper + posture.facing * bend)


def pose(posture: Posture) -> Floats:
    """(17, 2) COCO joints; the person's left is on the right of the picture."""
    h, joints = posture.height, np.zeros((17, 2))
    lean = 0.05 * posture.gait**2 * posture.facing
    hip = np.zeros(2)
    for ankle, knee, side, phase in (
        (L_ANKLE, L_KNEE, 1, posture.phase),
        (R_ANKLE, R_KNEE, -1, posture.phase + np.pi),
    ):
        joints[knee - 2] = hip + _by(side * 0.052 * h, 0)
        joints[knee], joints[ankle] = _leg(joints[knee - 2], posture, phase)
    chest = _reach(hip, -_TORSO * h, -lean)
    for wrist, elbow, side, phase in (
        (L_WRIST, L_ELBOW, 1, posture.phase + np.pi),
        (R_WRIST, R_ELBOW, -1, posture.phase),
    ):
        joints[elbow - 2] = chest + _by(side * 0.088 * h, 0)
        joints[elbow], joints[wrist] = _arm(joints[elbow - 2], posture, phase, side)
    if posture.wave:
        swing = 0.55 * np.sin(posture.wave)
        joints[R_ELBOW] = _reach(joints[R_SHOULDER], _UPPER_ARM * h, -1.9 - 0.15 * swing)
        joints[R_WRIST] = _reach(joints[R_ELBOW], _FOREARM * h, -2.9 + swing)
    head = _reach(chest, -0.125 * h, -lean)
    look = 0.012 * posture.facing * min(posture.gait, 1.0)
    joints[NOSE] = head + np.array([2 * look, 0.022]) * h
    for eye, ear, side in ((L_EYE, L_EAR, 1), (R_EYE, R_EAR, -1)):
        joints[eye] = head + np.array([look + side * 0.041, -0.022]) * h
        joints[ear] = head + np.array([side * 0.092, 0.0]) * h
    foot = max(joints[L_ANKLE, 1], joints[R_ANKLE, 1])
    result: Floats = joints + _by(posture.x, posture.ground - 0.03 * h - foot)
    return result


def head_of(joints: Floats) -> Floats:
    """Centre of the head, between the ears."""
    middle: Floats = (joints[L_EAR] + joints[R_EAR]) / 2
    return middle


def bib_of(joints: Floats) -> Floats:
    """Centre of the bib, on a whole pixel of the chest."""
    shoulders = (joints[L_SHOULDER] + joints[R_SHOULDER]) / 2
    hips = (joints[L_HIP] + joints[R_HIP]) / 2
    whole: Floats = np.round(shoulders + 0.28 * (hips - shoulders))
    return whole


def box_of(joints: Floats, height: float) -> Floats:
    """x1, y1, x2, y2 around the puppet as drawn, hair, hands and shoes included."""
    head, radius = head_of(joints), HEAD_RADIUS * height
    low = np.minimum(joints.min(axis=0) - 0.035 * height, head - 1.1 * radius)
    high = np.maximum(joints.max(axis=0) + 0.035 * height, head + radius)
    return np.concatenate([low, high])


class Canvas:
    """A picture at twice its size, and which joint or body covers each of its pixels."""

    def __init__(self, background: npt.NDArray[np.uint8]) -> None:
        height, width = background.shape[:2]
        self.image = cv2.resize(background, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
        self.label = np.zeros((2 * height, 2 * width), np.uint16)
        self.current = 0

    @staticmethod
    def _fixed(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Pixel positions as OpenCV's fixed-point positions with 4 fractional bits."""
        return np.round((2 * np.asarray(points, float) + 0.5) * 16).astype(np.int32)

    def disc(self, centre: npt.ArrayLike, radius: float, color: Color) -> None:
        """A filled circle."""
        at, r = tuple(map(int, self._fixed(centre))), round(2 * radius * 16)
        cv2.circle(self.image, at, r, color[::-1], -1, cv2.LINE_AA, 4)
        cv2.circle(self.label, at, r, self.current, -1, cv2.LINE_8, 4)

    def polygon(self, points: npt.ArrayLike, color: Color) -> None:
        """A filled convex polygon."""
        corners = self._fixed(points)
        cv2.fillConvexPoly(self.image, corners, color[::-1], cv2.LINE_AA, 4)
        cv2.fillConvexPoly(self.label, corners, self.current, cv2.LINE_8, 4)

    def rounded(self, points: Floats, radius: float, color: Color) -> None:
        """A convex polygon grown by `radius` all around."""
        self.polygon(points, color)
        for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
            self._bar(a, b, radius, radius, color)

    def _bar(self, a: Floats, b: Floats, radius_a: float, radius_b: float, color: Color) -> None:
        along = b - a
        normal = _by(-along[1], along[0]) / max(float(np.hypot(*along)), 1e-6)
        ends = [a + radius_a * normal, b + radius_b * normal]
        self.polygon([*ends, b - radius_b * normal, a - radius_a * normal], color)
        self.disc(a, radius_a, color)
        self.disc(b, radius_b, color)

    def limb(self, a: Floats, b: Floats, radius_a: float, radius_b: float, color: Color) -> None:
        """A tapered limb, lit from the upper left."""
        for size, light in ((1.0, 0.76), (0.78, 0.92), (0.5, 1.06)):
            shift = _by(-0.16, -0.12) * (1 - size) * (radius_a + radius_b)
            ends = size * radius_a, size * radius_b
            self._bar(a + shift, b + shift, *ends, lit(color, light))

    def finished(self) -> npt.NDArray[np.uint8]:
        """The picture at its size, BGR."""
        height, width = self.label.shape
        size = width // 2, height // 2
        return cv2.resize(self.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def lit(color: Color, light: float) -> Color:
    """A colour in more or less light."""
    r, g, b = (min(255, round(c * light)) for c in color)
    return r, g, b


def draw(canvas: Canvas, joints: Floats, posture: Posture, looks: Looks, first_label: int) -> None:
    """Draw a puppet; its body is labelled `first_label`, joint j `first_label + 1 + j`."""
    h = posture.height
    canvas.current = first_label
    far, near = ("left", "right") if posture.facing > 0 else ("right", "left")
    _draw_arm(canvas, joints, far, h, looks, 0.85)
    _draw_leg(canvas, joints, far, h, looks, posture.facing, 0.85)
    _draw_leg(canvas, joints, near, h, looks, posture.facing, 1.0)
    _draw_torso(canvas, joints, h, looks)
    _draw_head(canvas, joints, h, looks)
    _draw_arm(canvas, joints, near, h, looks, 1.0)
    for joint, color in enumerate(JOINT_COLORS):
        canvas.current = first_label + 1 + joint
        canvas.disc(joints[joint], h * (_FACE_MARKER if joint <= R_EAR else _MARKER), color)
    canvas.current = first_label
    _draw_bib(canvas, joints, h)


def _draw_leg(
    canvas: Canvas, joints: Floats, side: str, h: float, looks: Looks, facing: int, light: float
) -> None:
    hip, knee, ankle = (joints[COCO_17.index(f"{side}_{j}")] for j in ("hip", "knee", "ankle"))
    toe = ankle + _by(facing * 0.055 * h, 0.014 * h)
    canvas.limb(
        ankle + _by(0, 0.012 * h), toe, 0.020 * h, 0.014 * h, lit((98, 90, 88), 0.8 * light)
    )
    canvas.limb(knee, ankle, 0.034 * h, 0.023 * h, lit(looks.trousers, light))
    canvas.limb(hip, knee, 0.047 * h, 0.036 * h, lit(looks.trousers, light))


def _draw_arm(
    canvas: Canvas, joints: Floats, side: str, h: float, looks: Looks, light: float
) -> None:
    shoulder, elbow, wrist = (
        joints[COCO_17.index(f"{side}_{j}")] for j in ("shoulder", "elbow", "wrist")
    )
    canvas.limb(elbow, wrist, 0.023 * h, 0.019 * h, lit(looks.skin, light))
    canvas.disc(wrist, 0.027 * h, lit(looks.skin, 0.95 * light))
    canvas.limb(shoulder, elbow, 0.034 * h, 0.027 * h, lit(looks.shirt, light))


def _draw_torso(canvas: Canvas, joints: Floats, h: float, looks: Looks) -> None:
    corners = joints[[L_SHOULDER, R_SHOULDER, R_HIP, L_HIP]]
    middle = corners.mean(axis=0)
    chest = (corners[0] + corners[1]) / 2
    canvas.limb(chest - _by(0, 0.06 * h), chest, 0.032 * h, 0.034 * h, looks.skin)
    for size, light in ((1.0, 0.76), (0.86, 0.92), (0.66, 1.05)):
        shape = middle + size * (corners - middle) - _by(0.02 * h * (1 - size), 0)
        canvas.rounded(shape, 0.036 * h * size, lit(looks.shirt, light))


def _draw_head(canvas: Canvas, joints: Floats, h: float, looks: Looks) -> None:
    centre, radius = head_of(joints), HEAD_RADIUS * h
    canvas.disc(centre - _by(0, 0.10 * radius), radius, looks.hair)
    canvas.disc(centre + _by(0, 0.12 * radius), 0.88 * radius, lit(looks.skin, 0.92))
    canvas.disc(centre + _by(-0.10 * radius, 0.06 * radius), 0.68 * radius, looks.skin)


def _draw_bib(canvas: Canvas, joints: Floats, h: float) -> None:
    centre = bib_of(joints)
    left, top, right, bottom = np.clip(
        np.round(np.abs(box_of(joints, h) - np.tile(centre, 2))), 0, 255
    )
    reach = BIB_STEP_PX + BIB_HALF_PX
    fields = (
        (-reach - 1, reach + 1, BIB_HALF_PX + 1, (206, 204, 200)),
        (-reach, -BIB_HALF_PX, BIB_HALF_PX, (BIB_RED_LEFT, int(left), int(right))),
        (-BIB_HALF_PX, BIB_HALF_PX, BIB_HALF_PX, BIB_KEY),
        (BIB_HALF_PX, reach, BIB_HALF_PX, (BIB_RED_RIGHT, int(bottom), int(top))),
    )
    for x1, x2, half, color in fields:
        corners = centre + np.array([(x1, -half), (x2, -half), (x2, half), (x1, half)], float)
        canvas.polygon(corners, color)
