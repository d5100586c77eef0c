"""The statistics that benchmarks report."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.summary import percentile, ratios, summarise


def test_statistics_by_hand():
    found = summarise([5.0, 1.0, 4.0, 2.0, 3.0])
    # Places 0, 2, 3.6 and 3.96 of the sorted samples.
    assert (found.min, found.median) == (1.0, 3.0)
    assert found.p90 == pytest.approx(4.6)
    assert found.p99 == pytest.approx(4.96)


def test_an_even_number_of_samples_has_its_median_between_two():
    assert summarise([4.0, 1.0, 2.0, 100.0]).median == 3.0


def test_one_sample_is_every_statistic():
    found = summarise([7.0])
    assert (found.min, found.median, found.p90, found.p99) == (7.0, 7.0, 7.0, 7.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(0, 100))
def test_percentile_equals_numpy(samples, percent):
    want = float(np.percentile(samples, percent))
    assert percentile(samples, percent) == pytest.approx(want, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf]])
def test_samples_without_statistics_are_refused(samples):
    with pytest.raises(ValueError, match="samples"):
        summarise(samples)


@pytest.mark.parametrize("percent", [-1.0, 100.1, math.nan])
def test_percent_is_checked(percent):
    with pytest.raises(ValueError, match="percent"):
        percentile([1.0], percent)


def test_ratios_divide_pair_by_pair():
    assert ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]


@pytest.mark.parametrize(("above", "below"), [([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_ratios_need_pairs_of_positive_samples(above, below):
    with pytest.raises(ValueError, match="sample"):
        ratios(above, below)
