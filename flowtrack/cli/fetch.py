"""`flowtrack fetch`: public networks by name, from their publishers into a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtrack.cli.console import busy, command, err, note, print_json
from flowtrack.errors import OptionError, OutputError

if TYPE_CHECKING:
    from rich.table import Table

    from flowtrack.runtime.manifest import NetworkFile
    from flowtrack.zoo.catalogue import Catalogue, ZooNetwork
    from flowtrack.zoo.networks import Obtained
    from flowtrack.zoo.transfer import Progress

_Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="A combination (a whole bundle), a detector and a pose network (a bundle of the "
        "two), or one network (an ONNX file). Without: a list of what there is.",
        show_default=False,
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        help="Bundle (a folder, or a .zip file) or .onnx file to write; NAME.bundle or NAME.onnx "
        "here unless told."
    ),
]
_Cache = Annotated[
    Path | None,
    typer.Option(help="Folder of downloads; ~/.cache/flowtrack (XDG_CACHE_HOME) unless told."),
]
_Mirror = Annotated[
    str | None,
    typer.Option(help="Base address of a copy that has the files at MIRROR/HOST/PATH."),
]
_CatalogueFile = Annotated[
    Path | None, typer.Option("--catalogue", help="Another catalogue, in the form of our own.")
]
_Force = Annotated[bool, typer.Option("--force", help="Download again, and replace what is there.")]
_List = Annotated[bool, typer.Option("--list", help="List what there is, or the NAMES alone.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the list or the result as JSON.")]


@command
def fetch(
    names: _Names = None,
    out: _Out = None,
    cache: _Cache = None,
    mirror: _Mirror = None,
    catalogue_file: _CatalogueFile = None,
    force: _Force = False,
    show: _List = False,
    as_json: _Json = False,
) -> None:
    """Fetch public networks by name and make a bundle of them.

    Files come from their publishers, are held against their hashes, and go on where an earlier
    download broke off. PyTorch checkpoints are converted and compared, which needs
    `pip install 'flowtrack[export]'`.
    """
    from flowtrack.cache import default_cache
    from flowtrack.zoo.catalogue import PACKAGED, load_catalogue

    catalogue = load_catalogue(catalogue_file or PACKAGED)
    chosen = catalogue.select(names or [])
    place = cache or default_cache()
    if not names or show:
        _refuse_ignored(out=out, mirror=mirror, force=force or None)
        _list(catalogue, chosen or tuple(catalogue.networks.values()), place, as_json)
        return
    parts = sorted(network.part for network in chosen)
    if parts == ["detector", "pose"]:
        combination = names[0] if len(names) == 1 else None
        result = _fetch_bundle(chosen, combination, out, place, mirror, force)
    elif len(chosen) == 1:
        result = _fetch_network(chosen[0], out, place, mirror, force)
    else:
        raise OptionError(
            f"{', '.join(names)} are {parts.count('detector')} detectors and "
            f"{parts.count('pose')} pose networks; expected one network, or one of each"
        )
    if as_json:
        print_json(result)


def _refuse_ignored(**options: object) -> None:
    ignored = [f"--{name}" for name, value in options.items() if value is not None]
    if ignored:
        raise OptionError(
            f"{', '.join(ignored)} would be ignored by a list; name what to fetch, without --list"
        )


def _fetch_bundle(
    chosen: Sequence[ZooNetwork],
    combination: str | None,
    out: Path | None,
    cache: Path,
    mirror: str | None,
    force: bool,
) -> dict[str, Any]:
    from flowtrack.runtime.bundle import is_bundle
    from flowtrack.zoo.assembly import already_there, assemble
    from flowtrack.zoo.networks import check_converters

    path = out or Path(f"{combination or '+'.join(network.name for network in chosen)}.bundle")
    if not force and already_there(path, chosen):
        note(f"{path} is there already, whole and of these networks")
        return {"path": str(path), "kind": "bundle", "there_already": True}
    if path.exists() and not (force and is_bundle(path)):
        remedy = "--force replaces it" if is_bundle(path) else "name another path with --out"
        raise OutputError(f"{path} exists; {remedy}")
    check_converters(chosen)
    obtained = {item.network.part: item for item in _download(chosen, cache, mirror, force)}
    with busy("converting and trying the networks"):
        bundle = assemble(
            obtained["detector"], obtained["pose"], path, combination=combination, convert=convert
        )
    made = " and ".join(network.name for network in chosen)
    note(f"{bundle.path}: {made}; try `flowtrack track VIDEO --bundle {bundle.path}`")
    return {
        "path": str(bundle.path),
        "kind": "bundle",
        "there_already": False,
        "networks": [_told(item) for item in obtained.values()],
    }


def _fetch_network(
    network: ZooNetwork, out: Path | None, cache: Path, mirror: str | None, force: bool
) -> dict[str, Any]:
    from flowtrack.runtime.sidecar import sidecar_path
    from flowtrack.zoo.assembly import bundle_options, write_network
    from flowtrack.zoo.networks import check_converters

    path = out or Path(f"{network.name}.onnx")
    if path.is_dir():
        path = path / f"{network.name}.onnx"
    if path.suffix != ".onnx":
        raise OptionError(f"--out is {path}, expected a name that ends in .onnx for one network")
    if path.exists() and not force:
        raise OutputError(f"{path} exists; --force replaces it")
    check_converters([network])
    (obtained,) = _download([network], cache, mirror, force)
    with busy("converting and trying the network"):
        entry = write_network(obtained, path, convert)
    options = bundle_options(network)
    words = " ".join(["flowtrack bundle MY.bundle", f"--{network.part} {path}", *options])
    note(f"{path}: facts in {sidecar_path(path).name}; for a bundle: {words} ...")
    return {
        "path": str(path),
        "kind": network.part,
        "sha256": entry.sha256,
        "bundle_options": options,
        "networks": [_told(obtained)],
    }


def convert(checkpoint: Path, target: Path, network: ZooNetwork) -> NetworkFile:
    """A PyTorch checkpoint of a pose network as an ONNX graph that was compared with PyTorch.

    Args:
        checkpoint: in MMPose's layout, or another that `flowtrack export pose` reads.
        target: ONNX file to write.
        network: says size, colour order and skeleton.

    Raises:
        DependencyError, CheckpointError, ExportError: it cannot be converted.
        OptionError: the catalogue's size or skeleton does not fit the network.
    """
    from flowtrack.export import export_pose
    from flowtrack.skeleton import skeleton_named
    from flowtrack.training.checkpoints import load_pose

    assert network.pose is not None  # the catalogue admits checkpoints of pose networks only
    loaded = load_pose(checkpoint, network.input.color)
    exported = export_pose(
        loaded.network,
        target,
        skeleton=skeleton_named(network.pose.skeleton),
        height=network.input.height,
        width=network.input.width,
        color=loaded.color,
    )
    return exported.network_file(f"{network.part}.onnx", {"layout": loaded.layout})


def _told(obtained: Obtained) -> dict[str, Any]:
    """What was downloaded, for machines."""
    return {
        **obtained.source,
        "bytes": obtained.file.receipt.size_bytes,
        "cached": obtained.file.cached,
        "cache_path": str(obtained.file.path),
    }


def _download(
    networks: Sequence[ZooNetwork], cache: Path, mirror: str | None, force: bool
) -> list[Obtained]:
    from flowtrack.zoo.networks import obtain

    obtained = []
    for network in networks:
        with _bar(network) as progress:
            item = obtain(network, cache, mirror=mirror, progress=progress, say=note, force=force)
        obtained.append(item)
        megabytes = f"{item.file.receipt.size_bytes / 1e6:.1f} MB"
        if item.file.cached:
            note(f"{network.name}: {megabytes}, downloaded before")
        else:
            note(f"{network.name}: {megabytes} from {_host(item.file.receipt.fetched_from)}")
        if not network.file.sha256:
            note(
                f"{network.name}: its publisher states no hash; this file is "
                f"{item.file.receipt.sha256}, and later downloads must equal it"
            )
    return obtained


@contextmanager
def _bar(network: ZooNetwork) -> Iterator[Progress]:
    """A bar of bytes with rate and estimate, on stderr; silent where stderr is no terminal."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task(network.name, total=network.file.size_bytes)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).netloc


def _is_here(network: ZooNetwork, cache: Path) -> bool:
    from flowtrack.zoo.cache import network_path

    return network_path(cache, network.name, network.file.name).is_file()


def _list(catalogue: Catalogue, networks: Sequence[ZooNetwork], cache: Path, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "combinations": [asdict(entry) for entry in catalogue.combinations.values()],
                "networks": [
                    {**asdict(network), "downloaded": _is_here(network, cache)}
                    for network in networks
                ],
            }
        )
        return
    _show(catalogue, networks, cache)


def _show(catalogue: Catalogue, networks: Sequence[ZooNetwork], cache: Path) -> None:
    """Tables for people; a narrow terminal folds their cells."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    named = {network.name for network in networks}
    bundles = _table("Whole bundles", "MB", "networks", "what")
    for entry in catalogue.combinations.values():
        if {entry.detector, entry.pose} <= named:
            members = (catalogue.networks[entry.detector], catalogue.networks[entry.pose])
            size = sum(network.file.size_mb for network in members)
            parts = f"{entry.detector}, {entry.pose}, {entry.flow} flow"
            bundles.add_row(entry.name, f"{size:.0f}", parts, escape(entry.title))
    tables = [bundles]
    for part, title in (("detector", "Person detectors"), ("pose", "Pose networks")):
        table = _table(title, "MB", "accuracy", "licence", "from", "sha256")
        for network in networks:
            if network.part == part:
                table.add_row(network.name, *map(escape, _cells(network, cache)))
        tables.append(table)
    for table in tables:
        if table.row_count:
            console.print(table)
            console.print()
    console.print(
        "Accuracies and licences are the publishers' statements; the data that a network was "
        "trained on has terms of its own. sha256: stated by the publisher; or not published, and "
        "recorded alike by others who use the file; or none: the first download is recorded here."
    )


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, title=title, title_justify="left", pad_edge=False)
    table.add_column("name", no_wrap=True)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "MB" else "left")
    return table


def _cells(network: ZooNetwork, cache: Path) -> tuple[str, ...]:
    """Size, accuracy, licence, origin and hash of a network."""
    file = network.file
    size = f"{file.size_mb:.1f}" if file.size_bytes is not None else f"~{file.size_mb:.0f}"
    digest = f"{file.sha256[:8]} ({file.sha256_from})" if file.sha256 else "none published"
    if file.member_sha256 and not file.sha256:
        digest = f"{file.member_sha256[:8]} (others, unpacked)"
    origin = _host(file.url) + (" (downloaded)" if _is_here(network, cache) else "")
    return size, str(network.accuracy), network.licence, origin, digest
