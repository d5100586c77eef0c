"""What the gate says of a bundle of lower precision: figures, limits, and what is beyond them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flowtrack.calibration.agreement import BoxAgreement, FlowAgreement, PoseAgreement
from flowtrack.errors import OptionError
from flowtrack.structs import FloatArray

OTHERS = "give others with --frames"
"""What to do where there is nothing to compare."""


@dataclass(frozen=True)
class Limits:
    """What a bundle of lower precision is held against.

    Attributes:
        mean_oks: least mean OKS of its poses to the reference's.
        median_iou: least median IoU of its boxes to their counterparts.
        changed_boxes: largest share of the reference's boxes that are lost, and that are invented.
        epe_px, epe_share: largest mean end-point difference of the flow, in source pixels or as a
            share of the mean motion, whichever is larger.
        mota_drop: largest loss of MOTA in percentage points, where truth is given.
    """

    mean_oks: float = 0.98
    median_iou: float = 0.95
    changed_boxes: float = 0.05
    epe_px: float = 0.3
    epe_share: float = 0.1
    mota_drop: float = 0.5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            top = 1.0 if name in ("mean_oks", "median_iou") else math.inf
            if not 0 <= value <= top:
                raise OptionError(f"limit {name} is {value}, expected 0 to {top:g}")


@dataclass(frozen=True)
class PartVerdict:
    """What was measured of one part.

    Attributes:
        figures: plain data for the manifest, tables and JSON.
        failures: a sentence for each figure beyond its limit: value, limit, and where.
    """

    figures: dict[str, Any]
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What was measured of all parts that were converted.

    Attributes:
        parts: by part; `tracking` where truth was given.
        limits: what they were held against.
        frames: how many were held out.
        device: that the candidate ran on.
    """

    parts: dict[str, PartVerdict]
    limits: Limits
    frames: int
    device: str

    @property
    def failures(self) -> list[str]:
        """All sentences, each with the part in front."""
        return [
            f"{part}: {failure}" for part, found in self.parts.items() for failure in found.failures
        ]

    def record(self, part: str, reason: str | None = None) -> dict[str, Any]:
        """What the manifest keeps of a part's comparison.

        Args:
            part: `detector`, `pose` or `flow`.
            reason: why it is accepted although it failed.
        """
        kept: dict[str, Any] = {
            "frames": self.frames,
            "device": self.device,
            "limits": asdict(self.limits),
            "figures": self.parts[part].figures,
        }
        if "tracking" in self.parts:
            kept["tracking"] = self.parts["tracking"].figures
        failures = [
            *self.parts[part].failures,
            *(self.parts["tracking"].failures if "tracking" in self.parts else ()),
        ]
        if failures:
            kept |= {"failures": failures, "accepted": reason}
        return kept


def judge_boxes(agreement: BoxAgreement, indices: Sequence[int], limits: Limits) -> PartVerdict:
    """Boxes lost, invented and moved; `indices` are those of the frames in their source."""
    total = int(agreement.reference.sum())
    lost, invented = int(agreement.lost.sum()), int(agreement.invented.sum())
    figures: dict[str, Any] = {
        "boxes": total,
        "lost": lost,
        "invented": invented,
        "median_iou": _middle(agreement.iou),
        "least_iou": _number(agreement.iou.min()) if len(agreement.iou) else None,
    }
    if not total:
        return PartVerdict(
            figures, (f"the fp32 detector finds nobody, so there is nothing to compare; {OTHERS}",)
        )
    failures = [
        f"{count} of {total} boxes are {what}, expected at most {limits.changed_boxes:.0%}; most "
        f"in frame {indices[int(where.argmax())]} ({where.max()})"
        for what, count, where in (
            ("lost", lost, agreement.lost), ("invented", invented, agreement.invented)
        )
        if count > limits.changed_boxes * total
    ]  # fmt: skip
    median = figures["median_iou"]
    if median is not None and median < limits.median_iou:
        worst = indices[int(agreement.pair_frame[agreement.iou.argmin()])]
        failures.append(
            f"boxes have a median IoU of {median:.3f}, expected at least {limits.median_iou}; "
            f"least in frame {worst} ({figures['least_iou']:.3f})"
        )
    return PartVerdict(figures, tuple(failures))


def judge_poses(
    agreement: PoseAgreement, indices: Sequence[int], joints: Sequence[str], limits: Limits
) -> PartVerdict:
    """OKS of people, and how far their joints, of these names, lie apart."""
    seen = np.isfinite(agreement.oks)
    oks, frames = agreement.oks[seen], agreement.frame[seen]
    px = agreement.px[seen]
    compared = px[~np.isnan(px)]
    near = compared[np.isfinite(compared)]
    figures: dict[str, Any] = {
        "people": len(oks),
        "joints": len(compared),
        "missed_joints": len(compared) - len(near),
        "mean_oks": _number(oks.mean()) if len(oks) else None,
        "least_oks": _number(oks.min()) if len(oks) else None,
        "median_px": _middle(near),
        "p99_px": _number(np.quantile(near, 0.99)) if len(near) else None,
    }
    if not len(compared):
        return PartVerdict(
            figures, (f"the fp32 networks see no joint, so there is nothing to compare; {OTHERS}",)
        )
    mean = figures["mean_oks"]
    if mean >= limits.mean_oks:
        return PartVerdict(figures)
    joint, far = _worst_joint(px)
    away = "missed" if math.isinf(far) else f"{far:.1f} px away in the mean"
    worst = indices[int(frames[oks.argmin()])]
    return PartVerdict(
        figures,
        (f"poses have a mean OKS of {mean:.3f}, expected at least {limits.mean_oks}; least in "
         f"frame {worst} ({figures['least_oks']:.3f}), and worst of joints {joints[joint]!r} "
         f"({away})",),
    )  # fmt: skip


def _worst_joint(px: FloatArray) -> tuple[int, float]:
    """The joint with the largest mean distance; of joints that are missed, the one most often."""
    missed = np.isinf(px).sum(axis=0)
    if missed.any():
        return int(missed.argmax()), math.inf
    total, count = np.nansum(px, axis=0), (~np.isnan(px)).sum(axis=0)
    mean = total / np.maximum(count, 1)
    return int(mean.argmax()), float(mean.max())


def judge_flow(agreement: FlowAgreement, indices: Sequence[int], limits: Limits) -> PartVerdict:
    """End-point differences, and the motion that they are a part of.

    `indices` are those of the pairs' first frames in their source.
    """
    by_pair = agreement.error.mean(axis=(1, 2))
    mean, motion = float(by_pair.mean()), float(agreement.motion.mean())
    allowed = max(limits.epe_px, limits.epe_share * motion)
    figures = {
        "pairs": len(by_pair),
        "mean_px": _number(mean),
        "p99_px": _number(np.quantile(agreement.error, 0.99)),
        "motion_px": _number(motion),
        "limit_px": _number(allowed),
    }
    if mean <= allowed:
        return PartVerdict(figures)
    worst = int(np.nan_to_num(by_pair, nan=np.inf).argmax())
    return PartVerdict(
        figures,
        (f"flow differs by {mean:.3g} px in the mean, expected at most {allowed:.3g} px of "
         f"{motion:.3g} px of motion; most after frame {indices[worst]} "
         f"({by_pair[worst]:.3g} px)",),
    )  # fmt: skip


def judge_tracking(
    before: Mapping[str, float], after: Mapping[str, float], limits: Limits
) -> PartVerdict:
    """Tracking with both bundles against truth: `mAP` and `MOTA` of each, in percent."""
    drop = before["MOTA"] - after["MOTA"]
    figures = {
        f"{name}_{which}": _number(values[name])
        for name in ("mAP", "MOTA")
        for which, values in (("fp32", before), ("converted", after))
    }
    if drop <= limits.mota_drop:
        return PartVerdict(figures)
    return PartVerdict(
        figures,
        (f"MOTA falls from {before['MOTA']:.1f} to {after['MOTA']:.1f}, expected a loss of at most "
         f"{limits.mota_drop}",),
    )  # fmt: skip


def _number(value: Any) -> float | None:
    """Rounded for people and files; None where it is not finite, which JSON has no form for."""
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None


def _middle(values: FloatArray) -> float | None:
    return _number(np.median(values)) if len(values) else None
