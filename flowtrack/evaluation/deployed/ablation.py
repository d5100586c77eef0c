"""The paper's Table 5 on any data set: what propagation and flow similarity change.

Every block of the table is one detector with six settings of the tracker. The networks run once
for each clip and are shared by all rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from flowtrack.errors import OptionError
from flowtrack.evaluation.clip_counts import ClipCounts, count_clip
from flowtrack.evaluation.deployed.memory import Memory
from flowtrack.evaluation.deployed.networks import Networks
from flowtrack.evaluation.deployed.posetrack import sequence_of
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.deployed.recording import Recording
from flowtrack.evaluation.deployed.weakening import Weakening
from flowtrack.evaluation.posetrack import PoseTrackScores
from flowtrack.evaluation.sequences import joint_rows
from flowtrack.structs import TrackedFrame
from flowtrack.tracker.options import TABLE_5, Table5Row, TrackerOptions

BLOCKS = ("a", "b", "c")
"""Blocks of the paper's table: a weak detector, a strong one, the strong one with a deeper net."""

ROWS = ("1", "2", "3", "4", "5", "6")
"""Rows of a block: without propagation by boxes and poses; with it by boxes, poses, flow, and flow
from several frames."""

_POSETRACK_NAME = re.compile(r"(^|_)\d{3,}_mpii(_|$)")


@dataclass(frozen=True)
class Contender:
    """What a block of the table is about.

    Attributes:
        networks: of a bundle.
        weakening: loses some of its detections.
    """

    networks: Networks
    weakening: Weakening | None = None

    @property
    def lost(self) -> float:
        """Share of the detections that are lost."""
        return 0.0 if self.weakening is None else self.weakening.rate

    @property
    def detector(self) -> str:
        """What to call it: the bundle, and how much of its detections is lost."""
        return self.networks.name + (f", {100 * self.lost:g}% lost" if self.lost else "")


@dataclass(frozen=True)
class AblationRow:
    """A row of the table.

    Attributes:
        method: such as `a1`, as the paper names it.
        contender: of the block.
        options: of the tracker.
        scores: over all clips, with the counts of each.
        paper: the paper's row of this name.
    """

    method: str
    contender: Contender
    options: TrackerOptions
    scores: PoseTrackScores
    paper: Table5Row


def contenders(networks: Sequence[Networks], weakening: Weakening | None) -> list[Contender]:
    """The blocks of a table.

    Args:
        networks: of one to three bundles. One alone is shown against itself, weakened.
        weakening: of a single bundle's detector.

    Raises:
        OptionError: there are too many bundles, one lacks flow, or an argument would be ignored.
    """
    if not 1 <= len(networks) <= len(BLOCKS):
        raise OptionError(f"{len(networks)} bundles are given, expected 1 to {len(BLOCKS)}")
    for one in networks:
        one.check(TABLE_5["a6"].tracker)
    if len(networks) == 1:
        weak = Contender(networks[0], weakening or Weakening())
        return [weak, Contender(networks[0])]
    if weakening is not None:
        raise OptionError("a detector is weakened where one bundle is given; several are compared "
                          "as they are")  # fmt: skip
    return [Contender(one) for one in networks]


def row_options(base: TrackerOptions, *, pose_nms: bool = False) -> dict[str, TrackerOptions]:
    """Tracker options of the six rows, with the thresholds of a bundle.

    Args:
        base: gives thresholds, areas and growth; where it is `multi_flow`, also the queue and links
            of row 6.
        pose_nms: unify poses as `base` does; the paper does not.
    """
    thresholds = {
        name: getattr(base, name)
        for name in (
            "box_threshold", "start_threshold", "start_joints", "joint_threshold", "nms_iou",
            "min_similarity", "oks_area", "box_growth",
        )
    }  # fmt: skip
    rows = {}
    for row in ROWS:
        options = replace(TABLE_5[f"a{row}"].tracker, **thresholds)
        if pose_nms:
            options = replace(options, pose_nms=base.pose_nms)
        if options.similarity == base.similarity == "multi_flow":
            options = replace(options, queue=base.queue, flow_links=base.flow_links)
        rows[row] = options
    return rows


def run_ablation(
    clips: Sequence[TruthClip],
    blocks: Sequence[Contender],
    memory: Memory,
    *,
    joints: str = "all",
    pose_nms: bool = False,
    progress: Callable[[], None] | None = None,
) -> list[AblationRow]:
    """Track a data set with all settings of the table.

    Args:
        clips: of the data set.
        blocks: see `contenders`.
        memory: that what the networks give is kept in.
        joints: to report, see `flowtrack.evaluation.sequences.JOINT_SETS`.
        pose_nms: see `row_options`.
        progress: called after each frame of each row.

    Raises:
        OptionError: the joints are unknown.
        SourceError: a picture cannot be read.
    """
    rows = joint_rows(joints)
    settings = [
        row_options(block.networks.manifest.tracker_options, pose_nms=pose_nms) for block in blocks
    ]
    counts: dict[str, list[ClipCounts]] = {}
    for clip in clips:
        for letter, block, options in zip(BLOCKS, blocks, settings, strict=False):
            recording = Recording(clip, block.networks, memory)
            for row in ROWS:
                counted = _count(recording, options[row], block.weakening, progress)
                counts.setdefault(letter + row, []).append(counted)
    return [
        AblationRow(
            method=letter + row,
            contender=block,
            options=options[row],
            scores=PoseTrackScores(rows, tuple(counts[letter + row])),
            paper=TABLE_5[letter + row],
        )
        for letter, block, options in zip(BLOCKS, blocks, settings, strict=False)
        for row in ROWS
    ]


def _count(
    recording: Recording,
    options: TrackerOptions,
    weakening: Weakening | None,
    progress: Callable[[], None] | None,
) -> ClipCounts:
    def tracked() -> Iterator[TrackedFrame]:
        for frame in recording.track(options, weakening):
            yield frame
            if progress is not None:
                progress()

    skeleton = recording.networks.pose.skeleton
    return count_clip(recording.clip.truth, sequence_of(recording.clip, tracked(), skeleton))


def is_posetrack(clips: Sequence[TruthClip]) -> bool:
    """Whether clips are PoseTrack's own, by their names (`000342_mpii_test`, `24317_mpii`)."""
    return all(_POSETRACK_NAME.search(clip.name) for clip in clips)
