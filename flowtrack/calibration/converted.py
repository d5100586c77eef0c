"""Bundles whose networks were brought to a lower precision: put together, tracked with, written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from flowtrack import __version__
from flowtrack.calibration.layers import Network
from flowtrack.calibration.verdict import Limits, PartVerdict, judge_tracking
from flowtrack.errors import OptionError
from flowtrack.evaluation.deployed.networks import open_networks
from flowtrack.evaluation.deployed.posetrack import run_clips
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.runtime.manifest import Manifest, NetworkFile

Precision = Literal["fp16", "int8"]


def convertible(bundle: Bundle, parts: Sequence[str] = ()) -> list[str]:
    """The parts to convert.

    Args:
        bundle: the original.
        parts: those that are asked for; none: all that are networks.

    Raises:
        OptionError: there is no network of that part, it occurs twice, it is not fp32, or it reads
            whole frames.
    """
    files = bundle.manifest.files()
    for part in parts:
        if part not in files:
            raise OptionError(f"part is {part!r}, expected a network of {bundle.path}: "
                              f"{', '.join(files)}")  # fmt: skip
        if list(parts).count(part) > 1:
            raise OptionError(f"part {part!r} is named twice, expected once")
    chosen = [part for part in files if part in parts or not parts]
    for part in chosen:
        if files[part].precision != "fp32":
            raise OptionError(
                f"{bundle.path}: {part} is {files[part].precision}, expected fp32; start from the "
                "bundle that it was made from"
            )
        if files[part].input.form == "frame":
            raise OptionError(
                f"{bundle.path}: {part} reads whole frames; convert the bundle that it was made "
                "from, then `flowtrack export frame-in`"
            )
    return chosen


def kept_by_part(models: Mapping[str, bytes], keep: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names of nodes and operators that stay as they are, sorted by the graphs that have them.

    Args:
        models: graphs by part.
        keep: names that are meant for any of them.

    Raises:
        OptionError: no graph has one of the names.
        InputError: a graph is damaged, or quantised already.
    """
    networks = {part: Network(model) for part, model in models.items()}
    for name in keep:
        if not any(network.has(name) for network in networks.values()):
            for network in networks.values():
                network.check_keep([name])
    return {
        part: tuple(name for name in keep if network.has(name))
        for part, network in networks.items()
    }


def with_networks(
    bundle: Bundle,
    graphs: Mapping[str, bytes],
    precision: Precision,
    records: Mapping[str, Mapping[str, Any]],
) -> tuple[Manifest, dict[str, bytes | Path]]:
    """Manifest and files of a bundle with some networks in another precision.

    TensorRT plans are left behind: they are of the original's networks.

    Args:
        bundle: the original.
        graphs: by part.
        precision: of these graphs.
        records: of their comparison, by part; they go into the manifest as `parity.PRECISION`.
    """
    manifest = bundle.manifest
    files = {part: _converted(file, graphs[part], precision, records.get(part))
             for part, file in manifest.files().items() if part in graphs}  # fmt: skip
    changed: dict[str, Any] = {
        part: replace(getattr(manifest, part), file=file) for part, file in files.items()
    }
    made_from = {**manifest.made_from, precision: f"flowtrack {__version__}"}
    contents: dict[str, bytes | Path] = {
        file.path: graphs[part] if part in graphs else bundle.read(part)
        for part, file in manifest.files().items()
    }
    return replace(manifest, made_from=made_from, **changed), contents


def _converted(
    file: NetworkFile, graph: bytes, precision: Precision, record: Mapping[str, Any] | None
) -> NetworkFile:
    parity = {**(file.parity or {}), precision: dict(record)} if record is not None else file.parity
    return replace(
        file, sha256=hashlib.sha256(graph).hexdigest(), precision=precision, parity=parity
    )


def judge_on_truth(
    reference: Bundle,
    graphs: Mapping[str, bytes],
    precision: Precision,
    clips: Sequence[TruthClip],
    joints: str,
    limits: Limits,
    device: str = "cpu",
    progress: Callable[[], None] | None = None,
) -> PartVerdict:
    """Track annotated clips with the original and with converted networks, and compare.

    Args:
        reference: the original, which runs in ONNX Runtime on the CPU.
        graphs: converted networks by part; the others are the original's.
        precision: of the converted ones.
        clips: the annotated clips.
        joints: to score, a set of `flowtrack.evaluation.sequences.JOINT_SETS`.
        limits: say how much MOTA may fall.
        device: of the converted networks.
        progress: called after each frame of each run.

    Raises:
        OptionError: the bundle's tracker needs flow and there is none.
        SourceError, BundleError, EngineError: a picture or network cannot be used.
    """
    with TemporaryDirectory(prefix="flowtrack-gate-") as scratch:
        manifest, files = with_networks(reference, graphs, precision, {})
        candidate = write_bundle(Path(scratch) / "candidate", manifest, files)
        before = _tracked(reference, "cpu", clips, joints, progress)
        after = _tracked(candidate, device, clips, joints, progress)
    return judge_tracking(before, after, limits)


def _tracked(
    bundle: Bundle,
    device: str,
    clips: Sequence[TruthClip],
    joints: str,
    progress: Callable[[], None] | None,
) -> dict[str, float]:
    """What a bundle's tracking is worth: mAP and MOTA, in percent."""
    networks = open_networks(bundle, device)
    pipeline = networks.pipeline(bundle.manifest.tracker_options)
    results = [found for _, found in run_clips(pipeline, clips, progress=progress)]
    scores = evaluate([clip.truth for clip in clips], results, joints)
    return {"mAP": scores.mean_ap, "MOTA": scores.mota}
