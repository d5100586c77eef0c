"""The clip: who walks where, the pictures, and the exact truth in PoseTrack's form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from examples.puppets.figure import (
    CLOTHES,
    HAIR,
    HEAD_RADIUS,
    SKINS,
    Canvas,
    Looks,
    Posture,
    box_of,
    draw,
    head_of,
    pose,
)
from flowtrack.skeleton import COCO_17, POSETRACK17_15, convert_joints

Floats = npt.NDArray[np.float32]

_LABELS = len(COCO_17) + 1


@dataclass(frozen=True)
class ClipOptions:
    """What to draw.

    Attributes:
        people: at most 12; more than five repeat the five parts at other times and depths.
        seed: of everything that is left to chance: background, clothes, sizes, phases.
    """

    width: int = 640
    height: int = 480
    frames: int = 90
    fps: float = 25.0
    people: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.people <= 12:
            raise ValueError(f"people is {self.people}, expected 1 to 12")
        if min(self.width, self.height) < 64 or self.frames < 1 or self.fps <= 0:
            raise ValueError(
                f"{self.width} x {self.height}, {self.frames} frames at {self.fps} fps: expected "
                "at least 64 x 64, 1 frame and a positive rate"
            )


@dataclass(frozen=True)
class Truth:
    """Everybody of whom some joint lies in the picture, the hidden ones too.

    Attributes:
        id: (N,) int64, fixed for each puppet.
        xy: (N, 17, 2) COCO joints in pixels, also where hidden or outside.
        visible: (N, 17) bool, most of the joint's disc can be seen.
        box: (N, 4) around the puppet as drawn, cut at the picture's edge.
        head_box: (N, 4), not cut.
    """

    id: npt.NDArray[np.int64]
    xy: Floats
    visible: npt.NDArray[np.bool_]
    box: Floats
    head_box: Floats

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Part:
    """The part that a puppet plays; lengths are shares of the picture's width or height.

    Attributes:
        start: x at time 0.
        speed: widths a second; the sign is the direction.
        ground, height: shares of the picture's height; who stands lower is nearer.
    """

    start: float
    speed: float
    ground: float
    height: float
    gait: float = 1.0
    waves: bool = False


# Two cross in the middle, where a third waves behind them; a runner overtakes; a fifth leaves.
PARTS = (
    Part(start=0.03, speed=0.23, ground=0.84, height=0.43),
    Part(start=1.02, speed=-0.25, ground=0.95, height=0.48),
    Part(start=0.50, speed=0.0, ground=0.76, height=0.38, gait=0.0, waves=True),
    Part(start=-0.90, speed=0.62, ground=0.89, height=0.45, gait=1.6),
    Part(start=0.74, speed=0.13, ground=0.80, height=0.40),
)


@dataclass(frozen=True)
class _Puppet:
    part: Part
    looks: Looks
    phase: float
    size: float

    def posture(self, time_s: float, width: int, height: int) -> Posture:
        part, tall = self.part, self.part.height * self.size * height
        facing = -1 if part.speed < 0 else 1
        travelled = part.speed * time_s * width
        # One step cycle covers a fixed share of the body height, so that feet hardly slide.
        cycle = 2 * np.pi * abs(travelled) / (0.62 * max(part.gait, 1.0) * tall)
        wave = 2 * np.pi * 1.1 * time_s + self.phase + 7.0 if part.waves else 0.0
        x = part.start * width + travelled
        return Posture(x, part.ground * height, tall, self.phase + cycle, part.gait, facing, wave)


def _cast(options: ClipOptions, rng: np.random.Generator) -> list[_Puppet]:
    def one_of(colors: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
        return colors[int(rng.integers(len(colors)))]

    shirts = rng.permutation(len(CLOTHES))
    puppets = []
    for i in range(options.people):
        part, again = PARTS[i % len(PARTS)], i // len(PARTS)
        part = Part(
            part.start + rng.uniform(-0.02, 0.02) - 0.3 * again * np.sign(part.speed)
            + 0.22 * again * (part.speed == 0),
            part.speed * rng.uniform(0.95, 1.05),
            part.ground - 0.05 * again,
            part.height - 0.03 * again,
            part.gait,
            part.waves,
        )  # fmt: skip
        looks = Looks(
            CLOTHES[shirts[i % len(CLOTHES)]], one_of(CLOTHES), one_of(SKINS), one_of(HAIR)
        )
        puppets.append(_Puppet(part, looks, rng.uniform(0, 6), rng.uniform(0.97, 1.03)))
    return puppets


def _background(options: ClipOptions, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A wall and a floor in muted colours, textured so that optical flow finds something."""
    width, height = options.width, options.height
    rows = np.linspace(0, 1, height)[:, None, None]
    horizon = 0.62
    wall = np.array([186, 182, 170.0]) * (1.02 - 0.22 * rows)
    floor = np.array([112, 124, 134.0]) * (0.72 + 0.42 * rows)
    picture = np.where(rows < horizon, wall, floor) * np.ones((1, width, 1))
    for cells, strength in ((6, 9.0), (24, 6.0), (110, 5.0)):
        grain = rng.standard_normal((max(2, cells * height // width), cells)).astype(np.float32)
        cloud = cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
        picture += strength * cloud[:, :, None]
    floor_row = round(horizon * height)
    for depth in np.geomspace(0.04, 1.0, 9):  # boards of the floor, nearer ones wider
        row = floor_row + round(depth * (height - floor_row))
        picture[row : row + 1] *= 0.86
    for slot in range(-8, 17):
        a, b = (width * (0.5 + 0.06 * (slot - 4)), floor_row), (width * (slot / 8), height)
        cv2.line(
            picture, tuple(map(round, a)), tuple(map(round, b)), (92, 100, 108), 1, cv2.LINE_AA
        )
    picture[floor_row - max(3, height // 60) : floor_row] *= 0.72
    _posters(picture, floor_row, rng)
    return np.clip(picture, 60, 215).astype(np.uint8)


def _posters(picture: npt.NDArray[np.float64], floor_row: int, rng: np.random.Generator) -> None:
    width = picture.shape[1]
    for slot in range(5):
        x1 = round(width * (0.03 + 0.2 * slot + rng.uniform(0, 0.04)))
        x2, y1 = (
            x1 + round(width * rng.uniform(0.08, 0.13)),
            round(floor_row * rng.uniform(0.1, 0.2)),
        )
        y2 = y1 + round(floor_row * rng.uniform(0.3, 0.45))
        tint = np.array(CLOTHES[int(rng.integers(len(CLOTHES)))][::-1], float)
        picture[y1 - 3 : y2 + 3, x1 - 3 : x2 + 3] *= 0.7
        picture[y1:y2, x1:x2] = tint * 0.5 + 75
        for _ in range(3):
            top = round(rng.uniform(y1 + 8, y2 - 30))
            tone = tint * 0.4 + rng.uniform(55, 120)
            picture[top : top + round(rng.uniform(8, 26)), x1 + 8 : x2 - 8] = tone


def _visible(
    label: npt.NDArray[np.uint16], xy: npt.NDArray[np.float64], first: int, height: float
) -> npt.NDArray[np.bool_]:
    """(17,) whether most of a small patch around each joint shows that joint's own disc."""
    out = np.zeros(len(xy), bool)
    reach = max(1, round(2 * 0.010 * height))
    for joint, (x, y) in enumerate(2 * xy + 0.5):
        rows, columns = round(y), round(x)
        if 0 <= rows < label.shape[0] and 0 <= columns < label.shape[1]:
            patch = label[max(0, rows - reach) : rows + reach + 1,
                          max(0, columns - reach) : columns + reach + 1]  # fmt: skip
            out[joint] = (patch == first + 1 + joint).mean() > 0.5
    return out


def _frame(
    background: npt.NDArray[np.uint8], postures: list[Posture], puppets: list[_Puppet]
) -> tuple[npt.NDArray[np.uint8], Truth]:
    height, width = background.shape[:2]
    canvas = Canvas(background)
    poses = [pose(posture) for posture in postures]
    for i in sorted(range(len(poses)), key=lambda i: postures[i].ground):
        draw(canvas, poses[i], postures[i], puppets[i].looks, 1 + i * _LABELS)
    ids, visible, boxes, heads = [], [], [], []
    edge = np.array([width - 1, height - 1] * 2, float)
    for i, (xy, posture) in enumerate(zip(poses, postures, strict=True)):
        inside = ((xy >= 0) & (xy <= edge[:2])).all(axis=1)
        if inside.any():
            ids.append(i)
            shown = _visible(canvas.label, xy, 1 + i * _LABELS, posture.height)
            visible.append(shown & inside)
            boxes.append(np.clip(box_of(xy, posture.height), 0, edge))
            radius, head = HEAD_RADIUS * posture.height, head_of(xy)
            heads.append(np.concatenate([head - radius, head + radius]))
    truth = Truth(
        np.array(ids, np.int64),
        np.array([poses[i] for i in ids], np.float32).reshape(-1, len(COCO_17), 2),
        np.array(visible, bool).reshape(-1, len(COCO_17)),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(heads, np.float32).reshape(-1, 4),
    )
    return canvas.finished(), truth


def render(options: ClipOptions | None = None) -> Iterator[tuple[npt.NDArray[np.uint8], Truth]]:
    """Pictures (H, W, 3) uint8 BGR of the clip, each with its truth."""
    options = options or ClipOptions()
    rng = np.random.default_rng(options.seed)
    puppets = _cast(options, rng)
    background = _background(options, rng)
    for index in range(options.frames):
        moment = index / options.fps
        postures = [puppet.posture(moment, options.width, options.height) for puppet in puppets]
        yield _frame(background, postures, puppets)


def _rect(truth: Truth, person: int, hidden: bool, size: tuple[int, int]) -> dict[str, object]:
    score = truth.visible[person : person + 1].astype(np.float32)
    xy, seen = convert_joints(truth.xy[person : person + 1], score, COCO_17, POSETRACK17_15)
    inside = ((xy[0] >= 0) & (xy[0] <= np.array(size) - 1)).all(axis=1)
    wanted = inside & (hidden | (seen[0] > 0))
    corners = zip(("x1", "y1", "x2", "y2"), truth.head_box[person], strict=True)
    points = [
        {
            "id": [joint],
            "x": [round(float(xy[0, joint, 0]), 3)],
            "y": [round(float(xy[0, joint, 1]), 3)],
            "is_visible": [int(seen[0, joint] > 0)],
        }
        for joint in np.flatnonzero(wanted).tolist()
    ]
    return {
        **{name: [round(float(value), 3)] for name, value in corners},
        "track_id": [int(truth.id[person])],
        "annopoints": [{"point": points}],
    }


def posetrack17(
    truths: Iterable[Truth], size: tuple[int, int], name: str = "puppets", hidden: bool = False
) -> dict[str, object]:
    """The truth as the content of a PoseTrack 2017 file, as poseval reads it.

    Args:
        truths: one of each frame.
        size: width and height of the pictures; joints outside are not labelled.
        name: of the clip, the folder in the pictures' names.
        hidden: label hidden joints and people too, marked as not visible.
    """
    annolist = []
    for number, truth in enumerate(truths, start=1):
        rects = [_rect(truth, person, hidden, size) for person in range(len(truth))]
        labelled = [rect for rect in rects if rect["annopoints"][0]["point"]]  # type: ignore[index]
        image = [{"name": f"{name}/{number:05d}.png"}]
        annolist.append({"image": image, "annorect": labelled})
    return {"annolist": annolist}


def write(folder: Path, options: ClipOptions | None = None, name: str = "puppets") -> Path:
    """Write the pictures as `folder/name/00001.png` ... and the truth as `folder/name.json`.

    Returns:
        The path of the truth.
    """
    options = options or ClipOptions()
    (folder / name).mkdir(parents=True, exist_ok=True)
    truths = []
    for number, (image, truth) in enumerate(render(options), start=1):
        cv2.imwrite(str(folder / name / f"{number:05d}.png"), image)
        truths.append(truth)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(posetrack17(truths, (options.width, options.height), name)))
    return path
