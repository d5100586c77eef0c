"""Archives from elsewhere: the wanted file comes out, and nothing goes anywhere else."""

from __future__ import annotations

import stat
import struct
import zipfile

import pytest

from flowtrack.errors import DownloadError
from flowtrack.zoo.archive import extract_member

WANTED = b"a graph" * 1000
PLACE = "20230831/rtmpose_onnx/rtmpose-t/end2end.onnx"
LIMIT = 1 << 20


def packed(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.fixture
def target(tmp_path):
    (tmp_path / "inner").mkdir()
    return tmp_path / "inner" / "out.onnx"


def test_only_the_wanted_file_comes_out(tmp_path, target):
    members = [(PLACE, WANTED), ("20230831/x/detail.json", b"{}"), ("20230831/x/", b"")]
    extract_member(packed(tmp_path / "a.zip", members), "end2end.onnx", target, LIMIT)
    assert target.read_bytes() == WANTED
    assert {path.name for path in tmp_path.rglob("*")} == {"a.zip", "inner", "out.onnx"}


@pytest.mark.parametrize(
    "name",
    ["../end2end.onnx", "a/../../end2end.onnx", "/tmp/end2end.onnx", "..\\end2end.onnx",
     "C:\\end2end.onnx", "a/../../detail.json"],
)  # fmt: skip
def test_paths_that_leave_the_archive_are_refused(tmp_path, target, name):
    archive = packed(tmp_path / "a.zip", [(PLACE, WANTED), (name, b"evil")])
    with pytest.raises(DownloadError, match="leaves it"):
        extract_member(archive, "end2end.onnx", target, LIMIT)
    assert {path.name for path in tmp_path.rglob("*")} == {"a.zip", "inner"}


@pytest.mark.parametrize("members", [[], [("a/other.onnx", b"x")],
                                     [(PLACE, WANTED), ("again/end2end.onnx", b"x")]])  # fmt: skip
def test_none_or_several_are_refused(tmp_path, target, members):
    with pytest.raises(DownloadError, match="expected one"):
        extract_member(packed(tmp_path / "a.zip", members), "end2end.onnx", target, LIMIT)
    assert not target.exists()


def test_links_are_refused(tmp_path, target):
    link = zipfile.ZipInfo(PLACE)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = packed(tmp_path / "a.zip", [(link, b"/etc/passwd")])
    with pytest.raises(DownloadError, match="no plain file"):
        extract_member(archive, "end2end.onnx", target, LIMIT)
    assert not target.exists()


def test_bombs_are_refused(tmp_path, target):
    archive = packed(tmp_path / "a.zip", [(PLACE, bytes(LIMIT + 1))])
    assert archive.stat().st_size < 5000
    with pytest.raises(DownloadError, match=f"at most {LIMIT}"):
        extract_member(archive, "end2end.onnx", target, LIMIT)
    assert not target.exists()


def test_a_bomb_that_lies_about_its_size_ends_at_what_it_says(tmp_path, target):
    archive = packed(tmp_path / "a.zip", [(PLACE, bytes(LIMIT))])
    content = archive.read_bytes()
    assert content.count(struct.pack("<I", LIMIT)) == 2  # local header and directory
    archive.write_bytes(content.replace(struct.pack("<I", LIMIT), struct.pack("<I", 100)))
    with pytest.raises(DownloadError, match="damaged"):
        extract_member(archive, "end2end.onnx", target, LIMIT // 2)
    assert not target.exists()


def test_encrypted_and_foreign_packing_are_refused(tmp_path, target):
    plain = packed(tmp_path / "a.zip", [(PLACE, WANTED)]).read_bytes()
    central = plain.index(b"PK\x01\x02")
    encrypted = bytearray(plain)
    encrypted[central + 8] |= 1
    (tmp_path / "e.zip").write_bytes(encrypted)
    foreign = packed(tmp_path / "b.zip", [(PLACE, WANTED)], zipfile.ZIP_BZIP2)
    for archive in (tmp_path / "e.zip", foreign):
        with pytest.raises(DownloadError, match="foreign"):
            extract_member(archive, "end2end.onnx", target, LIMIT)


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_damaged_archives_are_refused(tmp_path, target, damage):
    archive = packed(tmp_path / "a.zip", [(PLACE, WANTED)], zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray(b"<html>not found</html>")
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match="damaged"):
        extract_member(archive, "end2end.onnx", target, LIMIT)
    assert not target.exists()
