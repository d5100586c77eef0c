"""Batches: the same in any number of processes, and errors as they were raised."""

import cv2
import numpy as np
import pytest
import torch

from flowtrack.errors import SourceError
from flowtrack.training.data.loader import batches, stack
from flowtrack.training.data.mixture import Mixture
from flowtrack.training.data.pictures import PictureStore
from tests.training.datasets import noise


class Patches:
    """Parts of pictures, turned at random: what a worker does with OpenCV and a store."""

    def __init__(self, store):
        self.store = store

    def __len__(self):
        return len(self.store)

    def sample(self, index, rng):
        matrix = cv2.getRotationMatrix2D((20, 20), rng.uniform(0, 360), 1)
        return {"patch": cv2.warpAffine(self.store[index], matrix, (40, 40)), "index": index}


@pytest.fixture
def paths(tmp_path):
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), noise(300, 400, i))
    return [tmp_path / f"{i}.png" for i in range(5)]


def drawn(mixture, *args, **options):
    return list(batches(mixture, *args, **options))


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kept", [False, True])
def test_workers_make_the_same_batches(paths, kept, tmp_path):
    # OpenCV has threads here already when the workers are forked.
    cv2.resize(noise(1000, 1000, 0), (1500, 1500))
    store = PictureStore(paths, cache=tmp_path / "kept" if kept else None)
    mixture = Mixture([Patches(store)], seed=4)
    here = drawn(mixture, 3, 2, 7)
    assert [batch["patch"].shape for batch in here] == [(3, 40, 40, 3)] * 5
    assert_same(drawn(mixture, 3, 2, 7, workers=2), here)


def test_batches_hold_the_samples_of_their_numbers(paths):
    mixture = Mixture([Patches(PictureStore(paths))], seed=4)
    found = torch.cat([batch["index"] for batch in drawn(mixture, 4, 1, 4)]).tolist()
    assert found == [mixture[number]["index"] for number in range(4, 16)]


def test_processes_share_each_batch(paths):
    mixture = Mixture([Patches(PictureStore(paths))], seed=4)
    whole = drawn(mixture, 6, 0, 3)
    parts = [drawn(mixture, 6, 0, 3, rank=rank, world=3) for rank in range(3)]
    joined = [
        {name: torch.cat([batch[name] for batch in trio]) for name in trio[0]}
        for trio in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)


def test_going_on_later_is_the_same(paths):
    mixture = Mixture([Patches(PictureStore(paths))], seed=4)
    assert_same(drawn(mixture, 2, 3, 6), drawn(mixture, 2, 0, 6)[3:])


@pytest.mark.parametrize("workers", [0, 1])
def test_no_random_numbers_of_others_are_used(paths, workers):
    mixture = Mixture([Patches(PictureStore(paths))])
    before = torch.get_rng_state()
    drawn(mixture, 2, 0, 2, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_counted_out_ahead(paths):
    mixture = Mixture([Patches(PictureStore(paths))])
    endless = batches(mixture, 2, 0, 10**15)  # no list of them would fit
    assert len(next(endless)["index"]) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named(paths, workers):
    store = PictureStore(paths)
    paths[3].write_bytes(b"nothing")
    with pytest.raises(SourceError) as refused:
        drawn(Mixture([Patches(store)]), 5, 0, 1, workers=workers)
    assert str(refused.value) == f"{paths[3]} is no readable picture, or is damaged"


def test_samples_are_stacked_as_they_are():
    batch = stack(
        [{"a": np.float32(1), "b": np.arange(2)}, {"a": np.float32(2), "b": np.ones(2, int)}]
    )
    assert batch["a"].tolist() == [1, 2]
    assert batch["a"].dtype == torch.float32
    assert batch["b"].tolist() == [[0, 1], [1, 1]]
