"""A rendered clip tracked, written out and scored against its exact truth.

This is what `flowtrack demo` does, to be called from Python as well: `run_demo` takes frames from
`flowtrack.synthetic` and a pipeline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from flowtrack.errors import InputError, OutputError
from flowtrack.evaluation.posetrack import PoseTrackScores, evaluate
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.runtime.drawing import DrawOptions, Trails, draw_frame
from flowtrack.runtime.output import NamedClip, open_writers
from flowtrack.runtime.pipeline import Pipeline
from flowtrack.structs import Frame, TrackedFrame
from flowtrack.synthetic import SyntheticFrame, posetrack17
from flowtrack.synthetic.files import write_json

CLIP = "clip"
"""Name of the results: `clip.mp4`, `clip.posetrack.json`, and so on."""

JOINT_SET = "shared13"
"""Networks of COCO have no neck and no top of the head; what a rule makes of their shoulders and
nose would be scored twice over, so only joints that both standards label are counted."""

_FORMATS = ("posetrack", "jsonl", "mp4")


@dataclass(frozen=True)
class DemoResult:
    """How the demo went.

    Attributes:
        scores: against the exact truth, over the joints of `JOINT_SET`.
        frames: how many were tracked.
        seconds: that tracking took, with drawing and encoding.
        timing_ms: mean milliseconds a frame by stage. Stages overlap, so they add up to more than
            a frame takes.
        device: where the networks ran.
        files: what was written, by kind.
    """

    scores: PoseTrackScores
    frames: int
    seconds: float
    timing_ms: dict[str, float]
    device: str
    files: dict[str, Path]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            **self.scores.as_dict(),
            "seconds": round(self.seconds, 3),
            "frames_per_s": round(self.frames / self.seconds, 2),
            "timing_ms": {stage: round(ms, 3) for stage, ms in self.timing_ms.items()},
            "device": self.device,
            "files": {kind: str(path) for kind, path in self.files.items()},
        }


def run_demo(
    frames: Sequence[SyntheticFrame],
    pipeline: Pipeline,
    out: Path,
    *,
    fps: float,
    hidden: bool = True,
    progress: Callable[[], None] | None = None,
) -> DemoResult:
    """Track rendered frames, write the results and the truth, and hold them against each other.

    Args:
        frames: of one clip, in order.
        pipeline: that tracks them.
        out: folder for `clip.mp4`, `clip.png`, `clip.posetrack.json`, `clip.jsonl` and
            `clip.truth.json`.
        fps: frames a second of the clip.
        hidden: joints that something hides are part of the truth, as PoseTrack labels them; without
            them, what a network rightly guesses of a hidden joint counts as false.
        progress: called after each frame.

    Raises:
        InputError: there are no frames.
        OutputError: a file cannot be written.
    """
    if not frames:
        raise InputError("no frames are given, expected one or more to track")
    clip = NamedClip(CLIP, fps)
    given = [Frame(frame.index, frame.time_s, frame.image) for frame in frames]
    tracked: list[TrackedFrame] = []
    began = time.perf_counter()
    with open_writers(out, clip, pipeline.skeleton, _FORMATS, draw=DrawOptions()) as writers:
        for frame, found in pipeline.run(given):
            writers.write(found, frame.image)
            tracked.append(found)
            if progress is not None:
                progress()
    seconds = time.perf_counter() - began
    truth = out / f"{CLIP}.truth.json"
    names = [clip.frame_name(frame.index) for frame in frames]
    write_json(truth, posetrack17(frames, names, hidden=hidden, head="measured"))
    still = out / f"{CLIP}.png"
    _draw_still(still, given, tracked, pipeline)
    # From the files, so that the figures are those that anybody gets from them.
    scores = evaluate(read_posetrack(truth), read_posetrack(writers.paths["posetrack"]), JOINT_SET)
    return DemoResult(
        scores=scores,
        frames=len(frames),
        seconds=seconds,
        timing_ms=_mean_timing(tracked),
        device=pipeline.device,
        files={**writers.paths, "still": still, "truth": truth},
    )


def _mean_timing(tracked: Sequence[TrackedFrame]) -> dict[str, float]:
    # The first frame has no flow: the order of stages is that of a frame with all of them.
    fullest = max(tracked, key=lambda frame: len(frame.timing_ms))
    stages = dict.fromkeys(s for frame in (fullest, *tracked) for s in frame.timing_ms)
    return {
        stage: sum(frame.timing_ms.get(stage, 0.0) for frame in tracked) / len(tracked)
        for stage in stages
    }


def _draw_still(
    path: Path, frames: Sequence[Frame], tracked: Sequence[TrackedFrame], pipeline: Pipeline
) -> None:
    """The frame with most people, of several the one nearest to the middle."""
    middle = (len(tracked) - 1) / 2
    best = max(range(len(tracked)), key=lambda i: (len(tracked[i].poses), -abs(i - middle)))
    options = DrawOptions()
    trails = Trails(pipeline.skeleton, options.trail_frames)
    for found in tracked[: best + 1]:
        trails.update(found)
    picture = draw_frame(frames[best].image, tracked[best], pipeline.skeleton, options, trails)
    if not cv2.imwrite(str(path), picture):
        raise OutputError(f"cannot write {path}; is the disk full?")
