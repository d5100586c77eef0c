import socket
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from flowtrack.errors import OptionError, SourceError
from flowtrack.runtime.video import SourceOptions, open_source
from tests.runtime.video.samples import make_video, number_of


@contextmanager
def served(data: bytes, *, length: bool = False, answer: bool = True):
    """A web server on this machine that sends `data` to whoever connects."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def talk(connection):
        with connection:
            connection.recv(65536)
            if not answer:
                stop.wait(20)
                return
            head = "HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n"
            head += f"Content-Length: {len(data)}\r\n" if length else ""
            with suppress(OSError):
                connection.sendall((head + "\r\n").encode() + data)

    def serve():
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/stream"
    finally:
        stop.set()
        listener.close()


@pytest.fixture
def transport_stream(tmp_path):
    return make_video(tmp_path / "clip.ts", 60, g="5", bf="0").read_bytes()


def test_a_stream_without_end_is_live(transport_stream):
    with served(transport_stream) as url, open_source(url, timeout_s=5) as source:
        assert source.live
        assert source.frame_count is None
        frames = list(source)
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    assert len(frames) + source.dropped == 60
    for frame in frames:
        assert number_of(frame.image) == frame.index
    times = np.array([frame.time_s for frame in frames])
    np.testing.assert_allclose(times, np.array(indices) / 25, atol=1e-3)
    assert "ended after" in source.problems[-1].message
    with pytest.raises(SourceError, match="read before"):
        next(iter(source))


def test_a_slow_reader_gets_new_frames_rather_than_late_ones(transport_stream):
    with served(transport_stream) as url, open_source(url, timeout_s=5) as source:
        frames = iter(source)
        next(frames)
        until = time.monotonic() + 20
        while source.dropped <= 30 and time.monotonic() < until:
            time.sleep(0.01)
        rest = [frame.index for frame in frames]
    assert rest[-1] == 59
    assert source.dropped > 30


def test_a_live_source_stops_at_max_frames(transport_stream):
    options = SourceOptions(max_frames=3, stride=2)
    with served(transport_stream) as url, open_source(url, options, timeout_s=5) as source:
        frames = list(source)
    assert len(frames) == 3
    assert all(frame.index % 2 == 0 for frame in frames)
    assert not any(thread.name.startswith("read ") for thread in threading.enumerate())


def test_options_without_meaning_are_refused(transport_stream):
    with served(transport_stream) as url, pytest.raises(OptionError, match="is live"):
        open_source(url, SourceOptions(start_s=1), timeout_s=5)


def test_a_file_on_a_web_server_is_read_whole(tmp_path):
    path = make_video(tmp_path / "clip.mp4", 60, muxer={"movflags": "+faststart"})
    with served(path.read_bytes(), length=True) as url, open_source(url, timeout_s=5) as source:
        got = [number_of(frame.image) for frame in source]
        assert not source.live
        assert source.frame_count == 60
    assert got == list(range(60))


def test_a_silent_server_is_given_up(tmp_path):
    began = time.monotonic()
    expected = pytest.raises(SourceError, match=r"127\.0\.0\.1.*no answer within the time limit")
    with served(b"", answer=False) as url, expected:
        open_source(url, timeout_s=0.5)
    assert time.monotonic() - began < 5


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceError, match="connection refused; check the address"):
        open_source(f"http://127.0.0.1:{port}/x", timeout_s=2)
    with pytest.raises(SourceError, match="no answer within the time limit"):
        open_source(f"udp://127.0.0.1:{port}", timeout_s=0.5)
