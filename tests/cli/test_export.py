"""From a checkpoint to a tracked clip, by commands alone."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_commands import invoke

torch = pytest.importorskip("torch", reason="export needs torch")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network in the layout of the official code."""
    from flowtrack.training.models import PoseResNet

    torch.manual_seed(1)
    network = PoseResNet(18, joints=17, deconv_channels=(32, 32, 32))
    path = tmp_path_factory.mktemp("checkpoint") / "pose_resnet_18.pth.tar"
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, path)
    return path


def test_a_checkpoint_becomes_a_bundle_with_its_parity_record(checkpoint, tmp_path):
    pose = tmp_path / "pose.onnx"
    done = invoke("export", "pose", pose, "--checkpoint", checkpoint, "--size", "128x96", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["max_px"] <= 1e-3
    entry = json.loads((tmp_path / "pose.onnx.json").read_text())
    assert entry["input"]["color"] == "bgr"  # the official code's networks saw BGR
    detector = tmp_path / "detector.onnx"
    random = invoke("export", "detector", detector, "--random-weights", "--size", "64x64")
    assert random.exit_code == 0, random.output
    bundle = tmp_path / "own.bundle"
    assert invoke("bundle", bundle, "--detector", detector, "--pose", pose).exit_code == 0
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["pose"]["file"]["parity"]["max_px"] <= 1e-3
    assert manifest["pose"]["file"]["source"]["layout"] == "official"
    contradiction = invoke(
        "bundle", bundle, "--detector", detector, "--pose", pose, "--pose-color", "rgb"
    )
    assert contradiction.exit_code == 2
    assert "brings its facts" in contradiction.output.replace("\n", " ")
    pose.write_bytes(pose.read_bytes() + b"\0")
    changed = invoke("bundle", bundle, "--detector", detector, "--pose", pose)
    assert changed.exit_code == 1
    assert "another file" in changed.output.replace("\n", " ")


class _Runs:
    """A pickle that would run code when loaded."""

    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('ran').write_text('x')",))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Runs()}, tmp_path / "evil.pth")
    refused = invoke("export", "pose", "pose.onnx", "--checkpoint", "evil.pth")
    assert refused.exit_code == 1
    assert "evil.pth" in refused.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth"]


def test_wrong_keys_are_named(checkpoint, tmp_path):
    saved = torch.load(checkpoint, weights_only=True)
    saved["state_dict"]["module.tail.weight"] = torch.zeros(1)
    torch.save(saved, tmp_path / "odd.pth")
    refused = invoke("export", "pose", tmp_path / "p.onnx", "--checkpoint", tmp_path / "odd.pth")
    assert refused.exit_code == 1
    assert "tail.weight" in refused.output
    assert not (tmp_path / "p.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--random-weights", "--size", "100x100"], "100"),
        (["--random-weights", "--depth", "20"], "20"),
        (["--random-weights", "--skeleton", "octopus-8"], "octopus-8"),
        ([], "--random-weights"),
        (["--checkpoint", "x.pth", "--random-weights"], "--random-weights"),
    ],
)
def test_wrong_use_of_export(tmp_path, arguments, message):
    refused = invoke("export", "pose", tmp_path / "p.onnx", *arguments)
    assert refused.exit_code == 2, refused.output
    assert message in refused.output
    assert not (tmp_path / "p.onnx").exists()
