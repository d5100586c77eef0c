"""Everything that is counted of one clip, from which the figures of any clips together follow."""

from __future__ import annotations

from dataclasses import dataclass

from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.hota import HotaCounts, count_hota
from flowtrack.evaluation.identity import IdentityCounts, count_identities
from flowtrack.evaluation.mean_ap import JointDetections, detections
from flowtrack.evaluation.mota import TrackingCounts, count_tracking
from flowtrack.evaluation.sequences import PoseSequence


@dataclass(frozen=True, slots=True)
class ClipCounts:
    """Counts of one clip, of all 15 joints.

    Attributes:
        name: of the clip, as the truth has it.
        frames: how many are labelled.
        detections: for AP, by poseval's rules.
        tracking: for MOTA, by poseval's rules: without the last labelled frame, and with one
            person missed and one wrongly seen where one side has nobody.
        corrected: the same with the last frame, and with the people who are there.
        identity, hota: of all labelled frames and the people who are there.
    """

    name: str
    frames: int
    detections: JointDetections
    tracking: TrackingCounts
    corrected: TrackingCounts
    identity: IdentityCounts
    hota: HotaCounts


def count_clip(truth: PoseSequence, results: PoseSequence) -> ClipCounts:
    """Count one clip.

    Raises:
        InputError: the clips differ in length, or a person of the truth has no head box.
    """
    compared = compare(truth, results)
    return ClipCounts(
        name=truth.name,
        frames=len(compared),
        detections=detections(compared),
        tracking=count_tracking(compared),
        corrected=count_tracking(compared, drop_last=False, dummies=False),
        identity=count_identities(compared),
        hota=count_hota(compared),
    )
