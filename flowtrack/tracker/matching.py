"""Greedy bipartite matching of instances to tracks (line 12; section 3 of the paper)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowtrack.structs import BoolArray, IntArray, checked
from flowtrack.tracker.jit import jit


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
    # The best pair of a track with an instance decides, so rows of one track share a slot.
    _, slot = np.unique(ids, return_inverse=True)
    row, column = np.nonzero(table >= np.float32(minimum))
    order = np.argsort(-table[row, column], kind="stable")
    match = np.empty(columns, np.int64)
    taken = np.zeros(rows, np.bool_)
    _greedy_match(row[order], column[order], slot.reshape(-1).astype(np.int64), taken, match)
    return match


@jit
def _greedy_match(
    row: IntArray, column: IntArray, slot: IntArray, taken: BoolArray, match: IntArray
) -> None:
    """Candidates `row`, `column` in order of preference; `match` (N,) is written."""
    match[:] = -1
    for i in range(row.shape[0]):
        if match[column[i]] < 0 and not taken[slot[row[i]]]:
            match[column[i]] = row[i]
            taken[slot[row[i]]] = True
