"""The assignment against trying every way."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from flowtrack.errors import InputError
from flowtrack.evaluation.assignment import assign


def by_trying(cost):
    """(pairs, total cost) of the best of all ways."""
    rows, columns = cost.shape
    if rows > columns:
        return by_trying(cost.T)
    best = (0, 0.0)
    for choice in itertools.permutations(range(columns), rows):
        values = [cost[i, j] for i, j in enumerate(choice) if math.isfinite(cost[i, j])]
        way = (len(values), sum(values))
        if way[0] > best[0] or (way[0] == best[0] and way[1] < best[1]):
            best = way
    return best


def check(cost, rows, columns):
    assert len(set(rows.tolist())) == len(rows) == len(columns) == len(set(columns.tolist()))
    assert (np.diff(rows) > 0).all()
    assert np.isfinite(cost[rows, columns]).all()


COSTS = st.one_of(
    st.integers(-3, 6).map(float), st.just(math.inf), st.floats(-100, 100, allow_nan=False)
)


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=COSTS))
def test_most_pairs_then_least_cost(cost):
    rows, columns = assign(cost)
    check(cost, rows, columns)
    pairs, total = by_trying(cost)
    assert len(rows) == pairs
    assert cost[rows, columns].sum() == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("shape", [(40, 40), (25, 60), (60, 25)])
@pytest.mark.parametrize("kind", ["distances", "ties", "sparse"])
def test_large_tables_cost_what_scipy_finds(shape, kind):
    rng = np.random.default_rng(5)
    cost = rng.uniform(0, 0.5, shape) if kind != "ties" else rng.integers(0, 4, shape) * 0.125
    filled = cost
    if kind == "sparse":
        cost = np.where(rng.random(shape) < 0.95, math.inf, cost)
        filled = np.where(np.isfinite(cost), cost, 1000.0)
    rows, columns = assign(cost)
    check(cost, rows, columns)
    want = filled[linear_sum_assignment(filled)]
    assert len(rows) == (want < 1000).sum()
    assert cost[rows, columns].sum() == pytest.approx(want[want < 1000].sum(), rel=1e-9)


def test_one_person_more_is_found_though_it_costs_more():
    rows, columns = assign([[0.1, 9.0], [0.2, math.inf]])
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize("cost", [[[math.nan]], [[1.0, -math.inf]], [1.0, 2.0]])
def test_impossible_costs_are_refused(cost):
    with pytest.raises(InputError):
        assign(cost)
