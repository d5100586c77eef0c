"""Benchmark `evaluation`: counting tracked poses, as many frames as PoseTrack has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from benchmarks.measure import FULL, Effort, Work
from benchmarks.records import Record
from flowtrack.evaluation.bootstrap import Bootstrap
from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.folders import evaluate_files
from flowtrack.evaluation.hota import count_hota
from flowtrack.evaluation.identity import count_identities
from flowtrack.evaluation.mean_ap import detections
from flowtrack.evaluation.mota import count_tracking
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.posetrack_files import pair_files, read_posetrack
from flowtrack.evaluation.posetrack_writing import write_posetrack
from flowtrack.evaluation.sequences import JOINTS, PoseFrame, PoseSequence

NAME = "evaluation"

FRAMES, CLIP, PEOPLE = 66_374, 130, 5
_LIMIT = 5_000.0
"""Frames that are to be counted a second of one core."""

_FILES = 20
_YEARS: tuple[Literal[2017, 2018], ...] = (2017, 2018)
_RESAMPLES = 1000

Clips = tuple[list[PoseSequence], list[PoseSequence]]


def measure(effort: Effort) -> Iterator[Record]:
    """Records in frames a second of processor time."""
    frames = FRAMES * effort.frames // FULL.frames
    clips = draw_clips(frames)
    evaluate(clips[0][:1], clips[1][:1])  # compiles the kernels, or loads them
    place = {"frames": frames, "people": PEOPLE, "clips": len(clips[0]), "cores": 1}
    rates = _rates(lambda: evaluate(*clips), frames, effort)
    yield Record(NAME, "everything", place, "frames/s", rates, _LIMIT)
    yield from _parts(clips, frames, place, effort)
    yield from _files(clips, effort)
    scores = evaluate(*clips)
    bootstrap = Bootstrap(len(scores.clips), resamples=_RESAMPLES)
    for name in ("AP", "MOTA", "HOTA"):
        times = _seconds(lambda name=name: bootstrap.draws(scores, name), effort)
        drawn = {**place, "resamples": _RESAMPLES, "measure": name}
        yield Record(NAME, "bootstrap", drawn, "ms", [1e3 * second for second in times])


def _parts(clips: Clips, frames: int, place: dict[str, object], effort: Effort) -> Iterator[Record]:
    """What each measure takes, after the comparison that they share."""
    compared = [compare(*pair) for pair in zip(*clips, strict=True)]
    parts: dict[str, Callable[[], object]] = {
        "comparison": lambda: [compare(*pair) for pair in zip(*clips, strict=True)],
        "AP": lambda: [detections(one) for one in compared],
        "CLEAR MOT": lambda: [count_tracking(one) for one in compared],
        "IDF1": lambda: [count_identities(one) for one in compared],
        "HOTA": lambda: [count_hota(one) for one in compared],
    }
    for name, work in parts.items():
        yield Record(NAME, name, place, "frames/s", _rates(work, frames, effort))


def _files(clips: Clips, effort: Effort) -> Iterator[Record]:
    """Reading files, and everything from files to figures."""
    some = clips[0][:_FILES], clips[1][:_FILES]
    for year in _YEARS:
        with TemporaryDirectory() as folder:
            yield from _of_year(some, year, Path(folder), effort)


def _of_year(
    clips: Clips, year: Literal[2017, 2018], folder: Path, effort: Effort
) -> Iterator[Record]:
    sides = folder / "truth", folder / "results"
    for side, sequences in zip(sides, clips, strict=True):
        side.mkdir()
        for sequence in sequences:
            write_posetrack(side / f"{sequence.name}.json", sequence, year)
    files = pair_files(*sides)
    size = sum(path.stat().st_size for pair in files for path in pair)
    frames = sum(map(len, clips[0]))
    place = {"form": year, "frames": frames, "people": PEOPLE, "cores": 1,
             "MB": round(size / 1e6, 1)}  # fmt: skip
    works: dict[str, Work] = {
        "reading": lambda: [read_posetrack(path) for pair in files for path in pair],
        "files to figures": lambda: evaluate_files(files),
    }
    for name, work in works.items():
        yield Record(NAME, name, place, "frames/s", _rates(work, frames, effort))


def _seconds(work: Work, effort: Effort) -> list[float]:
    """Seconds of processor time of each pass."""
    samples = []
    for _ in range(effort.passes):
        start = time.process_time()
        work()
        samples.append(time.process_time() - start)
    return samples


def _rates(work: Work, frames: int, effort: Effort) -> list[float]:
    return [frames / seconds for seconds in _seconds(work, effort)]


def draw_clips(frames: int) -> Clips:
    """Clips of people who walk about, and results that err, miss, invent and switch."""
    counts = [CLIP] * (frames // CLIP) + ([frames % CLIP] if frames % CLIP else [])
    pairs = [_clip(seed, count) for seed, count in enumerate(counts)]
    truths, results = zip(*pairs, strict=True)
    return list(truths), list(results)


def _clip(seed: int, frames: int) -> tuple[PoseSequence, PoseSequence]:
    rng = np.random.default_rng(seed)
    shape = frames, PEOPLE, len(JOINTS)
    middle = rng.uniform(100, 1000, (1, PEOPLE, 2)) + rng.normal(0, 3, (frames, PEOPLE, 2)).cumsum(
        0
    )
    xy = middle[:, :, None] + rng.uniform(-60, 60, (*shape, 2))
    xy[rng.random(shape) < 0.1] = np.nan
    head = np.concatenate([middle - 15, middle + 15], axis=2)
    found = (xy + rng.normal(0, 5, xy.shape)).round(2)
    found[rng.random(shape) < 0.1] = np.nan
    score = rng.random(shape).round(4)
    ids = np.arange(PEOPLE) + 100 * (rng.random(shape[:2]) < 0.02)
    kept = rng.random(shape[:2]) < 0.95
    names = [f"{index:06}.jpg" for index in range(frames)]
    truth = tuple(
        PoseFrame.of(np.arange(PEOPLE), xy[f].round(2), head=head[f].round(1), name=names[f])
        for f in range(frames)
    )
    results = tuple(
        PoseFrame.of(ids[f][kept[f]], found[f][kept[f]], score=score[f][kept[f]], name=names[f])
        for f in range(frames)
    )
    return PoseSequence(f"{seed:06}_clip", truth), PoseSequence(f"{seed:06}_clip", results)
