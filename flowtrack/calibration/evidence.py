"""Chosen thresholds in a bundle, with what speaks for them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flowtrack import __version__
from flowtrack.calibration.thresholds import Choice
from flowtrack.evaluation.posetrack import PoseTrackScores
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.runtime.evidence import ThresholdEvidence, TrackingFigures, TriedSetting

_DIGITS = 3


def write_choice(bundle: Bundle, choice: Choice, data_set: str, place: Path) -> Bundle:
    """Write a bundle with the chosen thresholds and their evidence, whole or not at all.

    Args:
        bundle: the networks and everything else of it stay as they are.
        choice: what was chosen.
        data_set: name of the validation data.
        place: a folder or a .zip file; the bundle's own path replaces it.

    Raises:
        BundleError: a network's file is missing or damaged.
        OutputError: `place` is taken by something that is no bundle, or cannot be written.
    """
    manifest = replace(
        bundle.manifest,
        tracker=bundle.manifest.tracker | choice.searched(choice.options),
        thresholds=evidence_of(choice, data_set),
    )
    return write_bundle(place, manifest, bundle.contents())


def evidence_of(choice: Choice, data_set: str) -> ThresholdEvidence:
    """The manifest's entry of a choice."""
    before, replayed = choice.of(choice.start), choice.of(choice.options)
    return ThresholdEvidence(
        objective=choice.objective,
        joints=choice.joints,
        data_set=data_set,
        clips=choice.clips,
        frames=choice.frames,
        before=TrackingFigures(_number(before.mean_ap), _number(before.mota)),
        replayed=TrackingFigures(_number(replayed.mean_ap), _number(replayed.mota)),
        plain=_figures(choice.plain),
        held_out=_figures(choice.held_out),
        unchanged=_figures(choice.unchanged),
        folds=choice.folds,
        tried=tuple(
            TriedSetting(choice.searched(one.options), _number(one.mean_ap), _number(one.mota))
            for one in choice.tried
        ),
        made_by=f"flowtrack {__version__}",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _figures(scores: PoseTrackScores) -> TrackingFigures:
    return TrackingFigures(_number(scores.mean_ap), _number(scores.mota))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, _DIGITS)
