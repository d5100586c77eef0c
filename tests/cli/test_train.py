"""`flowtrack train`: from a recipe to a checkpoint, killed and resumed, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_commands import invoke

torch = pytest.importorskip("torch", reason="training needs torch")

ROOT = Path(__file__).parents[2]

TINY = (
    "network.width=0.125", "network.deconv_channels=[8, 8, 8]", "network.input=[32, 32]",
    "schedule.samples=160", "schedule.validations=20",
)  # fmt: skip
"""Changes that make forty steps of four samples a matter of seconds."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from tests.training.datasets import DETECTOR_RECIPE, POSE_RECIPE, boxes_to_learn, poses_to_learn

    folder = tmp_path_factory.mktemp("data")
    poses_to_learn(folder)
    boxes_to_learn(folder)
    (folder / "pose.toml").write_text(POSE_RECIPE)
    (folder / "detector.toml").write_text(DETECTOR_RECIPE)
    return folder


def arguments(data, out, *more, task="pose", recipe=None):
    changes = [part for change in TINY for part in ("--set", change)]
    fixed = ["--data", data, "--out", out, "--device", "cpu", "--workers", "0"]
    return ["train", task, recipe or data / f"{task}.toml", *fixed, *changes, *more]


def train(data, out, *more, **which):
    return invoke(*arguments(data, out, *more, **which))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_killed_training_ends_with_the_same_weights(data, tmp_path, one_thread):
    """Killed for good (SIGKILL) after its first checkpoint, then resumed."""
    from flowtrack.training.checkpoint_file import read_checkpoint

    killed, last = tmp_path / "killed", tmp_path / "killed" / "last.pt"
    command = [sys.executable, "-m", "flowtrack", *map(str, arguments(data, killed))]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert not (killed / "final.pt").exists()
    step = read_checkpoint(last).extra["step"]
    assert 0 < step < 40
    resumed = train(data, killed, "--resume", "--json")
    assert resumed.exit_code == 0, resumed.output
    whole = train(data, tmp_path / "whole", "--json")
    assert whole.exit_code == 0, whole.output
    for name in ("final.pt", "best.pt"):
        ours, theirs = (read_checkpoint(out / name).state for out in (killed, tmp_path / "whole"))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert json.loads(resumed.stdout) == json.loads(whole.stdout)
    validations = [
        [line for line in (out / "log.jsonl").read_text().splitlines() if "validation" in line]
        for out in (killed, tmp_path / "whole")
    ]
    assert validations[0] == validations[1]
    assert len(validations[0]) == 20


def test_what_a_training_leaves_and_tells(data, tmp_path):
    done = train(data, tmp_path / "out", "--json", "--set", "schedule.validations=2")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["steps"] == 40
    assert told["figures"].keys() == {"ar", "pck", "ar_poses"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "best.pt", "final.pt", "last.pt", "log.html", "log.jsonl",
    }  # fmt: skip
    assert "40/40  validation  ar " in done.stderr
    assert "final.pt, best.pt, log.html" in done.stderr


def test_a_detector_from_a_pose_network(data, tmp_path):
    short = ("--set", "schedule.samples=8", "--set", "schedule.validations=1")
    pose, detector = tmp_path / "pose", tmp_path / "detector"
    assert train(data, pose, *short).exit_code == 0
    done = train(data, detector, *short, "--init", pose / "final.pt", task="detector")
    assert done.exit_code == 0, done.output
    assert "ap50" in done.stderr
    again = train(data, detector, *short, task="detector")
    assert again.exit_code == 2
    assert "holds a training already" in again.output.replace("\n", " ")


def test_of_several_processes_one_speaks(data, tmp_path, monkeypatch):
    from flowtrack.training.processes import Processes

    second = classmethod(lambda cls, device: cls(1, 1, torch.device("cpu")))
    monkeypatch.setattr(Processes, "join", second)
    done = train(data, tmp_path / "out", "--json", "--set", "schedule.samples=8")
    assert (done.exit_code, done.output) == (0, "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (["--resume"], 1, "last.pt is missing: there is no training to resume"),
        (["--set", "schedule.batch"], 2, "'schedule.batch' is no change of a recipe"),
        (["--set", "schedule.batches=3"], 2, "unknown entries ['batches']"),
        (["--set", "schedule.batch=-3"], 2, "schedule.batch is -3"),
        (["--init", "nothing.pt"], 1, "nothing.pt is not a file"),
        (["--device", "tpu"], 2, "device is 'tpu'"),
        (["--precision", "fp16"], 2, "fp16 needs a GPU"),
        (["--precision", "fp8"], 2, "fp8"),
        (["--workers", "-1"], 2, "greater than or equal to 0"),
        (["--data", "no-such-folder"], 2, "no-such-folder"),
        (["--set", "data=[{kind='coco', annotations='none.json', pictures='.'}]"], 1, "none.json"),
        (["--set", "schedule.learning_rate=1e30"], 2, "lower learning_rate"),
    ],
)
def test_mistakes_are_told_with_an_exit_code(data, tmp_path, more, code, told):
    done = train(data, tmp_path / "out", *more)
    assert done.exit_code == code, done.output
    assert told in done.output.replace("\n", " ")
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("task", "recipe", "told"),
    [
        ("pose", "coco-detector", "trains a detector network, expected one for pose"),
        ("detector", "coco-pose:b", "trains a pose network, expected one for detector"),
        ("flow", "default-pose", "trains a pose network, expected one for flow"),
        ("pose", "coco", "no recipe 'coco'"),
        ("pose", "coco-pose:z", "no variant 'z'"),
    ],
)
def test_recipes_of_other_tasks_are_refused(data, tmp_path, task, recipe, told):
    done = train(data, tmp_path / "out", task=task, recipe=recipe)
    assert done.exit_code == 2
    assert told in done.output.replace("\n", " ")


def test_recipes_are_listed_and_shown():
    from flowtrack.training.recipe import builtin_recipes, recipe_text

    assert invoke("train", "recipes").stdout.split() == builtin_recipes()
    assert (
        invoke("train", "recipes", "coco-pose").stdout.strip() == recipe_text("coco-pose").strip()
    )
    assert invoke("train", "recipes", "coco").exit_code == 2
