"""Clipping magnitudes against plain loops: percentile by counting, the others by definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.calibration.clipping import (
    LEVELS,
    entropy_magnitude,
    percentile_magnitude,
    squared_error_magnitude,
)
from flowtrack.errors import InputError

BINS = 192  # more than LEVELS, few enough for the loops

histograms = st.lists(
    st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 10_000)), min_size=BINS, max_size=BINS
).filter(lambda counts: any(counts))


def plain_percentile(counts, largest, percentile):
    below = 0
    for place, count in enumerate(counts):
        below += count
        if below * 100 >= percentile * sum(counts):
            return largest * (place + 1) / len(counts)
    raise AssertionError("every value lies in some bin")


def plain_divergence(counts, kept):
    """KL(P || Q): P is clipped at `kept` bins, Q is what 128 levels tell of these bins."""
    clipped = counts[:kept]
    clipped[-1] += sum(counts[kept:])
    told = [0.0] * kept
    for level in range(LEVELS):
        places = range(level * kept // LEVELS, (level + 1) * kept // LEVELS)
        used = [place for place in places if counts[place] > 0]
        for place in used:
            told[place] = sum(counts[other] for other in places) / len(used)
    if not sum(told):
        return math.inf
    divergence = 0.0
    for have, tell in zip(clipped, told, strict=True):
        if have > 0 and tell == 0:
            return math.inf
        if have > 0:
            p, q = have / sum(clipped), tell / sum(told)
            divergence += p * math.log(p / q)
    return divergence


def plain_squared_error(counts, top):
    """What rounding the bins' middles to multiples of top / 127, at most top, does to them."""
    step = top / (LEVELS - 1)
    return sum(
        count * min((place + 0.5 - level * step) ** 2 for level in range(LEVELS))
        for place, count in enumerate(counts)
        if count
    )


@given(histograms, st.floats(50, 100, exclude_min=True), st.floats(1e-3, 1e3))
@settings(max_examples=50)
def test_percentile_is_that_of_a_plain_count(counts, percentile, largest):
    found = percentile_magnitude(np.array(counts, np.int64), largest, percentile)
    assert found == pytest.approx(plain_percentile(counts, largest, percentile))


@given(histograms)
@settings(max_examples=25)
def test_entropy_clips_where_the_divergence_is_least(counts):
    found = entropy_magnitude(np.array(counts, np.int64), float(BINS))
    counts = [float(count) for count in counts]
    counts[0] = counts[1]  # the zeros of rectified activations, which no scale rounds
    if not any(counts):
        assert found == BINS
        return
    divergences = {kept: plain_divergence(counts, kept) for kept in range(LEVELS, BINS + 1)}
    assert divergences[round(found)] == pytest.approx(min(divergences.values()), abs=1e-9)


@given(histograms)
@settings(max_examples=10)
def test_squared_error_clips_where_it_is_least(counts):
    found = squared_error_magnitude(np.array(counts, np.int64), float(BINS))
    errors = {kept: plain_squared_error(counts, kept) for kept in range(LEVELS, BINS + 1, 4)}
    assert LEVELS <= found <= BINS
    assert plain_squared_error(counts, found) <= min(errors.values()) * (1 + 1e-9)


def test_few_far_values_are_clipped_and_many_are_not():
    counts = np.zeros(2048, np.int64)
    counts[:256] = 1_000_000
    counts[-1] = 1
    assert squared_error_magnitude(counts, 2048.0) < 400
    counts[-1] = 1_000_000
    assert squared_error_magnitude(counts, 2048.0) > 2000


@pytest.mark.parametrize("choose", [entropy_magnitude, squared_error_magnitude])
def test_zeros_do_not_move_the_choice(choose):
    counts = np.random.default_rng(0).integers(1, 100, BINS)
    many = counts.copy()
    many[0] = 10**9
    assert choose(many, 1.0) == choose(counts, 1.0)


@pytest.mark.parametrize(
    "choose",
    [entropy_magnitude, squared_error_magnitude, lambda *a: percentile_magnitude(*a, 99.0)],
)
def test_nothing_counted_is_refused(choose):
    with pytest.raises(InputError, match="histogram is empty"):
        choose(np.zeros(BINS, np.int64), 1.0)
