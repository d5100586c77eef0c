"""PoseTrack's figures for tracked poses: mAP and MOTA, in all and by part of the body.

They are poseval's, quirks included. Beside them stand figures without its two quirks, named
"corrected", and two measures that the field has turned to since: IDF1 and HOTA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from flowtrack.errors import InputError
from flowtrack.evaluation.clip_counts import ClipCounts, count_clip
from flowtrack.evaluation.figures import cell, named, number, tracking_figures
from flowtrack.evaluation.hota import ALPHAS, HotaCounts
from flowtrack.evaluation.identity import IdentityCounts
from flowtrack.evaluation.mean_ap import JointDetections
from flowtrack.evaluation.mota import TrackingCounts
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

MEASURES = (
    "AP", "MOTA", "MOTP", "precision", "recall", "MOTA_corrected", "MOTP_corrected",
    "IDF1", "IDP", "IDR", "HOTA", "DetA", "AssA", "LocA",
)  # fmt: skip
"""What is reported for each joint, in percent."""


@dataclass(frozen=True)
class PoseTrackScores:
    """How good the results of one clip or several are.

    Attributes:
        rows: indices of the joints that are reported; the others took part in deciding which pose
            is whose, and in nothing else.
        clips: what was counted of each clip; of all of them together it is `detections`,
            `tracking`, `corrected`, `identity` and `hota`, see `ClipCounts`.
    """

    rows: IntArray
    clips: tuple[ClipCounts, ...]

    @property
    def frames(self) -> int:
        """How many frames counted for AP; poseval's MOTA leaves out the last of each clip."""
        return sum(clip.frames for clip in self.clips)

    @cached_property
    def detections(self) -> JointDetections:
        """For AP."""
        return JointDetections.pooled([clip.detections for clip in self.clips])

    @cached_property
    def tracking(self) -> TrackingCounts:
        """For MOTA, by poseval's rules."""
        return sum((clip.tracking for clip in self.clips), TrackingCounts.zero())

    @cached_property
    def corrected(self) -> TrackingCounts:
        """For MOTA with the last frames, and people counted where one side has nobody."""
        return sum((clip.corrected for clip in self.clips), TrackingCounts.zero())

    @cached_property
    def identity(self) -> IdentityCounts:
        """For IDF1."""
        return sum((clip.identity for clip in self.clips), IdentityCounts.zero())

    @cached_property
    def hota(self) -> HotaCounts:
        """For HOTA."""
        return sum((clip.hota for clip in self.clips), HotaCounts.zero())

    @cached_property
    def by_clip(self) -> tuple[PoseTrackScores, ...]:
        """The figures of each clip for itself."""
        return tuple(PoseTrackScores(self.rows, (clip,)) for clip in self.clips)

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that are reported."""
        return tuple(JOINTS[row] for row in self.rows)

    @cached_property
    def _values(self) -> dict[str, Float64Array]:
        """(15,) every one of `MEASURES`."""
        return {
            "AP": self.detections.average_precision,
            **pose_figures(self.tracking, self.corrected, self.identity, self.hota),
        }

    def per_joint(self, measure: str) -> Float64Array:
        """(J,) one of `MEASURES` for each of `joints`, in percent; NaN where it has no value."""
        return self._values[measure][self.rows]

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

    def total(self, measure: str) -> float:
        """One of `MEASURES` in percent: the plain mean over joints that have a value."""
        return _mean(self.per_joint(measure))

    @property
    def mean_ap(self) -> float:
        """Mean average precision in percent."""
        return self.total("AP")

    @property
    def mota(self) -> float:
        """Multiple-object tracking accuracy in percent."""
        return self.total("MOTA")

    @property
    def corrected_mota(self) -> float:
        """MOTA in percent, poseval's two quirks left out: see `corrected`."""
        return self.total("MOTA_corrected")

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
            **self.summary(),
            "per_part": {
                measure: {part: number(value) for part, value in self.per_part(measure).items()}
                for measure in MEASURES
            },
            "per_joint": {
                joint: {
                    **{m: number(float(self.per_joint(m)[place])) for m in MEASURES},
                    "switches": int(counts.switches[row]),
                    "misses": int(counts.misses[row]),
                    "false_positives": int(counts.false_positives[row]),
                    "truths": int(counts.truths[row]),
                }
                for place, (joint, row) in enumerate(zip(self.joints, self.rows, strict=True))
            },
            "by_alpha": {
                "alpha": ALPHAS.tolist(),
                "HOTA": self._by_alpha(self.hota.hota_by_alpha),
                "DetA": self._by_alpha(self.hota.det_a_by_alpha),
                "AssA": self._by_alpha(self.hota.ass_a_by_alpha),
            },
            "clips": [
                {"clip": clip.name, **scores.summary()}
                for clip, scores in zip(self.clips, self.by_clip, strict=True)
            ],
        }

    def _by_alpha(self, values: Float64Array) -> list[float | None]:
        return [number(100 * _mean(row)) for row in values[:, self.rows]]

    def summary(self) -> dict[str, Any]:
        """The totals and what was counted, by poseval's rules, for JSON."""
        counts = self.tracking
        return {
            "frames": self.frames,
            "mAP": number(self.mean_ap),
            **{measure: number(self.total(measure)) for measure in MEASURES[1:]},
            "PCKh": number(self.pckh),
            "people": counts.people,
            "ids": counts.ids,
            "switches": int(counts.switches[self.rows].sum()),
            "misses": int(counts.misses[self.rows].sum()),
            "false_positives": int(counts.false_positives[self.rows].sum()),
            "truths": int(counts.truths[self.rows].sum()),
        }

    def table(self) -> list[list[str]]:
        """Rows of cells: a heading, then one row for each of `MEASURES`, by part of the body."""
        return [
            ["", *PARTS, "Total"],
            *([named(m), *map(cell, self.per_part(m).values())] for m in MEASURES),
        ]

    def clip_table(self) -> list[list[str]]:
        """Rows of cells: a heading, one row for each clip, and one of all clips together."""
        measures = ("AP", "MOTA", "MOTA_corrected", "IDF1", "HOTA")
        rows = [
            [
                name,
                str(scores.frames),
                *(cell(scores.total(measure)) for measure in measures),
                str(int(scores.tracking.switches[self.rows].sum())),
                f"{scores.tracking.ids} / {scores.tracking.people}",
            ]
            for name, scores in (
                *zip((clip.name for clip in self.clips), self.by_clip, strict=True),
                ("all", self),
            )
        ]
        heading = ["clip", "frames", "mAP", *map(named, measures[1:]), "switches", "ids / people"]
        return [heading, *rows]


def evaluate(
    truth: PoseSequence | Sequence[PoseSequence],
    results: PoseSequence | Sequence[PoseSequence],
    joints: str | Sequence[str] = "all",
    progress: Callable[[], None] | None = None,
) -> PoseTrackScores:
    """The figures exactly as leonid-pishchulin/poseval counts them, over one clip or several.

    Args:
        truth: the clips, annotated.
        results: the same clips in the same order, tracked.
        joints: a set of `sequences.JOINT_SETS`, or names: the joints to report.
        progress: called after each clip.

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
    clips = []
    for one, other in zip(truths, found, strict=True):
        clips.append(count_clip(one, other))
        if progress is not None:
            progress()
    return PoseTrackScores(rows, tuple(clips))


def pose_figures(
    tracking: TrackingCounts, corrected: TrackingCounts, identity: IdentityCounts, hota: HotaCounts
) -> dict[str, Float64Array]:
    """(..., 15) each of `MEASURES` but AP, of counts that may be of many draws of clips."""
    return {
        **tracking_figures(tracking, identity, hota),
        "MOTA_corrected": corrected.mota,
        "MOTP_corrected": corrected.motp,
    }


def _mean(values: Float64Array) -> float:
    """Plain mean of the values that there are; NaN without any."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
