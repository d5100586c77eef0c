"""Pairing rows with columns at the lowest total cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError
from flowtrack.structs import IntArray, checked


def assign(cost: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """As many pairs as possible and, of all ways to make so many, the cheapest.

    Among equally cheap ways the choice is arbitrary, but always the same.

    Args:
        cost: (M, N) finite, or +inf where a pair is barred.

    Returns:
        (P,) rows, ascending, and (P,) the column of each.

    Raises:
        InputError: a cost is NaN or -inf.
    """
    table = checked("cost", cost, ("M", "N"), np.float64)
    if np.isnan(table).any() or np.isneginf(table).any():
        raise InputError("cost holds NaN or -inf, expected numbers, or inf for a barred pair")
    allowed = np.isfinite(table)
    if not allowed.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # A barred pair costs more than all other pairs together can save, so none is taken for gain.
    spread = table[allowed].max() - table[allowed].min()
    barred = table[allowed].max() + (1 + spread) * (1 + min(table.shape))
    filled = np.where(allowed, table, barred)
    wide = table.shape[0] <= table.shape[1]
    column = _assign_rows(filled if wide else filled.T)
    row = np.arange(len(column))
    rows, columns = (row, column) if wide else (column, row)
    kept = allowed[rows, columns]
    order = np.argsort(rows[kept])
    return rows[kept][order], columns[kept][order]


def _assign_rows(cost: npt.NDArray[np.float64]) -> IntArray:
    """(M,) the column of each row of `cost` (M, N), M <= N, finite.

    Shortest augmenting paths with potentials (R. Jonker and A. Volgenant, Computing 38, 1987): the
    rows enter one by one, each by the path of least reduced cost to a free column.
    """
    count, width = cost.shape
    row_price = np.zeros(count)
    column_price = np.zeros(width)
    owner = np.full(width, -1, np.int64)
    for entering in range(count):
        distance = np.full(width, np.inf)
        came_from = np.full(width, -1, np.int64)
        done = np.zeros(width, bool)
        row, column, reached = entering, -1, 0.0
        while row >= 0:
            through = reached + cost[row] - row_price[row] - column_price
            shorter = ~done & (through < distance)
            distance[shorter] = through[shorter]
            came_from[shorter] = column
            column = int(np.where(done, np.inf, distance).argmin())
            reached = float(distance[column])
            done[column] = True
            row = int(owner[column])
        change = np.where(done, reached - distance, 0.0)
        column_price -= change
        passed = done & (owner >= 0)
        row_price[owner[passed]] += change[passed]
        row_price[entering] += reached
        while column >= 0:  # every row on the path moves to the column where the path left it
            before = int(came_from[column])
            owner[column] = owner[before] if before >= 0 else entering
            column = before
    of_row = np.full(count, -1, np.int64)
    taken = np.flatnonzero(owner >= 0)
    of_row[owner[taken]] = taken
    return of_row
