"""The bundle of the package: found without being named, missed with a remedy, honest inside."""

from __future__ import annotations

import json

import pytest

from examples.puppets.clip import ClipOptions, write
from examples.puppets.demo import make_bundle
from flowtrack.errors import BundleError
from flowtrack.runtime import default, open_bundle, open_pipeline
from flowtrack.runtime.default import DEFAULT_FOLDER, default_bundle_path
from tests.cli.test_commands import invoke

MOST_BYTES = 25_000_000
HERE = pytest.mark.skipif(
    not (DEFAULT_FOLDER / "manifest.json").is_file(), reason="no default bundle in this tree yet"
)


@pytest.fixture
def puppets(tmp_path, monkeypatch):
    """The puppets' bundle in place of the default one, and a clip of them."""
    options = ClipOptions(frames=4)
    monkeypatch.setattr(default, "DEFAULT_FOLDER", make_bundle(tmp_path, options))
    write(tmp_path, options, name="clip")
    return tmp_path


def test_tracking_needs_no_bundle_option(puppets):
    done = invoke("track", puppets / "clip", "--out", puppets / "out", "--formats", "jsonl",
                  "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    (summary,) = json.loads(done.stdout)
    assert (summary["frames"], summary["error"]) == (4, None)
    assert summary["people"] > 0


def test_a_named_bundle_goes_first(puppets, tmp_path):
    done = invoke("track", puppets / "clip", "--bundle", tmp_path / "other.bundle")
    assert done.exit_code == 1
    assert "other.bundle" in done.output


def test_python_opens_it_by_its_path(puppets):
    assert open_pipeline(default_bundle_path()).skeleton.name == "coco-17"


def test_a_stripped_installation_says_so(puppets, tmp_path, monkeypatch):
    monkeypatch.setattr(default, "DEFAULT_FOLDER", tmp_path / "nothing")
    with pytest.raises(BundleError, match="lacks the default bundle"):
        default_bundle_path()
    done = invoke("track", puppets / "clip", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "--bundle" in done.output
    assert not (tmp_path / "out").exists()


@HERE
def test_the_bundle_of_the_package_is_whole_and_says_what_it_was_made_from():
    bundle = open_bundle(default_bundle_path())
    bundle.verify()
    manifest = bundle.manifest
    assert set(manifest.files()) == {"detector", "pose", "flow"}
    assert manifest.made_by
    assert manifest.made_from
    for part, file in manifest.files().items():
        assert file.parity, f"{part} was not compared with its original"
        assert file.source, f"{part} does not say where it came from"


@HERE
def test_the_bundle_of_the_package_is_small():
    files = [path for path in DEFAULT_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


@HERE
def test_the_bundle_of_the_package_runs():
    assert open_pipeline(default_bundle_path()).options.propagate
