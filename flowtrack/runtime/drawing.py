"""Tracked people drawn into the picture: skeletons, ids, trails, boxes, flow."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, OptionError
from flowtrack.skeleton import Skeleton
from flowtrack.structs import PROPAGATED, ByteArray, FlowField, Poses, TrackedFrame

Color = tuple[int, int, int]
"""Blue, green, red."""
_Doubles = npt.NDArray[np.float64]

FLOWS = ("none", "colors", "arrows")
"""How flow can be shown."""

_SHIFT = 3
_SUBPIXELS = 1 << _SHIFT
"""OpenCV takes positions in eighths of a pixel, so that slow movement does not jitter."""
_DARK: Color = (24, 24, 24)
_LIGHT: Color = (250, 250, 250)
_NEUTRAL: Color = (190, 190, 190)
_ARROW_GAIN = 4.0
_RIGHT_SHADE = 0.62
_OUTLINE_SHADE = 0.25


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """What is drawn.

    Attributes:
        ids: a label with the id above each head.
        scores: the person's score in the label.
        boxes: the boxes that poses were estimated in; dashed where they were propagated by flow.
        trail_frames: how long the way of each person's hips (or neck) stays visible; 0 for never.
        flow: one of `FLOWS`.
        thickness: factor on the width of all lines, which follow the size of person and picture.
    """

    ids: bool = True
    scores: bool = False
    boxes: bool = False
    trail_frames: int = 30
    flow: str = "none"
    thickness: float = 1.0

    def __post_init__(self) -> None:
        if self.flow not in FLOWS:
            raise OptionError(f"flow is {self.flow!r}, expected one of {', '.join(FLOWS)}")
        if self.trail_frames < 0:
            raise OptionError(f"trail_frames is {self.trail_frames}, expected 0 or more")
        if not 0.1 <= self.thickness <= 10:
            raise OptionError(f"thickness is {self.thickness}, expected 0.1 to 10")
        if self.scores and not self.ids:
            raise OptionError("scores are part of the id label, but ids are off; switch them on")


def _palette(count: int) -> tuple[Color, ...]:
    """Colours whose neighbours differ most: hues a golden angle apart, lightness in turns.

    In OKLCH, where equal steps look equal (Ottosson 2020, "A perceptual color space").
    """
    row = np.arange(count)
    hue = np.deg2rad(25.0 + 137.508 * row)
    lightness = np.array([0.70, 0.82, 0.62])[row % 3]
    a, b = 0.17 * np.cos(hue), 0.17 * np.sin(hue)
    lab = np.stack([lightness, a, b], axis=1)
    to_lms = np.array(
        [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728],
         [1.0, -0.0894841775, -1.2914855480]]
    )  # fmt: skip
    to_rgb = np.array(
        [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
         [-0.0041960863, -0.7034186147, 1.7076147010]]
    )  # fmt: skip
    linear = np.clip((lab @ to_lms.T) ** 3 @ to_rgb.T, 0.0, 1.0)
    srgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return tuple((int(b), int(g), int(r)) for r, g, b in np.rint(255 * srgb))


PALETTE = _palette(20)
"""From the 21st on, golden angles come back to hues that are taken."""


def color_of(track_id: int) -> Color:
    """The colour of an id: always the same, and far from those of the ids before and after."""
    return PALETTE[track_id % len(PALETTE)]


class Trails:
    """Where the people of one stream have been lately.

    Remembers the middle of the hips, or of the shoulders for people without hips, for `frames`
    frames; what is older is forgotten, so memory is bounded by the people of that time.
    """

    def __init__(self, skeleton: Skeleton, frames: int) -> None:
        self._frames = frames
        self._anchors = [
            [row for row, joint in enumerate(skeleton.joints) if joint in names]
            for names in (
                ("left_hip", "right_hip"),
                ("neck", "head_bottom"),
                ("left_shoulder", "right_shoulder"),
            )
        ]
        self._points: dict[int, deque[tuple[int, float, float]]] = {}
        self._kinds: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._points)

    def update(self, tracked: TrackedFrame) -> None:
        """Take note of a frame."""
        missing = tracked.poses.missing
        for row, track_id in enumerate(tracked.tracks.id.tolist()):
            for kind, joints in enumerate(self._anchors):
                if joints and not missing[row, joints].any():
                    if self._kinds.get(track_id) != kind:
                        # Hips and neck are far apart: a line between them would be no movement.
                        self._points[track_id] = deque()
                        self._kinds[track_id] = kind
                    x, y = tracked.poses.xy[row, joints].mean(axis=0).tolist()
                    self._points[track_id].append((tracked.index, x, y))
                    break
        for track_id, points in list(self._points.items()):
            while points and points[0][0] <= tracked.index - self._frames:
                points.popleft()
            if not points:
                del self._points[track_id], self._kinds[track_id]

    def of(self, track_id: int) -> _Doubles:
        """(n, 2) positions of a person, oldest first."""
        points = self._points.get(track_id, ())
        return np.array([(x, y) for _, x, y in points], np.float64).reshape(-1, 2)


class Painter:
    """Draws the frames of one stream, trails included, into a picture of its own."""

    def __init__(self, skeleton: Skeleton, options: DrawOptions | None = None) -> None:
        self._skeleton = skeleton
        self._options = options or DrawOptions()
        self._trails = Trails(skeleton, self._options.trail_frames)
        self._canvas: ByteArray | None = None

    def paint(self, image: ByteArray, tracked: TrackedFrame) -> ByteArray:
        """The picture with everything drawn; it is overwritten by the next call."""
        if self._options.trail_frames:
            self._trails.update(tracked)
        if self._canvas is None or self._canvas.shape != image.shape:
            self._canvas = np.empty_like(image)
        np.copyto(self._canvas, image)
        _draw(self._canvas, tracked, self._skeleton, self._options, self._trails)
        return self._canvas


def draw_frame(
    image: ByteArray,
    tracked: TrackedFrame,
    skeleton: Skeleton,
    options: DrawOptions | None = None,
    trails: Trails | None = None,
) -> ByteArray:
    """A copy of the picture with the tracked people drawn into it.

    Args:
        image: (H, W, 3) uint8 BGR, of any size.
        tracked: positions may lie outside the picture or be missing.
        skeleton: of the poses.
        options: see `DrawOptions`.
        trails: updated by the caller; without them no way is drawn.

    Raises:
        InputError: the poses are not of this skeleton.
    """
    canvas = image.copy()
    _draw(canvas, tracked, skeleton, options or DrawOptions(), trails)
    return canvas


def _draw(
    canvas: ByteArray,
    tracked: TrackedFrame,
    skeleton: Skeleton,
    options: DrawOptions,
    trails: Trails | None,
) -> None:
    poses = tracked.poses
    if len(poses) and poses.xy.shape[1] != len(skeleton):
        raise InputError(
            f"poses have {poses.xy.shape[1]} joints, but {skeleton.name} has {len(skeleton)};"
            " expected the skeleton of the bundle that tracked them"
        )
    if tracked.flow is not None and options.flow == "colors":
        _draw_flow_colors(canvas, tracked.flow)
    elif tracked.flow is not None and options.flow == "arrows":
        _draw_flow_arrows(canvas, tracked.flow, options.thickness)
    if options.boxes:
        _draw_boxes(canvas, tracked, options.thickness)
    missing = poses.missing
    # Who stands lower in the picture is nearer: drawn later, so on top.
    feet = np.where(missing, -np.inf, poses.xy[..., 1]).max(axis=1, initial=-np.inf)
    rows = [int(row) for row in np.argsort(feet, kind="stable") if np.isfinite(feet[row])]
    ids = tracked.tracks.id.tolist()
    for row in rows:
        width = _line_width(poses.xy[row, ~missing[row]], canvas, options.thickness)
        if trails is not None:
            _draw_trail(canvas, trails.of(ids[row]), color_of(ids[row]), width)
        joints = np.where(missing[row][:, None], np.nan, poses.xy[row]).astype(np.float64)
        _draw_person(canvas, joints, skeleton, color_of(ids[row]), width)
    if options.ids:
        _draw_labels(canvas, poses, ids, rows, options)


def _line_width(points: npt.NDArray[np.float32], canvas: ByteArray, factor: float) -> int:
    """Width of a limb in pixels: a 90th of the person's extent, kept within the picture's scale."""
    extent = float(np.ptp(points.astype(np.float64), axis=0).max())
    most: float = max(min(canvas.shape[:2]) / 160, 1.0)
    return max(round(factor * min(max(extent / 90, 1.0), most)), 1)


def _draw_person(
    canvas: ByteArray, joints: _Doubles, skeleton: Skeleton, color: Color, width: int
) -> None:
    """Limbs with a dark edge, the right side in a darker shade, then the joints."""
    sides = [_side(name) for name in skeleton.joints]
    limbs: dict[int, list[tuple[int, int]]] = {-1: [], 0: [], 1: []}
    for a, b in skeleton.edges:
        limbs[max(-1, min(1, sides[a] + sides[b]))].append((a, b))
    dark = _shade(color, _OUTLINE_SHADE)
    edges = np.array(skeleton.edges, np.int64).reshape(-1, 2)
    if width > 1:
        _lines(canvas, joints[edges], dark, width + 2)
    for side in (1, 0, -1):
        rows = np.array(limbs[side], np.int64).reshape(-1, 2)
        shade = _shade(color, _RIGHT_SHADE) if side > 0 else color
        _lines(canvas, joints[rows], shade, width)
    if width > 1:
        dots = np.stack([joints, joints], axis=1)
        _lines(canvas, dots, dark, 2 * width + 2)
        right = np.array(sides) > 0
        _lines(canvas, dots[right], _shade(color, _RIGHT_SHADE), 2 * width)
        _lines(canvas, dots[~right], color, 2 * width)


def _side(joint: str) -> int:
    """-1 left, 1 right, 0 in the middle."""
    return int(joint.startswith("right_")) - int(joint.startswith("left_"))


def _shade(color: Color, factor: float) -> Color:
    blue, green, red = (round(channel * factor) for channel in color)
    return blue, green, red


def _draw_trail(canvas: ByteArray, points: _Doubles, color: Color, width: int) -> None:
    """The way a person came: thinner than a limb, darker towards the past."""
    if len(points) < 2:
        return
    pieces = np.stack([points[:-1], points[1:]], axis=1)
    for part, shade in zip(np.array_split(pieces, 3), (0.45, 0.65, 0.85), strict=True):
        _lines(canvas, part, _shade(color, shade), max(round(0.7 * width), 1))


def _draw_boxes(canvas: ByteArray, tracked: TrackedFrame, factor: float) -> None:
    """Boxes in the colour of the person found in them; dashed where the flow proposed them."""
    width = max(round(factor * min(canvas.shape[:2]) / 500), 1)
    dash = max(6.0, min(canvas.shape[:2]) / 60)
    owners = {tuple(b): i for b, i in zip(tracked.poses.box.tolist(), tracked.tracks.id.tolist(),
                                          strict=True)}  # fmt: skip
    for box, origin in zip(tracked.boxes.xyxy.tolist(), tracked.boxes.origin, strict=True):
        owner = owners.get(tuple(box))
        color = _NEUTRAL if owner is None else color_of(owner)
        x1, y1, x2, y2 = box
        corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]], np.float64)
        sides = _clipped(np.stack([corners[:-1], corners[1:]], axis=1), canvas, margin=0.0)
        if origin == PROPAGATED:
            sides = np.concatenate([_dashes(a, b, dash) for a, b in sides]) if len(sides) else sides
        _lines(canvas, sides, color, width)


def _dashes(a: _Doubles, b: _Doubles, length: float) -> _Doubles:
    """(n, 2, 2) pieces of a line, as long as the gaps between them."""
    total = float(np.hypot(*(b - a)))
    count = max(round(total / length / 2), 1)
    starts = np.arange(count) / count
    ends = starts + 0.5 / count
    steps = np.stack([starts, ends], axis=1)[..., None]
    pieces: _Doubles = a + steps * (b - a)
    return pieces


def _draw_labels(
    canvas: ByteArray, poses: Poses, ids: Sequence[int], rows: Sequence[int], options: DrawOptions
) -> None:
    """A pill with the id above each head, moved up where another one is."""
    height, width = canvas.shape[:2]
    scale = max(min(height, width) / 1000, 0.45) * options.thickness
    stroke = max(round(scale), 1)
    taken: list[tuple[int, int, int, int]] = []
    scores = poses.instance_score
    for row in reversed(rows):
        points = poses.xy[row, ~poses.missing[row]].astype(np.float64)
        inside = ((points >= 0) & (points <= (width - 1, height - 1))).all(axis=1)
        if not inside.any():
            continue
        text = f"{ids[row]} {scores[row]:.2f}" if options.scores else f"{ids[row]}"
        (text_w, text_h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, stroke)
        pill_h = (text_h + round(18 * scale)) // 2 * 2
        pill_w = max(text_w + pill_h, pill_h)
        if pill_w + 2 >= width or pill_h + 2 >= height:
            continue
        top = points[inside][points[inside][:, 1].argmin()]
        left = int(np.clip(top[0] - pill_w / 2, 1, width - pill_w - 1))
        upper = int(np.clip(top[1] - pill_h - 20 * scale, 1, height - pill_h - 1))
        left, upper = _free(left, upper, (pill_w, pill_h), taken, width)
        taken.append((left, upper, pill_w, pill_h))
        color = color_of(ids[row])
        radius, middle = pill_h // 2, upper + pill_h // 2
        ends = np.array([[[left + radius, middle], [left + pill_w - radius, middle]]], np.float64)
        _lines(canvas, ends, _shade(color, _OUTLINE_SHADE), pill_h + 2)
        _lines(canvas, ends, color, pill_h)
        ink = _DARK if _luminance(color) > 0.3 else _LIGHT
        origin = (left + (pill_w - text_w) // 2, middle + (text_h + 1) // 2)
        cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_DUPLEX, scale, ink, stroke, cv2.LINE_AA)


def _free(
    left: int,
    upper: int,
    size: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
    picture_width: int,
) -> tuple[int, int]:
    """The given corner, or a near one that no other label covers: above, else beside it.

    Where neither fits into the picture they overlap.
    """
    width, height = size
    for _ in range(len(taken)):
        hit = [
            (x, y, w)
            for x, y, w, h in taken
            if left < x + w and x < left + width and upper < y + h and y < upper + height
        ]
        if not hit:
            break
        x, y, w = hit[0]
        if y - height >= 1:
            upper = y - height - 1
            continue
        sides = (x - width - 1, x + w + 1)
        beside = [(abs(c - left), c) for c in sides if 1 <= c < picture_width - width]
        if not beside:
            break
        left = min(beside)[1]
    return left, upper


def _luminance(color: Color) -> float:
    """Relative luminance, 0 black to 1 white (WCAG 2)."""
    linear = (np.array(color[::-1]) / 255) ** 2.2
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _draw_flow_colors(canvas: ByteArray, flow: FlowField) -> None:
    """Tint by motion: hue is direction, saturation is speed; what rests keeps its colour."""
    height, width = canvas.shape[:2]
    u, v = np.nan_to_num(flow.uv.astype(np.float32), posinf=0.0, neginf=0.0)
    speed, angle = cv2.cartToPolar(u, v)
    # A fixed scale, so that colours mean the same in every frame.
    full_px = 0.03 * min(height, width)
    hsv = np.empty((*u.shape, 3), np.uint8)
    hsv[..., 0] = angle * np.float32(90 / np.pi)
    hsv[..., 1] = np.clip(255 / full_px * speed, 0, 255)
    hsv[..., 2] = 255
    wheel = cv2.resize(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), (width, height))
    cv2.multiply(canvas, wheel, dst=canvas, scale=1 / 255)


def _draw_flow_arrows(canvas: ByteArray, flow: FlowField, factor: float) -> None:
    """Arrows on a coarse grid, `_ARROW_GAIN` times as long as the motion; none where all rests."""
    height, width = canvas.shape[:2]
    spacing = max(min(height, width) / 18, 8.0)
    x, y = np.meshgrid(
        np.arange(spacing / 2, width, spacing), np.arange(spacing / 2, height, spacing)
    )
    start = np.stack([x.ravel(), y.ravel()], axis=1)
    grid = np.floor((start + 0.5) * np.array(flow.scale)).astype(np.int64)
    cells = np.clip(grid, 0, np.array(flow.uv.shape[:0:-1]) - 1)
    way = _ARROW_GAIN * flow.uv[:, cells[:, 1], cells[:, 0]].T.astype(np.float64)
    length = np.hypot(way[:, 0], way[:, 1])
    moving = np.isfinite(length) & (length > 0.2 * spacing)
    start, way, length = start[moving], way[moving], length[moving, None]
    end = start + way
    barb = way / length * np.minimum(0.35 * length, 0.3 * spacing)
    side = 0.6 * np.stack([-barb[:, 1], barb[:, 0]], axis=1)
    pieces = [(start, end), (end, end - barb + side), (end, end - barb - side)]
    lines = np.concatenate([np.stack(piece, axis=1) for piece in pieces])
    line = max(round(factor * min(height, width) / 700), 1)
    _lines(canvas, lines, _DARK, line + 2)
    _lines(canvas, lines, _LIGHT, line)


def _lines(canvas: ByteArray, pieces: _Doubles, color: Color, width: int) -> None:
    """(n, 2, 2) line pieces with round ends; those that touch a missing joint are left out."""
    clipped = _clipped(pieces, canvas, margin=2.0 * width)
    if len(clipped):
        points = np.rint(clipped * _SUBPIXELS).astype(np.int32)
        cv2.polylines(canvas, list(points), False, color, width, cv2.LINE_AA, _SHIFT)


def _clipped(pieces: _Doubles, canvas: ByteArray, margin: float) -> _Doubles:
    """The parts of line pieces that lie in the picture or at most `margin` pixels beside it.

    OpenCV's coordinates are 16 bits wide before the point, so nothing larger may reach it. The
    method is Liang and Barsky's (1984).
    """
    high = np.array([canvas.shape[1], canvas.shape[0]]) - 1 + margin
    pieces = pieces[np.isfinite(pieces).all(axis=(1, 2))]
    if (pieces >= -margin).all() and (pieces <= high).all():
        return pieces
    start, way = pieces[:, 0], pieces[:, 1] - pieces[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        to_low, to_high = (-margin - start) / way, (high - start) / way
    still = way == 0
    within = (start >= -margin) & (start <= high)
    enter = np.where(still, np.where(within, -np.inf, np.inf), np.minimum(to_low, to_high))
    leave = np.where(still, np.where(within, np.inf, -np.inf), np.maximum(to_low, to_high))
    first = np.maximum(enter.max(axis=1, initial=0.0), 0.0)
    last = np.minimum(leave.min(axis=1, initial=1.0), 1.0)
    seen = first <= last
    ends = np.stack([first[seen], last[seen]], axis=1)[..., None]
    result: _Doubles = start[seen, None] + ends * way[seen, None]
    return result
