"""Greedy bipartite matching of instances to tracks (line 12; section 3 of the paper)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowtrack.jit import jit
from flowtrack.structs import FloatArray, IntArray, checked


def greedy_match(similarity: npt.ArrayLike, track: npt.ArrayLike, minimum: float) -> IntArray:
    """For each instance of this frame the remembered row that it continues, or -1.

    The most similar pair is linked first, then its instance *and every row of its track* leave
    the table, and so on: no track is given twice. Ties to the lowest row, then the lowest instance;
    NaN is never linked.

    Args:
        similarity: (M, N) of M remembered rows with N instances.
        track: (M,) int64 id of the track that each row belongs to.
        minimum: pairs less similar than this are not linked.

    Returns:
        (N,) int64 row index, or -1 where the instance starts a new track.
    """
    table = checked("similarity", similarity, ("M", "N"), np.float32)
    rows, columns = table.shape
    ids = checked("track", track, (rows,), np.int64)
    match = np.full(columns, -1, np.int64)
    if rows and columns:
        slot = np.empty(rows, np.int64)
        slots = _number_tracks(ids, np.argsort(ids, kind="stable"), slot)
        best = np.full((columns, slots), -np.inf, np.float32)
        row = np.empty((columns, slots), np.int64)
        _best_rows(table, slot, np.float32(minimum), best, row)
        _link(best, row, np.empty(columns, np.int64), match)
    return match


@jit
def _number_tracks(ids: IntArray, order: IntArray, slot: IntArray) -> int:
    """Number the tracks from 0: `slot` (M,) is written; `order` sorts `ids`."""
    count = 0
    for i in range(order.shape[0]):
        if i > 0 and ids[order[i]] != ids[order[i - 1]]:
            count += 1
        slot[order[i]] = count
    return count + 1


@jit
def _best_rows(
    table: FloatArray, slot: IntArray, minimum: float, best: FloatArray, row: IntArray
) -> None:
    """Of each instance with each track the best similarity, and the first row that has it.

    Only these can ever be linked, since a track leaves with all its rows.
    """
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            value = table[i, j]
            if value >= minimum and value > best[j, slot[i]]:
                best[j, slot[i]] = value
                row[j, slot[i]] = i


@jit
def _favourite(best: FloatArray, row: IntArray) -> int:
    """The slot of the most similar track, ties to the lowest row; -1 without any."""
    found = -1
    for s in range(best.shape[0]):
        if best[s] == -np.inf:
            continue
        if found < 0 or best[s] > best[found] or (best[s] == best[found] and row[s] < row[found]):
            found = s
    return found


@jit
def _link(best: FloatArray, row: IntArray, favourite: IntArray, match: IntArray) -> None:
    """Link the best pair again and again; `best` is used up, `match` (N,) is written.

    Each instance knows its favourite track, and looks for another only when that one is taken.
    """
    for j in range(match.shape[0]):
        favourite[j] = _favourite(best[j], row[j])
    while True:
        winner = -1
        for j in range(match.shape[0]):
            s = favourite[j]
            if s < 0:
                continue
            if winner >= 0:
                value, leading = best[j, s], best[winner, favourite[winner]]
                later = row[j, s] >= row[winner, favourite[winner]]
                if value < leading or (value == leading and later):
                    continue
            winner = j
        if winner < 0:
            return
        taken = favourite[winner]
        match[winner] = row[winner, taken]
        best[winner, :] = -np.inf
        best[:, taken] = -np.inf
        favourite[winner] = -1
        for j in range(match.shape[0]):
            if favourite[j] == taken:
                favourite[j] = _favourite(best[j], row[j])
