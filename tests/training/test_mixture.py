"""The order of samples: shares, passes, and that it follows from the numbers alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import InputError
from flowtrack.training.data.mixture import Mixture


class Numbers:
    """Tells which sample is asked for, and the first draw of its generator."""

    def __init__(self, count, name=0):
        self.count, self.name = count, name

    def __len__(self):
        return self.count

    def sample(self, index, rng):
        return {"index": index, "name": self.name, "drawn": rng.uniform()}


def test_one_source_is_passed_again_and_again_in_new_orders():
    mixture = Mixture([Numbers(7)], seed=3)
    drawn = [mixture[number]["index"] for number in range(21)]
    passes = [drawn[0:7], drawn[7:14], drawn[14:21]]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3
    assert mixture.epoch == 7


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    seed=st.integers(0, 2**40),
    numbers=st.lists(st.integers(0, 10_000), min_size=1, max_size=8),
)
def test_a_sample_follows_from_the_seed_and_its_number(counts, seed, numbers):
    sources = [Numbers(count, name) for name, count in enumerate(counts)]
    shares = [1.0] * len(counts)
    fresh = [Mixture(sources, shares, seed)[number] for number in numbers]
    one = Mixture(sources, shares, seed)
    assert [one[number] for number in numbers] == fresh
    assert all(0 <= sample["index"] < counts[sample["name"]] for sample in fresh)


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    shares=st.lists(st.integers(1, 20), min_size=4, max_size=4),
)
def test_every_source_is_passed_evenly(counts, shares):
    sources = [Numbers(count, name) for name, count in enumerate(counts)]
    mixture = Mixture(sources, shares[: len(counts)])
    drawn = [mixture.locate(number) for number in range(300)]
    for source, count in enumerate(counts):
        indices = [index for name, index in drawn if name == source]
        for start in range(0, len(indices) - count + 1, count):
            assert sorted(indices[start : start + count]) == list(range(count))


@settings(max_examples=40)
@given(shares=st.lists(st.floats(0.05, 1), min_size=2, max_size=6))
def test_shares_are_kept_all_along(shares):
    mixture = Mixture([Numbers(9, name) for name in range(len(shares))], shares)
    wanted = np.array(shares) / sum(shares)
    counts = np.zeros(len(shares))
    for number in range(100):
        counts[mixture.locate(number)[0]] += 1
        assert np.abs(counts - wanted * (number + 1)).max() < 2
    assert np.abs(counts - 100 * wanted).max() <= 1


def test_without_shares_sources_count_by_their_lengths():
    mixture = Mixture([Numbers(30), Numbers(10)])
    names = [mixture.locate(number)[0] for number in range(400)]
    assert names.count(1) == 100
    assert mixture.epoch == 40


def test_seeds_and_numbers_make_different_samples():
    drawn = {Mixture([Numbers(5)], seed=seed)[number]["drawn"]
             for seed in range(4) for number in range(50)}  # fmt: skip
    assert len(drawn) == 200


def test_the_order_is_not_the_augmentation():
    """Sample 0 of seed 0 has a generator of its own, though all of its numbers are zero."""
    order = Mixture([Numbers(1000)], seed=0)._order(0, 0)
    assert not np.array_equal(order, np.random.default_rng((0, 0)).permutation(1000))


@pytest.mark.parametrize(
    ("counts", "shares", "seed", "told"),
    [
        ([], None, 0, "at least one"),
        ([3, 0], None, 0, "none empty"),
        ([3, 3], [1.0], 0, "2 positive numbers"),
        ([3, 3], [1.0, 0.0], 0, "2 positive numbers"),
        ([3, 3], [1.0, float("nan")], 0, "2 positive numbers"),
        ([3, 3], [1.0, 0.001], 0, "0.01 of the whole"),
        ([3], None, -1, "seed is -1"),
    ],
)
def test_what_makes_no_mixture_is_refused(counts, shares, seed, told):
    with pytest.raises(InputError, match=told):
        Mixture([Numbers(count) for count in counts], shares, seed)
