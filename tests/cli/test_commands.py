"""The command line: what a user types, what appears, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from examples.puppets.clip import ClipOptions, write
from examples.puppets.demo import make_bundle
from flowtrack import __version__
from flowtrack.cli import app

RUNNER = CliRunner()
OPTIONS = ClipOptions(frames=6)


def invoke(*arguments):
    """Run a command; a traceback is a failure of the test."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    make_bundle(folder, OPTIONS)
    write(folder, OPTIONS, name="clip")
    return folder


@pytest.mark.parametrize(
    "words",
    [[], ["track"], ["bundle"], ["verify"], ["inspect"], ["doctor"], ["compile"],
     ["export", "frame-in"], ["export", "pose"], ["calibrate", "int8"], ["calibrate", "fp16"],
     ["eval", "coco"], ["eval", "detector"], ["eval", "flow"], ["eval", "posetrack"],
     ["calibrate", "thresholds"],
     ["export", "flow"], ["export", "detector"], ["fetch"], ["demo"], ["train", "pose"],
     ["train", "detector"], ["train", "flow"], ["train", "recipes"]],
)  # fmt: skip
def test_help_explains_every_command(words):
    result = invoke(*words, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_version():
    assert invoke("--version").output.strip() == f"flowtrack {__version__}"


def test_track_writes_every_format(place, tmp_path):
    out = tmp_path / "out"
    result = invoke(
        "track", place / "clip", "--bundle", place / "puppets.bundle", "--out", out,
        "--formats", "jsonl,posetrack,posetrack18,mp4", "--draw-boxes", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (summary,) = json.loads(result.stdout)
    assert (summary["clip"], summary["frames"], summary["error"]) == ("clip", 6, None)
    names = {"clip.jsonl", "clip.posetrack.json", "clip.posetrack18.json", "clip.mp4"}
    assert {path.name for path in out.iterdir()} == names
    lines = [json.loads(line) for line in (out / "clip.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    for line in lines:
        ids = [person["id"] for person in line["people"]]
        assert ids == sorted(set(ids))
        assert all(len(person["keypoints"]) == 17 for person in line["people"])
    assert summary["people"] == len({p["id"] for line in lines for p in line["people"]})
    assert set(summary["timing_ms"]) >= {"detector.engine", "flow.engine", "pose.engine", "assign"}


def test_options_reach_the_tracker(place, tmp_path):
    """Without propagation and with an impossible gate every person is new in every frame."""
    result = invoke(
        "track", place / "clip", "--bundle", place / "puppets.bundle", "--out", tmp_path,
        "--formats", "jsonl", "--similarity", "pose", "--no-propagate", "--min-similarity", "1",
        "--max-frames", "3", "--json",
    )  # fmt: skip
    (summary,) = json.loads(result.stdout)
    lines = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines()]
    assert summary["frames"] == 3
    assert summary["people"] == sum(len(line["people"]) for line in lines) > 3
    assert "flow.engine" not in summary["timing_ms"]


def test_a_preset_is_a_start_that_options_change(place, tmp_path):
    plain = ("track", place / "clip", "--bundle", place / "puppets.bundle", "--formats", "jsonl")
    assert invoke(*plain, "--out", tmp_path, "--preset", "a2", "--max-frames", 2).exit_code == 0
    changed = invoke(*plain, "--out", tmp_path, "--preset", "a6", "--pose-nms", "0.7",
                     "--queue", "3", "--max-frames", 2)  # fmt: skip
    assert changed.exit_code == 0, changed.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--similarity", "iou"], "similarity"),
        (["--preset", "z9"], "z9"),
        (["--queue", "0"], "queue"),
        (["--queue", "3", "--similarity", "flow"], "multi_flow"),
        (["--pose-nms", "sometimes"], "sometimes"),
        (["--detect-every", "2", "--no-propagate"], "detect_every"),
        (["--formats", "avi"], "avi"),
        (["--formats", "jsonl", "--draw-boxes"], "mp4"),
        (["--device", "tpu"], "tpu"),
        (["--stride", "0"], "stride"),
        (["--fps", "-3"], "fps"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_is_written(place, tmp_path, arguments, message):
    out = tmp_path / "out"
    result = invoke(
        "track", place / "clip", "--bundle", place / "puppets.bundle", "--out", out, *arguments
    )
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert not out.exists() or not list(out.iterdir())


def text_named_mp4(folder):
    (folder / "notes.mp4").write_text("these are not the frames you are looking for\n" * 50)
    return folder / "notes.mp4"


def empty_folder(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nothing.mp4", "nothing.mp4"),
        (text_named_mp4, "notes.mp4"),
        (empty_folder, "empty"),
        (lambda folder: folder / "*.mkv", "matches"),
        (lambda _: "99", "99"),
    ],
)
def test_a_bad_source_ends_with_1_and_a_sentence(place, tmp_path, make, message):
    out = tmp_path / "out"
    result = invoke("track", make(tmp_path), "--bundle", place / "puppets.bundle", "--out", out)
    assert result.exit_code == 1
    assert "error:" in result.output
    assert message in result.output.replace("\n", "")
    assert not out.exists() or not list(out.iterdir())


def test_one_bad_source_does_not_keep_the_others(place, tmp_path):
    bad = text_named_mp4(tmp_path)
    out = tmp_path / "out"
    result = invoke(
        "track", bad, place / "clip", "--bundle", place / "puppets.bundle", "--out", out,
        "--formats", "jsonl", "--json",
    )  # fmt: skip
    assert result.exit_code == 1
    assert [path.name for path in out.iterdir()] == ["clip.jsonl"]
    broken, good = json.loads(result.stdout)
    assert "notes.mp4" in broken["error"]
    assert good["error"] is None


def test_a_truncated_video_keeps_what_could_be_read(place, tmp_path):
    import av

    whole = tmp_path / "whole.mkv"
    with av.open(whole, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.options = {"g": "5"}
        rng = np.random.default_rng(0)
        for _ in range(30):
            noise = cv2.resize(rng.integers(0, 255, (60, 80, 3), np.uint8), (640, 480))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="bgr24")))
        container.mux(stream.encode())
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = invoke(
        "track", cut, "--bundle", place / "puppets.bundle", "--out", tmp_path / "out",
        "--formats", "jsonl", "--json",
    )  # fmt: skip
    (summary,) = json.loads(result.stdout)
    lines = (tmp_path / "out" / "cut.jsonl").read_text().splitlines()
    assert 5 < len(lines) == summary["frames"] < 30


def test_verify_and_inspect(place):
    bundle = place / "puppets.bundle"
    verified = json.loads(invoke("verify", bundle, "--json").stdout)
    assert verified["ok"]
    assert verified["timing_ms"]["pose.engine"] > 0
    manifest = json.loads(invoke("inspect", bundle, "--json").stdout)
    assert manifest["skeleton"] == "coco-17"
    assert "coco-17" in invoke("inspect", bundle).output
    assert "good" in invoke("verify", bundle).output


def broken(place, folder, damage):
    """A copy of the bundle after `damage(folder, manifest)`."""
    import shutil

    copy = folder / "broken.bundle"
    shutil.copytree(place / "puppets.bundle", copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    damage(copy, manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def _hash(_, manifest):
    manifest["pose"]["file"]["sha256"] = "0" * 64


def _outside(_, manifest):
    manifest["pose"]["file"]["path"] = "../pose.onnx"


def _shape(_, manifest):
    manifest["pose"]["file"]["input"]["height"] = 128


def _skeleton(_, manifest):
    manifest["skeleton"] = "octopus-8"


def _joints(_, manifest):
    manifest["skeleton"] = "aic-14"


def _onnx(folder, manifest):
    import hashlib

    data = (folder / "detector.onnx").read_bytes()[:2000]
    (folder / "detector.onnx").write_bytes(data)
    manifest["detector"]["file"]["sha256"] = hashlib.sha256(data).hexdigest()


def _gone(folder, _):
    (folder / "detector.onnx").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [(_hash, "sha256"), (_outside, "inside the bundle"), (_shape, "128"), (_skeleton, "octopus-8"),
     (_joints, "14 joints"), (_onnx, "cannot load"), (_gone, "missing")],
)  # fmt: skip
def test_a_bad_bundle_is_refused(place, tmp_path, damage, message):
    bundle = broken(place, tmp_path, damage)
    for words in (["verify", bundle], ["track", place / "clip", "--bundle", bundle]):
        result = invoke(*words, *(["--out", tmp_path / "out"] if words[0] == "track" else []))
        assert result.exit_code == 1, result.output
        assert message in result.output.replace("\n", " "), result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--detector", "nothing.onnx"], 1, "nothing.onnx"),
        (["--skeleton", "octopus-8"], 2, "octopus-8"),
        (["--detector-decode", "yolox"], 1, "1 outputs"),
        (["--skeleton", "aic-14"], 1, "14 joints"),
        (["--pose-mean", "imagenet"], 2, "uint8"),
        (["--detector-size", "big"], 2, "HEIGHTxWIDTH"),
    ],
)
def test_bundle_finds_wrong_facts_before_it_writes(place, tmp_path, options, code, message):
    target = tmp_path / "new.bundle"
    networks = ["--detector", place / "detector.onnx", "--pose", place / "pose.onnx"]
    result = invoke("bundle", target, *networks, *options)
    assert result.exit_code == code, result.output
    assert message in result.output.replace("\n", " ")
    assert not target.exists()


def test_bundle_without_flow_says_what_tracking_needs(place, tmp_path):
    target = tmp_path / "still.zip"
    networks = ["--detector", place / "detector.onnx", "--pose", place / "pose.onnx"]
    assert invoke("bundle", target, *networks, "--flow", "none").exit_code == 0
    words = ["track", place / "clip", "--bundle", target, "--out", tmp_path / "out"]
    refused = invoke(*words)
    assert refused.exit_code == 2
    assert "optical flow" in refused.output.replace("\n", " ")
    accepted = invoke(
        *words, "--similarity", "pose", "--no-propagate", "--max-frames", 2, "--formats", "jsonl"
    )
    assert accepted.exit_code == 0, accepted.output


def test_doctor_names_states_and_remedies():
    findings = json.loads(invoke("doctor", "--json").stdout)
    subjects = {finding["subject"]: finding for finding in findings}
    assert subjects["onnxruntime"]["state"] == "ok"
    assert {finding["state"] for finding in findings} <= {"ok", "missing", "broken"}
    assert all(finding["remedy"] for finding in findings if finding["state"] != "ok")


def test_doctor_shows_remedies_whole_and_fails_where_tracking_cannot_work(monkeypatch):
    from flowtrack.runtime import diagnosis

    remedy = "pip install 'flowtrack[cpu]'"
    found = [diagnosis.Finding("onnxruntime", "broken", "[not] there", remedy)]
    monkeypatch.setattr(diagnosis, "diagnose", lambda: found)
    shown = invoke("doctor")
    assert shown.exit_code == 1
    assert remedy in shown.output
    assert "[not] there" in shown.output


def test_the_command_is_installed_and_its_exit_codes_reach_the_shell(place):
    command = [sys.executable, "-c", "from flowtrack.cli import main; main()"]
    good = subprocess.run([*command, "verify", place / "puppets.bundle"], capture_output=True)
    failed = subprocess.run([*command, "verify", place / "nothing"], capture_output=True, text=True)
    misused = subprocess.run([*command, "verify", "--colour"], capture_output=True)
    assert (good.returncode, failed.returncode, misused.returncode) == (0, 1, 2)
    assert "flowtrack bundle" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_ctrl_c_keeps_the_finished_frames(place, tmp_path):
    """Sent to a run that has hours of frames before it."""
    import signal
    import time

    many = tmp_path / "many"
    many.mkdir()
    for number, picture in enumerate(sorted((place / "clip").iterdir()) * 100):
        (many / f"{number:05d}.png").symlink_to(picture)
    with subprocess.Popen(
        [sys.executable, "-c", "from flowtrack.cli import main; main()", "track", many,
         "--bundle", place / "puppets.bundle", "--out", tmp_path / "out"],
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        growing = tmp_path / "out" / ".many.jsonl.partial"
        until = time.monotonic() + 60
        while not (growing.exists() and growing.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped" in said
    assert "Traceback" not in said
    frames = [json.loads(line)["frame"] for line in (tmp_path / "out/many.jsonl").open()]
    assert frames == list(range(len(frames)))
    assert 0 < len(frames) < 600
    results = json.loads((tmp_path / "out" / "many.posetrack.json").read_text())
    assert len(results["annolist"]) == len(frames)
    assert (tmp_path / "out" / "many.mp4").stat().st_size > 0
