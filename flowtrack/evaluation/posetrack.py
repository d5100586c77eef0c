"""PoseTrack's figures for tracked poses: mAP and MOTA, in all and by part of the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.mean_ap import JointDetections, detections
from flowtrack.evaluation.mota import TrackingCounts, count_tracking
from flowtrack.evaluation.sequences import JOINTS, Float64Array, PoseSequence, joint_rows
from flowtrack.structs import IntArray

PARTS = {
    "Head": ("head_bottom", "nose", "head_top"),
    "Shoulder": ("right_shoulder", "left_shoulder"),
    "Elbow": ("right_elbow", "left_elbow"),
    "Wrist": ("right_wrist", "left_wrist"),
    "Hip": ("right_hip", "left_hip"),
    "Knee": ("right_knee", "left_knee"),
    "Ankle": ("right_ankle", "left_ankle"),
}
"""The columns of the paper's Tables 6 and 7 (getCum in poseval's eval_helpers.py)."""

MEASURES = ("AP", "MOTA", "MOTP", "precision", "recall")
"""What is reported for each joint, in percent."""


@dataclass(frozen=True, slots=True)
class PoseTrackScores:
    """How good the results of one clip or several are.

    Attributes:
        rows: indices of the joints that are reported; the others took part in deciding which pose
            is whose, and in nothing else.
        frames: how many frames counted for AP; MOTA leaves out the last of each clip.
        detections: of AP, all 15 joints.
        tracking: of MOTA, all 15 joints, by poseval's rules.
        corrected: the same with the last frames, and people counted where one side has nobody.
    """

    rows: IntArray
    frames: int
    detections: JointDetections
    tracking: TrackingCounts
    corrected: TrackingCounts

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that are reported."""
        return tuple(JOINTS[row] for row in self.rows)

    def per_joint(self, measure: str) -> Float64Array:
        """(J,) one of `MEASURES` for each of `joints`, in percent; NaN where it has no value."""
        values: dict[str, Float64Array] = {
            "AP": self.detections.average_precision,
            "MOTA": self.tracking.mota,
            "MOTP": self.tracking.motp,
            "precision": self.tracking.precision,
            "recall": self.tracking.recall,
        }
        return values[measure][self.rows]

    def per_part(self, measure: str) -> dict[str, float]:
        """One of `MEASURES` by part of the body, and as "Total": plain means over joints.

        A joint without a value is left out; a part without any joint is NaN.
        """
        values = self.per_joint(measure)
        parts = {
            part: _mean(values[[joint in names for joint in self.joints]])
            for part, names in PARTS.items()
        }
        return {**parts, "Total": _mean(values)}

    @property
    def mean_ap(self) -> float:
        """Mean average precision in percent."""
        return _mean(self.per_joint("AP"))

    @property
    def mota(self) -> float:
        """Multiple-object tracking accuracy in percent."""
        return _mean(self.per_joint("MOTA"))

    @property
    def corrected_mota(self) -> float:
        """MOTA in percent, poseval's two quirks left out: see `corrected`."""
        return _mean(self.corrected.mota[self.rows])

    @property
    def pckh(self) -> float:
        """Share in percent of the labelled joints, pooled, that the assigned poses find; NaN
        without any.
        """
        truths = int(self.detections.truths[self.rows].sum())
        return 100 * int(self.detections.found[self.rows].sum()) / truths if truths else np.nan

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON: percentages as numbers, null where there is no value."""
        counts = self.tracking
        return {
            "joints": list(self.joints),
            "frames": self.frames,
            "mAP": _json(self.mean_ap),
            "MOTA": _json(self.mota),
            "MOTA_corrected": _json(self.corrected_mota),
            "PCKh": _json(self.pckh),
            "people": counts.people,
            "ids": counts.ids,
            "switches": int(counts.switches[self.rows].sum()),
            "misses": int(counts.misses[self.rows].sum()),
            "false_positives": int(counts.false_positives[self.rows].sum()),
            "truths": int(counts.truths[self.rows].sum()),
            "per_part": {
                measure: {part: _json(value) for part, value in self.per_part(measure).items()}
                for measure in MEASURES
            },
            "per_joint": {
                joint: {
                    **{m: _json(float(self.per_joint(m)[place])) for m in MEASURES},
                    "switches": int(counts.switches[row]),
                    "misses": int(counts.misses[row]),
                    "false_positives": int(counts.false_positives[row]),
                    "truths": int(counts.truths[row]),
                }
                for place, (joint, row) in enumerate(zip(self.joints, self.rows, strict=True))
            },
        }

    def table(self) -> list[list[str]]:
        """Rows of cells: a heading, then one row for each of `MEASURES`, by part of the body."""
        heading = ["", *PARTS, "Total"]
        return [
            heading,
            *([m, *(_cell(value) for value in self.per_part(m).values())] for m in MEASURES),
        ]


def evaluate(
    truth: PoseSequence | Sequence[PoseSequence],
    results: PoseSequence | Sequence[PoseSequence],
    joints: str | Sequence[str] = "all",
) -> PoseTrackScores:
    """The figures exactly as leonid-pishchulin/poseval counts them, over one clip or several.

    Args:
        truth: the clips, annotated.
        results: the same clips in the same order, tracked.
        joints: a set of `sequences.JOINT_SETS`, or names: the joints to report.

    Raises:
        InputError: numbers of clips or frames differ, or a person of the truth has no head box.
        OptionError: a joint is unknown.
    """
    truths = [truth] if isinstance(truth, PoseSequence) else list(truth)
    found = [results] if isinstance(results, PoseSequence) else list(results)
    if len(truths) != len(found) or not truths:
        raise InputError(
            f"{len(truths)} clips of truth come with {len(found)} of results, expected as many and "
            "one at least"
        )
    rows = joint_rows(joints)
    frames, judged = 0, []
    tracking, corrected = TrackingCounts.zero(), TrackingCounts.zero()
    for one, other in zip(truths, found, strict=True):
        compared = compare(one, other)
        frames += len(compared)
        judged.append(detections(compared))
        tracking += count_tracking(compared)
        corrected += count_tracking(compared, drop_last=False, dummies=False)
    return PoseTrackScores(rows, frames, JointDetections.pooled(judged), tracking, corrected)


def _mean(values: Float64Array) -> float:
    """Plain mean of the values that there are; NaN without any."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _json(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"
