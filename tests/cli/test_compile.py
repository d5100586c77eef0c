"""`flowtrack compile` and `inspect` of plans: what a user types, what appears, how it ends."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from examples.puppets.clip import ClipOptions, render
from flowtrack.cli import compile as command
from flowtrack.cli.inspect import inspect
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.engines.tensorrt import library
from flowtrack.structs import Frame
from tests.evaluation.deployed.puppet_samples import HEIGHT, WIDTH, make_bundle
from tests.support.tensorrt_double import tensorrt_double

RUNNER = CliRunner()
APP = typer.Typer()
APP.command("compile")(command.compile_plans)
APP.command("inspect")(inspect)


def invoke(*arguments):
    """Run a command; a traceback is a failure of the test."""
    result = RUNNER.invoke(APP, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def puppets(count):
    return [image for image, _ in render(ClipOptions(WIDTH, HEIGHT, frames=count))]


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_bundle(tmp_path / "puppets.bundle")


@pytest.fixture
def world(monkeypatch):
    """TensorRT's double, and two frames of puppets instead of rendered people."""
    frames = [Frame(index, float(index), image) for index, image in enumerate(puppets(2))]
    monkeypatch.setattr(command, "_rendered", lambda: frames)
    with tensorrt_double(monkeypatch) as world:
        yield world


def test_a_bundle_is_compiled_once(world, bundle, tmp_path):
    done = invoke("compile", bundle, "--buckets", "1,2")
    assert done.exit_code == 0, done.output
    assert "pose: " in done.output
    assert "batches 1, 2; mean_oks 1" in done.output
    assert "track with --device tensorrt" in done.output
    (cache,) = (tmp_path / "cache" / "flowtrack" / "tensorrt").iterdir()
    assert cache.name == "Test-GPU-10.16.1.11.timing"
    again = invoke("compile", bundle, "--buckets", "1,2")
    assert "detector: the plan matches already" in again.output
    assert "track with" not in again.output
    assert world.calls["build_serialized_network"] == 2


def test_what_lies_beside_the_plans_is_printed_for_machines(world, bundle, tmp_path):
    copy, cache = tmp_path / "copy.zip", tmp_path / "mine.timing"
    done = invoke(
        "compile", bundle, "--out", copy, "--part", "pose", "--buckets", "4", "--level", 1,
        "--workspace", 0.25, "--hardware-compatible", "--version-compatible", "--weight-streaming",
        "--refit", "--timing-cache", cache, "--gpu", 1, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert list(facts) == ["pose"]
    fingerprint = facts["pose"]["fingerprint"]
    assert fingerprint["machine"]["gpu"] == "Other GPU"
    assert (fingerprint["level"], fingerprint["workspace_gb"]) == (1, 0.25)
    for flag in ("hardware_compatible", "version_compatible", "weight_streaming", "refit"):
        assert fingerprint[flag] is True
    assert facts["pose"]["built"] is True
    assert cache.is_file()
    assert list(open_bundle(copy).plans()) == ["pose"]
    assert open_bundle(bundle).plans() == {}


def test_frames_to_compare_on_may_be_given(world, bundle, tmp_path):
    (tmp_path / "clip").mkdir()
    for index, picture in enumerate(puppets(3)):
        assert cv2.imwrite(str(tmp_path / "clip" / f"{index}.png"), picture)
    asked = ("compile", bundle, "--part", "detector", "--frames", tmp_path / "clip", "--json")
    facts = json.loads(invoke(*asked).stdout)
    assert facts["detector"]["comparison"]["frames"] == 3
    assert facts["detector"]["comparison"]["size"] == f"{WIDTH}x{HEIGHT}"
    assert cv2.imwrite(str(tmp_path / "clip" / "9.png"), np.zeros((8, 8, 3), np.uint8))
    failed = invoke(*asked, "--rebuild")
    assert failed.exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--buckets", "1,two"], "expected batch sizes such as 1,2,4,8"),
        (["--buckets", "0,1"], "expected different positive batch sizes"),
        (["--frame-size", "1080"], "expected HEIGHTxWIDTH"),
        (["--frame-size", "64x64,128x128"], "the smallest, the usual and the largest"),
        (["--frame-size", "64x64"], "every network compiled here has a fixed picture size"),
        (["--frame-size", "64x64,32x32,96x96"], "each side ascending"),
        (["--workspace", "-1"], "workspace is -1.0 GB"),
        (["--level", "7"], "level"),
        (["--part", "head"], "has no network for head"),
        (["--gpu", "5"], "GPU 5 was asked for, this machine has 2"),
        (["--accept", ""], "the reason to accept a plan is empty"),
    ],
)
def test_wrong_use(world, bundle, words, message):
    done = invoke("compile", bundle, *words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert world.calls["build_serialized_network"] == 0


def test_without_a_driver_nothing_is_tried_and_the_remedy_is_named(bundle, monkeypatch):
    monkeypatch.setattr(library, "cuda_driver_version", lambda: None)
    done = invoke("compile", bundle)
    assert done.exit_code == 1
    assert "TensorRT cannot be used here: no CUDA driver with a device answers" in done.output
    assert "install the NVIDIA driver" in " ".join(done.output.split())
    assert invoke("compile", bundle, "--buckets", "0").exit_code == 2  # options come first


def test_a_network_that_tensorrt_cannot_read_ends_in_a_sentence(world, bundle):
    world.failing["parse"] = ("Conv", "Gather", "Cast")
    done = invoke("compile", bundle)
    assert done.exit_code == 1
    assert "TensorRT cannot read the graph. node" in done.output
    assert open_bundle(bundle).plans() == {}


def test_default_frames_show_people():
    frames = command._rendered()
    assert len(frames) == 4
    assert len({frame.image.tobytes() for frame in frames}) == 4


def test_plans_are_inspected(world, bundle):
    invoke("compile", bundle, "--buckets", "1,2")
    shown = invoke("inspect", bundle).output
    assert "plan: pose, TensorRT 10.16.1.11 for Test GPU, batches 1, 2" in " ".join(shown.split())
    for asked in ([bundle, "--plan", "pose"], [Path(bundle) / "engines" / "pose.plan"]):
        text = " ".join(invoke("inspect", *asked).output.split())
        assert "layers by type of output: Half NHWC" in text
        assert "scratch memory 0.0 MiB" in text
        assert "mean_oks" in text
        facts = json.loads(invoke("inspect", *asked, "--json").stdout)
        assert facts["content"]["scratch_bytes"] == 4096
        assert facts["note"] is None


def test_without_tensorrt_the_record_is_shown_and_the_rest_is_explained(world, bundle, monkeypatch):
    invoke("compile", bundle, "--buckets", "1")
    monkeypatch.setattr(library, "cuda_driver_version", lambda: None)
    text = " ".join(invoke("inspect", bundle, "--plan", "pose").output.split())
    assert "TensorRT 10.16.1.11 for Test GPU" in text
    assert "layers are not shown: TensorRT cannot be used here: no CUDA driver" in text
    facts = json.loads(invoke("inspect", bundle, "--plan", "pose", "--json").stdout)
    assert facts["content"] is None
    assert "no CUDA driver" in facts["note"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{bundle}", "--plan", "pose"], 2, "has no plan for 'pose', it has none; make them with"),
        (["{bundle}/x.plan", "--plan", "pose"], 2, "is a plan itself; leave --plan out"),
        (["{bundle}/x.plan"], 1, "no file"),
    ],
)
def test_wrong_inspection(bundle, words, code, message):
    done = invoke("inspect", *[word.format(bundle=bundle) for word in words])
    assert done.exit_code == code
    assert message in " ".join(done.output.split())
