"""What speaks for a choice that a bundle holds, as entries of its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from flowtrack.schema import limits


@dataclass(frozen=True)
class TrackingFigures:
    """How well a setting tracks, in percent; null where the data give it no value.

    Attributes:
        mean_ap: PoseTrack's mAP.
        mota: PoseTrack's MOTA.
    """

    mean_ap: float | None
    mota: float | None


@dataclass(frozen=True)
class TriedSetting:
    """A setting of the tracker that was tried.

    Attributes:
        options: those that were searched; the others are the bundle's.
        mean_ap, mota: see `TrackingFigures`.
    """

    options: dict[str, Any]
    mean_ap: float | None
    mota: float | None


@dataclass(frozen=True)
class ThresholdEvidence:
    """From which data the tracker's thresholds were chosen, and what the choice is worth.

    Attributes:
        objective: what was made as high as possible: MOTA, mAP, or the mean of both.
        joints: the joints that were scored, see `flowtrack eval posetrack --joints`.
        data_set: name of the validation data.
        clips, frames: how many there are.
        before: figures of the setting that the bundle had.
        replayed: figures of the choice, by which it was chosen.
        plain: figures of the choice from a plain run of the runtime.
        held_out: figures of settings that were chosen without the part of the data that they are
            measured on: what to expect elsewhere.
        unchanged: figures of the setting that the bundle had, on the same parts.
        folds: what the parts are.
        tried: every setting that was tried.
        made_by: program and version.
        date: when, ISO 8601.
    """

    objective: Literal["mota", "map", "mean"]
    joints: str
    data_set: str
    clips: int = field(metadata=limits(minimum=1))
    frames: int = field(metadata=limits(minimum=1))
    before: TrackingFigures
    replayed: TrackingFigures
    plain: TrackingFigures
    held_out: TrackingFigures
    unchanged: TrackingFigures
    folds: Literal["leave-one-clip-out", "split-half"]
    tried: tuple[TriedSetting, ...]
    made_by: str
    date: str
