"""A slow, obvious counter of poseval's rules (leonid-pishchulin/poseval), for tests of tracking.

It shares no code with the package. Positions are pixels; joints are the 15 of PoseTrack 2017 by
id. `python -m tests.reference.poseval TRUTH RESULTS [--joints body12]` prints a table.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from tests.reference.people import (
    COUNT,
    JOINTS,
    Clip,
    LabelledFrame,
    Person,
    read_posetrack,
    read_posetrack17,
    read_posetrack18,
)

__all__ = [
    "COUNT", "JOINTS", "JOINT_SETS", "Clip", "LabelledFrame", "Mota", "Person", "mean_ap", "mota",
    "pckh", "read_posetrack", "read_posetrack17", "read_posetrack18",
]  # fmt: skip

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

JOINT_SETS = {"all": JOINTS, "body12": JOINTS[:12]}
"""`body12`: the joints that COCO and PoseTrack 2017 share, without the head."""

MATCH = 0.5
"""Largest distance of a match, as a share of the normaliser."""


def strictly_inside(x: float, y: float, polygon: Floats) -> bool:
    """Whether a point lies inside a simple polygon (V, 2), its outline not included."""
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        cross = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if cross == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return False
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


def _without_ignored(frame: LabelledFrame, polygons: tuple[Floats, ...]) -> LabelledFrame:
    if not polygons:
        return frame
    people = []
    for person in frame.people:
        xy = person.xy.copy()
        for joint in np.flatnonzero(person.has):
            if any(
                strictly_inside(person.xy[joint, 0], person.xy[joint, 1], polygon)
                for polygon in polygons
            ):
                xy[joint] = np.nan
        if np.isfinite(xy).any():
            people.append(replace(person, xy=xy))
    return replace(frame, people=tuple(people))


def _prepared(truth: Clip, results: Clip) -> list[tuple[LabelledFrame, LabelledFrame]]:
    """The frames that count, with ignored joints taken out of both sides."""
    if len(truth) != len(results):
        raise ValueError(f"{len(truth)} frames of truth, {len(results)} of results")
    return [
        (_without_ignored(t, t.ignore), _without_ignored(r, t.ignore))
        for t, r in zip(truth, results, strict=True)
        if t.rects > 0
    ]


def distances(truth: LabelledFrame, results: LabelledFrame) -> Floats:
    """(people in truth, people in results, 15) normalised distances; infinite without a joint."""
    out = np.full((len(truth.people), len(results.people), COUNT), np.inf)
    for i, t in enumerate(truth.people):
        for j, r in enumerate(results.people):
            both = t.has & r.has
            out[i, j, both] = np.linalg.norm(t.xy[both] - r.xy[both], axis=1) / t.normaliser
    return out


@dataclass(frozen=True)
class Mota:
    """Counts per joint (15,) and what follows from them.

    Attributes:
        joints: the names that were asked for.
        ids, truth_ids: how many different people the results and the truth name.
    """

    joints: tuple[str, ...]
    misses: Ints
    false_positives: Ints
    switches: Ints
    truths: Ints
    ids: int
    truth_ids: int

    @property
    def counted(self) -> list[int]:
        """Indices of the joints that were asked for and have ground truth."""
        return [j for j, name in enumerate(JOINTS) if name in self.joints and self.truths[j] > 0]

    @property
    def per_joint(self) -> dict[str, float]:
        """MOTA in percent of each joint that counts."""
        wrong = self.misses + self.false_positives + self.switches
        return {JOINTS[j]: 100 * (1 - wrong[j] / self.truths[j]) for j in self.counted}

    @property
    def total(self) -> float:
        """Plain mean over the joints that count; NaN without any."""
        values = list(self.per_joint.values())
        return float(np.mean(values)) if values else math.nan

    @property
    def total_switches(self) -> int:
        """Switches over the joints that count."""
        return int(self.switches[self.counted].sum())


class JointCounter:
    """CLEAR MOT counts of one joint over the frames of one clip."""

    def __init__(self) -> None:
        self.misses = self.false_positives = self.switches = self.truths = 0
        self._partner: dict[int, int] = {}

    def update(self, truth_ids: list[int], ids: list[int], distance: Floats) -> None:
        """Count a frame; `distance` (truth, results) is not finite where a match is barred."""
        pairs: dict[int, int] = {}
        for row, who in enumerate(truth_ids):
            if self._partner.get(who) in ids:
                column = ids.index(self._partner[who])
                if column not in pairs.values() and np.isfinite(distance[row, column]):
                    pairs[row] = column
        rest = distance.copy()
        rest[list(pairs)] = np.inf
        rest[:, list(pairs.values())] = np.inf
        # A barred match costs more than all others together, so that most people are matched.
        possible = np.isfinite(rest)
        barred = 2 * min(rest.shape, default=0) * (1 + rest[possible].max(initial=0)) + 1
        for row, column in zip(
            *linear_sum_assignment(np.where(possible, rest, barred)), strict=True
        ):
            if possible[row, column]:
                before = self._partner.get(truth_ids[row], ids[column])
                self.switches += before != ids[column]
                pairs[row] = column
        self._partner |= {truth_ids[row]: ids[column] for row, column in pairs.items()}
        self.misses += len(truth_ids) - len(pairs)
        self.false_positives += len(ids) - len(pairs)
        self.truths += len(truth_ids)


def _count_frame(
    counters: list[JointCounter], truth: LabelledFrame, results: LabelledFrame, dummies: bool
) -> None:
    if dummies and not (truth.people and results.people):
        for counter in counters:
            counter.update([0], [0], np.array([[np.nan]]))
        return
    near = distances(truth, results)
    near[near > MATCH] = np.nan
    for joint, counter in enumerate(counters):
        rows = [i for i, person in enumerate(truth.people) if person.has[joint]]
        columns = [j for j, person in enumerate(results.people) if person.has[joint]]
        counter.update(
            [truth.people[i].track_id for i in rows],
            [results.people[j].track_id for j in columns],
            near[np.ix_(rows, columns, [joint])][:, :, 0],
        )


def _clips(value: Clip | list[Clip]) -> list[Clip]:
    return [value] if not value or isinstance(value[0], LabelledFrame) else value  # type: ignore[list-item]


def mota(
    truth: Clip | list[Clip],
    results: Clip | list[Clip],
    joints: Iterable[str] | None = None,
    drop_last: bool = True,
    dummies: bool = True,
) -> Mota:
    """Tracking accuracy as poseval counts it, over one clip or several.

    Per joint: the correspondence of the frame before, or of the last one that there was, is kept
    while it is within the threshold; the rest is matched at the lowest total distance.

    Args:
        joints: names; None for all.
        drop_last: leave out the last labelled frame of each clip, as poseval does.
        dummies: count 1 miss and 1 false positive for each joint of a frame in which either side
            has nobody, as poseval does, instead of the people who are there.

    Raises:
        ValueError: clips differ in length, a joint is unknown, or a head box is missing.
    """
    names = JOINTS if joints is None else tuple(joints)
    if unknown := set(names) - set(JOINTS):
        raise ValueError(f"unknown joints {sorted(unknown)}; known are {', '.join(JOINTS)}")
    sums = np.zeros((4, COUNT), np.int64)
    ids, truth_ids = set(), set()
    for number, (t_clip, r_clip) in enumerate(zip(_clips(truth), _clips(results), strict=True)):
        counters = [JointCounter() for _ in JOINTS]
        frames = _prepared(t_clip, r_clip)
        for t, r in frames[:-1] if drop_last else frames:
            _count_frame(counters, t, r, dummies)
            truth_ids |= {(number, person.track_id) for person in t.people}
            ids |= {(number, person.track_id) for person in r.people if person.has.any()}
        sums += np.array([[c.misses, c.false_positives, c.switches, c.truths] for c in counters]).T
    misses, false_positives, switches, truths = sums
    return Mota(names, misses, false_positives, switches, truths, len(ids), len(truth_ids))


def assign_poses(near: npt.NDArray[np.bool_], labelled: Ints) -> dict[int, int]:
    """Results by the person of the truth that each is taken for.

    Args:
        near: (truth, results, 15) joints within the threshold.
        labelled: (truth,) joints labelled.
    """
    if 0 in near.shape[:2]:
        return {}
    share = near.sum(axis=2) / np.maximum(labelled, 1)[:, None]
    for column, best in enumerate(share.argmax(axis=0)):
        share[np.arange(len(share)) != best, column] = 0
    return {int(share[i].argmax()): i for i in range(len(share)) if share[i].max() > 0}


@dataclass(frozen=True)
class Detections:
    """Every predicted joint of all frames, pooled, and how many joints there were to find."""

    score: list[list[float]]
    right: list[list[bool]]
    truths: Ints


def detections(truth: Clip | list[Clip], results: Clip | list[Clip]) -> Detections:
    """Predicted joints, each right if its pose is assigned and it is near that pose's joint."""
    score: list[list[float]] = [[] for _ in JOINTS]
    right: list[list[bool]] = [[] for _ in JOINTS]
    truths = np.zeros(COUNT, np.int64)
    for t_clip, r_clip in zip(_clips(truth), _clips(results), strict=True):
        for t, r in _prepared(t_clip, r_clip):
            labelled = np.array([p.has for p in t.people], bool).reshape(-1, COUNT)
            truths += labelled.sum(axis=0)
            near = distances(t, r) <= MATCH
            owner = assign_poses(near, labelled.sum(axis=1))
            for j, person in enumerate(r.people):
                for joint in np.flatnonzero(person.has):
                    score[joint].append(float(person.score[joint]))
                    right[joint].append(j in owner and bool(near[owner[j], j, joint]))
    return Detections(score, right, truths)


def average_precision(score: list[float], right: list[bool], truths: int) -> float:
    """Area under the precision-recall curve, all points; among equal scores the later come first.

    NaN if there are predictions and nothing to find, 0 if there are no predictions (as poseval).
    """
    if not score:
        return 0.0
    if truths == 0:
        return math.nan
    order = np.argsort(score, kind="stable")[::-1]
    hits = np.cumsum(np.array(right)[order])
    precision = np.maximum.accumulate((hits / np.arange(1, len(order) + 1))[::-1])[::-1]
    return float(np.sum(np.diff(hits, prepend=0) * precision) / truths)


def mean_ap(
    truth: Clip | list[Clip], results: Clip | list[Clip], joints: Iterable[str] | None = None
) -> tuple[float, dict[str, float]]:
    """Mean average precision in percent, and by joint; joints with NaN are left out of the mean."""
    found = detections(truth, results)
    names = JOINTS if joints is None else tuple(joints)
    each = {}
    for name in names:
        j = JOINTS.index(name)
        each[name] = 100 * average_precision(found.score[j], found.right[j], int(found.truths[j]))
    return float(np.nanmean(list(each.values()))), each


def pckh(
    truth: Clip | list[Clip], results: Clip | list[Clip], joints: Iterable[str] | None = None
) -> float:
    """Share in percent of the labelled joints that the assigned poses hit, joints pooled."""
    found = detections(truth, results)
    rows = [JOINTS.index(name) for name in (JOINTS if joints is None else joints)]
    return 100 * sum(sum(found.right[j]) for j in rows) / max(int(found.truths[rows].sum()), 1)


def main(arguments: list[str] | None = None) -> None:
    """Print the table of one clip."""
    parser = argparse.ArgumentParser(description="Count tracking quality as poseval does.")
    parser.add_argument("truth", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--joints", choices=JOINT_SETS, default="all")
    parser.add_argument("--corrected", action="store_true", help="without poseval's two quirks")
    options = parser.parse_args(arguments)
    truth, results = read_posetrack(options.truth), read_posetrack(options.results)
    quirks = not options.corrected
    names = JOINT_SETS[options.joints]
    count = mota(truth, results, names, drop_last=quirks, dummies=quirks)
    total_ap, ap = mean_ap(truth, results, names)
    lines = [f"{'joint':16}{'truth':>7}{'miss':>7}{'false':>7}{'switch':>7}{'MOTA':>8}{'AP':>8}"]
    for j, name in enumerate(JOINTS):
        if name in names:
            numbers = (count.truths, count.misses, count.false_positives, count.switches)
            cells = "".join(f"{int(column[j]):7d}" for column in numbers)
            score = count.per_joint.get(name, math.nan)
            lines.append(f"{name:16}{cells}{score:8.1f}{ap[name]:8.1f}")
    lines.append(f"{'total':37}{count.total_switches:7d}{count.total:8.1f}{total_ap:8.1f}")
    lines.append(f"ids {count.ids} for {count.truth_ids} people; PCKh "
                 f"{pckh(truth, results, names):.1f}")  # fmt: skip
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
