"""One file out of a published zip archive, and nothing else of it."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from flowtrack.errors import DownloadError
from flowtrack.zoo.cache import writing

_BLOCK = 1 << 20
_ENCRYPTED = 0x1  # of a member's flags (APPNOTE.TXT, section 4.4.4)
_PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# What reading a zip file can end in that is damaged or packed in a foreign way.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError,
)  # fmt: skip


def extract_member(archive: Path, name: str, target: Path, limit_bytes: int) -> None:
    """Unpack the one member of a given file name.

    The member's folders are ignored: it is written to `target` and nowhere else.

    Args:
        archive: a zip file.
        name: file name of the member, without folders.
        target: file to write; its folder exists.
        limit_bytes: larger members are refused.

    Raises:
        DownloadError: the archive is damaged, has no or several such members, or holds entries
            that no honest archive has: paths that leave it, links, encrypted or huge members.
        OutputError: the target cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            member = _member(archive, content, name, limit_bytes)
            _unpack(content, member, target)
    except _ZIP_ERRORS as error:
        target.unlink(missing_ok=True)
        raise DownloadError(
            f"{archive} is a damaged archive ({error}); remove it and fetch it again"
        ) from error


def _member(
    archive: Path, content: zipfile.ZipFile, name: str, limit_bytes: int
) -> zipfile.ZipInfo:
    for info in content.infolist():
        if _leaves(info.filename):
            raise DownloadError(
                f"{archive} holds {info.filename!r}, a path that leaves it; it is not used"
            )
    found = [
        info
        for info in content.infolist()
        if not info.is_dir() and PurePosixPath(info.filename).name == name
    ]
    if len(found) != 1:
        listed = ", ".join(info.filename for info in content.infolist()[:8])
        raise DownloadError(
            f"{archive} holds {len(found)} files named {name!r}, expected one; it has {listed}"
        )
    member = found[0]
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DownloadError(f"{member.filename} in {archive} is no plain file; it is not used")
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _PACKING:
        raise DownloadError(
            f"{member.filename} in {archive} is encrypted or packed in a foreign way"
        )
    if member.file_size > limit_bytes:
        raise DownloadError(
            f"{member.filename} in {archive} has {member.file_size} bytes unpacked, expected at "
            f"most {limit_bytes}"
        )
    return member


def _leaves(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) is not None


def _unpack(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Copy block by block; zipfile ends at the announced size and compares the check sum."""
    with content.open(member) as source:
        with writing(target.parent):
            stream = target.open("wb")
        with stream:
            while block := source.read(_BLOCK):
                with writing(target.parent):
                    stream.write(block)
