"""Bundles are written whole or not at all, and what is read is what the manifest vouches for."""

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from flowtrack.errors import BundleError, EngineError, OutputError
from flowtrack.runtime import bundle as bundle_module
from flowtrack.runtime.bundle import is_bundle, open_bundle, write_bundle
from flowtrack.runtime.pipeline import open_pipeline
from tests.support.graphs import tiny_bundle

NAMES = pytest.mark.parametrize("name", ["tiny", "tiny.zip"])
MANIFEST, FILES = tiny_bundle(flow=True)


def contents(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def other():
    return dataclasses.replace(MANIFEST, made_by="another")


@NAMES
def test_written_and_read(tmp_path, name):
    written = write_bundle(tmp_path / "new" / name, MANIFEST, FILES)
    assert written.path == tmp_path / "new" / name
    opened = open_bundle(str(written.path))
    assert opened.manifest == MANIFEST
    opened.verify()
    for part, file in MANIFEST.files().items():
        assert opened.read(part) == FILES[file.path]
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    assert is_bundle(written.path)


def test_a_zip_holds_what_a_folder_holds(tmp_path):
    folder = write_bundle(tmp_path / "a", MANIFEST, FILES).path
    archive = write_bundle(tmp_path / "a.zip", MANIFEST, FILES).path
    with zipfile.ZipFile(archive) as opened:
        assert {name: opened.read(name) for name in opened.namelist()} == contents(folder)
    assert sorted(contents(folder)) == sorted([*FILES, "manifest.json"])


def test_files_may_be_copied_from_where_they_are(tmp_path):
    sources = {}
    for i, (name, data) in enumerate(FILES.items()):
        sources[name] = tmp_path / f"source{i}"
        sources[name].write_bytes(data)
    assert contents(write_bundle(tmp_path / "b", MANIFEST, sources).path)["flow.onnx"]


@pytest.mark.parametrize("before", ["tiny", "tiny.zip"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_bundle_is_replaced(tmp_path, before, as_zip):
    """Whatever form the old one has: its name need not tell."""
    first = write_bundle(tmp_path / before, MANIFEST, FILES).path
    place = tmp_path / ("place.zip" if as_zip else "place")
    first.rename(place)
    write_bundle(place, other(), FILES)
    assert place.is_file() == as_zip
    assert open_bundle(place).manifest.made_by == "another"
    open_bundle(place).verify()
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


@pytest.mark.parametrize("kind", ["folder", "empty folder", "text", "zip", "truncated zip"])
def test_what_is_no_bundle_is_never_replaced(tmp_path, kind):
    place = tmp_path / "mine.zip"
    if "folder" in kind:
        place.mkdir()
        if kind == "folder":
            (place / "thesis.txt").write_text("years of work")
    elif kind == "text":
        place.write_text("years of work")
    else:
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("thesis.txt", "years of work" * 100)
        if kind == "truncated zip":
            place.write_bytes(place.read_bytes()[:-30])
    before = place.read_bytes() if place.is_file() else contents(place)
    with pytest.raises(OutputError, match=r"mine.zip exists and is no bundle; name another path"):
        write_bundle(place, MANIFEST, FILES)
    assert (place.read_bytes() if place.is_file() else contents(place)) == before


@NAMES
@pytest.mark.parametrize("failing", ["_stage", "_replace", "_zip"])
def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, name, failing):
    if failing == "_zip" and not name.endswith(".zip"):
        return

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(bundle_module, failing, fail)
    with pytest.raises(OutputError, match=r"cannot write bundle .*: no space left"):
        write_bundle(tmp_path / name, MANIFEST, FILES)
    assert list(tmp_path.iterdir()) == []


@NAMES
def test_a_failed_replacement_leaves_the_old_bundle(tmp_path, monkeypatch, name):
    place = write_bundle(tmp_path / name, MANIFEST, FILES).path
    rename = Path.replace

    def fail(self, target):
        if Path(target) == place and self.parent != place.parent and "previous" not in self.name:
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="no space left"):
        write_bundle(place, other(), FILES)
    assert open_bundle(place).manifest == MANIFEST
    open_bundle(place).verify()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, BundleError, r"the manifest names .* the files are \[\]"),
        ({**FILES, "more.onnx": b""}, BundleError, "more.onnx"),
        ({**FILES, "flow.onnx": b"other"}, BundleError, "flow.onnx has sha256 d9298a10d1b0"),
        ({**FILES, "flow.onnx": Path("/nowhere/f.onnx")}, OutputError, "cannot write bundle"),
    ],
)
def test_manifest_and_files_must_agree(tmp_path, files, error, message):
    with pytest.raises(error, match=message):
        write_bundle(tmp_path / "b", MANIFEST, files)
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write bundle"):
        write_bundle(tmp_path / "file" / "b", MANIFEST, FILES)


# Damage, done to a good bundle.


def rezipped(place: Path, change) -> None:
    """A zip file written anew, its entries changed by `change(name, data) -> data or None`."""
    with zipfile.ZipFile(place) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)


def damage(place: Path, name: str, data: bytes | None) -> None:
    """Replace a file inside a bundle, or remove it."""
    if place.is_file():
        rezipped(place, lambda entry, old: data if entry == name else old)
    elif data is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(data)


@NAMES
def test_a_changed_file_is_not_read(tmp_path, name):
    place = write_bundle(tmp_path / name, MANIFEST, FILES).path
    damage(place, "nets/pose.onnx", b"something else")
    opened = open_bundle(place)
    message = r"nets/pose.onnx has sha256 \w{12}\.\.\., the manifest vouches for .*; the file was"
    with pytest.raises(BundleError, match=message):
        opened.verify()
    assert opened.read("detector") == FILES["detector.onnx"]


@NAMES
def test_a_missing_file_is_named(tmp_path, name):
    place = write_bundle(tmp_path / name, MANIFEST, FILES).path
    damage(place, "nets/pose.onnx", None)
    with pytest.raises(BundleError, match=r"nets/pose.onnx is missing; make the bundle again"):
        open_bundle(place).read("pose")


@NAMES
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "manifest.json is missing"),
        (b"{", "not valid JSON"),
        (b"{}", "manifest.skeleton is missing"),
        (b" " * ((1 << 20) + 1), "manifest.json has 1048577 bytes, expected at most 1048576"),
    ],
    ids=["missing", "cut", "empty", "huge"],
)
def test_a_damaged_manifest_is_refused(tmp_path, name, data, message):
    place = write_bundle(tmp_path / name, MANIFEST, FILES).path
    damage(place, "manifest.json", data)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(place)
    assert name in str(caught.value)


def test_paths_that_hold_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"no bundle at .*; make one with `flowtrack bundle`"):
        open_bundle(tmp_path / "nothing")
    (tmp_path / "file").write_text("hello")
    with pytest.raises(BundleError, match="neither a directory nor a zip file"):
        open_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_zip_is_refused(tmp_path, share):
    place = write_bundle(tmp_path / "b.zip", MANIFEST, FILES).path
    data = place.read_bytes()
    place.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BundleError, match=r"b\.zip"):
        open_bundle(place)


def test_no_single_damaged_byte_of_a_zip_passes_or_crashes(tmp_path):
    """Every 97th byte turned over: the same content, or a BundleError."""
    place = tmp_path / "b.zip"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", MANIFEST.to_json())
        for name, data in FILES.items():
            archive.writestr(name, data)
    whole, refused = packed.getvalue(), 0
    # The last 500 bytes are the directory, where damage is most varied.
    for at in [*range(0, len(whole) - 500, 97), *range(len(whole) - 500, len(whole), 3)]:
        place.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            opened = open_bundle(place)
            opened.verify()
            assert opened.manifest == MANIFEST
        except BundleError as error:
            assert "b.zip" in str(error)  # noqa: PT017
            refused += 1
        is_bundle(place)
    assert refused > 50


def test_a_link_that_leaves_the_bundle_is_not_followed(tmp_path):
    place = write_bundle(tmp_path / "b", MANIFEST, FILES).path
    secret = tmp_path / "secret"
    shutil.move(place / "flow.onnx", secret)
    (place / "flow.onnx").symlink_to(secret)
    assert hashlib.sha256(secret.read_bytes()).hexdigest() == MANIFEST.flow.file.sha256
    with pytest.raises(BundleError, match=r"flow.onnx is a link that leaves the bundle"):
        open_bundle(place).verify()


def test_a_linked_folder_inside_is_not_followed_out(tmp_path):
    place = write_bundle(tmp_path / "b", MANIFEST, FILES).path
    shutil.move(place / "nets", tmp_path / "outside")
    (place / "nets").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match=r"pose.onnx is a link that leaves the bundle"):
        open_bundle(place).read("pose")


def test_a_link_to_the_bundle_itself_is_fine(tmp_path):
    place = write_bundle(tmp_path / "b", MANIFEST, FILES).path
    (tmp_path / "latest").symlink_to(place)
    linked = open_bundle(tmp_path / "latest")
    linked.verify()
    assert linked.read("pose") == open_bundle(place).read("pose")


@NAMES
def test_a_manifest_that_names_files_outside_is_refused(tmp_path, name):
    place = write_bundle(tmp_path / name, MANIFEST, FILES).path
    content = json.loads(MANIFEST.to_json())
    content["pose"]["file"]["path"] = "../secret"
    damage(place, "manifest.json", json.dumps(content).encode())
    with pytest.raises(BundleError, match=r"manifest.pose.file.path is '../secret'"):
        open_bundle(place)


@NAMES
@pytest.mark.parametrize("junk", [b"", b"no graph at all", FILES["flow.onnx"][:-40]])
def test_a_vouched_file_that_is_no_graph_is_named(tmp_path, name, junk):
    file = dataclasses.replace(MANIFEST.pose.file, sha256=hashlib.sha256(junk).hexdigest())
    manifest = dataclasses.replace(MANIFEST, pose=dataclasses.replace(MANIFEST.pose, file=file))
    place = write_bundle(tmp_path / name, manifest, {**FILES, "nets/pose.onnx": junk}).path
    with pytest.raises(EngineError, match=rf"{name}: nets/pose.onnx: ONNX Runtime cannot load"):
        open_pipeline(place, device="cpu")
