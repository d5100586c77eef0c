"""Options of the tracker, and the rows of the paper's Table 5 as named presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from flowtrack.errors import OptionError

Similarity = Literal["bbox", "pose", "flow", "multi_flow"]
FlowLinks = Literal["chained", "direct"]
OksArea = Literal["joints", "box"]

DEFAULT_QUEUE = 10
"""Frames that `multi_flow` looks back unless told; the others look at the previous frame."""


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """How people are followed from frame to frame (section 3 of the paper).

    Attributes:
        similarity: what links an instance to a track. `bbox`: IoU of boxes; `pose`: OKS of joints
            as they were; `flow`: OKS of joints that the flow carried from the previous frame
            (equation 1); `multi_flow`: the same from every frame of the queue.
        propagate: whether boxes around flow-propagated joints join the detections (lines 8, 9).
        queue: L_Q, how many frames are remembered; None takes 10 for `multi_flow` and 1 otherwise.
        flow_links: how joints of older frames get here: `chained`, one flow a frame applied again
            and again, or `direct`, one flow from each remembered frame to this one.
        min_similarity: an instance and a track less similar than this are never linked.
        nms_iou: IoU above which two boxes of a frame are one person.
        box_threshold: boxes scored below are dropped, detected and propagated alike.
        start_threshold: people in boxes scored below start no track: they are dropped unless they
            continue one. None, as in the paper, and values up to `box_threshold`: everybody may.
        start_joints: people with fewer joints start no track either. 1 is the paper.
        joint_threshold: joints scored below are missing: they neither propagate, nor count in a
            similarity, nor appear in the results.
        pose_nms: OKS above which two poses of a frame are one person, the better score stays;
            None switches it off, as in the paper.
        oks_area: the person's area in OKS: the extent of the joints, or the box. The extent of a
            person seen from the side, or half hidden, is so small that noise ends the track.
        box_growth: growth of the box around propagated joints, in total length.
        detect_every: run the detector on every n-th frame; propagated boxes carry the others.
    """

    similarity: Similarity = "multi_flow"
    propagate: bool = True
    queue: int | None = None
    flow_links: FlowLinks = "chained"
    min_similarity: float = 0.1
    nms_iou: float = 0.5
    box_threshold: float = 0.5
    start_threshold: float | None = None
    start_joints: int = 1
    joint_threshold: float = 0.4
    pose_nms: float | None = 0.6
    oks_area: OksArea = "box"
    box_growth: float = 0.15
    detect_every: int = 1

    def __post_init__(self) -> None:
        for name, choices in (
            ("similarity", get_args(Similarity)),
            ("flow_links", get_args(FlowLinks)),
            ("oks_area", get_args(OksArea)),
        ):
            if getattr(self, name) not in choices:
                raise OptionError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )
        for name in (
            "min_similarity", "nms_iou", "box_threshold", "start_threshold", "pose_nms"
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise OptionError(f"{name} is {value}, expected a number from 0 to 1")
        for name in ("joint_threshold", "box_growth"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise OptionError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.queue is not None and self.queue < 1:
            raise OptionError(f"queue is {self.queue}, expected at least 1 frame")
        for name in ("detect_every", "start_joints"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}, expected at least 1")
        self._refuse_what_would_be_ignored()

    def _refuse_what_would_be_ignored(self) -> None:
        if self.similarity == "flow" and self.length > 1:
            raise OptionError(
                f"similarity 'flow' looks at the previous frame only, queue {self.queue} would be "
                "ignored; use similarity 'multi_flow' to look further back"
            )
        if self.flow_links == "direct" and self.similarity != "multi_flow":
            raise OptionError(
                f"flow_links 'direct' concerns similarity 'multi_flow', not {self.similarity!r}"
            )
        if self.detect_every > 1 and not self.propagate:
            raise OptionError(
                f"detect_every is {self.detect_every} without propagation: no boxes would carry "
                "the frames between; set propagate or detect on every frame"
            )

    @property
    def length(self) -> int:
        """L_Q: the number of frames remembered."""
        if self.queue is not None:
            return self.queue
        return DEFAULT_QUEUE if self.similarity == "multi_flow" else 1

    @property
    def person_threshold(self) -> float:
        """Score from which a box alone makes a person: it may start a track."""
        return max(self.box_threshold, self.start_threshold or 0.0)

    @property
    def uses_flow(self) -> bool:
        """Whether any step needs optical flow."""
        return self.propagate or self.similarity in ("flow", "multi_flow")

    def to_dict(self) -> dict[str, Any]:
        """The options as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Options from plain JSON values; missing names keep their defaults.

        Raises:
            OptionError: a name is unknown or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise OptionError(
                f"unknown tracker options {', '.join(unknown)}; "
                f"known are {', '.join(sorted(known))}"
            )
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Table5Row:
    """One row of the paper's Table 5 (PoseTrack 2017 validation).

    Attributes:
        backbone, detector: networks of the row, as the paper names them.
        tracker: the tracker's part of the row.
        paper_map, paper_mota: the paper's totals in percent.
    """

    backbone: str
    detector: str
    tracker: TrackerOptions
    paper_map: float
    paper_mota: float


def _table5() -> dict[str, Table5Row]:
    columns: tuple[tuple[bool, Similarity], ...] = (
        (False, "bbox"), (False, "pose"),
        (True, "bbox"), (True, "pose"), (True, "flow"), (True, "multi_flow"),
    )  # fmt: skip
    blocks = {
        "a": ("ResNet-50", "R-FCN", (66.0, 66.0, 70.3, 70.3, 70.3, 70.3),
              (57.6, 57.7, 61.4, 61.8, 61.8, 62.2)),
        "b": ("ResNet-50", "FPN-DCN", (69.3, 69.3, 72.4, 72.4, 72.4, 72.4),
              (59.8, 59.7, 62.1, 61.8, 62.4, 62.9)),
        "c": ("ResNet-152", "FPN-DCN", (72.9, 72.9, 76.7, 76.7, 76.7, 76.7),
              (62.0, 61.9, 64.8, 64.9, 65.1, 65.4)),
    }  # fmt: skip
    return {
        f"{letter}{number}": Table5Row(
            backbone=backbone,
            detector=detector,
            tracker=TrackerOptions(similarity=similarity, propagate=propagate, pose_nms=None),
            paper_map=maps[number - 1],
            paper_mota=motas[number - 1],
        )
        for letter, (backbone, detector, maps, motas) in blocks.items()
        for number, (propagate, similarity) in enumerate(columns, start=1)
    }


TABLE_5 = MappingProxyType(_table5())
"""Rows a1 to c6 of Table 5 by name."""


def preset(name: str) -> TrackerOptions:
    """Tracker options of a row of Table 5.

    Raises:
        OptionError: the table has no such row.
    """
    if name not in TABLE_5:
        raise OptionError(f"unknown preset {name!r}; Table 5 has {', '.join(TABLE_5)}")
    return TABLE_5[name].tracker
