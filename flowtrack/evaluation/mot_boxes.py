"""Tracked boxes in the text files of MOTChallenge, counted by the same machinery as poses.

A line is `frame, id, left, top, width, height, conf, ...` with frames from 1. In the truth `conf`
says whether the box counts at all. A box is found at an overlap (intersection over union) of 0.5
or more; every frame counts, and nothing is corrected, since poseval's quirks are poseval's.

The benchmark's own kit also takes out what is found of people who do not count (seated ones,
reflections); that needs the classes of MOT16 and later, and is not done here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.comparison import Comparison, pair_starts
from flowtrack.evaluation.figures import TRACKING, cell, number, tracking_figures
from flowtrack.evaluation.hota import HotaCounts, count_hota
from flowtrack.evaluation.identity import IdentityCounts, count_identities
from flowtrack.evaluation.mota import TrackingCounts, count_tracking
from flowtrack.evaluation.posetrack_files import stem
from flowtrack.evaluation.sequences import Float64Array, starts
from flowtrack.jit import exact_jit
from flowtrack.structs import IntArray

MATCH_OVERLAP = 0.5
"""From this intersection over union on, inclusive, a box is found."""

_SHOWN = ("MOTA", "MOTP", "IDF1", "HOTA", "DetA", "AssA")
_COUNTS = {"missed": "misses", "false": "false_positives", "switches": "switches"}
_FIELDS = ("frame", "id", "left", "top", "width", "height", "conf")


@dataclass(frozen=True, slots=True)
class BoxSequence:
    """The boxes of one clip, in the order of frames.

    Attributes:
        name: of the clip.
        frame: (N,) int64, from 1 on, ascending.
        track_id: (N,) int64, unique within a frame.
        xyxy: (N, 4) float64 pixels.
        score: (N,) float64 confidence.
    """

    name: str
    frame: IntArray
    track_id: IntArray
    xyxy: Float64Array
    score: Float64Array


def read_mot(path: str | Path, *, truth: bool = False) -> BoxSequence:
    """Read a file of MOTChallenge.

    Args:
        path: of the file.
        truth: leave out boxes that are marked as not to be considered (`conf` 0).

    Raises:
        InputError: the file cannot be read, a line is no box, or an id occurs twice in a frame;
            the message names the file and the line, or the frame.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    rows = [_row(line, f"{path}: line {i + 1}") for i, line in enumerate(lines) if line.strip()]
    table = np.array(rows, np.float64).reshape(-1, len(_FIELDS))
    if truth:
        table = table[table[:, 6] != 0]
    table = table[np.argsort(table[:, 0], kind="stable")]
    frame, track_id = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    order = np.lexsort((track_id, frame))
    twice = (np.diff(frame[order]) == 0) & (np.diff(track_id[order]) == 0)
    if twice.any():
        row = order[np.flatnonzero(twice)[0]]
        raise InputError(
            f"{path}: frame {frame[row]}: id {track_id[row]} occurs twice, expected it once"
        )
    xyxy = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    return BoxSequence(stem(path), frame, track_id, xyxy, table[:, 6])


def _row(line: str, where: str) -> list[float]:
    try:
        values = [float(text) for text in line.split(",")[: len(_FIELDS)]]
    except ValueError as error:
        raise InputError(f"{where}: {error}; expected {', '.join(_FIELDS)}, ...") from error
    if len(values) < len(_FIELDS) or not np.isfinite(values).all():
        raise InputError(f"{where} is {line.strip()!r}, expected numbers {', '.join(_FIELDS)}, ...")
    if values[0] < 1 or values[0] % 1 or values[1] % 1:
        raise InputError(
            f"{where}: frame {values[0]:g} and id {values[1]:g}, expected whole numbers, frames "
            "from 1"
        )
    return values


def compare_boxes(truth: BoxSequence, results: BoxSequence) -> Comparison:
    """All frames in which either side has a box, in order; distance is 1 - overlap."""
    frames = np.union1d(truth.frame, results.frame)
    there, found = (
        starts(np.bincount(np.searchsorted(frames, side.frame), minlength=len(frames)))
        for side in (truth, results)
    )
    pair_start = pair_starts(there, found)
    distance = np.full((int(pair_start[-1]), 1), np.inf)
    _measure(there, found, truth.xyxy, results.xyxy, distance[:, 0])
    return Comparison(
        truth_start=there,
        result_start=found,
        pair_start=pair_start,
        truth_id=truth.track_id,
        result_id=results.track_id,
        truth_has=np.ones((len(truth.frame), 1), bool),
        result_has=np.ones((len(results.frame), 1), bool),
        score=results.score[:, None],
        distance=distance,
        limit=1 - MATCH_OVERLAP,
        reach=1.0,
    )


@exact_jit
def _measure(
    truth_start: IntArray,
    result_start: IntArray,
    truth: Float64Array,
    result: Float64Array,
    distance: Float64Array,
) -> None:
    """Write 1 - intersection over union of all pairs that overlap."""
    pair = 0
    for f in range(truth_start.shape[0] - 1):
        for i in range(truth_start[f], truth_start[f + 1]):
            for j in range(result_start[f], result_start[f + 1]):
                a, b = truth[i], result[j]
                width = min(a[2], b[2]) - max(a[0], b[0])
                height = min(a[3], b[3]) - max(a[1], b[1])
                if width > 0 and height > 0:
                    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
                    distance[pair] = 1 - width * height / (both - width * height)
                pair += 1


@dataclass(frozen=True, slots=True)
class BoxCounts:
    """Everything that is counted of one clip of boxes.

    Attributes:
        name: of the clip.
        frames: in which either side has a box.
        tracking, identity, hota: counts of one thing, the box.
    """

    name: str
    frames: int
    tracking: TrackingCounts
    identity: IdentityCounts
    hota: HotaCounts


@dataclass(frozen=True, slots=True)
class BoxScores:
    """How good tracked boxes are, over one clip or several.

    Attributes:
        clips: what was counted of each.
    """

    clips: tuple[BoxCounts, ...]

    @property
    def tracking(self) -> TrackingCounts:
        """For MOTA, of all clips."""
        return sum((clip.tracking for clip in self.clips), TrackingCounts.zero(1))

    def figures(self) -> dict[str, float]:
        """Each of `figures.TRACKING` in percent; NaN where it has no value.

        MOTP is the mean overlap of what is found.
        """
        identity = sum((clip.identity for clip in self.clips), IdentityCounts.zero(1))
        hota = sum((clip.hota for clip in self.clips), HotaCounts.zero(1))
        values = tracking_figures(self.tracking, identity, hota)
        return {measure: float(values[measure][0]) for measure in TRACKING}

    def summary(self) -> dict[str, Any]:
        """Figures and counts, for JSON: null where there is no value."""
        counts = self.tracking
        return {
            "frames": sum(clip.frames for clip in self.clips),
            **{measure: number(value) for measure, value in self.figures().items()},
            "people": counts.people,
            "ids": counts.ids,
            "switches": int(counts.switches[0]),
            "misses": int(counts.misses[0]),
            "false_positives": int(counts.false_positives[0]),
            "truths": int(counts.truths[0]),
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            **self.summary(),
            "clips": [{"clip": clip.name, **BoxScores((clip,)).summary()} for clip in self.clips],
        }

    def table(self) -> list[list[str]]:
        """Rows of cells: a heading, one row for each clip, and one of all clips together."""
        each = (*((clip.name, BoxScores((clip,))) for clip in self.clips), ("all", self))
        rows = [
            [
                name,
                str(scores.summary()["frames"]),
                *(cell(scores.figures()[measure]) for measure in _SHOWN),
                *(str(scores.summary()[count]) for count in _COUNTS.values()),
            ]
            for name, scores in each
        ]
        return [["clip", "frames", *_SHOWN, *_COUNTS], *rows]


def evaluate_boxes(
    truth: Sequence[BoxSequence],
    results: Sequence[BoxSequence],
    progress: Callable[[], None] | None = None,
) -> BoxScores:
    """MOTA, IDF1 and HOTA of tracked boxes.

    Args:
        truth: the clips.
        results: of the same clips in the same order.
        progress: called after each clip.

    Raises:
        InputError: numbers of clips differ, or there is none.
    """
    if len(truth) != len(results) or not truth:
        raise InputError(
            f"{len(truth)} clips of truth come with {len(results)} of results, expected as many "
            "and one at least"
        )
    clips = []
    for one, other in zip(truth, results, strict=True):
        compared = compare_boxes(one, other)
        clips.append(
            BoxCounts(
                one.name,
                len(compared),
                count_tracking(compared, drop_last=False, dummies=False),
                count_identities(compared),
                count_hota(compared),
            )
        )
        if progress is not None:
            progress()
    return BoxScores(tuple(clips))
