"""Result files against their truth, a clip at a time or several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from flowtrack.errors import FlowtrackError, OptionError
from flowtrack.evaluation.clip_counts import ClipCounts, count_clip
from flowtrack.evaluation.posetrack import PoseTrackScores
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.evaluation.sequences import joint_rows

_WORTH_BYTES = 20_000_000
"""Files that hold less in all are read before another process has started."""


def evaluate_files(
    files: Sequence[tuple[Path, Path]],
    joints: str | Sequence[str] = "all",
    *,
    processes: int = 1,
    progress: Callable[[], None] | None = None,
) -> PoseTrackScores:
    """`posetrack.evaluate` of files, which are never all in memory together.

    Args:
        files: of each clip truth and results, see `posetrack_files.pair_files`.
        joints: a set of `sequences.JOINT_SETS`, or names: the joints to report.
        processes: that read and count at the same time, at most; little is not shared out. They
            import the main program anew, so a script that asks for several must do its work below
            `if __name__ == "__main__":`.
        progress: called after each clip.

    Raises:
        InputError: a file is bad, or does not fit its truth; the message names it.
        OptionError: a joint is unknown, or `processes` is not positive.
        FlowtrackError: a process died.
    """
    rows = joint_rows(joints)
    if processes < 1:
        raise OptionError(f"processes is {processes}, expected 1 or more")
    size = sum(path.stat().st_size for pair in files for path in pair if path.is_file())
    several = min(processes, len(files)) if size >= _WORTH_BYTES else 1
    clips = []
    for clip in _counted(files, several):
        clips.append(clip)
        if progress is not None:
            progress()
    return PoseTrackScores(rows, tuple(clips))


def _counted(files: Sequence[tuple[Path, Path]], processes: int) -> Iterator[ClipCounts]:
    if processes == 1:
        yield from map(_count, files)
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        yield from pool.map(_count, files)
    except BrokenProcessPool as error:
        raise FlowtrackError(
            f"one of {processes} processes that counted clips died, out of memory maybe; use fewer"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _count(files: tuple[Path, Path]) -> ClipCounts:
    truth, results = files
    return count_clip(read_posetrack(truth), read_posetrack(results))
