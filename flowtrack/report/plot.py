"""Curves as SVG: axes with round ticks, and colours that everybody can tell apart."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
_Range = tuple[float, float]

_WIDTH, _HEIGHT = 560, 310  # of a plot, in units that are about a CSS pixel
_TOP, _RIGHT, _BOTTOM = 34, 24, 50  # room around the axes; on the left it follows the labels
_DIGIT = 7.2  # width of a digit of a label
_MOST_POINTS = 1200  # of a curve; a screen does not show more
_TICKS_ACROSS, _TICKS_UP = 7, 6  # at most
_LONG = 1e5  # from here on labels count in thousands or millions
_UNITS = ((1e6, "M"), (1e3, "k"))
_INFINITE = 1e300  # and beyond: shown as little as infinity itself
_NEAR = 0.04  # of a range: a tick that is so close to its end becomes its end

INKS = (
    ("#0072b2", "#4aa8e0"), ("#d55e00", "#f2833a"), ("#00896a", "#2fbf95"),
    ("#b8578f", "#dd8fbd"), ("#b07900", "#e6a532"), ("#3a3f44", "#d3d7db"),
)  # fmt: skip
"""Colours of curves on white paper and on a dark screen: `--c0`, `--c1` ... of the page's style.

Okabe and Ito's ("Color Universal Design", 2008), apart for every kind of colour vision, made darker
or lighter for the ground they stand on; their yellow, which no white page shows, is left out."""

_DASHES = ("", "8 4", "2 3.5", "10 3 2 3")  # so that prints without colour can be read, too


@dataclass(frozen=True)
class Curve:
    """A curve of a plot.

    Attributes:
        name: in the legend.
        points: (x, y) in the order in which they are joined; where one is not finite, the curve
            is interrupted.
        marked: draw the points too, each with its values shown under the pointer.
    """

    name: str
    points: Sequence[Point]
    marked: bool = False


def escaped(text: str) -> str:
    """Text as HTML that shows it.

    What the file's encoding cannot hold (halves of characters in odd file names) becomes "?".
    """
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


def legend(curves: Sequence[Curve]) -> str:
    """A list of the curves' names, each with a piece of its line."""
    entries = (
        '<li><svg viewBox="0 0 28 10" aria-hidden="true"><path class="curve" d="M0 5H28" '
        f'style="{_stroke(index)}"/></svg>{escaped(curve.name)}</li>'
        for index, curve in enumerate(curves)
    )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def plot(curves: Sequence[Curve], x: str, y: str) -> str:
    """Curves between axes as an SVG element.

    Args:
        curves: drawn in this order, each in a colour and dash of its own.
        x, y: what the axes show.
    """
    pieces = [_pieces(curve.points) for curve in curves]
    known = [point for parts in pieces for part in parts for point in part]
    axes = _Axes.around(known)
    drawn = [*_frame(axes, x, y)]
    for index, (curve, parts) in enumerate(zip(curves, pieces, strict=True)):
        for part in parts:
            line = " ".join(f"{axes.across(a):.1f},{axes.up(b):.1f}" for a, b in _thinned(part))
            drawn.append(f'<polyline class="curve" points="{line}" style="{_stroke(index)}"/>')
            if curve.marked or len(part) == 1:  # a line of one point shows nothing
                drawn += [_dot(axes, point, curve.name, index) for point in part]
    if not known:
        at = f'x="{(axes.left + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT / 2:.0f}"'
        drawn.append(f'<text {at} text-anchor="middle">no data</text>')
    said = f"{y} over {x}: " + ", ".join(curve.name for curve in curves)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escaped(said)}">'
        f"{''.join(drawn)}</svg>"
    )


@dataclass(frozen=True)
class _Axes:
    """Where values stand in the plot."""

    x: _Range
    y: _Range
    left: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> _Axes:
        across = _snapped(_extent([point[0] for point in points]), _TICKS_ACROSS)
        up = _widened(_extent([point[1] for point in points]), _TICKS_UP)
        longest = max(len(label) for _, label in ticks(*up, _TICKS_UP))
        return cls(across, up, 16 + _DIGIT * longest)

    def across(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + (_WIDTH - _RIGHT - self.left) * share

    def up(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share


def _frame(axes: _Axes, x: str, y: str) -> list[str]:
    """Grid, ticks and what they mean; the name of y stands upright above its axis."""
    left, right, bottom = f"{axes.left:.1f}", _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    drawn = [f'<text class="name" x="2" y="15">{escaped(y)}</text>']
    for value, label in ticks(*axes.y, _TICKS_UP):
        at = axes.up(value)
        drawn.append(f'<path class="grid" d="M{left} {at:.1f}H{right}"/>')
        place = f'x="{axes.left - 9:.1f}" y="{at + 4.4:.1f}"'
        drawn.append(f'<text {place} text-anchor="end">{label}</text>')
    for value, label in ticks(*axes.x, _TICKS_ACROSS):
        at = axes.across(value)
        drawn.append(f'<path class="axis" d="M{at:.1f} {bottom}v5"/>')
        drawn.append(f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{label}</text>')
    place = f'x="{right}" y="{_HEIGHT - 8}"'
    drawn.append(f'<text class="name" {place} text-anchor="end">{escaped(x)}</text>')
    drawn.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>')
    return drawn


def _dot(axes: _Axes, point: Point, name: str, index: int) -> str:
    said = f"{name}: {_minus(f'{point[0]:.5g}')}, {_minus(f'{point[1]:.5g}')}"
    return (
        f'<circle cx="{axes.across(point[0]):.1f}" cy="{axes.up(point[1]):.1f}" r="4" '
        f'style="fill:var(--c{index % len(INKS)})"><title>{escaped(said)}</title></circle>'
    )


def _stroke(index: int) -> str:
    dash = _DASHES[index % len(_DASHES)]
    dashed = f";stroke-dasharray:{dash}" if dash else ""
    return f"stroke:var(--c{index % len(INKS)}){dashed}"


def _pieces(points: Sequence[Point]) -> list[list[Point]]:
    """The stretches of a curve between points that are not finite."""
    pieces: list[list[Point]] = [[]]
    for a, b in points:
        if abs(a) < _INFINITE and abs(b) < _INFINITE:  # false for NaN
            pieces[-1].append((float(a), float(b)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _thinned(points: list[Point]) -> list[Point]:
    """Few enough points that look the same: of each short run the first, the last and extremes."""
    if len(points) <= _MOST_POINTS:
        return points
    run = math.ceil(4 * len(points) / _MOST_POINTS)
    kept: list[Point] = []

    def height(row: int) -> float:
        return points[row][1]

    for start in range(0, len(points), run):
        rows = range(start, min(start + run, len(points)))
        chosen = {rows[0], rows[-1], min(rows, key=height), max(rows, key=height)}
        kept += [points[row] for row in sorted(chosen)]
    return kept


def _extent(values: Sequence[float]) -> _Range:
    """Lowest and highest value, made to differ."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    size, least = max(abs(low), abs(high)), 1 / _INFINITE
    if high - low > max(1e-9 * size, least):
        return low, high
    room = size / 10 if size > least else 1.0
    return low - room, high + room


def _step(low: float, high: float, most: int) -> float:
    """The smallest 1, 2 or 5 times a power of ten that divides the range into `most` at most."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (factor * power for factor in (1, 2, 5, 10))
    return next(step for step in steps if step >= rough * (1 - 1e-9))


def _widened(extent: _Range, most: int) -> _Range:
    """A range that begins and ends at a tick."""
    step = _step(*extent, most)
    low, high = (value / step for value in extent)
    return math.floor(low + 1e-9) * step, math.ceil(high - 1e-9) * step


def _snapped(extent: _Range, most: int) -> _Range:
    """The range itself, or from and to a tick where one is near."""
    near = _NEAR * (extent[1] - extent[0])
    low, high = _widened(extent, most)
    return low if extent[0] - low <= near else extent[0], (
        high if high - extent[1] <= near else extent[1]
    )


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Round values within a range, and how each is written.

    Args:
        low, high: the range, low < high.
        most: steps between the values, at most.
    """
    step = _step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [index * step for index in range(first, last + 1)]
    largest = max(map(abs, values), default=0.0)
    if largest >= 1e9 or step < 1e-5:
        return [(value, _minus(f"{value:.6g}")) for value in values]
    large = (unit for unit in _UNITS if largest >= max(unit[0], _LONG) and step >= unit[0] / 10)
    unit, sign = next(large, (1.0, ""))
    decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return [
        (value, _minus(f"{value / unit:,.{decimals}f}{sign}") if value else "0") for value in values
    ]


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")
