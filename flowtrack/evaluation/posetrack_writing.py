"""Clips written as PoseTrack JSON, so that `read_posetrack` gives them back digit by digit."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowtrack.errors import InputError, OptionError, OutputError
from flowtrack.evaluation.conversion import joints_of
from flowtrack.evaluation.sequences import NO_SCORE, Float64Array, PoseFrame, PoseSequence
from flowtrack.posetrack_json import (
    annotation18,
    box18,
    categories18,
    frame17,
    image18,
    person17,
    point17,
    pointless17,
)
from flowtrack.skeleton import POSETRACK18_17
from flowtrack.structs import BoolArray


def write_posetrack(path: str | Path, sequence: PoseSequence, year: Literal[2017, 2018]) -> None:
    """Write a clip, truth or results; the file appears whole or not at all.

    Args:
        path: of the file; `.gz` is packed.
        sequence: the clip.
        year: of the form. 2018 has no way to say that a frame is labelled and has nobody.

    Raises:
        OptionError: the year is another one.
        InputError: the form cannot hold a frame.
        OutputError: the file cannot be written.
    """
    if year not in (2017, 2018):
        raise OptionError(f"year is {year}, expected 2017 or 2018")
    content = _content17(sequence) if year == 2017 else _content18(sequence)
    path = Path(path)
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error}") from error


def _content17(sequence: PoseSequence) -> dict[str, Any]:
    return {
        "annolist": [
            frame17(
                frame.name,
                [_person17(frame, row) for row in range(len(frame))]
                if len(frame) or not frame.labelled
                else [pointless17(0)],
                [polygon.tolist() for polygon in frame.ignore],
            )
            for frame in sequence.frames
        ]
    }


def _person17(frame: PoseFrame, row: int) -> dict[str, Any]:
    xy, score = frame.xy[row].tolist(), frame.score[row].tolist()
    points = [
        point17(joint, *xy[joint], **({} if score[joint] == NO_SCORE else {"score": score[joint]}))
        for joint in np.flatnonzero(frame.present[row]).tolist()
    ]
    return person17(
        int(frame.track_id[row]),
        points,
        head=frame.head[row].tolist() if np.isfinite(frame.head[row]).all() else None,
        score=_mean_score(frame.score[row][frame.present[row]]),
    )


def _content18(sequence: PoseSequence) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, frame in enumerate(sequence.frames):
        if frame.labelled and not len(frame):
            raise InputError(
                f"{sequence}: frame {index} is labelled and has nobody, which PoseTrack 2018 "
                "cannot say; write the form of 2017"
            )
        regions = [polygon.tolist() for polygon in frame.ignore]
        labelled = frame.labelled
        images.append(
            image18(index, frame.name, sequence.name, len(sequence), labelled=labelled,
                    regions=regions)
        )  # fmt: skip
        xy, score = joints_of(frame, POSETRACK18_17)
        for row in range(len(frame)):
            annotations.append(
                _annotation18(len(annotations), index, frame, row, (xy[row], score[row]))
            )
    return {"images": images, "annotations": annotations, "categories": categories18()}


def _annotation18(
    number: int, image: int, frame: PoseFrame, row: int, slots: tuple[Float64Array, Float64Array]
) -> dict[str, Any]:
    """`slots`: (17, 2) and (17,) joints and scores of the person in row `row`."""
    xy, score = slots
    there: BoolArray = np.asarray(np.isfinite(xy).all(axis=1))
    keypoints = np.column_stack([np.where(there[:, None], xy, 0.0), there])
    more: dict[str, Any] = {}
    if np.isfinite(frame.head[row]).all():
        x1, y1, x2, y2 = frame.head[row].tolist()
        more["bbox_head"] = [x1, y1, x2 - x1, y2 - y1]
    if (mean := _mean_score(score[there])) is not None:
        more |= {"score": mean, "scores": np.where(there, score, 0.0).tolist()}
    return annotation18(
        number,
        image,
        int(frame.track_id[row]),
        keypoints.reshape(-1).tolist(),
        box18(xy[there]) if there.any() else [0.0] * 4,
        **more,
    )


def _mean_score(score: Float64Array) -> float | None:
    """Of joints that have one; None if none has."""
    given = score[score != NO_SCORE]
    return float(given.mean()) if given.size else None
