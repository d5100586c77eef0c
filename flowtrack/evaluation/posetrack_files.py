"""PoseTrack JSON of 2017 and 2018, truth or results, plain or gzipped: which file is whose."""

from __future__ import annotations

from pathlib import Path

from flowtrack.errors import InputError
from flowtrack.evaluation.json_values import load_json, no_collection
from flowtrack.evaluation.posetrack17 import frames17
from flowtrack.evaluation.posetrack18 import frames18
from flowtrack.evaluation.sequences import PoseFrame, PoseSequence

ENDINGS = (".json", ".json.gz")


def read_posetrack(path: str | Path) -> PoseSequence:
    """Truth or results of one clip, of either year.

    Args:
        path: a file of one clip; `.gz` is unpacked.

    Raises:
        InputError: the file cannot be read, is no PoseTrack file, or a value in it is missing or
            impossible; the message names the file, the frame and the person.
    """
    path = Path(path)
    with no_collection():
        return PoseSequence(stem(path), _frames(path), str(path))


def _frames(path: Path) -> tuple[PoseFrame, ...]:
    # A function of its own, so that the JSON is gone before the collector is let in again.
    content = load_json(path)
    if isinstance(content, dict) and "annolist" in content:
        return frames17(content, str(path))
    if isinstance(content, dict) and "images" in content:
        return frames18(content, str(path))
    raise InputError(
        f"{path} has neither 'annolist' (PoseTrack 2017) nor 'images' (2018) at its top level"
    )


def read_pairs(truth: str | Path, results: str | Path) -> list[tuple[PoseSequence, PoseSequence]]:
    """What `pair_files` finds, read.

    Raises:
        InputError: see there and `read_posetrack`.
    """
    return [(read_posetrack(one), read_posetrack(other)) for one, other in
            pair_files(truth, results)]  # fmt: skip


def pair_files(
    truth: str | Path, results: str | Path, endings: tuple[str, ...] = ENDINGS
) -> list[tuple[Path, Path]]:
    """Ground truth and results of one clip (two files) or of several (two folders).

    Folders are paired by file name, led by the truth; `clip.posetrack.json` is taken as the result
    of `clip.json` as well.

    Args:
        truth, results: files or folders.
        endings: of the files of a folder that count.

    Raises:
        InputError: a clip has no results, or there is none.
    """
    truth, results = Path(truth), Path(results)
    if not truth.is_dir():
        return [(truth, _result_of(truth, results) if results.is_dir() else results)]
    files = sorted(path for path in truth.iterdir() if path.name.endswith(endings))
    if not files:
        raise InputError(f"{truth} holds no {endings[0]} file, expected one for each clip")
    if not results.is_dir():
        raise InputError(f"{results} is no folder, expected one with results for each of {truth}")
    return [(path, _result_of(path, results)) for path in files]


def stem(path: Path) -> str:
    """The name of a clip from its file's."""
    return path.name.removesuffix(".gz").removesuffix(".json").removesuffix(".txt")


def _result_of(truth: Path, results: Path) -> Path:
    kinds = (".txt",) if truth.name.endswith(".txt") else (".json", ".posetrack.json")
    names = [f"{stem(truth)}{kind}" for kind in kinds]
    for name in names:
        for ending in ("", ".gz"):
            if (results / (name + ending)).is_file():
                return results / (name + ending)
    raise InputError(f"{results} has no results of {truth.name}, expected {' or '.join(names)}")
