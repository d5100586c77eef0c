"""JSON lines: one line a frame, in the bundle's own skeleton."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, SourceError
from flowtrack.runtime.output.writer import GrowingFile, ResultWriter
from flowtrack.structs import ByteArray, Poses, TrackedFrame, Tracks

LOGGER = logging.getLogger("flowtrack")

PIXEL_DIGITS = 2
"""Decimals of coordinates: a hundredth of a pixel."""
SCORE_DIGITS = 4
TIME_DIGITS = 6


class JsonLinesWriter(ResultWriter):
    """Writes `{"frame", "time_s", "people": [{"id", "score", "box", "keypoints"}]}` per frame.

    `box` is x1, y1, x2, y2; `keypoints` are [x, y, score] in the skeleton's order, `null` where the
    joint is missing; `score` is `Poses.instance_score`. Numbers that are not finite become `null`.
    Each line reaches the temporary file at once, so that even a killed process leaves it readable.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = GrowingFile(path)

    def _add(self, frame: TrackedFrame, image: ByteArray) -> None:  # noqa: ARG002
        self._file.write(to_line(frame) + "\n")

    def close(self, *, complete: bool = True) -> None:  # noqa: ARG002
        """Publish the file."""
        self._file.publish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.discard()


def to_line(frame: TrackedFrame) -> str:
    """One frame as a line of JSON, without the line break."""
    poses = frame.poses
    missing = poses.missing
    joints = np.concatenate(
        [rounded(poses.xy, PIXEL_DIGITS), rounded(poses.score, SCORE_DIGITS)[..., None]], axis=2
    ).tolist()
    boxes = plain(rounded(poses.box, PIXEL_DIGITS))
    scores = plain(rounded(poses.instance_score, SCORE_DIGITS))
    people = [
        {
            "id": int(track_id),
            "score": scores[row],
            "box": boxes[row],
            "keypoints": [
                None if gone else joint
                for joint, gone in zip(joints[row], missing[row], strict=True)
            ],
        }
        for row, track_id in enumerate(frame.tracks.id)
    ]
    record = {"frame": frame.index, "time_s": round(frame.time_s, TIME_DIGITS), "people": people}
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def read_jsonl(path: str | Path) -> Iterator[TrackedFrame]:
    """Frames as they were tracked, from a file of `JsonLinesWriter`.

    A missing joint has NaN coordinates and score 0. The box score is what gives the person's score
    back. Where the file has no person at all, frames have poses of 0 joints. Age is counted from
    the frame in which an id first occurs; similarities, boxes and flow are not in the file. A last
    line without an end, which a killed process leaves behind, is left out with a warning.

    Raises:
        SourceError: the file cannot be read.
        InputError: a line is not what `JsonLinesWriter` writes.
    """
    path = Path(path)
    joints = 0
    for _, record in _records(path):
        if people := _get(record, "people", path):
            joints = len(people[0]["keypoints"])
            break
    births: dict[int, int] = {}
    for number, record in _records(path):
        try:
            yield _frame(record, joints, births)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}, line {number} is not a tracked frame ({type(error).__name__}: {error});"
                " expected a file that flowtrack wrote"
            ) from error


def rounded(values: npt.NDArray[np.float32], digits: int) -> npt.NDArray[np.float64]:
    """Values with so many decimals, as doubles, so that they print short."""
    return np.asarray(np.round(values.astype(np.float64), digits), np.float64)


def plain(values: npt.NDArray[np.float64]) -> list[Any]:
    """Nested lists, None where a value is not finite: JSON knows no NaN."""
    objects = values.astype(object)
    objects[~np.isfinite(values)] = None
    result: list[Any] = objects.tolist()
    return result


def _get(record: Any, key: str, path: Path) -> Any:
    if not isinstance(record, dict) or not isinstance(record.get(key), list):
        raise InputError(f"{path} has a line without {key!r}; expected a file that flowtrack wrote")
    return record[key]


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number, decoded line) of each line; stops at a cut-off last one."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    if not line.endswith("\n"):
                        LOGGER.warning("%s: the last line is cut off and left out", path)
                        return
                    raise InputError(f"{path}, line {number} is not JSON: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {path}: {error}; expected JSON lines") from error


def _frame(record: dict[str, Any], joints: int, births: dict[int, int]) -> TrackedFrame:
    people, index = record["people"], int(record["frame"])
    count = len(people)
    nothing = (np.nan, np.nan, 0.0)
    points = np.array(
        [[nothing if j is None else j for j in person["keypoints"]] for person in people],
        np.float32,
    ).reshape(count, joints, 3)
    box = np.array([person["box"] for person in people], np.float32).reshape(count, 4)
    score = np.array([person["score"] for person in people], np.float32).reshape(count)
    xy, joint_score = points[..., :2], points[..., 2]
    # instance_score = box_score * mean joint score, solved for the box score.
    mean = Poses(xy, joint_score, box, np.ones(count, np.float32)).instance_score
    box_score = np.divide(score, mean, out=np.zeros_like(score), where=mean > 0)
    ids = [int(person["id"]) for person in people]
    ages = [index - births.setdefault(track_id, index) for track_id in ids]
    tracks = Tracks(
        np.array(ids, np.int64), np.array(ages, np.int64), np.full(count, np.nan, np.float32)
    )
    poses = Poses(xy, joint_score, box, box_score)
    return TrackedFrame(index, float(record["time_s"]), poses, tracks)
