"""A bundle in frame-in form: its networks read whole frames, and are held against the originals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flowtrack import __version__
from flowtrack.errors import ExportError
from flowtrack.export.frame_graphs import frame_graph, frame_input
from flowtrack.export.frame_parity import grey_record, place_record
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import Manifest, NetworkFile
from flowtrack.runtime.pipeline import Pipeline, build_pipeline
from flowtrack.structs import ByteArray
from flowtrack.tracker.options import TrackerOptions


def frame_bundle(bundle: Bundle, out: Path | str, frames: Sequence[ByteArray]) -> Bundle:
    """Write the frame-in form of a bundle whose networks take pictures, whatever their precision.

    Flow without a network stays as it is. Plans of the original are left behind.

    Args:
        bundle: the original.
        out: of the bundle to write, a folder or a .zip file.
        frames: (H, W, 3) uint8 BGR, two or more of a video with people in it, to compare both
            forms on; each network's record goes into the manifest as `parity.frame_in`.

    Raises:
        DependencyError: onnx is missing.
        ExportError: a network has no frame-in form, or differs by more than its limits.
        BundleError: the bundle is damaged.
        OutputError: `out` cannot be written.
    """
    if len(frames) < 2:
        raise ExportError(f"{len(frames)} frames to compare on, expected two or more of a video")
    manifest = bundle.manifest
    before = {part: bundle.read(part) for part in manifest.files()}
    after = {part: frame_graph(content, part, manifest) for part, content in before.items()}
    framed = _framed(manifest, {part: _framed_file(manifest, part, graph)
                                for part, graph in after.items()})  # fmt: skip
    pipelines = _loaded(manifest, before), _loaded(framed, after)
    shapes = [*frames, _odd(frames[0])]
    files = {}
    for part, file in framed.files().items():
        record = {
            "against": f"the network of pictures, sha256 {manifest.files()[part].sha256}",
            **grey_record(part, manifest, shapes),
            **place_record(part, *pipelines, frames),
        }
        files[part] = replace(file, parity={**(file.parity or {}), "frame_in": record})
    contents: dict[str, bytes | Path] = {files[part].path: after[part] for part in after}
    made_from = {**manifest.made_from, "frame_in": f"flowtrack {__version__}"}
    return write_bundle(out, replace(_framed(framed, files), made_from=made_from), contents)


def frame_records(bundle: Bundle) -> dict[str, Any]:
    """The comparison of each network with its form that takes pictures, by part."""
    files = bundle.manifest.files()
    return {part: (file.parity or {})["frame_in"] for part, file in files.items()}


def _framed_file(manifest: Manifest, part: str, content: bytes) -> NetworkFile:
    file = manifest.files()[part]
    sha256 = hashlib.sha256(content).hexdigest()
    return replace(file, sha256=sha256, input=frame_input(part, file.input))


def _framed(manifest: Manifest, files: Mapping[str, NetworkFile]) -> Manifest:
    """The manifest with other network files, whose flow, if any, is in frame pixels."""
    flow = manifest.flow
    if flow is not None and "flow" in files:
        flow = replace(flow, file=files["flow"], unit="input")
    return replace(
        manifest,
        detector=replace(manifest.detector, file=files["detector"]),
        pose=replace(manifest.pose, file=files["pose"]),
        flow=flow,
    )


def _loaded(manifest: Manifest, graphs: Mapping[str, bytes]) -> Pipeline:
    engines = {part: open_engine(content, "cpu") for part, content in graphs.items()}
    options = manifest.tracker_options
    if "flow" in engines and not options.uses_flow:
        options = TrackerOptions()  # flow is compared whether the bundle's tracker uses it or not
    return build_pipeline(manifest, engines, options)


def _odd(frame: ByteArray) -> ByteArray:
    """A part of a frame with odd sides."""
    height, width = (max(1, side * 3 // 4) | 1 for side in frame.shape[:2])
    return np.ascontiguousarray(frame[:height, :width])
