"""From a published file to an ONNX network and what a manifest says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flowtrack.errors import BundleError, DependencyError, DownloadError, OptionError
from flowtrack.runtime.assemble import Feeding, describe_network
from flowtrack.runtime.manifest import NetworkFile
from flowtrack.zoo.archive import extract_member
from flowtrack.zoo.cache import network_path, sha256_of, writing
from flowtrack.zoo.catalogue import PublishedFile, ZooNetwork
from flowtrack.zoo.download import Downloaded, download
from flowtrack.zoo.transfer import Patience, Progress, Remote, Say

# A member may be so many times as large as its archive, and always a megabyte: weights hardly
# shrink when they are packed.
_UNPACKED, _ALWAYS_BYTES = 8, 1 << 20
_CONVERTING = ("torch", "onnx", "onnxscript")


@dataclass(frozen=True)
class Obtained:
    """A public network whose published file is here.

    Attributes:
        network: its entry in the catalogue.
        file: what was downloaded.
    """

    network: ZooNetwork
    file: Downloaded

    @property
    def source(self) -> dict[str, Any]:
        """Where the network comes from, for the manifest."""
        published, receipt = self.network.file, self.file.receipt
        return {
            "name": self.network.name,
            "file": published.name,
            "url": published.url,
            "sha256": receipt.sha256,
            "sha256_expected": published.sha256 or None,
            "sha256_from": published.sha256_from,
            "licence": self.network.licence,
            "trained_on": self.network.trained_on,
            "accuracy": str(self.network.accuracy),
        }


def remote_of(file: PublishedFile, mirror: str | None = None) -> Remote:
    """What to download, and what it is held against."""
    return Remote(file.url, file.sha256, file.size_bytes, file.limit_bytes, mirror)


def check_converters(networks: Sequence[ZooNetwork]) -> None:
    """Refuse checkpoints where they cannot be converted, before anything is downloaded.

    Raises:
        DependencyError: a network needs PyTorch to become an ONNX graph, and it is not here.
    """
    needing = [network.name for network in networks if network.file.format == "checkpoint"]
    missing = [name for name in _CONVERTING if needing and find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"{', '.join(needing)} is published as a PyTorch checkpoint; converting it needs "
            f"{', '.join(missing)}: pip install 'flowtrack[export]'. Or fetch a network that is "
            "published as ONNX"
        )


def obtain(
    network: ZooNetwork,
    cache: Path,
    *,
    mirror: str | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    force: bool = False,
) -> Obtained:
    """Download a network's published file, unless it is there already.

    Args:
        network: from the catalogue.
        cache: folder of downloads.
        mirror, patience, progress, say, force: as in `flowtrack.zoo.download.download`.

    Raises:
        DownloadError, OutputError, OptionError: as in `flowtrack.zoo.download.download`.
    """
    file = download(
        remote_of(network.file, mirror),
        network_path(cache, network.name, network.file.name),
        patience=patience,
        progress=progress,
        say=say,
        force=force,
    )
    return Obtained(network, file)


Convert = Callable[[Path, Path, ZooNetwork], NetworkFile]
"""Turns a checkpoint into an ONNX file: (checkpoint, target, network) to its manifest entry."""


def as_onnx(obtained: Obtained, target: Path, convert: Convert | None = None) -> NetworkFile:
    """Write a network as ONNX and describe it.

    Args:
        obtained: its published file.
        target: ONNX file to write; nothing but scratch work should lie there.
        convert: for checkpoints; `flowtrack.cli.fetch.convert` does it with PyTorch.

    Returns:
        Its entry of a manifest, with what the catalogue says of its input and origin.

    Raises:
        DownloadError: an archive is damaged, or holds another file than the catalogue says.
        OptionError: it is a checkpoint, and there is no `convert`.
        CheckpointError, ExportError, DependencyError: the checkpoint cannot be converted.
        BundleError, EngineError: the graph is not the one that the catalogue describes.
        OutputError: the target cannot be written.
    """
    network, file = obtained.network, obtained.file
    if network.file.format == "checkpoint":
        if convert is None:
            raise OptionError(f"{network.name} is a checkpoint; say how to convert it")
        entry = convert(file.path, target, network)
    else:
        if network.file.format == "zip":
            limit = max(file.receipt.size_bytes * _UNPACKED, _ALWAYS_BYTES)
            extract_member(file.path, network.file.member, target, limit)
            _check_member(obtained, target)
        else:
            with writing(target.parent):
                target.write_bytes(file.path.read_bytes())
        feed = network.input
        feeding = Feeding(feed.color, feed.scale, feed.mean, feed.std)
        entry = describe_network(target, network.part, feeding)
    size = (network.input.height, network.input.width)
    if (entry.input.height, entry.input.width) != size:
        raise BundleError(
            f"{network.name} takes {entry.input.height}x{entry.input.width}, the catalogue says "
            f"{size[0]}x{size[1]}"
        )
    return replace(entry, source={**entry.source, **obtained.source})


def _check_member(obtained: Obtained, member: Path) -> None:
    expected = obtained.network.file.member_sha256
    found = sha256_of(member)
    if not found.startswith(expected):
        raise DownloadError(
            f"{obtained.network.file.member} in {obtained.file.path} has sha256 {found[:12]}..., "
            f"expected {expected[:12]}...; it is another file than the catalogue knows"
        )
