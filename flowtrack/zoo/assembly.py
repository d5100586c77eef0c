"""What public networks become: ONNX files with their facts beside them, and complete bundles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowtrack import __version__
from flowtrack.errors import BundleError, OptionError
from flowtrack.runtime.assemble import trial_run
from flowtrack.runtime.bundle import Bundle, is_bundle, open_bundle, write_bundle
from flowtrack.runtime.detector import Detector
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import DetectorSpec, FlowSpec, Manifest, NetworkFile, PoseSpec
from flowtrack.runtime.pose import PoseEstimator
from flowtrack.runtime.sidecar import sidecar_path, write_sidecar
from flowtrack.skeleton import skeleton_named
from flowtrack.structs import Boxes, Frame
from flowtrack.zoo.cache import writing
from flowtrack.zoo.catalogue import ZooNetwork
from flowtrack.zoo.networks import Convert, Obtained, as_onnx


def detector_spec(network: ZooNetwork, file: NetworkFile) -> DetectorSpec:
    """A manifest's entry of a detector."""
    assert network.detector is not None
    return DetectorSpec(file, network.detector.decode, person_class=network.detector.person_class)


def pose_spec(network: ZooNetwork, file: NetworkFile) -> PoseSpec:
    """A manifest's entry of a pose network."""
    reading = network.pose
    assert reading is not None
    return PoseSpec(
        file,
        reading.decode,
        reading.offset,
        box_padding=reading.box_padding,
        simcc_ratio=reading.simcc_ratio,
    )


def bundle_options(network: ZooNetwork) -> list[str]:
    """Options of `flowtrack bundle` for a network whose facts lie beside it."""
    if network.detector is not None:
        decode = network.detector.decode
        return [] if decode == "boxes" else ["--detector-decode", decode]
    reading = network.pose
    assert reading is not None
    options = ["--skeleton", reading.skeleton]
    if reading.decode != "keypoints":
        options += ["--pose-decode", reading.decode]
    if reading.decode == "heatmap":
        options += ["--pose-offset", reading.offset]
    if reading.decode == "simcc":
        options += ["--pose-simcc-ratio", f"{reading.simcc_ratio:g}"]
    return [*options, "--pose-padding", f"{reading.box_padding:g}"]


def write_network(obtained: Obtained, target: Path, convert: Convert | None = None) -> NetworkFile:
    """Write a network as ONNX with its facts beside it, after a trial run.

    Args:
        obtained: its published file.
        target: ONNX file to write; replaced only when everything is good.
        convert: for checkpoints, see `as_onnx`.

    Raises:
        FlowtrackError: of the kinds of `as_onnx`.
    """
    with _scratch(target) as folder:
        staged = folder / target.name
        entry = as_onnx(obtained, staged, convert)
        _try(obtained.network, entry, staged)
        write_sidecar(staged, entry)
        with writing(target.parent):
            staged.replace(target)
            sidecar_path(staged).replace(sidecar_path(target))
    return entry


def _try(network: ZooNetwork, entry: NetworkFile, path: Path) -> None:
    """Run a network once on a grey picture, through the code that will run it later.

    Raises:
        BundleError, EngineError: it is not what the catalogue says.
    """
    engine = open_engine(path.read_bytes(), "cpu")
    frame = Frame(0, 0.0, np.full((270, 480, 3), 128, np.uint8))
    if network.part == "detector":
        Detector(engine, detector_spec(network, entry))(frame)
        return
    assert network.pose is not None
    skeleton = skeleton_named(network.pose.skeleton)
    pose = PoseEstimator(engine, pose_spec(network, entry), skeleton)
    pose(frame, Boxes.detected([[100, 20, 200, 250]], [1.0]))


def assemble(
    detector: Obtained,
    pose: Obtained,
    path: Path,
    *,
    flow: Literal["dis"] = "dis",
    combination: str | None = None,
    convert: Convert | None = None,
) -> Bundle:
    """Make a bundle of two networks and OpenCV's optical flow, after a trial run.

    Args:
        detector, pose: their published files.
        path: directory to make, or a zip file if it ends in `.zip`.
        flow: the kind of optical flow.
        combination: name of the combination, for the manifest.
        convert: for checkpoints, see `as_onnx`.

    Raises:
        OptionError: a network is in the wrong place.
        FlowtrackError: of the kinds of `as_onnx`.
    """
    for part, obtained in (("detector", detector), ("pose", pose)):
        if obtained.network.part != part:
            raise OptionError(f"{obtained.network.name} is no {part} network")
    assert pose.network.pose is not None
    files: dict[str, bytes | Path] = {}
    entries: dict[str, NetworkFile] = {}
    with _scratch(path) as folder:
        for part, obtained in (("detector", detector), ("pose", pose)):
            entries[part] = as_onnx(obtained, folder / f"{part}.onnx", convert)
            files[f"{part}.onnx"] = folder / f"{part}.onnx"
        manifest = Manifest(
            skeleton=pose.network.pose.skeleton,
            detector=detector_spec(detector.network, entries["detector"]),
            pose=pose_spec(pose.network, entries["pose"]),
            flow=FlowSpec(flow),
            made_by=f"flowtrack {__version__}",
            made_from=_made_from([detector.network, pose.network], combination),
        )
        trial_run(manifest, files)
        return write_bundle(path, manifest, files)


def already_there(path: Path, networks: Sequence[ZooNetwork]) -> bool:
    """Whether a whole, undamaged bundle of just these networks lies at a path.

    Its files must come from what the catalogue names now.
    """
    if not path.exists() or not is_bundle(path):
        return False
    try:
        bundle = open_bundle(path)
        bundle.verify()
    except BundleError:
        return False
    sources = {part: file.source for part, file in bundle.manifest.files().items()}
    wanted = {network.part: network for network in networks}
    return sources.keys() == wanted.keys() and all(
        sources[part].get("url") == network.file.url
        and str(sources[part].get("sha256", "")).startswith(network.file.sha256)
        for part, network in wanted.items()
    )


def _made_from(networks: Sequence[ZooNetwork], combination: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "command": "flowtrack fetch",
        "networks": [network.name for network in networks],
    }
    return facts if combination is None else {**facts, "combination": combination}


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder beside the target, on the same disk, that is gone afterwards."""
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    with folder as name:
        yield Path(name)
