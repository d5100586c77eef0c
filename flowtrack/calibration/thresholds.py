"""Thresholds of the tracker chosen from validation data, as in section 4.2 of the paper.

The networks run once (`flowtrack.evaluation.deployed.recording`), so a setting costs seconds. What
a choice is worth is measured three ways: on the data it was chosen on, by a plain run of the
runtime on the same, and on parts of the data that had no say in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from flowtrack.calibration.search import GRID, STEPS, Values, around, search
from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation.clip_counts import ClipCounts, count_clip
from flowtrack.evaluation.deployed.memory import Memory
from flowtrack.evaluation.deployed.networks import Networks
from flowtrack.evaluation.deployed.posetrack import run_clips, sequence_of
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.deployed.recording import Recording
from flowtrack.evaluation.posetrack import PoseTrackScores
from flowtrack.evaluation.sequences import PoseSequence, joint_rows
from flowtrack.tracker.options import TrackerOptions

Objective = Literal["mota", "map", "mean"]

OBJECTIVES: Mapping[Objective, Callable[[PoseTrackScores], float]] = MappingProxyType(
    {
        "mota": lambda scores: scores.mota,
        "map": lambda scores: scores.mean_ap,
        "mean": lambda scores: (scores.mota + scores.mean_ap) / 2,
    }
)
"""What can be made as high as possible, in percent; `mean` is that of the two."""

FLAT = 0.5
"""Percent of the objective that a step to the next value may cost where a choice is called flat."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting that was tried.

    Attributes:
        options: of the tracker.
        mean_ap, mota: in percent, on all the data.
        value: of the objective.
        without: value of the objective without each part of the data.
    """

    options: TrackerOptions
    mean_ap: float
    mota: float
    value: float
    without: tuple[float, ...]


@dataclass(frozen=True)
class Choice:
    """The thresholds that were chosen, and what speaks for them.

    Attributes:
        objective: one of `OBJECTIVES`.
        joints: that are reported, see `flowtrack.evaluation.sequences.JOINT_SETS`.
        clips, frames: how many were tracked.
        steps: values of each option that was searched, see `flowtrack.calibration.search`.
        start: the setting that the bundle had.
        options: the setting that was chosen.
        tried: every setting that was tried, in order; that of the bundle is the first.
        plain: figures of the choice from a plain run of the runtime.
        held_out: figures of settings that were chosen without the part that they are measured on.
        unchanged: figures of the bundle's setting on the same parts.
        folds: what the parts are: "leave-one-clip-out", or "split-half" of a single clip.
    """

    objective: Objective
    joints: str
    clips: int
    frames: int
    steps: Values
    start: TrackerOptions
    options: TrackerOptions
    tried: tuple[Tried, ...]
    plain: PoseTrackScores
    held_out: PoseTrackScores
    unchanged: PoseTrackScores
    folds: Literal["leave-one-clip-out", "split-half"]

    def of(self, options: TrackerOptions) -> Tried:
        """What a setting that was tried gave."""
        return next(one for one in self.tried if one.options == options)

    @property
    def helps(self) -> bool:
        """Whether choosing is better than not choosing on data that had no say in the choice."""
        objective = OBJECTIVES[self.objective]
        return objective(self.held_out) > objective(self.unchanged)

    def around(self, name: str) -> list[Tried]:
        """The choice and what differs from it in one option, in the order of that one's values."""
        known = {one.options: one for one in self.tried}
        row = around(self.options, name, self.steps)
        return [known[options] for options in row if options in known]

    def searched(self, options: TrackerOptions) -> dict[str, Any]:
        """The options that were searched, with a setting's values, as a manifest holds them."""
        values = options.to_dict()
        return {name: values[name] for name in self.steps}

    def cost(self, name: str) -> float:
        """What the objective loses at worst at the next lower or higher value of an option."""
        row = self.around(name)
        place = next((i for i, one in enumerate(row) if one.options == self.options), 0)
        neighbours = [*row[max(place - 1, 0) : place], *row[place + 1 : place + 2]]
        return max((row[place].value - one.value for one in neighbours), default=0.0)


def choose_thresholds(
    clips: Sequence[TruthClip],
    networks: Networks,
    memory: Memory,
    *,
    objective: Objective = "mota",
    joints: str = "all",
    grid: Values = GRID,
    steps: Values = STEPS,
    on_frame: Callable[[], None] | None = None,
    on_setting: Callable[[Tried], None] | None = None,
) -> Choice:
    """Choose box and joint threshold, both NMS, the similarity gate and the queue's length.

    Args:
        clips: the validation data.
        networks: of the bundle; its tracker's options are where the search begins.
        memory: that what the networks give is kept in.
        objective: one of `OBJECTIVES`.
        joints: to report, see `flowtrack.evaluation.sequences.JOINT_SETS`.
        grid, steps: the values to try, see `flowtrack.calibration.search`; what is on the grid must
            be among the steps.
        on_frame: called after each frame that the networks have seen, twice in all: before the
            search and in the plain run after it.
        on_setting: called after each setting.

    Raises:
        OptionError: the objective or the joints are unknown, or the bundle's options need flow that
            it does not have.
        InputError: there are no clips, or the truth has nothing to find.
        SourceError: a picture cannot be read.
    """
    if objective not in OBJECTIVES:
        raise OptionError(f"objective is {objective!r}, expected one of {', '.join(OBJECTIVES)}")
    if not clips:
        raise InputError("no clips are given, expected one or more to choose thresholds on")
    start = networks.manifest.tracker_options
    networks.check(start)
    study = _Study(clips, networks, memory, OBJECTIVES[objective], joints)
    for recording in study.recordings:
        recording.record(flow=start.uses_flow, progress=on_frame)
    tried: list[Tried] = []

    def value(options: TrackerOptions) -> float:
        tried.append(study.tried(options))
        if on_setting is not None:
            on_setting(tried[-1])
        return tried[-1].value

    found = search(value, start, grid, steps)
    return Choice(
        objective=objective,
        joints=joints,
        clips=len(clips),
        frames=sum(len(clip) for clip in clips),
        steps=steps,
        start=start,
        options=found.choice,
        tried=tuple(tried),
        plain=study.plain(found.choice, on_frame),
        held_out=study.held_out(tried, found.choice),
        unchanged=study.on_parts([start] * len(tried[0].without)),
        folds="leave-one-clip-out" if len(clips) > 1 else "split-half",
    )


class _Study:
    """The validation data as one bundle sees them, and how settings of the tracker do on them."""

    def __init__(
        self,
        clips: Sequence[TruthClip],
        networks: Networks,
        memory: Memory,
        objective: Callable[[PoseTrackScores], float],
        joints: str,
    ) -> None:
        self._rows = joint_rows(joints)
        self._objective = objective
        self._networks = networks
        # Settings share poses box by box; the plain run of the choice shows what that is worth.
        self.recordings = [Recording(clip, networks, memory, exact=False) for clip in clips]

    def tried(self, options: TrackerOptions) -> Tried:
        results = self._results(options)
        scores = self._scores(count_clip(*pair) for pair in results)
        parts = scores.clips if len(results) > 1 else _halves(*results[0])
        return Tried(
            options=options,
            mean_ap=scores.mean_ap,
            mota=scores.mota,
            value=self._objective(scores),
            without=tuple(
                self._objective(self._scores([*parts[:place], *parts[place + 1 :]]))
                for place in range(len(parts))
            ),
        )

    def plain(
        self, options: TrackerOptions, on_frame: Callable[[], None] | None
    ) -> PoseTrackScores:
        """Figures of a setting from the pipeline that users run."""
        clips = [recording.clip for recording in self.recordings]
        pipeline = self._networks.pipeline(options)
        results = run_clips(pipeline, clips, progress=on_frame)
        return self._scores(count_clip(clip.truth, found) for clip, found in results)

    def held_out(self, tried: Sequence[Tried], choice: TrackerOptions) -> PoseTrackScores:
        """For each part of the data the setting that is best on the others, measured on it."""
        # The choice comes first, and so wins where others are no better.
        first = sorted(tried, key=lambda one: one.options != choice)
        without = np.array([one.without for one in first])  # (settings, parts)
        chosen = [first[row].options for row in without.argmax(axis=0)]
        return self.on_parts(chosen)

    def on_parts(self, chosen: Sequence[TrackerOptions]) -> PoseTrackScores:
        """The parts of the data, each tracked with a setting of its own."""
        parts = {options: self._parts(options, chosen) for options in dict.fromkeys(chosen)}
        return self._scores(parts[options][part] for part, options in enumerate(chosen))

    def _parts(
        self, options: TrackerOptions, chosen: Sequence[TrackerOptions]
    ) -> dict[int, ClipCounts]:
        """Counts of the parts for which a setting was chosen."""
        wanted = [part for part, one in enumerate(chosen) if one == options]
        if len(self.recordings) == 1:
            halves = _halves(*self._results(options)[0])
            return {part: halves[part] for part in wanted}
        results = {part: self._result(self.recordings[part], options) for part in wanted}
        return {part: count_clip(*pair) for part, pair in results.items()}

    def _results(self, options: TrackerOptions) -> list[tuple[PoseSequence, PoseSequence]]:
        return [self._result(recording, options) for recording in self.recordings]

    def _result(
        self, recording: Recording, options: TrackerOptions
    ) -> tuple[PoseSequence, PoseSequence]:
        """Truth and results of one clip."""
        clip = recording.clip
        skeleton = self._networks.pose.skeleton
        return clip.truth, sequence_of(clip, recording.track(options), skeleton)

    def _scores(self, counts: Iterable[ClipCounts]) -> PoseTrackScores:
        return PoseTrackScores(self._rows, tuple(counts))


def _halves(truth: PoseSequence, results: PoseSequence) -> tuple[ClipCounts, ...]:
    """Counts of the first and the second half of a clip, each as if it were a clip."""
    middle = len(truth) // 2

    def counted(part: slice) -> ClipCounts:
        there, found = (replace(one, frames=one.frames[part]) for one in (truth, results))
        return count_clip(there, found)

    return counted(slice(None, middle)), counted(slice(middle, None))
