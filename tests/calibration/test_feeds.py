"""Recorded feeds are what the runtime feeds, thinned evenly; frames that feed nothing fail."""

from dataclasses import replace

import numpy as np
import pytest

from flowtrack.calibration.feeds import record_feeds
from flowtrack.errors import InputError, OptionError
from flowtrack.runtime.bundle import write_bundle
from flowtrack.runtime.preprocess import crop_matrices, crop_people, pack
from flowtrack.structs import Frame
from tests.support.graphs import blind_detector, network_file, tiny_bundle


def frames(count, size=(64, 64)):
    """Noise; the first pixel tells the frame's number."""
    for index in range(count):
        image = np.random.default_rng(index).integers(0, 256, (*size, 3)).astype(np.uint8)
        image[0, 0] = index
        yield Frame(index, float(index), image)


@pytest.fixture
def bundle(tmp_path):
    manifest, files = tiny_bundle(flow=True)
    return write_bundle(tmp_path / "b", manifest, files)


def numbers(feeds, name):
    """Which frames an uint8 NHWC input, or a float NCHW one that keeps the pixels, came from."""
    return [int(feed[name].reshape(-1)[0]) for feed in feeds]


def test_every_network_is_fed_as_in_tracking(bundle):
    given = list(frames(3))
    feeds = record_feeds(bundle, given, 10)
    assert {part: len(kept) for part, kept in feeds.items()} == {
        "detector": 3, "pose": 3, "flow": 2,
    }  # fmt: skip
    for frame, feed in zip(given, feeds["detector"], strict=True):
        assert (feed["image"] == frame.image[None, :, :, ::-1]).all()  # RGB of the same size
    spec = bundle.manifest.pose.file.input
    matrix = crop_matrices(np.array([[4, 4, 40, 60]], np.float32), 64, 48, 1.25)
    for frame, feed in zip(given, feeds["pose"], strict=True):
        wanted = pack(crop_people(frame.image, matrix, 64, 48), spec)
        assert np.array_equal(feed["data"], wanted)
    assert numbers(feeds["flow"], "previous") == [0, 1]
    assert numbers(feeds["flow"], "current") == [1, 2]


@pytest.mark.parametrize(("count", "limit"), [(5, 5), (10, 5), (23, 4), (40, 3), (7, 1)])
def test_feeds_are_thinned_evenly(bundle, count, limit):
    feeds = record_feeds(bundle, frames(count), limit)
    kept = numbers(feeds["detector"], "image")
    assert len(kept) == min(limit, count)
    assert kept == sorted(set(kept))
    assert kept[0] == 0
    if limit > 1:
        gaps = np.diff(kept)
        assert gaps.max() <= 2 * gaps.min()
        assert count - kept[-1] <= 2 * gaps.max()


def test_a_frame_whose_memory_is_used_again_stays_as_it_was(bundle):
    def decoded_in_place():
        image = np.empty((64, 64, 3), np.uint8)
        for frame in frames(4):
            image[:] = frame.image
            yield Frame(frame.index, frame.time_s, image)

    feeds = record_feeds(bundle, decoded_in_place(), 4)
    assert numbers(feeds["detector"], "image") == [0, 1, 2, 3]


def test_progress_is_told_frame_by_frame(bundle):
    told = []
    record_feeds(bundle, frames(4), 2, lambda: told.append(1))
    assert len(told) == 4


@pytest.mark.parametrize(
    ("shown", "pairs"),
    [([0, 1, 8, 9], [(0, 1), (8, 9)]), ([0, 5, 10, 20], [(0, 5), (5, 10)]), ([3, 9], [(3, 9)])],
)
def test_flow_runs_within_moments_and_not_between_them(bundle, shown, pairs):
    feeds = record_feeds(bundle, [frame for frame in frames(21) if frame.index in shown], 9)["flow"]
    assert (
        list(zip(*(numbers(feeds, name) for name in ("previous", "current")), strict=True)) == pairs
    )


def test_pictures_of_other_sizes_give_no_pair(bundle):
    given = [*frames(2), *(replace(frame, index=2) for frame in frames(1, (32, 48)))]
    assert len(record_feeds(bundle, given, 9)["flow"]) == 1
    with pytest.raises(InputError, match="no two of 1 neighbouring frames"):
        record_feeds(bundle, frames(1), 9)


def test_frames_that_show_nothing_are_refused(bundle):
    black = [Frame(index, 0.0, np.zeros((64, 64, 3), np.uint8)) for index in range(3)]
    with pytest.raises(InputError, match="3 of them are one colour"):
        record_feeds(bundle, black, 9)
    with pytest.raises(InputError, match="0 frames were given"):
        record_feeds(bundle, [], 9)
    with pytest.raises(OptionError, match="limit is 0"):
        record_feeds(bundle, frames(1), 0)


def test_frames_without_people_are_refused(tmp_path):
    manifest, files = tiny_bundle()
    shy = blind_detector([[4, 4, 40, 60]], [0.3], 64, 64)  # below the tracker's threshold
    file = network_file(shy, "detector.onnx", manifest.detector.file.input)
    manifest = replace(manifest, detector=replace(manifest.detector, file=file))
    bundle = write_bundle(tmp_path / "b", manifest, files | {"detector.onnx": shy})
    with pytest.raises(InputError, match=r"nobody was detected with a score of 0\.5"):
        record_feeds(bundle, frames(2), 9)
