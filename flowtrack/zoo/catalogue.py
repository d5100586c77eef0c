"""The catalogue of public networks: a data file, read strictly into frozen dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from flowtrack.errors import FlowtrackError, InputError, OptionError
from flowtrack.schema import check_limits, limits, read_dataclass

Part = Literal["detector", "pose"]
Format = Literal["onnx", "zip", "checkpoint"]
HashSource = Literal["publisher", "others", "nobody"]

PACKAGED = Path(__file__).with_name("catalogue.toml")
"""The catalogue that comes with flowtrack."""

_NAME = r"[a-z0-9][a-z0-9.-]*"
_URL = r"https?://[^\s/?#]+/[^\s?#]+"
_HASH = r"([0-9a-f]{8,64})?"
_SLACK = 2  # an approximate size may be wrong by this factor


@dataclass(frozen=True)
class PublishedFile:
    """A file as its publisher offers it.

    Attributes:
        url: where it lies.
        format: `onnx`; `zip`, of which `member` is wanted; or `checkpoint` of PyTorch, which is
            converted.
        member: file name, without folders, of the wanted file of a zip.
        size_bytes: exact size; None where it is not known.
        about_mb: approximate size in 10^6 bytes, where `size_bytes` is not known.
        sha256: of the file, in hexadecimal; a prefix will do; empty where none is known.
        sha256_from: who stated it: the publisher, other projects that use the file, or nobody.
        member_sha256: the same of the wanted file of a zip.
    """

    url: str = field(metadata=limits(pattern=_URL, description="an http(s) address of a file"))
    format: Format
    sha256_from: HashSource
    member: str = ""
    size_bytes: int | None = field(default=None, metadata=limits(minimum=1))
    about_mb: float | None = field(default=None, metadata=limits(exclusiveMinimum=0))
    sha256: str = field(default="", metadata=limits(pattern=_HASH, description="8 to 64 digits"))
    member_sha256: str = field(
        default="", metadata=limits(pattern=_HASH, description="8 to 64 digits")
    )

    def __post_init__(self) -> None:
        if (self.size_bytes is None) == (self.about_mb is None):
            raise InputError("give either `size_bytes` or `about_mb`")
        if bool(self.sha256) == (self.sha256_from == "nobody"):
            raise InputError(f"sha256 is {self.sha256!r} and sha256_from {self.sha256_from!r}")
        if (self.format == "zip") != bool(self.member):
            raise InputError(f"format is {self.format!r} and member {self.member!r}")
        if self.member_sha256 and not self.member:
            raise InputError("member_sha256 is given, and no member")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def size_mb(self) -> float:
        """Size in 10^6 bytes, approximate where the exact one is not known."""
        return self.about_mb if self.about_mb is not None else (self.size_bytes or 0) / 1e6

    @property
    def limit_bytes(self) -> int:
        """More than this is certainly another file."""
        return self.size_bytes if self.size_bytes is not None else int(self.size_mb * 1e6 * _SLACK)


@dataclass(frozen=True)
class Feed:
    """How a network is fed; pixels p (0..255) enter as (p * scale - mean) / std.

    Attributes:
        height, width: of the input in pixels.
        color: channel order.
        scale, mean, std: normalisation outside the graph, in the order of `color`.
    """

    height: int = field(metadata=limits(minimum=1))
    width: int = field(metadata=limits(minimum=1))
    color: Literal["rgb", "bgr"]
    scale: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = field(
        default=(1.0, 1.0, 1.0), metadata=limits(exclusiveMinimum=0)
    )


@dataclass(frozen=True)
class DetectorReading:
    """How a detector's output is read; see `flowtrack.runtime.manifest.DetectorSpec`."""

    decode: Literal["boxes", "yolox", "rcnn"]
    person_class: int | None = field(default=None, metadata=limits(minimum=0))


@dataclass(frozen=True)
class PoseReading:
    """How a pose network's output is read; see `flowtrack.runtime.manifest.PoseSpec`."""

    decode: Literal["keypoints", "heatmap", "simcc"]
    skeleton: str
    offset: Literal["quarter", "second", "none"] = "quarter"
    box_padding: float = field(default=1.25, metadata=limits(exclusiveMinimum=0))
    simcc_ratio: float = field(default=2.0, metadata=limits(exclusiveMinimum=0))


@dataclass(frozen=True)
class Accuracy:
    """An accuracy as the publisher states it, e.g. 71.8 AP on COCO val2017."""

    value: float
    metric: str
    on: str

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.1f}, {self.on}"


@dataclass(frozen=True)
class ZooNetwork:
    """A public network.

    Attributes:
        part: what it does.
        title: for people.
        home: page of the project that publishes it.
        licence: SPDX name, as the project states it for what it publishes.
        trained_on: data sets; they have terms of their own.
        accuracy: the publisher's own figure.
        file: what is downloaded.
        input: how the ONNX graph is fed. Of a checkpoint: for which size and order it is exported.
        detector, pose: how the output of the ONNX graph is read; the one of `part`.
        name: its key in the catalogue.
    """

    part: Part
    title: str
    home: str
    licence: str
    trained_on: str
    accuracy: Accuracy
    file: PublishedFile
    input: Feed
    detector: DetectorReading | None = None
    pose: PoseReading | None = None
    name: str = field(
        default="unnamed",
        metadata=limits(pattern=_NAME, description="small letters, digits, dots and hyphens"),
    )

    def __post_init__(self) -> None:
        given = {part for part in ("detector", "pose") if getattr(self, part) is not None}
        if given != {self.part}:
            raise InputError(f"part is {self.part!r}, and readings are given for {sorted(given)}")
        if self.file.format == "checkpoint" and (
            self.pose is None or self.pose.decode != "keypoints"
        ):
            raise InputError("a checkpoint is converted to a pose graph, read as 'keypoints'")


@dataclass(frozen=True)
class Combination:
    """Networks that make a complete bundle.

    Attributes:
        title: for people.
        detector, pose: names of networks.
        flow: `dis`, OpenCV's optical flow, which needs no network.
        name: its key in the catalogue.
    """

    title: str
    detector: str
    pose: str
    flow: Literal["dis"] = "dis"
    name: str = field(
        default="unnamed",
        metadata=limits(pattern=_NAME, description="small letters, digits, dots and hyphens"),
    )


@dataclass(frozen=True)
class Catalogue:
    """Public networks and their combinations, by name."""

    networks: dict[str, ZooNetwork]
    combinations: dict[str, Combination] = field(default_factory=dict)

    def __post_init__(self) -> None:
        both = sorted(set(self.networks) & set(self.combinations))
        if both:
            raise InputError(f"{', '.join(both)} names a network and a combination")
        for name, combination in self.combinations.items():
            for part in ("detector", "pose"):
                network = self.networks.get(getattr(combination, part))
                if network is None or network.part != part:
                    raise InputError(
                        f"combinations.{name}.{part} is {getattr(combination, part)!r}, which is "
                        f"no {part} network of the catalogue"
                    )

    def select(self, names: Sequence[str]) -> tuple[ZooNetwork, ...]:
        """Networks by name, in order, once each; a combination stands for its networks.

        Raises:
            OptionError: a name is unknown; the message suggests others.
        """
        chosen: dict[str, ZooNetwork] = {}
        for name in names:
            combination = self.combinations.get(name)
            members = (combination.detector, combination.pose) if combination else (name,)
            for member in members:
                if member not in self.networks:
                    raise OptionError(self._unknown(name))
                chosen[member] = self.networks[member]
        return tuple(chosen.values())

    def _unknown(self, name: str) -> str:
        known = [*self.combinations, *self.networks]
        close = get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        return f"no public network {name!r}; {hint}"


def load_catalogue(path: Path = PACKAGED) -> Catalogue:
    """Read a catalogue.

    Args:
        path: a TOML file in the form of the packaged one.

    Raises:
        InputError: the file cannot be read, or breaks a rule of the form; the message names the
            entry.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"catalogue {path} cannot be read: {error}") from error
    unknown = sorted(set(content) - {"networks", "combinations"})
    if unknown:
        raise InputError(f"catalogue {path} has {unknown}, expected networks and combinations")
    try:
        return Catalogue(
            _entries(ZooNetwork, content, "networks"),
            _entries(Combination, content, "combinations"),
        )
    except FlowtrackError as error:
        raise InputError(f"catalogue {path}: {error}") from error


T = TypeVar("T", ZooNetwork, Combination)


def _entries(kind: type[T], content: dict[str, Any], table: str) -> dict[str, T]:
    """The entries of a table of the file; each knows its key as its name."""
    entries: dict[str, T] = {}
    values = content.get(table, {})
    if not isinstance(values, dict):
        raise InputError(f"{table} is {values!r}, expected a table")
    for name, value in values.items():
        where = f"{table}.{name}"
        try:
            named = {**value, "name": name} if isinstance(value, dict) else value
            entries[name] = read_dataclass(kind, named, where)
            check_limits(entries[name], where)
        except FlowtrackError as error:
            text = str(error)
            raise InputError(text if text.startswith(where) else f"{where}: {text}") from error
    return entries
