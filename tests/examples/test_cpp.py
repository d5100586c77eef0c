"""The C++ program: it builds without a warning, and tracks as the Python runtime does."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowtrack.export.frame_bundle import frame_bundle
from flowtrack.runtime import open_bundle, open_pipeline
from flowtrack.runtime.default import default_bundle_path
from flowtrack.structs import Frame
from flowtrack.synthetic import ClipOptions, render_clip
from flowtrack.tracker.options import preset

openvino = pytest.importorskip("openvino", reason="the C++ program runs on OpenVINO")

FOLDER = Path(__file__).parents[2] / "examples" / "cpp"
THRESHOLDS = {"box_threshold": 0.15, "nms_iou": 0.6, "min_similarity": 0.05}

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None,
    reason="building it needs cmake and a C++ compiler",
)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpp")
    found = Path(openvino.__file__).parent / "cmake"
    flags = [f"-DOpenVINO_DIR={found}", "-DCMAKE_CXX_FLAGS=-Werror", "-DCMAKE_BUILD_TYPE=Debug"]
    subprocess.run(["cmake", "-S", FOLDER, "-B", folder, *flags], check=True, capture_output=True)
    done = subprocess.run(["cmake", "--build", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "track"


@pytest.fixture(scope="module")
def clip():
    options = ClipOptions(width=320, height=240, frames=10, people=4, seed=3, scale=(0.5, 0.7))
    return [Frame(f.index, f.time_s, f.image) for f in render_clip(options)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, clip):
    folder = tmp_path_factory.mktemp("framed") / "framed.bundle"
    frame_bundle(open_bundle(default_bundle_path()), folder, [f.image for f in clip[:2]])
    return folder


def track(program, *words, frames=b""):
    command = [str(word) for word in (program, *words)]
    return subprocess.run(command, input=frames, capture_output=True, timeout=120)


def test_the_same_people_joints_and_ids_as_in_python(program, bundle, clip):
    options = replace(preset("b5"), **THRESHOLDS)
    pipeline = open_pipeline(bundle, options, device="openvino")
    expected = [tracked for _, tracked in pipeline.run(iter(clip))]
    words = [
        word
        for name, value in THRESHOLDS.items()
        for word in (f"--{name.replace('_', '-')}", value)
    ]
    raw = b"".join(np.ascontiguousarray(frame.image).tobytes() for frame in clip)
    done = track(program, bundle, 320, 240, *words, frames=raw)
    assert done.returncode == 0, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(len(clip)))
    distances = []
    for line, tracked in zip(lines, expected, strict=True):
        people, poses = line["people"], tracked.poses
        assert [person["id"] for person in people] == tracked.tracks.id.tolist()
        if not people:
            continue
        boxes = np.array([person["box"] for person in people])
        np.testing.assert_allclose(boxes, poses.box, atol=0.05)
        scores = [person["score"] for person in people]
        np.testing.assert_allclose(scores, poses.instance_score, atol=0.01)
        gone = [[joint is None for joint in person["keypoints"]] for person in people]
        np.testing.assert_array_equal(gone, poses.missing)
        joints = [[joint or [np.nan] * 3 for joint in p["keypoints"]] for p in people]
        distances.append(np.abs(np.array(joints)[..., :2] - poses.xy))
    apart = np.concatenate(distances)
    assert np.isfinite(apart).sum() > 300
    # A joint that sits between two cells may fall to either.
    assert np.nanpercentile(apart, 99) < 0.02
    assert max(person["id"] for line in lines for person in line["people"]) >= 2


def test_wrong_use_is_answered(program, bundle, tmp_path):
    assert track(program).returncode == 2
    assert b"usage: track BUNDLE WIDTH HEIGHT" in track(program, bundle, 320).stderr
    unknown = track(program, bundle, 320, 240, "--nms", "0.5")
    assert (unknown.returncode, b"unknown option --nms" in unknown.stderr) == (2, True)
    for words in (
        (320, 0),
        (320, "240p"),
        (320, 240, "--nms-iou", ""),
        (320, 240, "--nms-iou", -1),
    ):
        bad = track(program, bundle, *words)
        assert (bad.returncode, b"expected a number" in bad.stderr) == (2, True), words
    cut = track(program, bundle, 320, 240, frames=bytes(320 * 240 * 3 + 7))
    assert (cut.returncode, len(cut.stdout.splitlines())) == (1, 1)
    assert b"ends within a frame" in cut.stderr
    pictures = track(program, default_bundle_path(), 320, 240)
    assert (pictures.returncode, b"export frame-in" in pictures.stderr) == (1, True)
    assert track(program, tmp_path / "none", 320, 240).returncode == 1
