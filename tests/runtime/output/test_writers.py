import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import av
import cv2
import pytest

from flowtrack.errors import InputError, OptionError, OutputError, SourceError
from flowtrack.runtime.drawing import DrawOptions
from flowtrack.runtime.output import (
    SUFFIXES,
    JsonLinesWriter,
    NamedClip,
    PoseTrack17Writer,
    interruptible,
    open_writers,
    read_jsonl,
)
from flowtrack.runtime.video import open_source
from tests.runtime.output.samples import SKELETON, frame, leftovers, picture
from tests.runtime.video.samples import make_video, overwrite, packets

ALL = tuple(SUFFIXES)
CLIP = NamedClip("clip", 25.0)
ROOT = Path(__file__).parents[3]


def run(folder, formats=ALL, *, frames=12, error=None, at=6):
    """Write `frames` frames; raise `error` before frame number `at`."""
    with open_writers(folder, CLIP, SKELETON, formats) as writers:
        for index in range(frames):
            if error is not None and index == at:
                raise error
            writers.write(frame(index, {1: [0, 1, 2]}), picture(index))


def check(folder, frames):
    """All four files are valid and hold so many frames."""
    assert leftovers(folder) == sorted(f"clip{suffix}" for suffix in SUFFIXES.values())
    assert len(json.loads((folder / "clip.posetrack.json").read_text())["annolist"]) == frames
    later = json.loads((folder / "clip.posetrack18.json").read_text())
    assert len(later["images"]) == len(later["annotations"]) == frames
    assert [f.index for f in read_jsonl(folder / "clip.jsonl")] == list(range(frames))
    with av.open(str(folder / "clip.mp4")) as container:
        assert len(list(container.decode(video=0))) == frames


def test_all_formats_appear_at_the_end(tmp_path):
    folder = tmp_path / "new" / "folder"
    with open_writers(folder, CLIP, SKELETON, ALL) as writers:
        writers.write(frame(0, {1: [0, 1, 2]}), picture())
        assert not any((folder / name).exists() for name in writers.paths.values())
        assert all(name.startswith(".clip.") for name in leftovers(folder))
    check(folder, 1)
    assert set(writers.paths) == set(ALL)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SourceError("x"), SystemExit(2)])
def test_a_run_that_is_stopped_keeps_its_frames(tmp_path, error):
    with pytest.raises(type(error)):
        run(tmp_path, error=error)
    check(tmp_path, 6)


@pytest.mark.parametrize(
    ("error", "at"), [(KeyboardInterrupt(), 0), (SourceError("x"), 0), (ZeroDivisionError(), 6)]
)
def test_without_a_frame_or_after_a_bug_nothing_is_left(tmp_path, error, at):
    with pytest.raises(type(error)):
        run(tmp_path, error=error, at=at)
    assert leftovers(tmp_path) == []


def test_older_results_stay_until_the_new_ones_are_whole(tmp_path):
    run(tmp_path, frames=3)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, frames=9, error=ZeroDivisionError())
    check(tmp_path, 3)
    run(tmp_path, frames=9)
    check(tmp_path, 9)


class FullDisk:
    """A file on which nothing more fits after `room` writes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)


def write_all(writer, indices):
    with writer:
        for index in indices:
            writer.write(frame(index, {}), picture())


def test_a_full_disk_keeps_what_fits(tmp_path):
    writer = JsonLinesWriter(tmp_path / "clip.jsonl")
    writer._file._file = FullDisk(writer._file._file, 3)
    with pytest.raises(OutputError, match=r"clip\.jsonl: No space left"):
        write_all(writer, range(9))
    assert leftovers(tmp_path) == ["clip.jsonl"]
    assert [f.index for f in read_jsonl(tmp_path / "clip.jsonl")] == [0, 1, 2]


def test_where_not_even_the_end_fits_nothing_is_left(tmp_path):
    writer = PoseTrack17Writer(tmp_path / "clip.json", SKELETON, CLIP)
    writer._file._file = FullDisk(writer._file._file, 3)
    with pytest.raises(OutputError, match="No space left"):
        write_all(writer, range(9))
    assert leftovers(tmp_path) == []


def interrupted(writer):
    with writer:
        writer.write(frame(0, {}), picture())
        # What an interrupt between writing and accounting leaves.
        writer._file._file.write(b'{"frame": 1, "ti')
        raise KeyboardInterrupt


def test_a_half_written_line_is_cut_off(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(JsonLinesWriter(tmp_path / "clip.jsonl"))
    assert (tmp_path / "clip.jsonl").read_text() == '{"frame":0,"time_s":0.0,"people":[]}\n'


def test_indices_must_ascend(tmp_path):
    with pytest.raises(InputError, match="frame 3 comes after frame 3"):
        write_all(open_writers(tmp_path, CLIP, SKELETON, ["jsonl"]), [3, 3])


def test_options_and_folders_are_checked_first(tmp_path):
    with pytest.raises(OptionError, match="unknown format 'xml'; known are posetrack"):
        open_writers(tmp_path, CLIP, SKELETON, ["xml"])
    with pytest.raises(OptionError, match="repeat"):
        open_writers(tmp_path, CLIP, SKELETON, ["jsonl", "jsonl"])
    with pytest.raises(OptionError, match="no mp4"):
        open_writers(tmp_path, CLIP, SKELETON, ["jsonl"], draw=DrawOptions())
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        open_writers(tmp_path / "file", CLIP, SKELETON)
    with pytest.raises(OutputError, match="cannot write"):
        open_writers(tmp_path / "file" / "below", CLIP, SKELETON)
    (tmp_path / "clip.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"clip\.jsonl is a folder"):
        open_writers(tmp_path, CLIP, SKELETON, ["posetrack", "jsonl"])
    assert leftovers(tmp_path) == ["clip.jsonl", "file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        open_writers(tmp_path, CLIP, SKELETON)


def test_a_source_is_a_clip_and_its_lost_frames_have_entries(tmp_path):
    path = make_video(tmp_path / "walk.mp4", 20, g="1")
    for row in (4, 19):
        position, size, _ = packets(path)[row]
        overwrite(path, position, bytes(size))
    out = tmp_path / "out"
    with open_source(path) as source, open_writers(out, source, SKELETON) as writers:
        for item in source:
            writers.write(frame(item.index, {1: [0]}, item.time_s), item.image)
    entries = json.loads((out / "walk.posetrack.json").read_text())["annolist"]
    assert [e["image"][0]["name"] for e in entries] == [f"walk/{i:06d}.jpg" for i in range(20)]
    assert [i for i, e in enumerate(entries) if not e["annorect"]] == [4, 19]
    assert len(list(read_jsonl(out / "walk.jsonl"))) == 18


def track(folder, out):
    with open_source(folder) as source, open_writers(out, source, SKELETON) as writers:
        for item in source:
            writers.write(frame(item.index, {1: [0]}), item.image)


def test_an_error_of_the_source_half_way_keeps_the_frames(tmp_path):
    walk = tmp_path / "walk"
    walk.mkdir()
    for index in range(5):
        cv2.imwrite(str(walk / f"{index}.png"), picture(0, (20 + index // 3, 20)))
    with pytest.raises(SourceError, match="split it or resize"):
        track(walk, tmp_path / "out")
    assert len(list(read_jsonl(tmp_path / "out" / "walk.jsonl"))) == 3


PROGRAM = """
    import itertools, sys, time
    from pathlib import Path
    from flowtrack.runtime.output import NamedClip, SUFFIXES, interruptible, open_writers
    from tests.runtime.output.samples import SKELETON, frame, picture
    with interruptible() as stop, open_writers(sys.argv[1], NamedClip("clip", 25.0), SKELETON,
                                               list(SUFFIXES)) as writers:
        for index in itertools.count():
            writers.write(frame(index, {1: [0, 1, 2]}), picture(index))
            if index == 5:
                print("running", flush=True)
            stop.check()
            time.sleep(0.002)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_valid_files(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True,
        # A job in the background is started with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "running\n"
            time.sleep(0.1)
            process.send_signal(number)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in errors
    frames = len(list(read_jsonl(tmp_path / "clip.jsonl")))
    assert frames >= 6
    assert leftovers(tmp_path) == sorted(f"clip{suffix}" for suffix in SUFFIXES.values())
    entries = json.loads((tmp_path / "clip.posetrack.json").read_text())["annolist"]
    later = json.loads((tmp_path / "clip.posetrack18.json").read_text())
    with av.open(str(tmp_path / "clip.mp4")) as container:
        shown = len(list(container.decode(video=0)))
    assert {len(entries), len(later["images"]), shown} == {frames}


def test_a_killed_process_leaves_a_readable_partial_file(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)],
        stdout=subprocess.PIPE, cwd=ROOT, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "running\n"
        finally:
            process.kill()
    assert len(list(read_jsonl(tmp_path / ".clip.jsonl.partial"))) >= 6


def test_the_handler_of_sigterm_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_first_signal_asks_and_the_second_breaks_in():
    with interruptible() as stop:
        stop.check()
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, before)
