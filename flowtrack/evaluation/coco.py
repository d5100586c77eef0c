"""COCO's average precision and recall of joints and of boxes, counted by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import DependencyError, InputError
from flowtrack.evaluation.coco_files import CocoResults, CocoTruth, Kind, records_of
from flowtrack.evaluation.sequences import Float64Array
from flowtrack.skeleton import COCO_17
from flowtrack.structs import BoolArray, IntArray, checked

_SIZES = {"S": "small people, up to 32\u00b2 px", "M": "medium people, 32\u00b2 to 96\u00b2 px",
          "L": "large people, from 96\u00b2 px"}  # fmt: skip


def _meanings(measure: str, sizes: str, recalls: dict[str, str]) -> dict[str, str]:
    """What each number of pycocotools' summary is, in its order."""
    every = f"{measure} 0.50 to 0.95"
    meanings = {"AP": f"average precision, mean over {every}"}
    meanings |= {f"AP{at}": f"average precision at {measure} 0.{at}" for at in ("50", "75")}
    meanings |= {f"AP({size})": f"AP of {_SIZES[size]}" for size in sizes}
    meanings |= recalls
    return meanings | {f"AR({size})": f"AR of {_SIZES[size]}" for size in sizes}


MEANINGS: MappingProxyType[Kind, dict[str, str]] = MappingProxyType(
    {
        "keypoints": _meanings("OKS", "ML", {
            "AR": "average recall, mean over OKS 0.50 to 0.95",
            "AR50": "recall at OKS 0.50", "AR75": "recall at OKS 0.75",
        }),
        "boxes": _meanings("IoU", "SML", {
            f"AR{most}": f"average recall, {most} {'box' if most == 1 else 'boxes'} a picture"
            for most in (1, 10, 100)
        }),
    }
)  # fmt: skip
"""Names of the numbers by kind, in pycocotools' order, and what they mean."""


@dataclass(frozen=True, slots=True)
class CocoScores:
    """How well results agree with the truth.

    Attributes:
        kind: joints or boxes.
        values: the numbers of `MEANINGS`, 0 to 1; NaN where there is nobody of that size.
        thresholds: (T,) OKS or IoU from which on a person is found: 0.50, 0.55 ... 0.95.
        recalls: (R,) 0, 0.01 ... 1.
        precision: (T, R) at each threshold and recall, people of all sizes; NaN without people.
        operating_score: results from this score on give the best balance of precision and recall
            (F1) at the first threshold; infinite where none is right. What follows is counted
            there.
        pictures: (P,) int64 ids of the pictures that were evaluated, ascending.
        people: (P,) int64 people to find in each.
        found: (P,) int64 of them found.
        likeness: (P,) sum over those found of the OKS or IoU of their match.
        false_positives: (P,) int64 results that are nobody.
    """

    kind: Kind
    values: dict[str, float]
    thresholds: Float64Array
    recalls: Float64Array
    precision: Float64Array
    operating_score: float
    pictures: IntArray
    people: IntArray
    found: IntArray
    likeness: Float64Array
    false_positives: IntArray

    @property
    def loss(self) -> Float64Array:
        """(P,) what went wrong in each picture: 1 - likeness per person, 1 per false positive."""
        return self.people - self.likeness + self.false_positives


def pycocotools() -> tuple[ModuleType, ModuleType]:
    """The modules `coco` and `cocoeval`.

    Raises:
        DependencyError: the package is not installed.
    """
    try:
        from pycocotools import coco, cocoeval
    except ImportError as error:
        raise DependencyError(
            "COCO's numbers come from pycocotools, which is not installed; pip install "
            "'flowtrack[eval]'"
        ) from error
    return coco, cocoeval


def evaluate(
    truth: CocoTruth, results: CocoResults, pictures: npt.ArrayLike | None = None
) -> CocoScores:
    """Average precision and recall of people, with pycocotools' own defaults.

    At most 20 poses, or 100 boxes, of a picture count. An unmatched pose leaves the count where its
    size is not asked for: the area of its box, or of its joints' extent where it has no box.

    Args:
        truth: annotated people.
        results: poses or boxes, as the truth's kind says.
        pictures: (P,) ids of those that count; None takes all of the truth.

    Raises:
        DependencyError: pycocotools is not installed.
        InputError: the results are not of the truth's kind, or there is no picture to evaluate.
    """
    if (results.keypoints if truth.kind == "keypoints" else results.boxes) is None:
        raise InputError(
            f"the results hold no {truth.kind}, expected what {truth.name} was read as"
        )
    ids = np.unique(
        checked("pictures", truth.pictures if pictures is None else pictures, ("P",), np.int64)
    )
    if not ids.size:
        raise InputError(f"{truth.name}: there is no picture to evaluate, expected one or more")
    counter = _count(truth, results, ids)
    stats = [float(value) if value > -1 else float("nan") for value in counter.stats]
    precision = np.asarray(counter.eval["precision"][:, :, 0, 0, -1])
    seen = [_Seen.of(counter, row, int(id_), truth.person) for row, id_ in enumerate(ids)]
    operating = _operating_score(seen)
    found, likeness, wrong = zip(*(one.from_score(operating) for one in seen), strict=True)
    return CocoScores(
        kind=truth.kind,
        values=dict(zip(MEANINGS[truth.kind], stats, strict=True)),
        thresholds=np.asarray(counter.params.iouThrs),
        recalls=np.asarray(counter.params.recThrs),
        precision=np.where(precision > -1, precision, np.nan),
        operating_score=operating,
        pictures=ids,
        people=np.array([one.people for one in seen], np.int64),
        found=np.array(found, np.int64),
        likeness=np.array(likeness, np.float64),
        false_positives=np.array(wrong, np.int64),
    )


def _count(truth: CocoTruth, results: CocoResults, ids: IntArray) -> Any:
    """The evaluation of pycocotools, done; what it prints is swallowed."""
    coco, cocoeval = pycocotools()
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = coco.COCO()
        annotated.dataset = _dataset(truth)
        annotated.createIndex()
        records = records_of(results, truth.person)
        if records:
            found = annotated.loadRes(records)
        else:  # loadRes looks at the first result without asking whether there is one
            found = coco.COCO()
            found.dataset = {**annotated.dataset, "annotations": []}
            found.createIndex()
        kind = "keypoints" if truth.kind == "keypoints" else "bbox"
        counter = cocoeval.COCOeval(annotated, found, kind)
        counter.params.imgIds = ids.tolist()
        counter.evaluate()
        counter.accumulate()
        counter.summarize()
    return counter


def _dataset(truth: CocoTruth) -> dict[str, Any]:
    """The truth as pycocotools takes it, people numbered from 1: it takes id 0 for "unmatched"."""
    columns = (truth.image_id, truth.boxes, truth.area, truth.crowd.astype(int))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    annotations: list[dict[str, Any]] = [
        {"id": number, "image_id": image_id, "category_id": truth.person, "bbox": box,
         "area": area, "iscrowd": crowd}
        for number, (image_id, box, area, crowd) in enumerate(rows, 1)
    ]  # fmt: skip
    if truth.keypoints is not None and truth.labelled is not None:
        flat = truth.keypoints.reshape(-1, 3 * len(COCO_17))
        pairs = zip(flat.tolist(), truth.labelled.tolist(), strict=True)
        for annotation, (keypoints, labelled) in zip(annotations, pairs, strict=True):
            annotation.update(keypoints=keypoints, num_keypoints=labelled)
    return {
        "images": [{"id": id_} for id_ in truth.pictures.tolist()],
        "annotations": annotations,
        "categories": [{"id": truth.person, "name": "person"}],
    }


@dataclass(frozen=True, slots=True)
class _Seen:
    """One picture at the first threshold: how many people to find, and the results that count.

    `likeness` is that of each result to the person whom it finds, 0 where it finds nobody.
    """

    people: int
    score: Float64Array
    right: BoolArray
    likeness: Float64Array

    @classmethod
    def of(cls, counter: Any, row: int, picture: int, person: int) -> _Seen:
        # Area ranges come after each other, the first is that of all sizes.
        judged = counter.evalImgs[row]
        if judged is None:
            return cls(0, np.zeros(0), np.zeros(0, bool), np.zeros(0))
        people = int(np.count_nonzero(np.asarray(judged["gtIgnore"]) == 0))
        match = np.asarray(judged["dtMatches"][0], np.int64)
        # Columns of the matrix stand in the truth's order, `gtIds` with the ignored last.
        column = {id_: at for at, id_ in enumerate(sorted(judged["gtIds"]))}
        alike = counter.ious[picture, person]
        likeness = [alike[at][column[id_]] if id_ else 0.0 for at, id_ in enumerate(match.tolist())]
        counts = np.asarray(judged["dtIgnore"][0]) == 0
        score = np.asarray(judged["dtScores"], np.float64)
        return cls(people, score[counts], match[counts] > 0, np.array(likeness)[counts])

    def from_score(self, least: float) -> tuple[int, float, int]:
        """(found, sum of their likeness, false positives) of the results from a score on."""
        kept = self.score >= least
        found = int((kept & self.right).sum())
        return found, float(self.likeness[kept].sum()), int(kept.sum()) - found


def _operating_score(seen: Sequence[_Seen]) -> float:
    """The score from which on results have the best F1 = 2 right / (results + people)."""
    score = np.concatenate([one.score for one in seen])
    right = np.concatenate([one.right for one in seen])
    if not right.any():
        return float("inf")
    best_first = np.argsort(-score, kind="stable")
    hits = np.cumsum(right[best_first])
    people = sum(one.people for one in seen)
    # Equal scores come and go together: only the last of them is a place to cut.
    last = np.append(np.diff(score[best_first]) != 0, True)
    f1 = np.where(last, 2 * hits / (np.arange(1, len(hits) + 1) + people), -1.0)
    return float(score[best_first][int(f1.argmax())])
