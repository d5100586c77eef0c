"""The way of a frame on the puppets: overlapped, batched and interleaved give what steps give."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from examples.puppets import clip, networks
from flowtrack.errors import BundleError, InputError, OptionError
from flowtrack.runtime.bundle import write_bundle
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import FlowSpec, Manifest
from flowtrack.runtime.pipeline import LOOK_AHEAD, build_pipeline, open_pipeline
from flowtrack.structs import PROPAGATED, Boxes, Frame
from flowtrack.tracker.options import TrackerOptions
from tests.support.graphs import tiny_bundle

HEIGHT, WIDTH = 256, 320
CHAINED = TrackerOptions()
OPTIONS = {
    "chained": CHAINED,
    "direct": TrackerOptions(flow_links="direct", queue=3),
    "detect every 3": TrackerOptions(detect_every=3),
    "flow, box areas": TrackerOptions(similarity="flow", oks_area="box"),
    "pose, no propagation": TrackerOptions(similarity="pose", propagate=False),
    "bbox": TrackerOptions(similarity="bbox", propagate=False, pose_nms=None),
    "bbox, propagation": TrackerOptions(similarity="bbox"),
}
EACH = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def rendered(seed, count=10):
    options = clip.ClipOptions(WIDTH, HEIGHT, frames=count, fps=8, seed=seed)
    return [Frame(i, i / 8, image) for i, (image, _) in enumerate(clip.render(options))]


@pytest.fixture(scope="module")
def videos():
    return [rendered(0), rendered(1)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("puppets")
    made = networks.build(folder, HEIGHT, WIDTH)
    manifest = Manifest("coco-17", made.detector, made.pose, FlowSpec("dis", max_side=160))
    engines = {
        part: open_engine(folder / f"{part}.onnx", "cpu", 1) for part in ("detector", "pose")
    }
    return manifest, engines


@pytest.fixture
def pipeline(parts):
    return lambda options=CHAINED: build_pipeline(*parts, options)


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def assert_equal(one, other, atol=None):
    """Two `TrackedFrame`s are the same, but for the time they took."""
    assert (one.index, one.time_s) == (other.index, other.time_s)
    np.testing.assert_array_equal(one.tracks.id, other.tracks.id)
    np.testing.assert_array_equal(one.tracks.age, other.tracks.age)
    np.testing.assert_array_equal(one.boxes.origin, other.boxes.origin)
    assert (one.flow is None) == (other.flow is None)
    pairs = [
        (one.tracks.similarity, other.tracks.similarity),
        (one.boxes.xyxy, other.boxes.xyxy),
        (one.boxes.score, other.boxes.score),
        *(
            (getattr(one.poses, name), getattr(other.poses, name))
            for name in ("xy", "score", "box", "box_score")
        ),
    ]
    if one.flow is not None:
        pairs.append((one.flow.uv, other.flow.uv))
    for a, b in pairs:
        if atol is None:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, atol=atol)


def stepped(pipeline, frames):
    stream = pipeline.stream()
    return [pipeline.step(stream, frame) for frame in frames]


@EACH
def test_run_equals_step(pipeline, videos, options):
    loaded = pipeline(options)
    want = stepped(loaded, videos[0])
    got = list(loaded.run(iter(videos[0])))
    assert [frame.index for frame, _ in got] == [frame.index for frame in videos[0]]
    assert len(got) == len(want)
    for frame, (source, (seen, tracked)) in zip(
        want, zip(videos[0], got, strict=True), strict=True
    ):
        assert seen is source
        assert_equal(tracked, frame)
    assert sum(len(frame.tracks) for frame in want) > 20  # the clip shows people
    assert (want[5].flow is None) == (not options.uses_flow)


@EACH
def test_streams_share_nothing(pipeline, videos, options):
    loaded = pipeline(options)
    want = [stepped(loaded, video) for video in videos]
    streams = [loaded.stream(), loaded.stream()]
    for k in range(len(videos[0])):
        for video, stream, expected in zip(videos, streams, want, strict=True):
            assert_equal(loaded.step(stream, video[k]), expected[k])
    assert want[0][0].tracks.id[0] == want[1][0].tracks.id[0] == 0


@EACH
def test_a_batch_of_streams_equals_its_streams(pipeline, videos, options):
    loaded = pipeline(options)
    want = [stepped(loaded, video) for video in videos]
    streams = [loaded.stream(), loaded.stream()]
    for k in range(len(videos[0])):
        together = loaded.step_batch(streams, [video[k] for video in videos])
        for tracked, expected in zip(together, want, strict=True):
            # The pose network itself rounds otherwise in another batch.
            assert_equal(tracked, expected[k], atol=1e-2)


def test_a_batch_needs_one_frame_for_each_stream(pipeline, videos):
    loaded = pipeline()
    stream, frame = loaded.stream(), videos[0][0]
    with pytest.raises(InputError, match="1 streams with 2 frames"):
        loaded.step_batch([stream], [frame, frame])
    with pytest.raises(InputError, match="expected one frame for each of several different"):
        loaded.step_batch([stream, stream], videos[0][:2])
    assert loaded.step_batch([], []) == []
    assert loaded.step(stream, frame).index == 0  # a refused batch leaves no trace


def test_results_are_in_order_of_id_and_cut_at_the_threshold(pipeline, videos):
    loaded = pipeline(TrackerOptions(joint_threshold=0.6))
    tracked = stepped(loaded, videos[0])
    for frame in tracked:
        assert (np.diff(frame.tracks.id) > 0).all()
        low = ~(frame.poses.score >= np.float32(0.6))
        assert frame.poses.missing[low].all()
        np.testing.assert_array_equal(frame.boxes.xyxy, frame.poses.box)
    assert any(frame.poses.missing.any() for frame in tracked)


def test_nobody_starts_in_a_weak_box_and_results_leave_them_out(pipeline, videos, monkeypatch):
    loaded = pipeline(TrackerOptions(start_threshold=0.9))
    scores = iter([(0.95, 0.6), (0.6, 0.95), (0.6, 0.6)])
    found = loaded.detector(videos[0][0])[:2]

    def two_people(*_):
        return Boxes(found.xyxy, np.float32(next(scores)), found.origin)

    monkeypatch.setattr(loaded, "detector", two_people)
    tracked = stepped(loaded, [dataclasses.replace(videos[0][0], index=k) for k in range(3)])
    assert [frame.tracks.id.tolist() for frame in tracked] == [[0], [0, 1], [0, 1]]
    assert [len(frame.boxes) for frame in tracked] == [1, 2, 2]


def test_joints_outside_the_picture_are_missing(pipeline, videos, monkeypatch):
    loaded = pipeline()
    estimate = loaded.pose.estimate

    def moved_out(*arguments):
        out = estimate(*arguments)
        for poses in out:
            poses.xy[:, 0] = (-1, 5)
            poses.xy[:, 1] = (5, HEIGHT)
        return out

    monkeypatch.setattr(loaded.pose, "estimate", moved_out)
    tracked = stepped(loaded, videos[0])
    assert sum(map(len, (frame.poses for frame in tracked))) > 20
    for frame in tracked:
        assert frame.poses.missing[:, :2].all()
        assert not frame.poses.missing[:, 2:].all()


def test_between_detections_boxes_are_propagated(pipeline, videos):
    tracked = stepped(pipeline(TrackerOptions(detect_every=3)), videos[0])
    for k, frame in enumerate(tracked):
        assert ("detector.engine" in frame.timing_ms) == (k % 3 == 0)
        if k % 3:
            assert (frame.boxes.origin == PROPAGATED).all()
            assert len(frame.boxes)
    assert set(tracked[1].tracks.id) <= set(tracked[0].tracks.id)


def test_the_stages_are_timed(pipeline, videos):
    stream = (loaded := pipeline()).stream()
    first, second = (loaded.step(stream, frame) for frame in videos[0][:2])
    parts = {name.split(".")[0] for name in second.timing_ms}
    assert parts == {"detector", "flow", "propose", "pose", "assign"}
    assert "flow.engine" not in first.timing_ms
    assert all(value >= 0 for value in second.timing_ms.values())


def test_gaps_between_frames_are_fine(pipeline, videos):
    loaded = pipeline(OPTIONS["direct"])
    some = [videos[0][k] for k in (0, 1, 4, 5, 9)]
    tracked = stepped(loaded, some)
    assert [frame.index for frame in tracked] == [0, 1, 4, 5, 9]
    assert (tracked[2].flow.from_index, tracked[2].flow.to_index) == (1, 4)


def test_a_stream_goes_on_where_it_stopped(pipeline, videos):
    loaded = pipeline()
    want = stepped(loaded, videos[0])
    stream = loaded.stream()
    got = [tracked for _, tracked in loaded.run(videos[0][:5], stream)]
    got += [tracked for _, tracked in loaded.run(videos[0][5:], stream)]
    for one, other in zip(got, want, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("index", [0, 2, 3])
def test_frames_out_of_order_are_refused(pipeline, videos, index):
    loaded = pipeline()
    stream = loaded.stream()
    tracked = [loaded.step(stream, videos[0][k]) for k in range(4)]
    late = dataclasses.replace(videos[0][4], index=index)
    with pytest.raises(InputError, match=rf"frame {index} came after frame 3; .*take a new stream"):
        loaded.step(stream, late)
    assert loaded.step(stream, videos[0][4]).index == len(tracked)


@EACH
def test_frames_of_another_size_are_refused(pipeline, videos, options):
    loaded = pipeline(options)
    stream = loaded.stream()
    loaded.step(stream, videos[0][0])
    smaller = dataclasses.replace(videos[0][1], image=videos[0][1].image[:-2])
    with pytest.raises(InputError, match=r"frame 1 has size \(254, 320\), the stream has \(256,"):
        loaded.step(stream, smaller)
    assert loaded.step(stream, videos[0][1]).index == 1


@pytest.mark.parametrize(
    "options", [CHAINED, OPTIONS["bbox, propagation"], TrackerOptions("flow", propagate=False)]
)
def test_options_that_need_flow_need_flow(parts, options):
    manifest = dataclasses.replace(parts[0], flow=None)
    with pytest.raises(OptionError, match="need optical flow and the bundle has none"):
        build_pipeline(manifest, parts[1], options)
    loaded = build_pipeline(manifest, parts[1], OPTIONS["bbox"])
    assert loaded.flow is None


def test_options_come_from_the_manifest_unless_given(parts):
    manifest = dataclasses.replace(parts[0], tracker={"similarity": "pose", "queue": 2})
    assert build_pipeline(manifest, parts[1]).options == TrackerOptions("pose", queue=2)
    assert build_pipeline(manifest, parts[1], CHAINED).options is CHAINED
    with pytest.raises(BundleError, match="has 14 joints; correct `skeleton`"):
        build_pipeline(dataclasses.replace(manifest, skeleton="aic-14"), parts[1])


def test_the_device_says_which_networks_are_of_lower_precision(parts):
    manifest, engines = parts
    plain = engines["pose"].device
    assert build_pipeline(manifest, engines, why="it is there").device == f"{plain} (it is there)"
    replace = dataclasses.replace
    int8 = replace(manifest.pose, file=replace(manifest.pose.file, precision="int8"))
    manifest = replace(manifest, pose=int8)
    assert build_pipeline(manifest, engines).device == f"{plain}; INT8: pose"
    half = replace(manifest.detector, file=replace(manifest.detector.file, precision="fp16"))
    manifest = replace(manifest, detector=half)
    assert build_pipeline(manifest, engines).device == f"{plain}; fp16: detector; INT8: pose"


@pytest.mark.parametrize("name", ["tiny", "tiny.zip"])
@pytest.mark.parametrize("flow", [False, True])
def test_a_bundle_is_opened_and_tracks(tmp_path, name, flow):
    bundle = write_bundle(tmp_path / name, *tiny_bundle(flow))
    rng = np.random.default_rng(0)
    frames = [Frame(i, i / 25, rng.integers(0, 256, (64, 64, 3), np.uint8)) for i in range(3)]
    loaded = open_pipeline(bundle.path, device="cpu", threads=1)
    assert "ONNX Runtime" in loaded.device
    assert "asked for" in loaded.device
    tracked = [result for _, result in loaded.run(frames)]
    assert [len(frame.tracks) for frame in tracked] == [1, 1, 1]
    again = [result for _, result in open_pipeline(bundle, device="cpu", threads=1).run(frames)]
    for one, other in zip(tracked, again, strict=True):
        assert_equal(one, other)


# Threads of the overlapped form.


class TroubleError(Exception):
    pass


@pytest.mark.parametrize("at", [0, 1, 6])
def test_an_error_of_the_source_reaches_the_consumer(pipeline, videos, at):
    def source():
        yield from videos[0][:at]
        raise TroubleError("the camera fell")

    got = []
    before = set(threading.enumerate())
    with pytest.raises(TroubleError, match="the camera fell"):
        got.extend(tracked.index for _, tracked in pipeline().run(source()))
    assert got == list(range(at))
    assert set(threading.enumerate()) <= before


def test_an_error_of_a_network_reaches_the_consumer(pipeline, videos):
    def source():
        yield videos[0][0]
        yield videos[0][1]
        yield videos[0][0]  # out of order: noticed in the thread that detects

    with pytest.raises(InputError, match="frame 0 came after frame 1"):
        list(pipeline().run(source()))


def test_an_error_in_the_foreground_stops_the_threads(pipeline, videos):
    loaded = pipeline()
    before = set(threading.enumerate())

    def fail(*_):
        raise TroubleError

    loaded.pose.estimate = fail
    with pytest.raises(TroubleError):
        list(loaded.run(videos[0]))
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("taken", [1, 4])
def test_leaving_early_stops_the_threads(pipeline, videos, taken):
    read = []

    def endless():
        for k in range(10**9):
            read.append(k)
            yield dataclasses.replace(videos[0][k % 10], index=k)

    before = set(threading.enumerate())
    results = pipeline().run(endless())
    for _, (_, tracked) in zip(range(taken), results, strict=False):
        assert tracked.tracks is not None
    assert len(set(threading.enumerate()) - before) == 2
    results.close()
    assert set(threading.enumerate()) <= before
    stopped = len(read)
    time.sleep(0.1)
    # At most two full queues, and what each thread holds, are ahead of what was taken.
    assert len(read) == stopped <= taken + 2 * LOOK_AHEAD + 3


def test_nothing_is_started_before_the_first_result_is_asked_for(pipeline, videos):
    before = set(threading.enumerate())
    results = pipeline().run(iter(videos[0]))
    assert set(threading.enumerate()) <= before
    results.close()


def test_an_empty_video_has_no_results(pipeline):
    assert list(pipeline().run([])) == []


def test_a_long_video_is_not_remembered(tmp_path):
    """300 frames and a slow consumer: frames ahead, pictures and queue stay few."""
    bundle = write_bundle(tmp_path / "tiny", *tiny_bundle())
    loaded = open_pipeline(
        bundle, TrackerOptions(flow_links="direct", queue=2), device="cpu", threads=1
    )
    stream, read = loaded.stream(), []
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (48, 48, 3), np.uint8)

    def source():
        for k in range(300):
            read.append(k)
            yield Frame(k, k / 25, image)

    furthest = 0
    for frame, _ in loaded.run(source(), stream):
        furthest = max(furthest, len(read) - frame.index)
        assert len(stream._images) <= 2
        assert len(stream.tracker._queue) <= 2
    assert len(read) == 300
    assert furthest <= 2 * LOOK_AHEAD + 3
