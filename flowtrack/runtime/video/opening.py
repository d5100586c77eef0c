"""From what a user typed to sources of frames."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from flowtrack.errors import SourceError
from flowtrack.runtime.video.clip import VideoSource
from flowtrack.runtime.video.container import without_password
from flowtrack.runtime.video.live import open_camera, open_stream, open_url
from flowtrack.runtime.video.pictures import PictureSource, is_picture, natural_key
from flowtrack.runtime.video.source import Source, SourceOptions

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Suffixes by which videos are found in folders; a file that is named may have any."""

TIMEOUT_S = 10.0
"""How long a camera or server may stay silent."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_KINDS = "a video, a folder of pictures, a glob pattern, a camera number, or a URL"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source that has not been opened yet.

    Attributes:
        text: what `open_source` understands.
        name: name for output files, unique among the specs of one `expand_sources`.
        pictures: for pictures that a pattern matched: the files; otherwise empty.
    """

    text: str
    name: str
    pictures: tuple[Path, ...] = ()

    def open(self, options: SourceOptions | None = None, timeout_s: float = TIMEOUT_S) -> Source:
        """Open the source; see `open_source`."""
        if self.pictures:
            return PictureSource(self.pictures, self.name, self.text, options or SourceOptions())
        return open_source(self.text, options, name=self.name, timeout_s=timeout_s)


def open_source(
    text: str | Path,
    options: SourceOptions | None = None,
    *,
    name: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Source:
    """Open one source of frames.

    Args:
        text: a video or picture, a folder of pictures (one clip, in natural order), a glob pattern,
            a camera number, or a URL. A `Path` is always a file or folder.
        options: which frames are wanted; all by default.
        name: name for output files; the stem of the file, or the name of the folder, by default.
        timeout_s: how long a camera or server may stay silent.

    Raises:
        SourceError: it cannot be opened; the message says why and what helps.
        OptionError: an option has no meaning for this kind of source.
    """
    options = options or SourceOptions()
    if isinstance(text, Path):
        return _open_path(text, name, options)
    if text.isdecimal():
        return open_camera(int(text), name or f"camera{text}", options, timeout_s)
    if _URL.match(text):
        return _open_url(text, name or _url_name(text), options, timeout_s)
    path = Path(text).expanduser()
    if not os.path.lexists(path) and glob.has_magic(text):
        return _only(_expand_glob(text), text, name).open(options, timeout_s)
    return _open_path(path, name, options)


def expand_sources(texts: Iterable[str]) -> list[SourceSpec]:
    """What the arguments of a command line stand for, one entry per clip.

    A folder of videos, and a pattern that matches several, become one entry per video; pictures of
    one folder or pattern stay together. What is named twice is taken once. Equal names are told
    apart by the folder, the suffix, or a number.

    Raises:
        SourceError: a file or folder is missing, or holds neither videos nor pictures.
    """
    found: dict[tuple[object, ...], SourceSpec] = {}
    for text in texts:
        for spec in _expand(text):
            where = spec.text if _not_a_path(spec.text) else Path(spec.text).expanduser().resolve()
            found.setdefault((where, spec.pictures), spec)
    return _distinguished(list(found.values()))


def _not_a_path(text: str) -> bool:
    return text.isdecimal() or _URL.match(text) is not None


def _expand(text: str) -> list[SourceSpec]:
    if text.isdecimal():
        return [SourceSpec(text, f"camera{text}")]
    if _URL.match(text):
        return [SourceSpec(text, _url_name(text))]
    path = Path(text).expanduser()
    if not os.path.lexists(path) and glob.has_magic(text):
        return _expand_glob(text)
    return _expand_path(path)


def _expand_path(path: Path) -> list[SourceSpec]:
    if not _is_folder(path):
        return [SourceSpec(str(path), path.stem)]
    pictures, videos = _media_in(path)
    if not pictures:
        return [SourceSpec(str(video), video.stem) for video in videos]
    return [SourceSpec(str(path), _folder_name(path))]


def _expand_glob(pattern: str) -> list[SourceSpec]:
    matches = sorted(
        # Path.glob would need the pattern split into a folder and the rest.
        (Path(m) for m in glob.glob(str(Path(pattern).expanduser()), recursive=True)),  # noqa: PTH207
        key=natural_key,
    )
    pictures = tuple(p for p in matches if is_picture(p) and p.is_file())
    specs: list[SourceSpec] = []
    if pictures:
        folder = Path(os.path.commonpath([picture.absolute().parent for picture in pictures]))
        specs.append(SourceSpec(pattern, _folder_name(folder), pictures))
    for match in matches:
        if match.is_dir():
            # `**` also matches folders on the way, which may hold nothing themselves.
            if "**" not in pattern:
                specs += _expand_path(match)
        elif match.suffix.lower() in VIDEO_SUFFIXES:
            specs.append(SourceSpec(str(match), match.stem))
    if not specs:
        found = f"only {matches[0].name} and the like" if matches else "no file at all"
        raise SourceError(
            f"the pattern {pattern!r} matches {found}, expected pictures or videos;"
            " put it in quotes and check it with ls"
        )
    return specs


def _only(specs: Sequence[SourceSpec], text: str, name: str | None) -> SourceSpec:
    if len(specs) > 1:
        raise SourceError(
            f"{text!r} stands for {len(specs)} clips ({specs[0].name}, {specs[1].name}, ...),"
            " expected one; open them one by one (see expand_sources)"
        )
    return replace(specs[0], name=name or specs[0].name)


def _open_path(path: Path, name: str | None, options: SourceOptions) -> Source:
    if _is_folder(path):
        pictures, videos = _media_in(path)
        if not pictures:
            raise SourceError(
                f"{path} holds {len(videos)} videos and no pictures, expected one clip;"
                " open the videos one by one (see expand_sources)"
            )
        return PictureSource(pictures, name or _folder_name(path), str(path), options)
    if is_picture(path):
        return PictureSource([path], name or path.stem, str(path), options)
    # The prefix keeps FFmpeg from taking a name with a colon for a protocol.
    return VideoSource(f"file:{path}", name or path.stem, str(path), options)


def _open_url(url: str, name: str, options: SourceOptions, timeout_s: float) -> Source:
    shown = without_password(url)
    if url.lower().startswith(("http://", "https://", "file://", "ftp://")):
        media = open_url(url, shown, timeout_s)
        finite = media.container.duration is not None
        media.close()
        if finite:
            return VideoSource(url, name, shown, options, timeout_s)
    return open_stream(url, name, shown, options, timeout_s)


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder rather than a file.

    Raises:
        SourceError: it is neither, or may not be read.
    """
    try:
        if path.is_dir():
            return True
        with path.open("rb"):
            return False
    except FileNotFoundError:
        raise SourceError(
            f"there is no file or folder {str(path)!r}; expected {_KINDS}: check the spelling"
        ) from None
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}; check that you may read it (ls -l)"
        ) from error


def _media_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Pictures and videos of a folder, each in natural order; exactly one kind is there.

    Raises:
        SourceError: there is neither or both, or the folder may not be read.
    """
    try:
        files = sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise SourceError(
            f"cannot read the folder {folder}: {error.strerror}; check that you may (ls -ld)"
        ) from error
    pictures = [path for path in files if is_picture(path)]
    videos = [
        path
        for path in files
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
    ]
    if not pictures and not videos:
        held = f"{len(files)} files, none of them" if files else "nothing, and so no"
        raise SourceError(
            f"the folder {folder} holds {held} pictures or videos that are known by their suffix;"
            " expected pictures (.jpg, .png, ...) or videos (.mp4, ...)"
        )
    if pictures and videos:
        raise SourceError(
            f"the folder {folder} holds {len(pictures)} pictures and {len(videos)} videos, expected"
            f" one kind; name them, as in '{folder}/*{pictures[0].suffix}'"
        )
    return pictures, videos


def _folder_name(folder: Path) -> str:
    return folder.resolve().name or "root"


def _url_name(url: str) -> str:
    parts = urlsplit(url)
    path = Path(parts.path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return path.stem
    text = f"{parts.hostname or ''}_{parts.path.strip('/')}"
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "stream"


def _distinguished(specs: list[SourceSpec]) -> list[SourceSpec]:
    """The same specs with names that differ, also where upper and lower case are one."""

    def with_folder(spec: SourceSpec, name: str) -> str:
        return f"{Path(spec.text).absolute().parent.name}_{name}"

    def with_suffix(spec: SourceSpec, name: str) -> str:
        return f"{name}_{Path(spec.text).suffix.lstrip('.')}"

    names = [spec.name for spec in specs]
    for longer in (with_folder, with_suffix):
        times = Counter(name.casefold() for name in names)
        for row, spec in enumerate(specs):
            if times[names[row].casefold()] > 1 and not _not_a_path(spec.text):
                names[row] = longer(spec, names[row])
    taken: set[str] = set()
    for row, name in enumerate(names):
        number, unique = 1, name
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique.casefold())
        names[row] = unique
    return [replace(spec, name=name) for spec, name in zip(specs, names, strict=True)]
