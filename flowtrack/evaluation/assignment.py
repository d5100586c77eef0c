"""Pairing rows with columns at the lowest total cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError
from flowtrack.evaluation.sequences import Float64Array
from flowtrack.jit import exact_jit
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
    column = np.empty(len(table), np.int64)
    assign_rows(table, column)
    rows = np.flatnonzero(column >= 0)
    return rows, column[rows]


@exact_jit
def assign_rows(cost: Float64Array, column: IntArray) -> None:
    """`assign` for kernels: `column` (M,) is written, -1 for a row that is left over."""
    rows, columns = cost.shape
    column[:] = -1
    low, high, barred = np.inf, -np.inf, 0
    for i in range(rows):
        for j in range(columns):
            if cost[i, j] == np.inf:
                barred += 1
            else:
                low, high = min(low, cost[i, j]), max(high, cost[i, j])
    if barred == rows * columns:
        return
    # A barred pair costs more than all other pairs together can save, so none is taken for gain.
    price = high + (1 + high - low) * (1 + min(rows, columns))
    wide = rows <= columns
    filled = np.empty((min(rows, columns), max(rows, columns)))
    for i in range(rows):
        for j in range(columns):
            value = price if cost[i, j] == np.inf else cost[i, j]
            if wide:
                filled[i, j] = value
            else:
                filled[j, i] = value
    owner = _owners(filled)
    for k in range(owner.shape[0]):
        if owner[k] >= 0:
            i, j = (owner[k], k) if wide else (k, owner[k])
            if cost[i, j] != np.inf:
                column[i] = j


@exact_jit
def _owners(cost: Float64Array) -> IntArray:
    """(N,) the row of each column of `cost` (M, N), M <= N, finite; -1 where there is none.

    Shortest augmenting paths with potentials (R. Jonker and A. Volgenant, Computing 38, 1987): the
    rows enter one by one, each by the path of least reduced cost to a free column.
    """
    count, width = cost.shape
    row_price, column_price = np.zeros(count), np.zeros(width)
    owner = np.full(width, -1, np.int64)
    distance, came_from = np.empty(width), np.empty(width, np.int64)
    done = np.empty(width, np.bool_)
    for entering in range(count):
        distance[:] = np.inf
        came_from[:] = -1
        done[:] = False
        row, column, reached = entering, -1, 0.0
        while row >= 0:
            nearest = -1
            for k in range(width):
                if done[k]:
                    continue
                through = reached + cost[row, k] - row_price[row] - column_price[k]
                if through < distance[k]:
                    distance[k] = through
                    came_from[k] = column
                if nearest < 0 or distance[k] < distance[nearest]:
                    nearest = k
            column = nearest
            reached = distance[column]
            done[column] = True
            row = owner[column]
        for k in range(width):
            if done[k]:
                column_price[k] -= reached - distance[k]
                if owner[k] >= 0:
                    row_price[owner[k]] += reached - distance[k]
        row_price[entering] += reached
        while column >= 0:  # every row on the path moves to the column where the path left it
            before = came_from[column]
            owner[column] = owner[before] if before >= 0 else entering
            column = before
    return owner
