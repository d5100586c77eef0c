"""Pairs of pictures with their true flow, in files.

A set is a folder with .flo files anywhere below it. The pictures of each are found by its name:

- FlyingChairs: `00001_flow.flo` has `00001_img1.ppm` and `00001_img2.ppm` beside it;
- samples of flownet2: `0000000-gt.flo` has `0000000-img0.ppm` and `0000000-img1.ppm`;
- clips of `flowtrack.synthetic`: `clip.flow/000001.flo` has `clip/000001.png` and
  `clip/000002.png` (or jpg, or webp).

A PNG with the name of the .flo file, where there is one, is white where the second picture shows
what the pixel shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flowtrack.errors import InputError, SourceError
from flowtrack.flo import read_flo
from flowtrack.structs import BoolArray, ByteArray, FloatArray

_BESIDE = (
    ("_flow.flo", "_img1.ppm", "_img2.ppm"),
    ("-gt.flo", "-img0.ppm", "-img1.ppm"),
)
_CLIP = ".flow"
_CLIP_PICTURES = (".png", ".jpg", ".webp")
_LAYOUTS = "*_flow.flo with *_img1.ppm and *_img2.ppm, *-gt.flo with *-img0.ppm and *-img1.ppm, " \
    "or clip.flow/000001.flo with clip/000001.png and clip/000002.png"  # fmt: skip
_VALIDATION = "2"  # of FlyingChairs' list; "1" is training


@dataclass(frozen=True, slots=True)
class FlowPair:
    """Two pictures and the true flow between them.

    Attributes:
        name: of the pair, unique in its set.
        uv: (2, H, W) float32 px, as in the file.
        visible: (H, W) bool, where the second picture shows the pixel's point; None: not known.
        previous, current: (H, W, 3) uint8 BGR; None where the set has only flow.
    """

    name: str
    uv: FloatArray
    visible: BoolArray | None = None
    previous: ByteArray | None = None
    current: ByteArray | None = None


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a pair lies.

    Attributes:
        name: the way from the set's folder to the .flo file, without its ending, with slashes.
        truth: the .flo file.
        mask: of the visible pixels, or None.
        previous, current: the pictures, or None.
    """

    name: str
    truth: Path
    mask: Path | None = None
    previous: Path | None = None
    current: Path | None = None

    def load(self) -> FlowPair:
        """Read the pair.

        Raises:
            SourceError: a file cannot be read.
            InputError: the .flo file is damaged, or a picture has another size.
        """
        uv = read_flo(self.truth)
        mask, previous, current = (
            None if path is None else _picture(path, uv.shape[1:], self.truth)
            for path in (self.mask, self.previous, self.current)
        )
        visible = None if mask is None else np.asarray(mask[..., 0] > 127)
        return FlowPair(self.name, uv, visible, previous, current)


def find_pairs(place: str | Path, *, pictures: bool = True) -> list[PairFiles]:
    """The pairs of a set, in the order of their files.

    Args:
        place: a folder, searched with all below it, or one .flo file.
        pictures: every pair must have them.

    Raises:
        SourceError: there is no pair, or one lacks a picture.
    """
    place = Path(place)
    if not place.exists():
        raise SourceError(f"{place} is not there; name a folder with .flo files, or one such file")
    root = place if place.is_dir() else place.parent
    flows = sorted(place.rglob("*.flo")) if place.is_dir() else [place]
    if not flows:
        raise SourceError(f"{place} holds no .flo file; expected {_LAYOUTS}")
    return [_pair(path, root, pictures) for path in flows]


def validation_pairs(pairs: Sequence[PairFiles], split: Path) -> list[PairFiles]:
    """Those pairs that are for validation, by a list such as FlyingChairs_train_val.txt.

    Args:
        pairs: all of the set, in order.
        split: a file with a line for each pair: 1 for training, 2 for validation.

    Raises:
        SourceError: the list cannot be read.
        InputError: it is of another set, or names no pair for validation.
    """
    try:
        kinds = split.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{split} cannot be read: {error}; expected lines of 1 or 2") from error
    if len(kinds) != len(pairs) or not set(kinds) <= {"1", _VALIDATION}:
        raise InputError(
            f"{split} has {len(kinds)} entries ({', '.join(sorted(set(kinds))[:4])}) for "
            f"{len(pairs)} pairs; expected 1 (training) or 2 (validation) for each pair"
        )
    chosen = [pair for pair, kind in zip(pairs, kinds, strict=True) if kind == _VALIDATION]
    if not chosen:
        raise InputError(f"{split} has no 2, expected pairs for validation")
    return chosen


def _pair(truth: Path, root: Path, pictures: bool) -> PairFiles:
    previous, current = _pictures_of(truth)
    if pictures:
        _check_pictures(truth, previous, current)
    mask = truth.with_suffix(".png")
    return PairFiles(
        truth.relative_to(root).with_suffix("").as_posix(),
        truth,
        mask if mask.is_file() else None,
        previous if previous is not None and previous.is_file() else None,
        current if current is not None and current.is_file() else None,
    )


def _pictures_of(truth: Path) -> tuple[Path | None, Path | None]:
    """Where the pictures of a flow should be; None where its name does not tell."""
    for ending, first, second in _BESIDE:
        if truth.name.endswith(ending):
            stem = truth.name.removesuffix(ending)
            return truth.with_name(stem + first), truth.with_name(stem + second)
    if truth.parent.name.endswith(_CLIP) and re.fullmatch("[0-9]+", truth.stem):
        clip = truth.parent.with_name(truth.parent.name.removesuffix(_CLIP))
        after = f"{int(truth.stem) + 1:0{len(truth.stem)}d}"
        kinds = (kind for kind in _CLIP_PICTURES if (clip / (truth.stem + kind)).is_file())
        kind = next(kinds, _CLIP_PICTURES[0])
        return clip / (truth.stem + kind), clip / (after + kind)
    return None, None


def _check_pictures(truth: Path, *pictures: Path | None) -> None:
    for picture in pictures:
        if picture is None:
            raise SourceError(
                f"{truth}: no pictures go with a file of this name; expected {_LAYOUTS}"
            )
        if not picture.is_file():
            raise SourceError(
                f"{truth} needs {picture}, which is not there; fetch or write it again"
            )


def _picture(path: Path, size: tuple[int, ...], truth: Path) -> ByteArray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SourceError(f"{path} cannot be decoded; fetch or write it again")
    if picture.shape[:2] != size:
        raise InputError(
            f"{path} is {picture.shape[1]} x {picture.shape[0]} px, but {truth.name} is "
            f"{size[1]} x {size[0]}; expected one size, fetch or write both again"
        )
    return np.asarray(picture, np.uint8)
