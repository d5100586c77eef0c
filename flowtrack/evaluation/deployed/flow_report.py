"""What was measured of optical flow as a table and as a page, with the worst pairs pictured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.deployed.flow import FlowMethod
from flowtrack.evaluation.flow import FlowScores
from flowtrack.evaluation.flow_pairs import FlowPair, PairFiles
from flowtrack.flo import known
from flowtrack.report import Curve, Report
from flowtrack.structs import ByteArray, FloatArray

_WORST = 6  # pairs that are pictured
_SHOWN_SHARE = 95.0  # % of the pixels of the first method that the plot of errors covers
_MOST_PARTS = 20  # of a set that are listed
_GREY = 128  # of unknown pixels and of the gap between pictures
_GAP_PX = 4

# Steps between red, yellow, green, cyan, blue, magenta and red of Middlebury's colour wheel (Baker
# et al. 2011, "A Database and Evaluation Methodology for Optical Flow").
_STEPS = (15, 6, 4, 11, 13, 6)
_CORNERS_RGB = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1))


_ROWS = {
    "epe": "end-point error, px", "fl": "Fl, outliers, %", "beyond_1px": "off by more than 1 px, %",
    "beyond_3px": "more than 3 px, %", "beyond_5px": "more than 5 px, %",
    "epe_s0_10": "end-point error at 0-10 px of motion, px", "epe_s10_40": "at 10-40 px, px",
    "epe_s40": "at 40 px and more, px", "epe_matched": "end-point error where matched, px",
    "epe_occluded": "where occluded, px",
}  # fmt: skip


def table(methods: Sequence[FlowMethod], scores: Sequence[FlowScores]) -> list[list[str]]:
    """The heading, then a row for each figure: means over pairs, then two over all pixels."""
    means, pooled = [score.over_pairs for score in scores], [score.over_pixels for score in scores]
    rows = [
        [said, *(_written(mean[name], said) for mean in means)]
        for name, said in _ROWS.items()
        if not all(math.isnan(mean[name]) for mean in means)
    ]
    rows += [
        [f"over all pixels: {_ROWS[name]}", *(_written(mean[name], _ROWS[name]) for mean in pooled)]
        for name in ("epe", "fl")
    ]
    return [["mean over pairs", *(method.name for method in methods)], *rows]


def group_table(methods: Sequence[FlowMethod], scores: Sequence[FlowScores]) -> list[list[str]]:
    """The heading, then a row for each part of the set: end-point error of each method, px.

    Empty where the set has one part, or more than anybody reads.
    """
    if not 1 < len(scores[0].groups()) <= _MOST_PARTS:
        return []
    rows = [["part", "pairs", *(method.name for method in methods)]]
    parts = [score.groups() for score in scores]
    for name, part in parts[0].items():
        figures = [_written(groups[name].epe, "px") for groups in parts]
        rows.append([name or "(no folder)", str(len(part.pairs)), *figures])
    return rows


def summary(scores: FlowScores) -> str:
    """What the figures are over."""
    return f"{len(scores.pairs)} pairs, {scores.pixels:,} known pixels"


def flow_report(
    title: str,
    methods: Sequence[FlowMethod],
    scores: Sequence[FlowScores],
    pairs: Sequence[PairFiles],
) -> Report:
    """A page with tables, the distribution of the errors, and the first method's worst pairs.

    Args:
        title: of the page.
        methods: the first is what was to be measured, the others stand beside it.
        scores: of each method, on `pairs`.
        pairs: read again where they are pictured.

    Raises:
        SourceError, InputError: a file cannot be read again.
    """
    first = scores[0]
    beside = ", ".join(
        f"{score.epe:.2f} px of {method.name}"
        for method, score in zip(methods[1:], scores[1:], strict=True)
    )
    lead = f"{methods[0].name}: end-point error {first.epe:.2f} px, Fl {first.fl:.1f} %"
    report = Report(title, lead + (f"; beside {beside}." if beside else "."))
    report.table(table(methods, scores), summary(first))
    report.paragraph(
        "The end-point error is the distance between the estimated and the true end point of a "
        "pixel's motion. Outliers (KITTI's Fl) are off by more than 3 px and by more than 5 % of "
        "the true motion. Figures are means of the pairs' means, the last two over all pixels."
    )
    report.paragraph("; ".join(f"{method.name}: {method.what}" for method in methods) + ".")
    if parts := group_table(methods, scores):
        report.table(parts, "End-point error by part of the set, px, mean over pairs")
    _add_distribution(report, methods, scores)
    report.heading(f"The worst pairs of {methods[0].name}")
    report.paragraph(
        "Each: the first picture and the true flow, below them the estimated flow and its error. "
        "Of flow, the hue is the direction and the strength the speed, on the same scale for both; "
        "the error goes from black to bright yellow. Grey is unknown."
    )
    for index in first.worst(_WORST):
        pair = pairs[index].load()
        picture, flow_px, error_px = pictured(pair, methods[0].estimate(pair))
        errors = ", ".join(
            f"{method.name} {score.pairs[index].epe:.2f} px"
            for method, score in zip(methods, scores, strict=True)
        )
        report.picture(
            picture,
            f"{pair.name}: {errors}. Full colour is {flow_px:.0f} px, yellow {error_px:.0f} px.",
        )
    return report


def _add_distribution(
    report: Report, methods: Sequence[FlowMethod], scores: Sequence[FlowScores]
) -> None:
    curves = [score.cumulative() for score in scores]
    most = next((px for px, share in curves[0] if share >= _SHOWN_SHARE), curves[0][-1][0])
    most = max(most, 1.0)
    report.plot(
        [
            Curve(method.name, [point for point in curve if point[0] <= most])
            for method, curve in zip(methods, curves, strict=True)
        ],
        x="end-point error, px",
        y="pixels with a smaller error, %",
        caption="Distribution of the errors over all pixels",
    )


def pictured(pair: FlowPair, estimate: FloatArray) -> tuple[ByteArray, float, float]:
    """A pair and its flow in one picture.

    Args:
        pair: without pictures, its place stays grey.
        estimate: (2, H, W) px.

    Returns:
        (H', W', 3) uint8 BGR: first picture, true flow; estimated flow, error. Then the motion in
        px that has the full colour, and the error in px that is brightest.
    """
    there = known(pair.uv)
    speed = np.hypot(*pair.uv)[there]
    flow_px = max(float(np.percentile(speed, 99)), 1.0)
    error = np.hypot(*(estimate - np.where(there, pair.uv, 0)))
    error_px = max(float(np.percentile(error[there], 99)), 1.0)
    scaled = np.clip(255 / error_px * error, 0, 255).astype(np.uint8)
    heat = np.asarray(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO), np.uint8)
    heat[~there] = _GREY
    first = pair.previous if pair.previous is not None else np.full_like(heat, _GREY)
    rows = [
        (first, flow_colors(pair.uv, flow_px)),
        (flow_colors(estimate, flow_px), heat),
    ]
    upright = np.full((heat.shape[0], _GAP_PX, 3), _GREY, np.uint8)
    upper, lower = (np.concatenate((left, upright, right), axis=1) for left, right in rows)
    level = np.full((_GAP_PX, upper.shape[1], 3), _GREY, np.uint8)
    return np.concatenate((upper, level, lower)), flow_px, error_px


def flow_colors(uv: FloatArray, full_px: float) -> ByteArray:
    """Flow in the colours of Middlebury's wheel: hue is direction, saturation speed.

    Args:
        uv: (2, H, W) px; grey where it is unknown.
        full_px: motion that has the full colour; beyond, it gets darker.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        InputError: `full_px` is not positive.
    """
    if not full_px > 0:
        raise InputError(f"full_px is {full_px}, expected a motion above 0 px")
    there = known(uv)
    u, v = np.where(there, uv, 0.0) / full_px
    wheel = _wheel()
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(wheel) - 1)
    below = place.astype(np.int64)
    share = (place - below)[..., None]
    hue = (1 - share) * wheel[below] + share * wheel[(below + 1) % len(wheel)]
    speed = np.hypot(u, v)[..., None]
    rgb = np.where(speed <= 1, 1 - speed * (1 - hue), 0.75 * hue)
    rgb[~there] = _GREY / 255
    return np.asarray(np.rint(255 * rgb[..., ::-1]), np.uint8)


def _wheel() -> FloatArray:
    """(55, 3) RGB 0 to 1, from red by way of yellow, green, cyan, blue and magenta."""
    corners = np.array(_CORNERS_RGB, np.float32)
    after = np.roll(corners, -1, axis=0)
    parts = [
        start + (end - start) * np.arange(steps)[:, None] / np.float32(steps)
        for start, end, steps in zip(corners, after, _STEPS, strict=True)
    ]
    return np.asarray(np.concatenate(parts), np.float32)


def _written(value: float, said: str) -> str:
    return "-" if math.isnan(value) else f"{value:.{1 if said.endswith('%') else 2}f}"
