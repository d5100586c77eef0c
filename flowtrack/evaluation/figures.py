"""The figures that follow from what was counted, and how they are shown."""

from __future__ import annotations

import numpy as np

from flowtrack.evaluation.hota import HotaCounts
from flowtrack.evaluation.identity import IdentityCounts
from flowtrack.evaluation.mota import TrackingCounts
from flowtrack.evaluation.sequences import Float64Array

TRACKING = (
    "MOTA", "MOTP", "precision", "recall", "IDF1", "IDP", "IDR", "HOTA", "DetA", "AssA", "LocA",
)  # fmt: skip
"""Figures of tracking, of joints and boxes alike."""


def tracking_figures(
    tracking: TrackingCounts, identity: IdentityCounts, hota: HotaCounts
) -> dict[str, Float64Array]:
    """(..., K) each of `TRACKING` in percent, of counts that may be of many draws of clips."""
    return {
        "MOTA": tracking.mota,
        "MOTP": tracking.motp,
        "precision": tracking.precision,
        "recall": tracking.recall,
        "IDF1": identity.idf1,
        "IDP": identity.idp,
        "IDR": identity.idr,
        "HOTA": hota.hota,
        "DetA": hota.det_a,
        "AssA": hota.ass_a,
        "LocA": hota.loc_a,
    }


def named(measure: str) -> str:
    """A figure's name as a table has it."""
    return measure.replace("_", ", ")


def cell(value: float) -> str:
    """A figure in percent as a table shows it; a dash where there is none."""
    return "-" if np.isnan(value) else f"{value:.1f}"


def number(value: float) -> float | None:
    """A figure for JSON: four decimals, null where there is none."""
    return None if np.isnan(value) else round(float(value), 4)
