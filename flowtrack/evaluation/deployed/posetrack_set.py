"""PoseTrack-style data sets: truth files, and the pictures that they are about."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flowtrack.errors import InputError, SourceError
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.evaluation.sequences import PoseSequence
from flowtrack.runtime.output.writer import Lost
from flowtrack.runtime.video.pictures import PICTURE_FPS, is_picture, read_picture
from flowtrack.structs import Frame

_KINDS = (".posetrack18", ".posetrack")
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


@dataclass(frozen=True)
class TruthClip:
    """An annotated clip; a `Clip` for the writers of `flowtrack.runtime.output`.

    Attributes:
        name: of its result files.
        truth: what the truth file holds.
        pictures: every picture to track, in order: those that the truth lists, and what the folder
            holds between them.
        listed: for each frame of the truth its place in `pictures`.
        fps: assumed, as pictures carry no times.
        problems: none, as every picture is there.
    """

    name: str
    truth: PoseSequence
    pictures: tuple[Path, ...]
    listed: tuple[int, ...]
    fps: float | None = PICTURE_FPS
    problems: tuple[Lost, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def frame_name(self, index: int) -> str:
        """The name that the truth gives to a picture; its file name where it lists it not."""
        names = dict(zip(self.listed, self.truth.frames, strict=True))
        return names[index].name if index in names else self.pictures[index].name

    def time_s(self, index: int) -> float:
        """When a picture is shown."""
        return index / PICTURE_FPS

    def frame(self, index: int) -> Frame:
        """The picture at a place, decoded anew.

        Raises:
            SourceError: it cannot be read.
        """
        return Frame(index, self.time_s(index), read_picture(self.pictures[index]))

    def digest(self) -> str:
        """SHA-256 of the bytes of all pictures, in order.

        Raises:
            SourceError: one cannot be read.
        """
        whole = hashlib.sha256()
        for path in self.pictures:
            try:
                whole.update(path.read_bytes())
            except OSError as error:
                raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
        return whole.hexdigest()

    def frames(self) -> Iterator[Frame]:
        """All pictures in order.

        Raises:
            SourceError: one cannot be read, or has another size than the first.
        """
        size = None
        for index in range(len(self)):
            frame = self.frame(index)
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise SourceError(
                    f"{self.pictures[index]} is {frame.width}x{frame.height} pixels, "
                    f"{self.pictures[0]} {size[0]}x{size[1]}; the pictures of a clip need one size"
                )
            yield frame


def open_clips(truth: str | Path, images: str | Path | None = None) -> list[TruthClip]:
    """The clips of a data set; nothing but the truth is read yet.

    Pictures are found by the names in the truth, with or without their leading folders. Where the
    truth lists only some pictures of a series (PoseTrack labels every fourth outside the middle),
    those between them belong to the clip as well: people are tracked through them.

    Args:
        truth: a file of PoseTrack 2017 or 2018, plain or gzipped, or a folder of them, such as
            `flowtrack.synthetic.write_clip` leaves; of a clip in both forms that of 2017 is taken.
        images: folder that the names are relative to; None takes the truth's own.

    Raises:
        InputError: a truth file is bad, names a picture twice, or there is none.
        SourceError: a picture is missing; the message names the file and the frame.
    """
    truth = Path(truth)
    files = _truth_files(truth)
    root = Path(images) if images is not None else files[0].parent
    if not root.is_dir():
        raise SourceError(f"{root} is no folder, expected the one that picture names start from")
    clips = [_opened(file, root) for file in files]
    names = [clip.name for clip in clips]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{truth}: more than one file is of clip {twice[0]!r}, expected one")
    return clips


def _truth_files(truth: Path) -> list[Path]:
    if not truth.is_dir():
        return [truth]
    files = {path.name: path for path in sorted(truth.iterdir()) if _is_json(path)}
    kept = [path for name, path in files.items() if not _is_second_form(name, files)]
    if not kept:
        raise InputError(f"{truth} holds no .json file, expected one for each clip")
    return kept


def _is_json(path: Path) -> bool:
    return path.name.endswith((".json", ".json.gz")) and not path.name.startswith(".")


def _is_second_form(name: str, files: dict[str, Path]) -> bool:
    return ".posetrack18." in name and name.replace(".posetrack18.", ".posetrack.") in files


def _clip_name(path: Path) -> str:
    name = path.name.removesuffix(".gz").removesuffix(".json")
    for kind in _KINDS:
        name = name.removesuffix(kind)
    return name


def _opened(file: Path, root: Path) -> TruthClip:
    truth = read_posetrack(file)
    if not truth.frames:
        raise InputError(f"{file} lists no frames, expected one or more")
    paths = _named_pictures(file, [frame.name for frame in truth.frames], root)
    pictures: list[Path] = []
    listed: list[int] = []
    series = _Series()
    for path in paths:
        if pictures:
            pictures += series.between(pictures[-1], path)
        listed.append(len(pictures))
        pictures.append(path)
    return TruthClip(_clip_name(file), truth, tuple(pictures), tuple(listed))


def _named_pictures(file: Path, names: Sequence[str], root: Path) -> list[Path]:
    """The picture of each frame; how many leading folders to leave out, the first one tells."""
    parts = [_parts(name, f"{file}: frame {index}") for index, name in enumerate(names)]
    cut = next(
        (n for n in range(len(parts[0])) if root.joinpath(*parts[0][n:]).is_file()), None
    )  # fmt: skip
    paths = [root.joinpath(*part[cut or 0 :]) for part in parts]
    for index, path in enumerate(paths):
        if not path.is_file():
            raise SourceError(
                f"{file}: frame {index}: there is no picture {path}; name the folder that the "
                "truth's picture names are relative to with --images"
            )
    if len(set(paths)) != len(paths):
        index = next(i for i, path in enumerate(paths) if path in paths[:i])
        raise InputError(f"{file}: frame {index} names the picture {paths[index]} once more")
    return paths


def _parts(name: str, where: str) -> tuple[str, ...]:
    parts = tuple(part for part in PurePosixPath(name).parts if part != "/")
    if not parts or ".." in parts:
        raise InputError(f"{where}: the picture's name is {name!r}, expected folder/file")
    return parts


class _Series:
    """Numbered pictures of folders, each folder looked at once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[tuple[str, str], dict[int, Path]]] = {}

    def between(self, first: Path, last: Path) -> list[Path]:
        """Pictures of the same series whose numbers lie between those of two of them."""
        start, end = _numbered(first), _numbered(last)
        if first.parent != last.parent or start is None or end is None or start[0] != end[0]:
            return []
        numbers = self._of(first.parent).get(start[0], {})
        return [numbers[n] for n in range(start[1] + 1, end[1]) if n in numbers]

    def _of(self, folder: Path) -> dict[tuple[str, str], dict[int, Path]]:
        if folder not in self._folders:
            found: dict[tuple[str, str], dict[int, Path]] = {}
            for path in sorted(filter(is_picture, folder.iterdir())):
                if (place := _numbered(path)) is not None:
                    found.setdefault(place[0], {}).setdefault(place[1], path)
            self._folders[folder] = found
        return self._folders[folder]


def _numbered(path: Path) -> tuple[tuple[str, str], int] | None:
    """The last number of a file's name, and what surrounds it."""
    match = _NUMBERED.fullmatch(path.stem)
    return match and ((match[1], match[3] + path.suffix), int(match[2]))
