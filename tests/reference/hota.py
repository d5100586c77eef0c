"""A slow, obvious HOTA (J. Luiten et al., 2020), for tests: sets of matches and plain loops.

It follows the paper's definitions: for each match c = (person, id) in a frame, TPA(c) are the
matches of the same two, FNA(c) the other appearances of the person and FPA(c) those of the id. The
matching of a frame is tried out in every way; it maximises the sum of similarity times the global
alignment of person and id, as the authors' code (JonathonLuiten/TrackEval) does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Frame = tuple[list[int], list[int], list[list[float]]]
"""Ids of the truth, ids of the results, and the similarity of each pair."""

ALPHAS = [step / 20 for step in range(1, 20)]


@dataclass(frozen=True)
class Hota:
    """Means over the thresholds, from 0 to 1."""

    hota: float
    det_a: float
    ass_a: float
    loc_a: float


def matchings(rows: list[int], columns: list[int]) -> Iterable[list[tuple[int, int]]]:
    """Every way to pair some rows with some columns."""
    if not rows:
        yield []
        return
    first, *rest = rows
    yield from matchings(rest, columns)
    for column in columns:
        others = [c for c in columns if c != column]
        for matching in matchings(rest, others):
            yield [(first, column), *matching]


def alignment(frames: list[Frame]) -> dict[tuple[int, int], float]:
    """How well each person and id agree over the clip, a soft Jaccard index."""
    together: dict[tuple[int, int], float] = {}
    for truth, results, similarity in frames:
        for i, who in enumerate(truth):
            for j, name in enumerate(results):
                row = sum(similarity[i])
                column = sum(line[j] for line in similarity)
                rivals = row + column - similarity[i][j]
                if rivals > 0:
                    pair = who, name
                    together[pair] = together.get(pair, 0.0) + similarity[i][j] / rivals
    return {
        (who, name): value
        / (sum(who in f[0] for f in frames) + sum(name in f[1] for f in frames) - value)
        for (who, name), value in together.items()
    }


def best_matching(frame: Frame, align: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Pairs of rows and columns of one frame."""
    truth, results, similarity = frame

    def value(matching: list[tuple[int, int]]) -> float:
        return sum(similarity[i][j] * align.get((truth[i], results[j]), 0.0) for i, j in matching)

    ways = matchings(list(range(len(truth))), list(range(len(results))))
    return max(ways, key=value)


def hota(frames: list[Frame]) -> Hota:
    """The figures of one clip."""
    align = alignment(frames)
    chosen = [best_matching(frame, align) for frame in frames]
    truths = sum(len(frame[0]) for frame in frames)
    named = sum(len(frame[1]) for frame in frames)
    table = []
    for alpha in ALPHAS:
        matches = [
            (truth[i], results[j], similarity[i][j])
            for (truth, results, similarity), pairs in zip(frames, chosen, strict=True)
            for i, j in pairs
            if similarity[i][j] >= alpha - 1e-12
        ]
        det_a = len(matches) / (truths + named - len(matches))
        ass_a, loc_a = 0.0, 1.0
        if matches:
            shares = []
            for who, name, _ in matches:
                tpa = sum((other, track) == (who, name) for other, track, _ in matches)
                fna = sum(who in frame[0] for frame in frames) - tpa
                fpa = sum(name in frame[1] for frame in frames) - tpa
                shares.append(tpa / (tpa + fna + fpa))
            ass_a = sum(shares) / len(matches)
            loc_a = sum(value for _, _, value in matches) / len(matches)
        table.append((math.sqrt(det_a * ass_a), det_a, ass_a, loc_a))
    return Hota(*(sum(column) / len(ALPHAS) for column in zip(*table, strict=True)))
