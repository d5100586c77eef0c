"""`flowtrack fetch`: from a publisher on this machine to a tracked clip."""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import sys

import pytest
from rich.console import Console

from examples.puppets.clip import ClipOptions, write
from examples.puppets.demo import make_bundle
from flowtrack.zoo import networks as zoo_networks
from flowtrack.zoo.catalogue import load_catalogue
from tests.cli.test_commands import invoke
from tests.zoo.publisher import publishing, serve, status
from tests.zoo.samples import (
    HOST,
    Entry,
    publish,
    tiny_simcc,
    tiny_yolox,
    write_catalogue,
    zipped,
)

CLIP = ClipOptions(frames=5)


def flat(output):
    return " ".join(output.split())


@pytest.fixture(scope="module")
def puppets(tmp_path_factory):
    """The puppets' networks as a publisher would offer them, the pose network in an archive."""
    folder = tmp_path_factory.mktemp("puppets")
    make_bundle(folder, CLIP)
    write(folder, CLIP, name="clip")
    return folder / "clip", [
        Entry("puppet-detector", "detector", "onnx", (folder / "detector.onnx").read_bytes(),
              'decode = "boxes"', 'height = 480, width = 640, color = "bgr"'),
        Entry("puppet-pose", "pose", "zip", zipped((folder / "pose.onnx").read_bytes()),
              'decode = "keypoints", skeleton = "coco-17"',
              'height = 256, width = 192, color = "rgb"', extra='member = "end2end.onnx"'),
    ]  # fmt: skip


@pytest.fixture
def shop(tmp_path, monkeypatch, puppets):
    """A publisher of small networks, and how to fetch from it."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    entries = [*puppets[1], tiny_yolox(), tiny_simcc()]
    write_catalogue(
        tmp_path / "shop.toml", entries,
        ("puppets", "puppet-detector", "puppet-pose"), ("tiny", "tiny-yolox", "tiny-simcc"),
    )  # fmt: skip
    with publishing() as publisher:
        publish(publisher, entries)

        def fetch(*words, mirror=True):
            options = ["--mirror", publisher.address] if mirror else []
            return invoke("fetch", *words, "--catalogue", tmp_path / "shop.toml", *options)

        yield publisher, fetch


def test_the_list_says_what_there_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "180")  # nothing is folded
    shown = invoke("fetch")
    assert shown.exit_code == 0
    catalogue = load_catalogue()
    for name in [*catalogue.networks, *catalogue.combinations]:
        assert name in shown.output
    for words in ("Apache-2.0", "101.3", "(publisher)", "(others)", "(others, unpacked)"):
        assert words in flat(shown.output)


def test_the_list_for_machines():
    told = json.loads(invoke("fetch", "--list", "--json").stdout)
    networks = {entry["name"]: entry for entry in told["networks"]}
    assert networks.keys() == load_catalogue().networks.keys()
    yolox = networks["yolox-nano"]
    assert yolox["file"]["size_bytes"] == 3659407
    assert yolox["accuracy"] == {
        "value": 25.8,
        "metric": "box AP",
        "on": "COCO val2017, 80 classes",
    }
    assert (yolox["part"], yolox["licence"]) == ("detector", "Apache-2.0")
    assert {entry["name"] for entry in told["combinations"]} >= {"paper", "light"}


def test_a_part_of_the_list():
    shown = invoke("fetch", "--list", "light")
    assert "rtmpose-t" in shown.output
    assert "yolox-m" not in shown.output


def test_a_combination_becomes_a_bundle_that_tracks(shop, puppets, tmp_path):
    publisher, fetch = shop
    done = fetch("puppets", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["path"], result["kind"]) == ("puppets.bundle", "bundle")
    assert [item["cached"] for item in result["networks"]] == [False, False]
    assert all(item["url"].startswith(f"https://{HOST}/") for item in result["networks"])
    own = puppets[0].parent / "puppets.bundle"
    for bundle, out in ((result["path"], "fetched"), (own, "own")):
        tracked = invoke("track", puppets[0], "--bundle", bundle, "--out", out,
                         "--formats", "jsonl")  # fmt: skip
        assert tracked.exit_code == 0, tracked.output
    lines = [(tmp_path / out / "clip.jsonl").read_text() for out in ("fetched", "own")]
    assert lines[0] == lines[1]
    assert lines[0].count('"id"') > CLIP.frames
    # The same command again finds it there; with --force it is made from fresh downloads.
    asked = len(publisher.requests)
    again = fetch("puppets", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["there_already"]
    assert len(publisher.requests) == asked
    forced = fetch("puppets", "--force", "--json")
    assert not json.loads(forced.stdout)["there_already"]
    assert len(publisher.requests) == 2 * asked


def test_a_detector_and_a_pose_network_become_a_bundle(shop, tmp_path):
    _, fetch = shop
    done = fetch("tiny-simcc", "puppet-detector", "--out", "both.zip")
    assert done.exit_code == 0, done.output
    assert "flowtrack track" in flat(done.output)
    manifest = json.loads(invoke("inspect", "both.zip", "--json").stdout)
    assert (manifest["detector"]["decode"], manifest["pose"]["decode"]) == ("boxes", "simcc")
    assert invoke("verify", "both.zip").exit_code == 0
    assert fetch("tiny-simcc", "puppet-detector").exit_code == 0
    assert (tmp_path / "tiny-simcc+puppet-detector.bundle").is_dir()


def test_one_network_is_a_file_that_bundle_takes_over(shop, tmp_path):
    _, fetch = shop
    results = [
        json.loads(fetch(name, "--json").stdout) for name in ("puppet-detector", "tiny-simcc")
    ]
    detector, pose = results
    assert (detector["kind"], pose["kind"]) == ("detector", "pose")
    words = [word for result in results for word in
             (f"--{result['kind']}", result["path"], *result["bundle_options"])]  # fmt: skip
    made = invoke("bundle", "own.bundle", *words)
    assert made.exit_code == 0, made.output
    manifest = json.loads((tmp_path / "own.bundle" / "manifest.json").read_text())
    assert manifest["pose"]["file"]["source"]["name"] == "tiny-simcc"
    assert manifest["pose"]["file"]["input"]["mean"] == [123.675, 116.28, 103.53]


def test_a_yolox_file_is_taken_over_as_it_says(shop, tmp_path):
    _, fetch = shop
    results = [json.loads(fetch(name, "--json").stdout) for name in ("tiny-yolox", "tiny-simcc")]
    words = [word for result in results for word in
             (f"--{result['kind']}", result["path"], *result["bundle_options"])]  # fmt: skip
    made = invoke("bundle", "own.bundle", *words)
    assert made.exit_code == 0, made.output
    manifest = json.loads((tmp_path / "own.bundle" / "manifest.json").read_text())
    assert manifest["detector"]["file"]["input"]["color"] == "bgr"


def test_what_was_downloaded_is_shown_and_used_again(shop, tmp_path):
    publisher, fetch = shop
    first = fetch("tiny-yolox", "--out", "a.onnx")
    assert "from 127.0.0.1" in flat(first.output)
    assert (tmp_path / "xdg/flowtrack/networks/tiny-yolox/tiny-yolox.onnx").is_file()
    second = fetch("tiny-yolox", "--out", "b.onnx")
    assert "downloaded before" in flat(second.output)
    assert len(publisher.requests) == 1
    assert "(downloaded)" in flat(fetch("--list", mirror=False).output)
    elsewhere = fetch("tiny-yolox", "--out", "c.onnx", "--cache", tmp_path / "other")
    assert elsewhere.exit_code == 0
    assert len(publisher.requests) == 2


def test_a_terminal_sees_a_bar_with_a_rate(shop, monkeypatch):
    publisher, fetch = shop
    seen = io.StringIO()
    terminal = Console(file=seen, force_terminal=True, width=120)
    monkeypatch.setattr(sys.modules["flowtrack.cli.fetch"], "err", terminal)
    place = f"/{HOST}/v1/puppet-detector.onnx"
    publisher.script[place] = [serve(pause_s=0.05)]
    assert fetch("puppet-detector").exit_code == 0
    size = len(publisher.files[place]) / 1000
    assert f"{size:.1f} kB" in seen.getvalue()
    assert re.search(r"puppet-detector .*kB/s", seen.getvalue())


def test_an_interrupted_fetch_goes_on(shop, tmp_path):
    publisher, fetch = shop
    place = f"/{HOST}/v1/tiny-yolox.onnx"
    content = publisher.files[place]
    half = len(content) // 2
    publisher.script[place] = [serve(stop_after=half), status(404)]
    broken = fetch("tiny-yolox")
    assert broken.exit_code == 1
    assert "no such file any more" in flat(broken.output)
    assert not (tmp_path / "tiny-yolox.onnx").exists()
    assert fetch("tiny-yolox").exit_code == 0
    assert publisher.ranges()[-1] == f"bytes={half}-"
    assert (tmp_path / "tiny-yolox.onnx").read_bytes() == content


def test_a_file_without_a_stated_hash_is_recorded(shop, tmp_path):
    publisher, fetch = shop
    entry = tiny_yolox()
    entry.sha256 = ""
    write_catalogue(tmp_path / "shop.toml", [entry])
    first = fetch("tiny-yolox", "--out", "a.onnx")
    assert "states no hash" in flat(first.output)
    (receipt,) = (tmp_path / "xdg").rglob("*.receipt.json")
    assert json.loads(receipt.read_text())["sha256"] in first.output.replace("\n", "")
    facts = json.loads((tmp_path / "a.onnx.json").read_text())["source"]
    assert facts["sha256"] == json.loads(receipt.read_text())["sha256"]
    assert facts["sha256_expected"] is None
    publisher.files[f"/{HOST}{entry.place}"] = random.Random(0).randbytes(len(entry.content))
    changed = fetch("tiny-yolox", "--out", "b.onnx", "--force")
    assert changed.exit_code == 1
    assert "states no hash" in flat(changed.output)


def wrong_hash(publisher, place):
    content = bytearray(publisher.files[place])
    content[len(content) // 2] ^= 1
    publisher.files[place] = bytes(content)


def gone(publisher, place):
    del publisher.files[place]


def larger(publisher, place):
    publisher.files[place] += b"more"


@pytest.mark.parametrize(
    ("damage", "message"),
    [(wrong_hash, "was not kept"), (gone, "no such file any more"), (larger, "it is another file")],
)
def test_a_wrong_file_ends_with_1_and_a_sentence(shop, tmp_path, damage, message):
    publisher, fetch = shop
    damage(publisher, f"/{HOST}/v1/tiny-simcc.zip")
    before = {path.name for path in tmp_path.iterdir()}
    refused = fetch("tiny")
    assert refused.exit_code == 1, refused.output
    assert message in flat(refused.output)
    assert {path.name for path in tmp_path.iterdir()} - before == {"xdg"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tinny"], "did you mean tiny"),
        (["tiny", "puppets"], "2 detectors and 2 pose networks"),
        (["tiny-yolox", "puppet-detector"], "2 detectors and 0 pose networks"),
        (["tiny-yolox", "--out", "net.bundle"], "ends in .onnx"),
        (["tiny", "--mirror", "ftp://models.example.org"], "mirror"),
        (["--list", "--force"], "--force would be ignored"),
        (["--out", "x"], "--out"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_is_asked(shop, tmp_path, words, message):
    publisher, fetch = shop
    refused = fetch(*words, mirror=False)
    assert refused.exit_code == 2, refused.output
    assert message in flat(refused.output)
    assert not publisher.requests
    assert {path.name for path in tmp_path.iterdir()} <= {"shop.toml"}


def test_what_is_there_is_not_replaced_unasked(shop, tmp_path):
    publisher, fetch = shop
    (tmp_path / "tiny-yolox.onnx").write_text("mine")
    (tmp_path / "tiny.bundle").mkdir()
    for words in (["tiny-yolox"], ["tiny"], ["tiny", "--force"]):
        refused = fetch(*words)
        assert refused.exit_code == 1
        assert "exists" in flat(refused.output)
    assert not publisher.requests
    assert fetch("tiny-yolox", "--force").exit_code == 0
    assert (tmp_path / "tiny-yolox.onnx").read_bytes() == tiny_yolox().content


def test_another_catalogue_that_is_wrong_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("[networks.x]\npart = 3\n")
    refused = invoke("fetch", "--catalogue", tmp_path / "bad.toml")
    assert refused.exit_code == 1
    assert "networks.x" in flat(refused.output)


def test_checkpoints_are_refused_without_pytorch_before_the_download(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo_networks, "find_spec", lambda name: None)
    refused = invoke("fetch", "paper", "--cache", tmp_path / "cache")
    assert refused.exit_code == 1
    assert "flowtrack[export]" in flat(refused.output)
    assert not list(tmp_path.iterdir())


NO_NETWORK = """
import socket, sys, time

def unknown(*_, **__):
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

socket.getaddrinfo = unknown
time.sleep = lambda _: None
from flowtrack.cli import main
main()
"""


def test_without_a_network_there_is_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, "fetch", "light", "--cache", tmp_path / "cache"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the host github.com cannot be found" in flat(done.stderr)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("light*"))


LOADED = """
import json, sys
from flowtrack.cli import app
try:
    app()
finally:
    print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def loaded(words, cwd):
    done = subprocess.run([sys.executable, "-c", LOADED, *words], cwd=cwd, capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(re.findall(r"^\[.*\]$", done.stderr, re.M)[-1]))


def test_neither_listing_nor_fetching_onnx_loads_torch_or_onnx(shop, tmp_path):
    publisher, _ = shop
    listing = loaded(["fetch"], tmp_path)
    assert not listing & {"torch", "onnx", "onnxruntime", "cv2", "numba", "numpy"}
    fetching = loaded(["fetch", "tiny", "--catalogue", str(tmp_path / "shop.toml"), "--mirror",
                       publisher.address], tmp_path)  # fmt: skip
    assert not fetching & {"torch", "onnx", "onnxscript"}
    assert "onnxruntime" in fetching
