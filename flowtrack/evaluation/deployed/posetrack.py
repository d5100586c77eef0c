"""Tracked clips against their truth: in memory, with what a result file would keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.sequences import PoseFrame, PoseSequence
from flowtrack.runtime.output import open_writers
from flowtrack.runtime.output.jsonl import PIXEL_DIGITS, rounded
from flowtrack.runtime.pipeline import Pipeline
from flowtrack.skeleton import POSETRACK17_15, Skeleton, convert_poses
from flowtrack.structs import TrackedFrame

_SCORE_DIGITS = 6
"""Decimals of scores in PoseTrack files (`flowtrack.runtime.output.posetrack`)."""


def run_clips(
    pipeline: Pipeline,
    clips: Sequence[TruthClip],
    out: Path | None = None,
    progress: Callable[[], None] | None = None,
) -> Iterator[tuple[TruthClip, PoseSequence]]:
    """Track the clips of a data set as users do.

    Args:
        pipeline: that tracks them.
        clips: of the data set.
        out: folder that gets `NAME.posetrack.json` of each clip, with an entry for each frame of
            the truth; None writes nothing.
        progress: called after each frame.

    Yields:
        Each clip with its results.

    Raises:
        SourceError: a picture cannot be read, or its size differs within a clip.
        OutputError: a file cannot be written.
    """
    for clip in clips:
        tracked = _tracked(pipeline, clip, progress)
        yield clip, sequence_of(clip, _written(tracked, clip, pipeline, out), pipeline.skeleton)


def _tracked(
    pipeline: Pipeline, clip: TruthClip, progress: Callable[[], None] | None
) -> Iterator[TrackedFrame]:
    for _, tracked in pipeline.run(clip.frames()):
        yield tracked
        if progress is not None:
            progress()


def _written(
    tracked: Iterable[TrackedFrame], clip: TruthClip, pipeline: Pipeline, out: Path | None
) -> Iterator[TrackedFrame]:
    if out is None:
        yield from tracked
        return
    listed = set(clip.listed)
    no_picture = np.zeros((1, 1, 3), np.uint8)  # which this format does not look at
    with open_writers(out, clip, pipeline.skeleton, ["posetrack"]) as writers:
        for frame in tracked:
            if frame.index in listed:
                writers.write(frame, no_picture)
            yield frame


def sequence_of(
    clip: TruthClip, tracked: Iterable[TrackedFrame], skeleton: Skeleton
) -> PoseSequence:
    """The results of a clip at the frames that its truth lists.

    They are what is read back from the PoseTrack file that the runtime writes: joints converted and
    rounded, people without any of the 15 joints left out.
    """
    listed = set(clip.listed)
    frames = [pose_frame(frame, skeleton) for frame in tracked if frame.index in listed]
    return PoseSequence(clip.name, tuple(frames))


def pose_frame(tracked: TrackedFrame, skeleton: Skeleton) -> PoseFrame:
    """A tracked frame for evaluation; see `sequence_of`."""
    poses = convert_poses(tracked.poses, skeleton, POSETRACK17_15)
    missing = poses.missing
    there = ~missing.all(axis=1)
    xy = np.where(missing[..., None], np.nan, rounded(poses.xy, PIXEL_DIGITS))
    return PoseFrame.of(
        tracked.tracks.id[there], xy[there], score=rounded(poses.score, _SCORE_DIGITS)[there]
    )
