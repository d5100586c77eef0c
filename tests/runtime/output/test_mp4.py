import threading

import av
import numpy as np
import pytest

from flowtrack.errors import OptionError, OutputError
from flowtrack.runtime.output import Mp4Writer, VideoOptions, mp4
from flowtrack.runtime.video import open_source
from tests.runtime.output.samples import frame, leftovers, picture

COLORS = np.array([[40, 60, 200], [60, 200, 40], [220, 70, 50], [128, 128, 128]], np.uint8)


def untouched(image, tracked):
    return image


def bars(size=(96, 64)):
    return np.repeat(
        np.repeat(COLORS[None], size[0] // 4, axis=1), size[1], axis=0
    )  # (height, width, 3)


def encode(path, images, times_s=None, **options):
    with Mp4Writer(path, untouched, 25.0, VideoOptions(**options)) as writer:
        for index, image in enumerate(images):
            time_s = None if times_s is None else times_s[index]
            writer.write(frame(index, {}, time_s), image)
    return path


def boxes_of(path):
    """Types of the top-level boxes of an MP4 file, in order."""
    data, at, types = path.read_bytes(), 0, []
    while at < len(data):
        types.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return types


def test_the_file_plays_in_browsers(tmp_path):
    path = encode(tmp_path / "clip.mp4", [picture(i) for i in range(30)])
    types = boxes_of(path)
    assert types.index("moov") < types.index("mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.frames == 30
        assert float(stream.duration * stream.time_base) == pytest.approx(30 / 25, abs=1e-3)
        frames = list(container.decode(stream))
    assert len(frames) == 30
    np.testing.assert_allclose([f.time for f in frames], np.arange(30) / 25, atol=1e-4)
    for number, decoded in enumerate(frames):
        level = decoded.to_ndarray(format="bgr24").mean()
        assert level == pytest.approx(picture(number).mean(), abs=3)
    assert leftovers(tmp_path) == ["clip.mp4"]


def test_variable_times_survive_and_start_at_zero(tmp_path):
    rng = np.random.default_rng(0)
    times_s = 100 + np.cumsum(rng.uniform(0.005, 0.5, 40))
    path = encode(tmp_path / "clip.mp4", [picture(i) for i in range(40)], times_s.tolist())
    with open_source(path) as source:
        got = [f.time_s for f in source]
    np.testing.assert_allclose(got, times_s - times_s[0], atol=1e-4)


def test_the_last_frame_stays_as_long_as_the_one_before(tmp_path):
    path = encode(tmp_path / "clip.mp4", [picture(i) for i in range(4)], [0.0, 0.5, 1.0, 1.5])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(2.0, abs=1e-3)


def test_times_that_stand_still_are_moved_on(tmp_path):
    path = encode(tmp_path / "clip.mp4", [picture(i) for i in range(3)], [0.0, 0.0, 0.04])
    with av.open(str(path)) as container:
        ticks = [f.pts for f in container.decode(video=0)]
    assert len(ticks) == 3
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(("size", "padded"), [((97, 65), (98, 66)), ((1, 1), (2, 2))])
def test_odd_sizes_are_padded(tmp_path, size, padded):
    path = encode(tmp_path / "clip.mp4", [picture(3, size)] * 2)
    with open_source(path) as source:
        images = [f.image for f in source]
    assert (source.width, source.height) == padded
    assert len(images) == 2
    np.testing.assert_allclose(images[0].astype(int), 25, atol=4)


def test_colours_survive(tmp_path):
    path = encode(tmp_path / "clip.mp4", [bars()] * 2, crf=5)
    with open_source(path) as source:
        image = next(iter(source)).image
    middles = image[32, 12::24].astype(int)
    np.testing.assert_allclose(middles, COLORS, atol=8)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited


def write_all(writer, images):
    with writer:
        for index, image in enumerate(images):
            writer.write(frame(index, {}), image)


def test_a_change_of_size_is_an_error_and_keeps_what_was_written(tmp_path):
    writer = Mp4Writer(tmp_path / "clip.mp4", untouched, 25.0)
    with pytest.raises(OutputError, match=r"frame 2 is 20x20 pixels, expected 96x64"):
        write_all(writer, [picture(), picture(), picture(0, (20, 20)), picture()])
    assert leftovers(tmp_path) == ["clip.mp4"]
    with open_source(tmp_path / "clip.mp4") as source:
        assert len(list(source)) == 2


def test_a_bug_in_painting_surfaces_and_leaves_nothing(tmp_path):
    def broken(image, tracked):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_all(Mp4Writer(tmp_path / "clip.mp4", broken), [picture()] * 40)
    assert leftovers(tmp_path) == []
    assert not any(thread.name.startswith("encode") for thread in threading.enumerate())


def test_a_file_that_cannot_be_completed_leaves_nothing(tmp_path):
    writer = Mp4Writer(tmp_path / "clip.mp4", untouched, 25.0)
    writer.write(frame(0, {}), picture())
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*clip\.mp4"):
        writer.close()
    assert leftovers(tmp_path) == ["clip.mp4"]


def test_without_frames_there_is_no_file(tmp_path, caplog):
    encode(tmp_path / "clip.mp4", [])
    assert leftovers(tmp_path) == []
    assert "no frame" in caplog.text


def test_waiting_frames_are_bounded(tmp_path):
    gate = threading.Event()
    painted = []

    def slow(image, tracked):
        gate.wait(10)
        painted.append(tracked.index)
        return image

    writer = Mp4Writer(tmp_path / "clip.mp4", slow, 25.0)

    def produce():
        for index in range(30):
            writer.write(frame(index, {}), picture())

    producer = threading.Thread(target=produce)
    producer.start()
    producer.join(timeout=0.3)
    assert producer.is_alive()
    assert writer.frames <= mp4._QUEUE_FRAMES + 1
    gate.set()
    producer.join(timeout=10)
    writer.close()
    assert painted == list(range(30))


def test_a_missing_encoder_is_said_before_work_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(mp4, "ENCODERS", ("libnothing",))
    with pytest.raises(OutputError, match=r"no H\.264 encoder, expected one of libnothing"):
        Mp4Writer(tmp_path / "clip.mp4", untouched)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("options", [{"crf": 52}, {"crf": -1}, {"preset": "warp"}])
def test_senseless_options_are_refused(options):
    with pytest.raises(OptionError):
        VideoOptions(**options)
