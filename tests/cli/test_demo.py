"""The demo: a rendered clip tracked, scored against its truth, and left to look at."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from examples.puppets.clip import ClipOptions as PuppetOptions
from examples.puppets.clip import render
from examples.puppets.demo import make_bundle
from flowtrack.cli.demo_run import run_demo
from flowtrack.errors import InputError, OutputError
from flowtrack.runtime import open_pipeline
from flowtrack.runtime.output import read_jsonl
from flowtrack.skeleton import COCO_17, POSETRACK17_15, convert_joints
from flowtrack.synthetic import SyntheticFrame
from tests.cli.test_commands import invoke
from tests.reference import poseval

OPTIONS = PuppetOptions(frames=12, people=3)


def as_synthetic(index, image, truth):
    """A frame of the puppets, whose networks are here, in the form of the rendered people."""
    height, width = image.shape[:2]
    inside = ((truth.xy >= 0) & (truth.xy <= (width - 1, height - 1))).all(axis=-1)
    seen = np.where(truth.visible, 2, np.where(inside, 1, 0)).astype(np.float32)
    xy, seen15 = convert_joints(truth.xy, seen, COCO_17, POSETRACK17_15)
    return SyntheticFrame(
        index=index,
        time_s=index / OPTIONS.fps,
        image=image,
        ids=truth.id,
        keypoints=np.concatenate([truth.xy, seen[..., None]], axis=-1),
        posetrack=np.concatenate([xy, seen15[..., None]], axis=-1),
        boxes=truth.box,
        head_boxes=truth.head_box,
        areas=np.ones(len(truth.id), np.float32),
    )


@pytest.fixture(scope="module")
def frames():
    return [as_synthetic(i, image, truth) for i, (image, truth) in enumerate(render(OPTIONS))]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), OPTIONS)


@pytest.fixture(scope="module")
def done(frames, bundle, tmp_path_factory):
    """(result, folder, how often the progress was told) of one run."""
    out = tmp_path_factory.mktemp("demo")
    steps = []
    result = run_demo(
        frames, open_pipeline(bundle), out, fps=OPTIONS.fps, progress=lambda: steps.append(1)
    )
    return result, out, len(steps)


def test_it_tracks_and_says_how_well(done):
    result, _, steps = done
    assert steps == result.frames == OPTIONS.frames
    assert result.scores.mean_ap > 90
    assert result.scores.mota > 85  # the hidden joints are labelled, and puppets hide their markers
    assert set(result.scores.joints) == set(POSETRACK17_15.joints) - {"head_bottom", "head_top"}
    assert result.scores.tracking.people == 3
    assert {"detector.engine", "flow.engine", "pose.engine", "assign"} <= set(result.timing_ms)
    assert all(ms > 0 for ms in result.timing_ms.values())


def test_everything_is_left_to_look_at(done):
    result, out, _ = done
    names = {"clip.mp4", "clip.png", "clip.posetrack.json", "clip.jsonl", "clip.truth.json"}
    assert {path.name for path in out.iterdir()} == names
    assert {path.name for path in result.files.values()} == names
    still = cv2.imread(str(out / "clip.png"))
    assert still.shape == (480, 640, 3)


def test_the_files_give_the_same_figures(done):
    """Whoever counts the written files by the slow rules comes to what was said."""
    result, out, _ = done
    truth = poseval.read_posetrack(out / "clip.truth.json")
    results = poseval.read_posetrack(out / "clip.posetrack.json")
    joints = [*poseval.JOINT_SETS["body12"], "nose"]
    assert result.scores.mota == pytest.approx(poseval.mota(truth, results, joints).total)
    assert result.scores.mean_ap == pytest.approx(poseval.mean_ap(truth, results, joints)[0])


def test_the_still_shows_most_people_near_the_middle(done, frames):
    _, out, _ = done
    counts = [len(frame.poses) for frame in read_jsonl(out / "clip.jsonl")]
    best = [i for i, count in enumerate(counts) if count == max(counts)]
    middle = (len(counts) - 1) / 2
    chosen = min(best, key=lambda i: abs(i - middle))
    still = cv2.imread(str(out / "clip.png"))
    unlike = [int((still != frame.image).any(axis=-1).sum()) for frame in frames]
    assert int(np.argmin(unlike)) == chosen
    assert 0 < unlike[chosen] < still.shape[0] * still.shape[1] / 4


def test_hidden_joints_are_part_of_the_truth(done, frames):
    result, _, _ = done
    wrist = POSETRACK17_15.index("right_wrist")
    seen = [frame.posetrack[:, wrist, 2] for frame in frames]
    assert result.scores.detections.truths[wrist] == sum(int((v > 0).sum()) for v in seen)
    assert any((v == 1).any() for v in seen)


def test_figures_are_json(done):
    result, _, _ = done
    got = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert got["MOTA"] == pytest.approx(result.scores.mota, abs=1e-3)
    assert got["frames_per_s"] == pytest.approx(result.frames / result.seconds, abs=0.01)
    assert got["files"]["still"].endswith("clip.png")


def test_it_needs_neither_torch_nor_onnx():
    code = (
        "import sys, flowtrack.cli.demo_run; "
        "print(*{name.split('.')[0] for name in sys.modules} & {'torch', 'onnx', 'onnxscript'})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert not loaded.stdout.split()


def test_nothing_to_track_and_nowhere_to_write(frames, bundle, tmp_path):
    pipeline = open_pipeline(bundle)
    with pytest.raises(InputError, match="no frames"):
        run_demo([], pipeline, tmp_path, fps=25)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        run_demo(frames[:1], pipeline, tmp_path / "file", fps=25)


def test_the_command_renders_tracks_and_scores(bundle, tmp_path):
    out = tmp_path / "demo"
    words = ["demo", "--bundle", bundle, "--out", out, "--frames", 3, "--people", 1,
             "--size", "96x128", "--seed", 3]  # fmt: skip
    shown = invoke(*words)
    assert shown.exit_code == 0, shown.output
    assert {"MOTA", "mAP", "frames/s"} <= set(shown.output.split())
    assert len(list(out.iterdir())) == 5
    again = invoke(*words, "--json")
    got = json.loads(again.stdout)
    assert (got["frames"], got["people"]) == (3, 1)
    assert got["mAP"] == 0  # the puppets' networks see markers only
    truth = poseval.read_posetrack(out / "clip.truth.json")
    assert [len(frame.people) for frame in truth] == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "big"], "HEIGHTxWIDTH"),
        (["--size", "8x8"], "picture size"),
        (["--frames", "1"], "frames"),
        (["--people", "0"], "people"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_is_rendered(bundle, tmp_path, arguments, message):
    done = invoke("demo", "--bundle", bundle, "--out", tmp_path / "demo", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not (tmp_path / "demo").exists()


def test_a_file_in_the_place_of_the_folder(bundle, tmp_path):
    (tmp_path / "demo").write_text("in the way")
    done = invoke("demo", "--bundle", bundle, "--out", tmp_path / "demo")
    assert done.exit_code == 2
    assert "expected a folder" in done.output
