"""Downloads from a server that behaves badly in every way that servers do."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import random
import shutil
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import DownloadError, OptionError, OutputError
from flowtrack.zoo import cache, transfer
from flowtrack.zoo.cache import read_receipt, receipt_path
from flowtrack.zoo.download import download
from flowtrack.zoo.transfer import Patience, Remote, mirrored
from tests.zoo.publisher import (
    DATE,
    corrupted,
    etag_of,
    hang_up,
    publishing,
    redirect,
    serve,
    status,
)

QUICK = Patience(timeout_s=2.0, attempts=3, backoff_s=0.01)
CONTENT = random.Random(0).randbytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "net.onnx"


def get(remote, target, **options):
    return download(remote, target, **{"patience": QUICK, **options})


def assert_complete(target):
    """The whole file, its receipt and the empty lock, and no trace of the way."""
    assert target.read_bytes() == CONTENT
    names = {path.name for path in target.parent.iterdir()}
    assert names == {target.name, receipt_path(target).name, f".{target.name}.lock"}
    assert read_receipt(target).sha256 == SHA256


def assert_nothing(target, part=False):
    assert not target.exists()
    assert target.with_name(target.name + ".part").exists() == part


def test_a_file_arrives_with_its_receipt_and_progress(publisher, target):
    url = publisher.put("/zoo/net.onnx", CONTENT)
    seen = []
    done = get(Remote(url, SHA256[:8], len(CONTENT)), target,
               progress=lambda *state: seen.append(state))  # fmt: skip
    assert not done.cached
    assert_complete(target)
    assert (done.receipt.expected, done.receipt.size_bytes) == (SHA256[:8], len(CONTENT))
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)
    (request,) = publisher.requests
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("flowtrack/")


def test_what_is_there_is_not_asked_for_again(publisher, target):
    url = publisher.put("/net.onnx", CONTENT)
    remote = Remote(url, SHA256)
    first = get(remote, target)
    again = get(remote, target)
    assert (again.cached, again.receipt) == (True, first.receipt)
    assert len(publisher.requests) == 1
    assert not get(remote, target, force=True).cached
    assert len(publisher.requests) == 2


def test_a_file_put_there_by_hand_is_taken_if_its_hash_is_known(publisher, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert get(Remote(publisher.address + "/net.onnx", SHA256[:8]), target).cached
    assert not publisher.requests
    assert_complete(target)


@pytest.mark.parametrize("sha256", ["", SHA256])
def test_a_damaged_file_in_the_cache_is_fetched_anew(publisher, target, sha256):
    remote = Remote(publisher.put("/net.onnx", CONTENT), sha256)
    get(remote, target)
    target.write_bytes(CONTENT[:-1])
    assert not get(remote, target).cached
    assert_complete(target)


DROPS = {
    "by etag": {},
    "by date alone": {"etag": False},
    "by date beside a weak etag": {"etag": 'W/"1"'},
    "by nothing but the hash": {"etag": False, "date": False},
}


@pytest.mark.parametrize("how", DROPS.values(), ids=DROPS)
def test_a_dropped_connection_goes_on_where_it_broke(publisher, target, how):
    drop = serve(stop_after=HALF, **how)
    url = publisher.put("/net.onnx", CONTENT, drop, serve(**how))
    said = []
    get(Remote(url, SHA256), target, say=said.append)
    assert_complete(target)
    assert publisher.ranges() == [None, f"bytes={HALF}-"]
    condition = publisher.requests[1].headers.get("if-range")
    expected = {"by etag": etag_of(CONTENT), "by nothing but the hash": None}
    name = next(name for name, value in DROPS.items() if value is how)
    assert condition == expected.get(name, DATE)
    assert "broke off" in said[0]


def test_without_validator_and_hash_nothing_is_stitched_together(publisher, target):
    plain = {"etag": False, "date": False}
    url = publisher.put("/net.onnx", CONTENT, serve(stop_after=HALF, **plain), serve(**plain))
    get(Remote(url), target)
    assert_complete(target)
    assert publisher.ranges() == [None, None]


def test_a_stopped_program_goes_on_where_it_was(publisher, target):
    url = publisher.put("/net.onnx", CONTENT)

    def stop(done, _):
        if done > HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(Remote(url, SHA256), target, progress=stop)
    assert_nothing(target, part=True)
    have = target.with_name(target.name + ".part").stat().st_size
    get(Remote(url, SHA256), target)
    assert_complete(target)
    assert publisher.ranges() == [None, f"bytes={have}-"]
    assert have > HALF


@pytest.fixture(scope="module")
def lasting():
    with publishing() as server:
        yield server


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3000), max_size=8), st.integers(1, 4000), st.booleans())
def test_any_breaks_give_the_same_file(tmp_path_factory, lasting, cuts, size, ranges):
    """However often and wherever the connection breaks."""
    content = random.Random(size).randbytes(size)
    target = tmp_path_factory.mktemp("cuts") / "net"
    breaks = [serve(stop_after=cut, ranges=ranges) for cut in cuts if cut < size]
    remote = Remote(lasting.put("/net", content, *breaks), hashlib.sha256(content).hexdigest())
    download(remote, target, patience=Patience(2.0, 10, 0.0))
    assert target.read_bytes() == content


def test_a_server_that_ignores_ranges_starts_over(publisher, target):
    url = publisher.put("/net.onnx", CONTENT, serve(stop_after=HALF), serve(ranges=False))
    get(Remote(url, SHA256), target)
    assert_complete(target)


def test_a_file_that_changed_meanwhile_starts_over(publisher, target):
    old = random.Random(1).randbytes(len(CONTENT))
    url = publisher.put("/net.onnx", old, serve(stop_after=HALF), status(503), status(503))
    with pytest.raises(DownloadError, match="gave up"):
        get(Remote(url), target)
    assert_nothing(target, part=True)
    publisher.put("/net.onnx", CONTENT)
    get(Remote(url), target)
    assert_complete(target)
    assert publisher.requests[-1].headers["if-range"] == etag_of(old)


def test_a_changed_file_from_a_server_that_ignores_conditions_starts_over(publisher, target):
    old = random.Random(1).randbytes(len(CONTENT))
    rude = {"if_range": False, "date": False}
    url = publisher.put("/net.onnx", old, serve(stop_after=HALF, **rude), *[status(503)] * 2)
    with pytest.raises(DownloadError):
        get(Remote(url), target)
    publisher.put("/net.onnx", CONTENT, serve(**rude), serve(**rude))
    said = []
    get(Remote(url), target, say=said.append)
    assert_complete(target)
    assert "was changed" in said[0]
    assert publisher.ranges()[-2:] == [f"bytes={HALF}-", None]


def test_two_halves_that_do_not_fit_are_found_by_the_hash(publisher, target):
    """The same validators, another content: only the hash tells."""
    bad = bytes(HALF)
    drop = serve(etag='"same"', stop_after=HALF)
    url = publisher.put("/net.onnx", bad + CONTENT[HALF:], drop, *[status(503)] * 2)
    with pytest.raises(DownloadError):
        get(Remote(url, SHA256), target)
    publisher.put("/net.onnx", CONTENT, *[serve(etag='"same"')] * 2)
    said = []
    get(Remote(url, SHA256), target, say=said.append)
    assert_complete(target)
    assert "anew" in said[-1]
    assert publisher.ranges()[-2:] == [f"bytes={HALF}-", None]


def test_a_part_that_was_complete_is_only_verified(publisher, target):
    url = publisher.put("/net.onnx", CONTENT)
    get(Remote(url, SHA256), target)
    part = target.rename(target.with_name(target.name + ".part"))
    facts = {"url": url, "etag": etag_of(CONTENT), "total": len(CONTENT)}
    part.with_name(part.name + ".json").write_text(json.dumps(facts))
    get(Remote(url, SHA256), target)
    assert_complete(target)
    assert len(publisher.requests) == 1


def test_a_part_longer_than_the_file_starts_over(publisher, target):
    url = publisher.put("/net.onnx", CONTENT)
    target.parent.mkdir()
    part = target.with_name(target.name + ".part")
    part.write_bytes(CONTENT + b"and more")
    part.with_name(part.name + ".json").write_text(json.dumps({"url": url, "etag": '"1"'}))
    publisher.script["/net.onnx"] = [serve(etag='"1"')]
    get(Remote(url, SHA256), target)
    assert_complete(target)


@pytest.mark.parametrize("facts", ["", "{", "[]", '{"url": 3}', '{"url": "http://else/where"}'])
def test_a_part_of_unknown_origin_starts_over(publisher, target, facts):
    url = publisher.put("/net.onnx", CONTENT)
    target.parent.mkdir()
    part = target.with_name(target.name + ".part")
    part.write_bytes(bytes(HALF))
    part.with_name(part.name + ".json").write_text(facts)
    get(Remote(url, SHA256), target)
    assert_complete(target)
    assert publisher.ranges() == [None]


@pytest.mark.parametrize("trouble", [status(500), status(502), status(503), status(429), hang_up],
                         ids=["500", "502", "503", "429", "hang up"])  # fmt: skip
def test_passing_troubles_pass(publisher, target, trouble):
    url = publisher.put("/net.onnx", CONTENT, trouble, trouble)
    get(Remote(url, SHA256), target)
    assert_complete(target)
    assert len(publisher.requests) == 3


def test_a_server_says_when_to_come_back(publisher, target, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    later = status(503, ("Retry-After", "7"))
    long_ago = status(503, ("Retry-After", DATE))
    url = publisher.put("/net.onnx", CONTENT, later, long_ago)
    get(Remote(url, SHA256), target)
    assert waits == [7.0, 0.0]


def test_waits_grow_and_end(publisher, target, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    url = publisher.put("/net.onnx", CONTENT, *[status(500)] * 9)
    with pytest.raises(DownloadError, match="gave up after 4 attempts"):
        get(Remote(url, SHA256), target, patience=Patience(2.0, 4, 1.0))
    assert waits == [1.0, 2.0, 4.0]
    assert len(publisher.requests) == 4


@pytest.mark.parametrize(
    ("code", "message"),
    [(404, "no such file any more"), (410, "mirror"), (403, "refused"), (451, "451"), (204, "204")],
)
def test_final_refusals_are_not_repeated(publisher, target, code, message):
    url = publisher.put("/net.onnx", CONTENT, status(code), status(code))
    with pytest.raises(DownloadError, match=message):
        get(Remote(url, SHA256), target)
    assert len(publisher.requests) == 1
    assert_nothing(target)


def test_redirects_are_followed_with_the_range(publisher, target):
    publisher.put("/b", CONTENT, serve(stop_after=HALF))
    url = publisher.put("/a", CONTENT, redirect("/b", 301), redirect(publisher.address + "/b"))
    done = get(Remote(url, SHA256), target)
    assert_complete(target)
    assert publisher.ranges() == [None, None, f"bytes={HALF}-", f"bytes={HALF}-"]
    assert done.receipt.url == url


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://x/y"]
)
def test_redirects_elsewhere_are_refused(publisher, target, to):
    url = publisher.put("/net.onnx", CONTENT, redirect(to))
    with pytest.raises(DownloadError, match="redirects"):
        get(Remote(url, SHA256), target)
    assert_nothing(target)


def test_redirects_in_circles_end(publisher, target):
    url = publisher.put("/net.onnx", CONTENT, *[redirect("/net.onnx")] * 50)
    with pytest.raises(DownloadError):
        get(Remote(url, SHA256), target)
    assert_nothing(target)
    assert len(publisher.requests) < 20


def test_a_silent_server_is_left_and_taken_up_again(publisher, target):
    stall = serve(pause_s=20, pause_after=HALF)
    url = publisher.put("/net.onnx", CONTENT, stall)
    begun = time.monotonic()
    get(Remote(url, SHA256), target, patience=Patience(0.3, 3, 0.01))
    assert time.monotonic() - begun < 15
    assert_complete(target)
    assert publisher.ranges() == [None, f"bytes={HALF}-"]


def test_a_trickle_is_no_answer(publisher, target):
    """Never silent long enough for a timeout, and never done."""
    content = bytes(64)
    url = publisher.put("/net.onnx", content, *[serve(pause_s=0.15)] * 2)
    said = []
    remote = Remote(url, hashlib.sha256(content).hexdigest())
    get(remote, target, patience=Patience(0.4, 3, 0.01), say=said.append)
    assert all("bytes came in" in sentence for sentence in said)
    assert said
    assert target.read_bytes() == content


def test_a_corrupt_file_is_not_kept(publisher, target):
    bad = CONTENT[:HALF] + bytes([CONTENT[HALF] ^ 1]) + CONTENT[HALF + 1 :]
    url = publisher.put("/net.onnx", CONTENT, corrupted(bad))
    with pytest.raises(DownloadError, match=f"expected {SHA256[:12]}"):
        get(Remote(url, SHA256, len(CONTENT)), target)
    assert_nothing(target)
    get(Remote(url, SHA256, len(CONTENT)), target)
    assert_complete(target)


@pytest.mark.parametrize("how", [{"length": 500}, {"length": -500}], ids=["longer", "shorter"])
def test_a_wrong_length_is_noticed(publisher, target, how):
    url = publisher.put("/net.onnx", CONTENT, *[serve(**how)] * 9)
    with pytest.raises(DownloadError):
        get(Remote(url, SHA256), target)
    assert not target.exists()


@pytest.mark.parametrize("length", [500, -500])
def test_a_length_that_is_not_the_known_one_is_another_file(publisher, target, length):
    url = publisher.put("/net.onnx", CONTENT, serve(length=length))
    with pytest.raises(DownloadError, match=f"expected {len(CONTENT)}"):
        get(Remote(url, SHA256, len(CONTENT)), target)
    assert_nothing(target)
    assert len(publisher.requests) == 1


def test_a_length_is_not_needed(publisher, target):
    url = publisher.put("/net.onnx", CONTENT, serve(announce_length=False))
    seen = []
    get(Remote(url, SHA256), target, progress=lambda *state: seen.append(state))
    assert_complete(target)
    assert seen[-1] == (len(CONTENT), None)


def test_truncation_without_a_length_is_noticed_by_the_known_size(publisher, target):
    cut = serve(announce_length=False, stop_after=HALF)
    url = publisher.put("/net.onnx", CONTENT, cut)
    get(Remote(url, SHA256, len(CONTENT)), target)
    assert_complete(target)
    assert publisher.ranges() == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize("announced", [True, False])
def test_files_beyond_the_limit_are_refused(publisher, target, announced):
    url = publisher.put("/net.onnx", CONTENT, serve(announce_length=announced))
    with pytest.raises(DownloadError, match=str(HALF)):
        get(Remote(url, SHA256, limit_bytes=HALF), target)
    assert_nothing(target)


@pytest.mark.parametrize(
    "header", [("Content-Type", "text/html; charset=utf-8"), ("Content-Encoding", "gzip")]
)
def test_a_web_page_is_no_network(publisher, target, header):
    url = publisher.put("/net.onnx", CONTENT, serve(headers=(header,)))
    with pytest.raises(DownloadError, match="not the file"):
        get(Remote(url, SHA256), target)
    assert_nothing(target)


def test_without_a_stated_hash_the_first_download_is_the_measure(publisher, target):
    url = publisher.put("/net.onnx", CONTENT)
    done = get(Remote(url), target)
    assert (done.receipt.sha256, done.receipt.expected) == (SHA256, "")
    publisher.put("/net.onnx", CONTENT[::-1])
    with pytest.raises(DownloadError, match="states no hash"):
        get(Remote(url), target, force=True)
    assert_complete(target)  # the first file is still there
    receipt_path(target).unlink()
    assert get(Remote(url), target).receipt.sha256 != SHA256


def test_a_mirror_is_asked_instead(publisher, target):
    publisher.put("/copies/models.example.org/v1/net.onnx", CONTENT)
    url = "https://models.example.org/v1/net.onnx"
    done = get(Remote(url, SHA256, mirror=f"{publisher.address}/copies/"), target)
    assert_complete(target)
    assert done.receipt.url == url
    assert done.receipt.fetched_from.startswith(publisher.address)


@pytest.mark.parametrize("mirror", ["models.example.org", "ftp://x", "file:///x", "https://x/?a=b"])
def test_mirrors_that_are_no_web_addresses_are_refused(target, mirror):
    with pytest.raises(OptionError, match="mirror"):
        mirrored("https://models.example.org/net.onnx", mirror)
    with pytest.raises(OptionError, match="mirror"):
        get(Remote("https://models.example.org/net.onnx", mirror=mirror), target)
    assert not target.parent.exists()


FETCHING = """
import sys
from pathlib import Path
from flowtrack.zoo.download import download
from flowtrack.zoo.transfer import Remote
print(download(Remote(sys.argv[1], sys.argv[2]), Path(sys.argv[3])).cached)
"""


def test_several_processes_at_once_download_once(publisher, target):
    url = publisher.put("/net.onnx", CONTENT, serve(pause_s=0.15))
    words = [sys.executable, "-c", FETCHING, url, SHA256, target]
    workers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = sorted(worker.communicate(timeout=30)[0].strip() for worker in workers)
    assert said == ["False", "True", "True"]
    assert len(publisher.requests) == 1
    assert_complete(target)


def test_who_waits_for_another_says_so(publisher, target):
    url = publisher.put("/net.onnx", CONTENT)
    said = []
    target.parent.mkdir()
    holding, release = threading.Event(), threading.Event()

    def hold():
        with cache.locked(target, lambda: None):
            holding.set()
            release.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait(5)
    threading.Timer(0.1, release.set).start()
    get(Remote(url, SHA256), target, say=said.append)
    holder.join()
    assert said == ["another process downloads net.onnx; waiting for it"]


def test_a_full_disk_is_seen_before_anything_is_written(publisher, target, monkeypatch):
    url = publisher.put("/net.onnx", CONTENT)
    usage = shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="make room"):
        get(Remote(url, SHA256), target)
    assert_nothing(target)


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "full"), (errno.EDQUOT, "full"), (errno.EACCES, "permission"),
     (errno.EROFS, "permission"), (errno.EIO, "cannot write")],
)  # fmt: skip
def test_troubles_of_the_disk_become_sentences(publisher, target, monkeypatch, number, message):
    url = publisher.put("/net.onnx", CONTENT)

    class Broken(io.BytesIO):
        def write(self, _):
            raise OSError(number, "trouble")

    usual = type(target).open

    def opened(path, mode="r", *rest, **options):
        broken = path.name.endswith(".part") and "b" in mode and mode != "rb"
        return Broken() if broken else usual(path, mode, *rest, **options)

    monkeypatch.setattr(type(target), "open", opened)
    with pytest.raises(OutputError, match=message):
        get(Remote(url, SHA256), target)
    assert not target.exists()


def test_a_folder_that_cannot_be_is_refused(publisher, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        get(Remote(publisher.address + "/x", SHA256), tmp_path / "file" / "net.onnx")
    assert not publisher.requests
