"""Bundles: a directory, or the same zipped, with a manifest and the networks it vouches for."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from flowtrack.errors import BundleError, OutputError
from flowtrack.runtime.manifest import Manifest, safe_member
from flowtrack.runtime.plans import (
    ENGINES,
    REBUILD,
    Plan,
    PlanRecord,
    check_plan,
    plan_member,
    record_member,
)

MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 1 << 20

# What reading a zip file can end in that is damaged, encrypted or packed in a foreign way.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip


class Bundle:
    """A bundle on disk.

    Attributes:
        path: of the directory or zip file.
        manifest: its checked manifest.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Pair a path with its manifest; `open_bundle` reads one."""
        self.path = path
        self.manifest = manifest

    def read(self, part: str) -> bytes:
        """The verified bytes of a network file.

        Args:
            part: `detector`, `pose` or `flow`.

        Raises:
            BundleError: the file is missing, lies outside the bundle, or is not the file that
                the manifest vouches for.
        """
        file = self.manifest.files()[part]
        data = _read_member(self.path, file.path)
        found = hashlib.sha256(data).hexdigest()
        if found != file.sha256:
            raise BundleError(
                f"{self.path}: {file.path} has sha256 {found[:12]}..., the manifest vouches for "
                f"{file.sha256[:12]}...; the file was changed or damaged, make the bundle again"
            )
        return data

    def verify(self) -> None:
        """Read every network file and plan once and hold it against its hash.

        Raises:
            BundleError: a file is missing or differs.
        """
        for part in self.manifest.files():
            self.read(part)
        for part in self.plans():
            self.read_plan(part)

    def plans(self) -> dict[str, PlanRecord]:
        """What lies beside the TensorRT plans, by part; empty where nothing was compiled.

        Raises:
            BundleError: a file beside a plan is damaged.
        """
        members = _members_below(self.path, ENGINES)
        return {
            part: self._record(part)
            for part in self.manifest.files()
            if {plan_member(part), record_member(part)} & members
        }

    def read_plan(self, part: str) -> Plan:
        """The verified bytes of a TensorRT plan, and what lies beside it.

        Args:
            part: `detector`, `pose` or `flow`.

        Raises:
            BundleError: it is missing or damaged, or was built from another graph.
        """
        record = self._record(part)
        member = plan_member(part)
        data = _read_member(self.path, member)
        expected = self.manifest.files()[part].sha256
        check_plan(f"{self.path}: {member}", data, record, expected)
        return Plan(data, record)

    def _record(self, part: str) -> PlanRecord:
        member = record_member(part)
        for needed in (plan_member(part), member):
            if needed not in _members_below(self.path, ENGINES):
                raise BundleError(f"{self.path}: {needed} is missing; {REBUILD}")
        data = _read_member(self.path, member, limit=_MAX_MANIFEST_BYTES)
        return PlanRecord.from_json(data, f"{self.path}: {member}")

    def contents(self) -> dict[str, bytes | Path]:
        """Everything but the manifest, for `write_bundle`: networks, and what `engines/` holds.

        Raises:
            BundleError: a network's file is missing or damaged.
        """
        files: dict[str, bytes | Path] = {
            file.path: self.read(part) for part, file in self.manifest.files().items()
        }
        for member in _members_below(self.path, ENGINES):
            files[member] = _read_member(self.path, member)
        return files


def open_bundle(path: str | Path) -> Bundle:
    """Read a bundle's manifest.

    Args:
        path: a directory or a zip file.

    Raises:
        BundleError: there is no bundle at `path`, or its manifest breaks a rule of the format.
    """
    place = Path(path)
    if not place.exists():
        raise BundleError(f"no bundle at {place}; make one with `flowtrack bundle`")
    data = _read_member(place, MANIFEST, limit=_MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.from_json(data)
    except BundleError as error:
        raise BundleError(f"{place}: {error}") from error
    return Bundle(place, manifest)


def write_bundle(path: str | Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle, whole or not at all; a bundle already at `path` is replaced.

    Args:
        path: directory to make, or a zip file if it ends in `.zip`.
        manifest: its hashes must be those of `files`.
        files: contents (or where to copy them from) by path inside the bundle: the networks, and
            whatever goes below `engines/`.

    Raises:
        BundleError: the manifest and the files do not agree, or a plan is of another graph.
        OutputError: `path` is taken by something that is no bundle, or cannot be written.
    """
    place = Path(path)
    wanted = {file.path for file in manifest.files().values()}
    networks = {name for name in files if name in wanted or not name.startswith(f"{ENGINES}/")}
    if wanted != networks:
        raise BundleError(f"the manifest names {sorted(wanted)}, the files are {sorted(networks)}")
    if place.exists() and not is_bundle(place):
        raise OutputError(f"{place} exists and is no bundle; name another path or remove it")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as scratch:
            staged = Path(scratch) / "bundle"
            _stage(staged, manifest, files)
            Bundle(staged, manifest).verify()
            if place.suffix == ".zip":
                staged = _zip(staged, Path(scratch) / "bundle.zip")
            _replace(staged, place, Path(scratch) / "previous")
    except OSError as error:
        raise OutputError(f"cannot write bundle {place}: {error}") from error
    return Bundle(place, manifest)


def is_bundle(path: Path) -> bool:
    """Whether a directory or zip file holds a manifest."""
    if path.is_dir():
        return (path / MANIFEST).is_file()
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except _ZIP_ERRORS:
        return False


def _stage(folder: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> None:
    folder.mkdir()
    for name, content in files.items():
        target = folder / safe_member(name, "file")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content)
    (folder / MANIFEST).write_text(manifest.to_json())


def _zip(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return target


def _replace(staged: Path, place: Path, aside: Path) -> None:
    """Put `staged` at `place`; only a file replaces a file in one step, others step aside."""
    if not place.exists() or (place.is_file() and staged.is_file()):
        staged.replace(place)
        return
    place.replace(aside)
    try:
        staged.replace(place)
    except OSError:
        aside.replace(place)
        raise


def _read_member(place: Path, name: str, limit: int | None = None) -> bytes:
    """Bytes of a file inside a bundle that is a directory or a zip file."""
    member = safe_member(name, f"{place}: path")
    if place.is_dir():
        file = place / member
        if not file.resolve().is_relative_to(place.resolve()):
            raise BundleError(f"{place}: {name} is a link that leaves the bundle")
        if not file.is_file():
            raise BundleError(f"{place}: {name} is missing; make the bundle again")
        _check_size(place, name, file.stat().st_size, limit)
        try:
            return file.read_bytes()
        except OSError as error:
            raise BundleError(f"{place}: {name} cannot be read: {error}") from error
    if not zipfile.is_zipfile(place):
        raise BundleError(f"{place} is neither a directory nor a zip file, so it is no bundle")
    try:
        with zipfile.ZipFile(place) as archive:
            info = archive.getinfo(os.fspath(member))
            _check_size(place, name, info.file_size, limit)
            return archive.read(info)
    except KeyError:
        raise BundleError(f"{place}: {name} is missing; make the bundle again") from None
    except _ZIP_ERRORS as error:
        raise BundleError(f"{place}: {name} cannot be read: {error}") from error


def _members_below(place: Path, folder: str) -> set[str]:
    """Paths of the files below a folder of a bundle."""
    if place.is_dir():
        below = (place / folder).rglob("*")
        return {file.relative_to(place).as_posix() for file in below if file.is_file()}
    try:
        with zipfile.ZipFile(place) as archive:
            names = archive.namelist()
    except _ZIP_ERRORS as error:
        raise BundleError(f"{place} cannot be read: {error}") from error
    return {name for name in names if name.startswith(f"{folder}/") and not name.endswith("/")}


def _check_size(place: Path, name: str, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise BundleError(f"{place}: {name} has {size} bytes, expected at most {limit}")
