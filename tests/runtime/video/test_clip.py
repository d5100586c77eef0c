import logging

import av
import numpy as np
import pytest

from flowtrack.errors import OptionError, SourceError
from flowtrack.runtime.video import SourceOptions, open_source
from tests.runtime.video.samples import make_video, number_of, numbered, overwrite, packets


def numbers(source):
    return [(frame.index, number_of(frame.image)) for frame in source]


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        (".mp4", "libx264", {}),
        (".mkv", "libx264", {}),
        (".ts", "libx264", {}),
        (".avi", "libx264", {}),
        (".avi", "mpeg4", {"qscale": "2"}),
        (".mov", "mpeg4", {"qscale": "2"}),
        (".webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "10", "b": "2M"}),
        (".h264", "libx264", {}),
        (".mp4", "libx264", {"bf": "0"}),
    ],
)
def test_every_frame_comes_in_order_with_its_time(tmp_path, suffix, codec, options):
    path = make_video(tmp_path / f"clip{suffix}", codec=codec, **options)
    with open_source(path) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(40))
    assert [frame.index for frame in frames] == list(range(40))
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(40) / 25, atol=1e-6)
    assert (source.width, source.height, source.name) == (96, 64, "clip")
    assert source.fps == pytest.approx(25)
    assert source.problems == []
    assert not source.live
    assert source.frame_count in (40, None)


def test_variable_frame_rate_keeps_the_true_times(tmp_path):
    rng = np.random.default_rng(0)
    times_ms = np.cumsum(rng.integers(5, 400, 40)).tolist()
    path = make_video(tmp_path / "vfr.mp4", times_ms=times_ms)
    with open_source(path) as source:
        got = [frame.time_s for frame in source]
    # The stream starts with its first frame.
    want = (np.array(times_ms) - times_ms[0]) / 1000
    np.testing.assert_allclose(got, want, atol=2e-4)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_is_applied(tmp_path, degrees):
    path = make_video(tmp_path / "turned.mp4", 3, rotation=degrees)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        stored, rotation = frame.to_ndarray(format="bgr24"), frame.rotation
    assert abs(rotation) == abs(degrees)
    with open_source(path) as source:
        shown = next(iter(source)).image
    # PyAV: counter-clockwise degrees, which is also how rot90 counts.
    np.testing.assert_array_equal(shown, np.rot90(stored, rotation // 90))
    assert (source.width, source.height) == (shown.shape[1], shown.shape[0])


def test_odd_sizes(tmp_path):
    path = make_video(tmp_path / "odd.mkv", 3, codec="ffv1", size=(97, 65), pix_fmt="bgr0")
    with open_source(path) as source:
        frames = list(source)
    assert frames[0].image.shape == (65, 97, 3)
    np.testing.assert_array_equal(frames[2].image, numbered(2, (97, 65)))


@pytest.mark.parametrize("pix_fmt", ["gray", "yuv444p10le", "bgra"])
def test_grey_deep_and_transparent_video_becomes_bgr(tmp_path, pix_fmt):
    path = make_video(tmp_path / "x.mkv", 3, codec="ffv1", pix_fmt=pix_fmt)
    with open_source(path) as source:
        images = [frame.image for frame in source]
    assert [number_of(image) for image in images] == [0, 1, 2]
    assert images[0].shape == (64, 96, 3)
    if pix_fmt == "gray":
        assert np.ptp(images[0].astype(int), axis=2).max() == 0


@pytest.mark.parametrize("how", ["zeros", "noise", "second half"])
@pytest.mark.parametrize("extra", [{}, {"g": "1"}])
def test_damage_in_the_middle_leaves_a_gap_and_later_indices_right(tmp_path, how, extra, caplog):
    path = make_video(tmp_path / "clip.mp4", 60, **extra)
    position, size, pts = packets(path)[30]
    lost = sorted(stamp for _, _, stamp in packets(path)).index(pts)
    noise = np.random.default_rng(1).bytes(size)
    data = {"zeros": bytes(size), "noise": noise, "second half": noise[size // 2 :]}[how]
    overwrite(path, position + size - len(data), data)
    with caplog.at_level(logging.WARNING, "flowtrack"), open_source(path) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [i for i in range(60) if i != lost]
    for frame in frames:
        assert frame.time_s == pytest.approx(frame.index / 25)
        if "g" in extra:
            assert number_of(frame.image) == frame.index
    assert [list(problem.indices) for problem in source.problems] == [[lost]]
    assert f"frame {lost}" in caplog.text
    assert str(path) in caplog.text


def test_damage_in_a_file_without_times(tmp_path):
    path = make_video(tmp_path / "clip.avi", 30, codec="mpeg4", g="1", qscale="2")
    position, size, _ = packets(path)[12]
    overwrite(path, position, bytes(size))
    with open_source(path) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [i for i in range(30) if i != 12]
    assert [number_of(f.image) for f in frames] == [i for i in range(30) if i != 12]
    assert [list(problem.indices) for problem in source.problems] == [[12]]


@pytest.mark.parametrize("extra", [{"g": "1"}, {}])
def test_truncated_video_yields_what_is_there_and_says_so(tmp_path, extra):
    muxer = {"movflags": "+faststart"}
    path = make_video(tmp_path / "clip.mp4", 60, muxer=muxer, bf="0", **extra)
    cut = packets(path)[41]
    path.write_bytes(path.read_bytes()[: cut[0] + cut[1] // 2])
    with open_source(path) as source:
        frames = list(source)
    assert [(f.index, number_of(f.image)) for f in frames] == [(i, i) for i in range(41)]
    assert [list(p.indices) for p in source.problems] == [[41], list(range(42, 60))]
    assert "cut off" in source.problems[0].message
    assert "ends early" in source.problems[1].message


def test_truncated_matroska_is_noticed(tmp_path):
    path = make_video(tmp_path / "clip.mkv", 100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with open_source(path) as source:
        count = len(list(source))
    assert 20 < count < 100
    assert "ends early" in source.problems[-1].message


def test_a_whole_file_has_no_problems_after_an_edit_list(tmp_path):
    # B frames make the muxer write an edit list; its packets must not count as missing.
    path = make_video(tmp_path / "clip.mp4", 30, bf="3")
    with open_source(path) as source:
        assert len(list(source)) == 30
    assert source.problems == []


def test_iterating_again_starts_anew(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 10)
    with open_source(path) as source:
        first = next(iter(source))
        again = numbers(source)
        third = numbers(source)
    assert first.index == 0
    assert again == third == [(i, i) for i in range(10)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".h264"])
@pytest.mark.parametrize(
    ("options", "want"),
    [
        (SourceOptions(start_s=1.0), list(range(25, 60))),
        (SourceOptions(start_s=1.01), list(range(26, 60))),
        (SourceOptions(stride=7), list(range(0, 60, 7))),
        (SourceOptions(max_frames=5), [0, 1, 2, 3, 4]),
        (SourceOptions(start_s=1.0, stride=10, max_frames=3), [25, 35, 45]),
        (SourceOptions(start_s=2.36), [59]),
    ],
)
def test_choosing_frames(tmp_path, suffix, options, want):
    # Key frames every 8 frames, so that a start in the middle is entered at one.
    path = make_video(tmp_path / f"clip{suffix}", 60, g="8")
    with open_source(path, options) as source:
        frames = list(source)
    assert [(f.index, number_of(f.image)) for f in frames] == [(i, i) for i in want]
    np.testing.assert_allclose([f.time_s for f in frames], np.array(want) / 25, atol=1e-6)
    if source.frame_count is not None:
        assert source.frame_count == len(want)


def test_the_start_is_entered_at_a_key_frame(tmp_path, monkeypatch):
    path = make_video(tmp_path / "clip.mp4", 60, g="8")
    decoded = []
    from flowtrack.runtime.video import decoding

    original = decoding.Decoding._frames_out

    def counted(self, packet):
        decoded.append(packet)
        return original(self, packet)

    monkeypatch.setattr(decoding.Decoding, "_frames_out", counted)
    with open_source(path, SourceOptions(start_s=2.0)) as source:
        assert next(iter(source)).index == 50
    assert len(decoded) < 20


def test_lost_frames_that_were_not_wanted_are_no_problem(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 30, g="1")
    for row in (11, 20):
        position, size, _ = packets(path)[row]
        overwrite(path, position, bytes(size))
    with open_source(path, SourceOptions(stride=10)) as source:
        assert numbers(source) == [(0, 0), (10, 10)]
    assert [list(problem.indices) for problem in source.problems] == [[20]]


def test_a_lost_frame_counts_towards_max_frames(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 30, g="1")
    position, size, _ = packets(path)[3]
    overwrite(path, position, bytes(size))
    with open_source(path, SourceOptions(max_frames=5)) as source:
        assert [i for i, _ in numbers(source)] == [0, 1, 2, 4]


def test_no_frame_at_or_after_the_start(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 10)
    with pytest.raises(SourceError, match="no frame from 5 s on"):
        open_source(path, SourceOptions(start_s=5.0))


def test_a_rate_for_a_video_is_refused(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 3)
    with pytest.raises(OptionError, match="times of its own"):
        open_source(path, SourceOptions(fps=10))


@pytest.mark.parametrize(
    "options", [{"start_s": -1}, {"start_s": float("nan")}, {"stride": 0}, {"max_frames": 0},
                {"fps": 0.0}],
)  # fmt: skip
def test_senseless_options_are_refused(options):
    with pytest.raises(OptionError):
        SourceOptions(**options)


def test_text_called_mp4(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("This is no video.\n" * 50)
    with pytest.raises(SourceError, match=r"notes\.mp4.*not media"):
        open_source(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(SourceError, match=r"empty\.mp4"):
        open_source(path)


def test_sound_only(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no video stream, only: audio"):
        open_source(path)


def test_video_of_which_nothing_decodes(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 5, g="1")
    for position, size, _ in packets(path):
        overwrite(path, position, bytes(size))
    with pytest.raises(SourceError, match="no frame"):
        open_source(path)


def test_a_name_with_a_colon(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 3).rename(tmp_path / "http:12.mp4")
    with open_source(path) as source:
        assert len(list(source)) == 3


def test_memory_stays_bounded(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 250)
    import tracemalloc

    with open_source(path) as source:
        frames = iter(source)
        for _ in range(20):
            next(frames)
        tracemalloc.start()
        for _ in frames:
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10 * 96 * 64 * 3
