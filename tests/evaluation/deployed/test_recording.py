"""Replays of recorded networks equal plain runs, and the networks run once."""

import dataclasses

import numpy as np
import pytest

from flowtrack.errors import OptionError
from flowtrack.evaluation.deployed.memory import Memory
from flowtrack.evaluation.deployed.posetrack_set import open_clips
from flowtrack.evaluation.deployed.recording import Recording
from flowtrack.evaluation.deployed.weakening import Weakening
from flowtrack.structs import PROPAGATED
from flowtrack.tracker.options import TABLE_5, TrackerOptions
from tests.evaluation.deployed.puppet_samples import counted, make_bundle, opened, write_clip
from tests.runtime.test_pipeline import assert_equal

SETTINGS = {
    "default": TrackerOptions(),
    "direct": TrackerOptions(flow_links="direct", queue=3),
    "detect every 3": TrackerOptions(detect_every=3),
    "low": TrackerOptions(box_threshold=0.1, joint_threshold=0.1, pose_nms=None, nms_iou=0.9),
    "flow": TABLE_5["a5"].tracker,
    "pose, no propagation": TABLE_5["a2"].tracker,
    "bbox": TABLE_5["a3"].tracker,
}
PLAIN_BBOX = TABLE_5["a1"].tracker
FRAMES = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    write_clip(folder, "puppets", frames=FRAMES)
    make_bundle(folder / "puppets.bundle")
    return folder


@pytest.fixture(scope="module")
def clip(place):
    return open_clips(place / "puppets.json")[0]


@pytest.fixture(scope="module")
def plain(place, clip):
    """What users get, by setting."""
    networks = opened(place / "puppets.bundle")
    return {
        name: [found for _, found in networks.pipeline(options).run(clip.frames())]
        for name, options in SETTINGS.items()
    }


@pytest.fixture
def networks(place):
    return opened(place / "puppets.bundle")


@pytest.mark.parametrize("budget", [0, 10**9], ids=["files", "memory"])
@pytest.mark.parametrize("first", [True, False], ids=["recorded before", "on demand"])
def test_replays_equal_plain_runs(clip, networks, plain, first, budget):
    with Memory(budget_bytes=budget) as memory:
        recording = Recording(clip, networks, memory)
        if first:
            recording.record(flow=True)
        for name in (*SETTINGS, *reversed(SETTINGS)):
            replay = list(recording.track(SETTINGS[name]))
            for one, other in zip(replay, plain[name], strict=True):
                assert_equal(one, other)
    assert any((frame.boxes.origin == PROPAGATED).any() for frame in plain["default"])
    assert len({repr([f.tracks.id.tolist() for f in frames]) for frames in plain.values()}) > 2


def test_box_by_box_replays_differ_by_the_networks_rounding(clip, networks, plain):
    with Memory() as memory:
        recording = Recording(clip, networks, memory, exact=False)
        for name, options in SETTINGS.items():
            for one, other in zip(recording.track(options), plain[name], strict=True):
                assert_equal(one, other, atol=1e-2)


def test_a_network_that_takes_one_crop_at_once_is_exact_box_by_box(clip, networks):
    spec = networks.pose.spec
    feeding = dataclasses.replace(spec.file.input, batch=1)
    file = dataclasses.replace(spec.file, input=feeding)
    networks.pose.spec = dataclasses.replace(spec, file=file)
    calls = counted(networks)
    with Memory() as memory:
        recording = Recording(clip, networks, memory)
        list(recording.track(PLAIN_BBOX))
        before = calls["pose"]
        fewer = dataclasses.replace(PLAIN_BBOX, box_threshold=0.99)
        people = sum(len(frame.poses) for frame in recording.track(fewer))
    assert calls["pose"] == before >= people


def test_networks_run_once(clip, networks):
    calls = counted(networks)
    with Memory() as memory:
        recording = Recording(clip, networks, memory)
        told = []
        recording.record(flow=True, progress=lambda: told.append(1))
        assert calls == {"detector": FRAMES, "pose": 0, "flow": FRAMES - 1}
        assert len(told) == FRAMES
        list(recording.track(PLAIN_BBOX))
        first = calls["pose"]
        assert first > FRAMES
        list(recording.track(SETTINGS["pose, no propagation"]))
        assert calls["pose"] == first  # the same boxes
        list(recording.track(SETTINGS["bbox"]))
        second = calls["pose"]
        assert second > first  # propagated boxes are new
        list(recording.track(SETTINGS["flow"]))
        assert calls == {"detector": FRAMES, "pose": second, "flow": FRAMES - 1}


def test_without_flow_none_is_computed(clip, networks):
    calls = counted(networks)
    with Memory() as memory:
        recording = Recording(clip, networks, memory)
        recording.record(flow=False)
        list(recording.track(PLAIN_BBOX))
    assert calls["flow"] == 0


def test_a_cache_serves_later_runs_and_nothing_else(place, clip, tmp_path):
    def run(loaded, of=clip):
        calls = counted(loaded)
        with Memory(tmp_path / "cache") as memory:
            found = list(Recording(of, loaded, memory).track(TrackerOptions()))
        return calls, found

    calls, found = run(opened(place / "puppets.bundle"))
    assert min(calls.values()) > 0
    calls, again = run(opened(place / "puppets.bundle"))
    assert calls == {"detector": 0, "pose": 0, "flow": 0}
    for one, other in zip(again, found, strict=True):
        assert_equal(one, other)

    loaded = opened(place / "puppets.bundle")
    manifest = loaded.manifest
    stretched = dataclasses.replace(
        manifest, detector=dataclasses.replace(manifest.detector, score_floor=0.3)
    )
    calls, _ = run(dataclasses.replace(loaded, manifest=stretched))
    assert calls["detector"] == FRAMES  # read otherwise, so detected anew
    assert calls["flow"] == 0

    write_clip(tmp_path, "other", seed=1, frames=FRAMES)
    (other_clip,) = open_clips(tmp_path / "other.json")
    calls, _ = run(opened(place / "puppets.bundle"), other_clip)
    assert calls["detector"] == FRAMES
    assert calls["flow"] == FRAMES - 1


def test_bundles_share_what_their_common_networks_gave(place, clip, tmp_path):
    twin = make_bundle(tmp_path / "twin.bundle", similarity="pose", propagate=False)
    with Memory() as memory:
        list(Recording(clip, opened(place / "puppets.bundle"), memory).track(TrackerOptions()))
        loaded = opened(twin)
        calls = counted(loaded)
        list(Recording(clip, loaded, memory).track(TrackerOptions()))
    assert calls == {"detector": 0, "pose": 0, "flow": 0}


def test_options_that_need_flow_are_refused(clip, tmp_path):
    networks = opened(make_bundle(tmp_path / "flowless.bundle", flow=False))
    calls = counted(networks)
    with Memory() as memory:
        recording = Recording(clip, networks, memory)
        with pytest.raises(OptionError, match="flowless has no optical flow"):
            list(recording.track(TrackerOptions()))
        assert calls["detector"] == 0
        assert len(list(recording.track(PLAIN_BBOX))) == FRAMES


def test_a_weakened_detector_loses_the_same_people_in_every_setting(clip, networks):
    weakening = Weakening(0.5, seed=3)
    with Memory() as memory:
        recording = Recording(clip, networks, memory)
        strong = [len(frame.poses) for frame in recording.track(PLAIN_BBOX)]
        weak = [frame.boxes.xyxy for frame in recording.track(PLAIN_BBOX, weakening)]
        again = [
            frame.boxes.xyxy
            for frame in recording.track(SETTINGS["pose, no propagation"], weakening)
        ]
        all_kept = [len(f.poses) for f in recording.track(PLAIN_BBOX, Weakening(0.0))]
    assert 0 < sum(map(len, weak)) < sum(strong)
    assert all_kept == strong
    for one, other in zip(weak, again, strict=True):
        assert {*map(tuple, one.tolist())} == {*map(tuple, other.tolist())}


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.8])
def test_the_share_that_is_lost(rate):
    boxes = np.arange(40_000, dtype=np.float32).reshape(-1, 4)
    kept = Weakening(rate).kept("clip", 5, boxes)
    assert kept.mean() == pytest.approx(1 - rate, abs=0.015)
    np.testing.assert_array_equal(kept, Weakening(rate).kept("clip", 5, boxes))
    np.testing.assert_array_equal(kept[::-1], Weakening(rate).kept("clip", 5, boxes[::-1]))
    for other in (
        Weakening(rate, seed=1).kept("clip", 5, boxes),
        Weakening(rate).kept("clip", 6, boxes),
        Weakening(rate).kept("other", 5, boxes),
    ):
        assert (other != kept).mean() == pytest.approx(2 * rate * (1 - rate), abs=0.02)
    more = Weakening(rate + 0.1).kept("clip", 5, boxes)
    assert not (more & ~kept).any()  # who is lost stays lost


def test_what_is_lost_is_the_same_on_every_machine():
    boxes = np.array([[0, 0, 10, 20], [1.5, 2, 3, 4], [5, 6, 7, 8], [0, 1, 2, 3]], np.float32)
    kept = [False, True, False, False]
    assert Weakening(0.5).kept("a clip", 7, boxes).tolist() == kept
    assert Weakening(0.5).kept("a clip", 7, boxes + np.float32(0.01)).tolist() == kept


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_rates_are_checked(rate):
    with pytest.raises(OptionError, match="expected 0 to below 1"):
        Weakening(rate)
