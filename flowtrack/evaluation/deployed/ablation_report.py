"""Table 5 as tables, numbers and a page: figures with intervals, and what the paper claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flowtrack.evaluation.bootstrap import Bootstrap, Interval
from flowtrack.evaluation.deployed.ablation import AblationRow
from flowtrack.report import Curve, Report

_SIMILARITIES = {
    "bbox": "S_Bbox", "pose": "S_Pose", "flow": "S_Flow", "multi_flow": "S_Multi-Flow",
}  # fmt: skip
_MEASURES = {"AP": "mAP", "MOTA": "MOTA"}

_CLAIMS = (
    ("propagation raises mAP", "AP", "3", "1"),
    ("propagation raises MOTA", "MOTA", "3", "1"),
    ("flow beats boxes (MOTA)", "MOTA", "5", "3"),
    ("many frames beat one (MOTA)", "MOTA", "6", "5"),
)
"""What the paper says of its table (section 4.2): the measure, and the two rows of a block."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the paper says about two rows of a block, and what these data say.

    Attributes:
        text: the claim.
        methods: the row that should be better, and the other.
        measure: in which it should be better, mAP or MOTA.
        difference: by how much it is, in percent; the interval is NaN with a single clip.
        paper: by how much it is in the paper.
    """

    text: str
    methods: tuple[str, str]
    measure: str
    difference: Interval
    paper: float

    @property
    def verdict(self) -> str:
        """`shown` or `contrary` where the whole interval is on one side of 0, else `open`."""
        if self.difference.low > 0:
            return "shown"
        return "contrary" if self.difference.high < 0 else "open"


@dataclass(frozen=True)
class AblationResult:
    """The table and its claims, ready to be shown.

    Attributes:
        rows: of the table.
        intervals: of each row its mAP and MOTA.
        claims: for each block.
    """

    rows: tuple[AblationRow, ...]
    intervals: tuple[dict[str, Interval], ...]
    claims: tuple[Claim, ...]

    @classmethod
    def of(cls, rows: Sequence[AblationRow]) -> AblationResult:
        """Intervals of figures and differences, by drawing clips anew, all rows together."""
        clips = len(rows[0].scores.clips)
        bootstrap = Bootstrap(clips) if clips > 1 else None

        def interval(row: AblationRow, base: AblationRow | None, measure: str) -> Interval:
            if bootstrap is None:
                value = row.scores.total(measure)
                value -= 0.0 if base is None else base.scores.total(measure)
                return Interval(value, math.nan, math.nan)
            if base is None:
                return bootstrap.interval(row.scores, measure)
            return bootstrap.difference(row.scores, base.scores, measure)

        by_name = {row.method: row for row in rows}
        claims = []
        for letter in dict.fromkeys(row.method[0] for row in rows):
            for text, measure, better, other in _CLAIMS:
                row, base = by_name[letter + better], by_name[letter + other]
                paper = row.paper.paper_map - base.paper.paper_map
                if measure == "MOTA":
                    paper = row.paper.paper_mota - base.paper.paper_mota
                claims.append(
                    Claim(
                        text, (row.method, base.method), _MEASURES[measure],
                        interval(row, base, measure), paper,
                    )
                )  # fmt: skip
        return cls(
            tuple(rows),
            tuple({m: interval(row, None, m) for m in _MEASURES} for row in rows),
            tuple(claims),
        )

    def table(self, *, paper: bool) -> list[list[str]]:
        """The heading, then the rows, laid out as in the paper; its own figures on request."""
        heading = ["row", "detector", "prop.", "similarity", "mAP", "MOTA"]
        table = [heading + ["paper mAP", "paper MOTA"] * paper]
        for row, intervals in zip(self.rows, self.intervals, strict=True):
            figures = [row.paper.paper_map, row.paper.paper_mota] if paper else []
            table.append(
                [
                    row.method,
                    row.contender.detector,
                    "yes" if row.options.propagate else "no",
                    _SIMILARITIES[row.options.similarity],
                    *(written(intervals[measure]) for measure in _MEASURES),
                    *(f"{figure:.1f}" for figure in figures),
                ]
            )
        return table

    def claim_table(self) -> list[list[str]]:
        """The heading, then a row for each claim."""
        return [
            ["claim", "rows", "difference", "paper", "here"],
            *(
                [
                    claim.text,
                    f"{claim.methods[0]} - {claim.methods[1]}",
                    written(claim.difference, sign=True),
                    f"{claim.paper:+.1f}",
                    claim.verdict,
                ]
                for claim in self.claims
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; null where there is no value."""
        return {
            "clips": len(self.rows[0].scores.clips),
            "frames": self.rows[0].scores.frames,
            "joints": list(self.rows[0].scores.joints),
            "rows": [
                {
                    "method": row.method,
                    "networks": row.contender.networks.name,
                    "lost_detections": row.contender.lost,
                    "options": row.options.to_dict(),
                    **{_MEASURES[m]: _numbers(intervals[m]) for m in _MEASURES},
                    **_counts(row),
                    "paper": {"mAP": row.paper.paper_map, "MOTA": row.paper.paper_mota},
                }
                for row, intervals in zip(self.rows, self.intervals, strict=True)
            ],
            "claims": [
                {
                    "claim": claim.text,
                    "methods": list(claim.methods),
                    "measure": claim.measure,
                    "difference": _numbers(claim.difference),
                    "paper": round(claim.paper, 1),
                    "verdict": claim.verdict,
                }
                for claim in self.claims
            ],
        }

    def report(self, data_set: str, *, paper: bool) -> Report:
        """A page with the table, the claims and a plot."""
        scores = self.rows[0].scores
        report = Report(
            "Table 5: propagation and similarity",
            f"{data_set}: {len(scores.clips)} clips, {scores.frames} labelled frames, "
            f"{len(scores.joints)} joints.",
        )
        report.table(self.table(paper=paper), "mAP and MOTA in percent, with 95% intervals")
        report.paragraph(
            "Intervals come from drawing the clips anew. Rows of a block share the networks' "
            "results; what differs is the tracker. " + self.about_poses()
        )
        report.heading("What the paper claims")
        report.table(self.claim_table(), "Differences in percent, drawn together for both rows")
        report.paragraph(
            "shown: the whole interval is above 0; contrary: it is below; open: these data do not "
            "tell."
        )
        letters = list(dict.fromkeys(row.method[0] for row in self.rows))
        for measure, name in _MEASURES.items():
            curves = [
                Curve(self._name(letter), self._points(letter, measure), marked=True)
                for letter in letters
            ]
            report.plot(curves, x="row of the block", y=f"{name}, %", caption=name)
        return report

    def about_poses(self) -> str:
        """Whether poses of one person are unified, in a sentence."""
        if any(row.options.pose_nms is not None for row in self.rows):
            return "Poses of a frame that are alike are taken for one person, as the bundle says."
        return (
            "As in the paper, a person in two boxes is two people: add --pose-nms to unify such "
            "poses, as the bundle does where people are tracked with it."
        )

    def _name(self, letter: str) -> str:
        contender = next(row.contender for row in self.rows if row.method[0] == letter)
        return f"{letter}: {contender.detector}"

    def _points(self, letter: str, measure: str) -> list[tuple[float, float]]:
        return [
            (float(row.method[1]), intervals[measure].value)
            for row, intervals in zip(self.rows, self.intervals, strict=True)
            if row.method[0] == letter
        ]


def written(interval: Interval, *, sign: bool = False) -> str:
    """A figure with its interval, as far as there is one."""
    if math.isnan(interval.value):
        return "-"
    plus = "+" if sign else ""
    value = f"{interval.value:{plus}.1f}"
    if math.isnan(interval.low):
        return value
    return f"{value} [{interval.low:{plus}.1f}, {interval.high:{plus}.1f}]"


def _counts(row: AblationRow) -> dict[str, Any]:
    scores = row.scores
    return {
        "IDF1": _number(scores.total("IDF1")),
        "ids": scores.tracking.ids,
        "people": scores.tracking.people,
        "switches": int(scores.tracking.switches[scores.rows].sum()),
        "misses": int(scores.tracking.misses[scores.rows].sum()),
        "false_positives": int(scores.tracking.false_positives[scores.rows].sum()),
        "per_clip": {
            clip.clips[0].name: {"mAP": _number(clip.mean_ap), "MOTA": _number(clip.mota)}
            for clip in scores.by_clip
        },
    }


def _numbers(interval: Interval) -> dict[str, float | None]:
    return {name: _number(value) for name, value in asdict(interval).items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
