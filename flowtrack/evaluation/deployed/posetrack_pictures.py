"""The frames that went worst, with annotated and tracked people drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flowtrack.evaluation.comparison import compare
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.mean_ap import detections
from flowtrack.evaluation.sequences import PoseFrame, PoseSequence
from flowtrack.report import Report
from flowtrack.skeleton import POSETRACK17_15
from flowtrack.structs import ByteArray, IntArray

WORST = 8
"""So many frames are shown, and at most two of a clip."""

_OF_A_CLIP = 2

Color = tuple[int, int, int]

# Blue, green, red; bluish green and vermilion of Okabe and Ito ("Color Universal Design").
_TRUTH: Color = (115, 158, 0)
_RESULT: Color = (0, 94, 213)
_EDGE: Color = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A frame, and what went wrong in it.

    Attributes:
        clip: it is of.
        results: of the clip.
        place: of the frame in the truth.
        missed, false: joints.
    """

    clip: TruthClip
    results: PoseSequence
    place: int
    missed: int
    false: int


def add_worst_frames(
    report: Report, results: Sequence[tuple[TruthClip, PoseSequence]], rows: IntArray
) -> None:
    """Add the worst frames to a page.

    Args:
        report: is written.
        results: of each clip.
        rows: indices of the joints that count.

    Raises:
        SourceError: a picture cannot be read.
    """
    frames = worst_frames(results, rows)
    if not frames:
        return
    report.heading("Worst frames")
    report.paragraph(
        "Those with most joints missed or wrongly seen, two of a clip at most. Green: annotated; "
        "orange: tracked, with their ids."
    )
    for bad in frames:
        image = bad.clip.frame(bad.clip.listed[bad.place]).image.copy()
        draw_people(image, bad.clip.truth.frames[bad.place], _TRUTH)
        draw_people(image, bad.results.frames[bad.place], _RESULT)
        name = bad.clip.truth.frames[bad.place].name
        report.picture(image, f"{name}: {bad.missed} joints missed, {bad.false} false")


def worst_frames(
    results: Sequence[tuple[TruthClip, PoseSequence]], rows: IntArray
) -> list[BadFrame]:
    """The frames with most joints missed or wrongly seen, by poseval's assignment of poses."""
    bad: list[BadFrame] = []
    for clip, found in results:
        frames = _judged(clip, found, rows)
        bad += sorted(frames, key=_loss, reverse=True)[:_OF_A_CLIP]
    return [frame for frame in sorted(bad, key=_loss, reverse=True) if _loss(frame)][:WORST]


def _loss(frame: BadFrame) -> int:
    return frame.missed + frame.false


def _judged(clip: TruthClip, results: PoseSequence, rows: IntArray) -> list[BadFrame]:
    compared = compare(clip.truth, results)
    judged = detections(compared)
    right, there = (part[:, rows].sum(axis=1) for part in (judged.right, judged.there))
    truths = compared.truth_has[:, rows].sum(axis=1)
    places = [place for place, frame in enumerate(clip.truth.frames) if frame.labelled]
    frames = []
    for number, place in enumerate(places):
        mine = slice(*compared.result_start[number : number + 2])
        wanted = truths[slice(*compared.truth_start[number : number + 2])].sum()
        hits = right[mine].sum()
        frames.append(
            BadFrame(clip, results, place, int(wanted - hits), int(there[mine].sum() - hits))
        )
    return frames


def draw_people(image: ByteArray, people: PoseFrame, color: Color) -> None:
    """Draw the skeletons of a frame over its picture, with ids where there is a head or neck.

    Args:
        image: (H, W, 3) BGR, is written.
        people: of the frame.
        color: of them, BGR.
    """
    thin = max(1, round(max(image.shape[:2]) / 400))
    for track_id, xy, there in zip(people.track_id, people.xy, people.present, strict=True):
        points = np.rint(np.clip(np.nan_to_num(xy), -1e4, 1e5)).astype(int).tolist()
        limbs = [(points[a], points[b]) for a, b in POSETRACK17_15.edges if there[a] and there[b]]
        for ink, width in ((_EDGE, thin + 2), (color, thin)):
            for start, end in limbs:
                cv2.line(image, start, end, ink, width, cv2.LINE_AA)
        seen = [point for point, one in zip(points, there, strict=True) if one]
        for point in seen:
            cv2.circle(image, point, 2 * thin, color, cv2.FILLED, cv2.LINE_AA)
        if seen:
            top = min(seen, key=lambda point: point[1])
            for ink, width in ((_EDGE, 3 * thin), (color, thin)):
                cv2.putText(
                    image, str(track_id), (top[0], top[1] - 4 * thin), cv2.FONT_HERSHEY_SIMPLEX,
                    0.5 * thin, ink, width, cv2.LINE_AA,
                )  # fmt: skip
