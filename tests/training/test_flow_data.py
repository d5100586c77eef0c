"""Flow data sets find their files, give exact samples, and keep them in little memory."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from flowtrack.errors import InputError, SourceError
from flowtrack.evaluation.flow_pairs import find_pairs
from flowtrack.flo import write_flo
from flowtrack.structs import FlowField
from flowtrack.synthetic.chairs import ChairsOptions, flow_pair
from flowtrack.training.flow_data import (
    ChairsPairs,
    FlowPool,
    PairFolder,
    flow_sample,
    pairs_of_clip,
    whole,
)

RNG = np.random.default_rng


def random_sample(seed, height=6, width=11, share=0.7):
    rng = RNG(seed)
    pictures = rng.integers(0, 256, (2, height, width, 3), np.uint8)
    uv = rng.normal(0, 30, (2, height, width)).astype(np.float32)
    return flow_sample(*pictures, uv, rng.random((height, width)) < share)


def write_pair(folder, names, sample):
    first, second, flow = (folder / name for name in names)
    cv2.imwrite(str(first), sample["previous"])
    cv2.imwrite(str(second), sample["current"])
    write_flo(flow, sample["uv"], sample["valid"])


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
        assert value.dtype == second[name].dtype


CHAIRS = ("{}_img1.ppm", "{}_img2.ppm", "{}_flow.flo")
FLOWNET2 = ("{}-img0.ppm", "{}-img1.ppm", "{}-gt.flo")


@pytest.mark.parametrize("layout", [CHAIRS, FLOWNET2])
def test_pairs_are_read_from_either_layout_in_order(tmp_path, layout):
    samples = {f"{seed:05d}": random_sample(seed) for seed in (3, 1, 2)}
    for name, sample in samples.items():
        write_pair(tmp_path, [part.format(name) for part in layout], sample)
    (tmp_path / "readme.txt").write_text("not a pair")
    source = PairFolder(find_pairs(tmp_path))
    assert len(source) == 3
    for index, name in enumerate(sorted(samples)):
        assert_same(source.sample(index, RNG(0)), samples[name])


def test_pairs_of_flow_alone_are_refused(tmp_path):
    write_pair(tmp_path, [part.format("00001") for part in CHAIRS], random_sample(0))
    (tmp_path / "00001_img1.ppm").unlink()
    (tmp_path / "00001_img2.ppm").unlink()
    source = PairFolder(find_pairs(tmp_path, pictures=False))
    with pytest.raises(SourceError, match="00001_flow has only flow"):
        source.sample(0, RNG(0))


def test_damaged_files_are_named(tmp_path):
    names = [part.format("00001") for part in CHAIRS]
    write_pair(tmp_path, names, random_sample(0))
    source = PairFolder(find_pairs(tmp_path))
    (tmp_path / names[1]).write_bytes(b"P6 damaged")
    with pytest.raises(SourceError, match=r"00001_img2\.ppm cannot be decoded"):
        source.sample(0, RNG(0))
    cv2.imwrite(str(tmp_path / names[1]), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(InputError, match="expected one size"):
        source.sample(0, RNG(0))


def test_made_up_pairs_are_those_of_their_seeds():
    options = ChairsOptions(48, 32, scale=0.1, objects=(1, 2))
    source = ChairsPairs(options, 3, first_seed=7)
    assert len(source) == 3
    pair = flow_pair(options, 9)
    expected = flow_sample(pair.previous, pair.current, pair.uv, np.ones((32, 48), bool))
    assert_same(source.sample(2, RNG(0)), expected)
    for wrong in (-1, 3):
        with pytest.raises(InputError, match="not one of 0 to 2"):
            source.sample(wrong, RNG(0))
    with pytest.raises(InputError, match="count is 0"):
        ChairsPairs(options, 0)


@dataclass(frozen=True)
class Frame:
    image: np.ndarray
    flow: FlowField | None = None
    flow_valid: np.ndarray | None = None


@pytest.mark.parametrize("hidden", [True, False])
def test_a_clip_gives_each_frame_with_the_next(hidden):
    samples = [random_sample(seed) for seed in range(3)]
    frames = [
        Frame(s["previous"], FlowField(s["uv"], (1.0, 1.0), i, i + 1), s["valid"])
        for i, s in enumerate(samples)
    ]
    frames[1] = Frame(frames[1].image)  # a cut: no flow to the next
    last = Frame(random_sample(9)["previous"])
    pairs = list(pairs_of_clip([*frames, last], hidden=hidden))
    assert len(pairs) == 2
    for pair, first, second in ((pairs[0], 0, frames[1]), (pairs[1], 2, last)):
        valid = np.ones((6, 11), bool) if hidden else samples[first]["valid"]
        assert_same(pair, {**samples[first], "current": second.image, "valid": valid})
    assert not list(pairs_of_clip([last]))


def test_a_clip_whose_flow_is_coarser_than_its_pictures_is_refused():
    coarse = FlowField(np.zeros((2, 3, 5), np.float32), (0.5, 0.5), 0, 1)
    picture = np.zeros((6, 10, 3), np.uint8)
    with pytest.raises(InputError, match="uv has shape"):
        list(pairs_of_clip([Frame(picture, coarse), Frame(picture)]))


@pytest.mark.parametrize("unknown", [np.nan, np.inf, 1e10])
def test_unknown_flow_is_masked_and_zero(unknown):
    picture = np.zeros((2, 3, 3), np.uint8)
    uv = np.ones((2, 2, 3), np.float32)
    uv[0, 1, 2] = unknown
    sample = flow_sample(picture, picture, uv, np.array([[True, False, True], [True] * 3]))
    expected = np.array([[True, False, True], [True, True, False]])
    np.testing.assert_array_equal(sample["valid"], expected)
    np.testing.assert_array_equal(sample["uv"], np.stack([expected, expected]))


def test_samples_that_do_not_fit_are_refused():
    picture = np.zeros((2, 3, 3), np.uint8)
    uv, valid = np.zeros((2, 2, 3), np.float32), np.ones((2, 3), bool)
    for wrong in (
        (np.zeros((2, 3), np.uint8), picture, uv, valid),
        (picture, picture[:1], uv, valid),
        (picture, picture, uv[:, :1], valid),
        (picture, picture, uv, valid[:1]),
        (picture.astype(np.float32), picture, uv, valid),
    ):
        with pytest.raises(InputError, match="expected"):
            flow_sample(*wrong)


@pytest.mark.parametrize("width", [7, 8, 9])
def test_a_pool_keeps_samples_to_a_sixty_fourth_of_a_pixel(width):
    samples = [random_sample(seed, width=width) for seed in range(4)]
    pool = FlowPool(samples)
    assert len(pool) == 4
    for index, sample in enumerate(samples):
        kept = pool.sample(index, RNG(0))
        np.testing.assert_allclose(kept["uv"], sample["uv"], rtol=0, atol=1 / 128)
        assert_same({**kept, "uv": sample["uv"]}, sample)


def test_a_pool_drops_flow_too_long_to_keep():
    sample = random_sample(0, share=1.0)
    sample["uv"][1, 2, 3] = -600
    kept = FlowPool([sample]).sample(0, RNG(0))
    assert not kept["valid"][2, 3]
    assert kept["valid"].sum() == kept["valid"].size - 1
    assert kept["uv"][1, 2, 3] == 0


def test_a_pool_needs_pairs_of_one_size():
    with pytest.raises(InputError, match="one size"):
        FlowPool([])
    with pytest.raises(InputError, match="one size"):
        FlowPool([random_sample(0), random_sample(0, width=12)])


def test_a_pool_of_a_whole_source_equals_it():
    source = ChairsPairs(ChairsOptions(48, 32, scale=0.1), 3)
    pool = FlowPool(whole(source))
    assert len(pool) == 3
    for index in range(3):
        expected = source.sample(index, RNG(0))
        kept = pool.sample(index, RNG(0))
        assert_same({**kept, "uv": expected["uv"]}, expected)
