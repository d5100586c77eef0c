"""A bundle brought to INT8: ranges measured, graphs quantised, and each held against the gate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flowtrack.calibration.feeds import Feed, record_feeds
from flowtrack.calibration.gate import Gate, Limits, PartVerdict, Verdict, judge_tracking
from flowtrack.calibration.held_out import Material
from flowtrack.calibration.int8 import quantizable, quantize
from flowtrack.calibration.int8_options import Int8Options
from flowtrack.calibration.ranges import RangeTable, measure_ranges, passes, read_ranges
from flowtrack.calibration.sensitivity import Damage, rank_layers
from flowtrack.errors import OptionError
from flowtrack.evaluation.clip_counts import count_clip
from flowtrack.evaluation.deployed.posetrack import run_clips
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.evaluation.posetrack import PoseTrackScores
from flowtrack.evaluation.sequences import joint_rows
from flowtrack.runtime.bundle import Bundle, write_bundle
from flowtrack.runtime.manifest import Manifest
from flowtrack.runtime.pipeline import open_pipeline

_SENSITIVITY_FEEDS = 4


@dataclass(frozen=True)
class Quantised:
    """What became of a bundle's networks.

    Attributes:
        graphs: INT8 graphs by part.
        layers: how many layers of each are INT8.
        verdict: of the gate.
    """

    graphs: dict[str, bytes]
    layers: dict[str, int]
    verdict: Verdict


class Int8Calibration:
    """A bundle with what its networks are fed on calibration frames, ready to be quantised."""

    def __init__(
        self,
        bundle: Bundle,
        material: Material,
        options: Int8Options,
        parts: Sequence[str] = (),
        progress: Callable[[], None] | None = None,
    ) -> None:
        """Run the bundle's networks on the calibration frames.

        Args:
            bundle: fp32 in the parts that are to be quantised.
            material: frames to measure ranges on, and others to judge by.
            options: how to quantise.
            parts: `detector`, `pose`, `flow`; all if empty.
            progress: called after each frame.

        Raises:
            OptionError: the bundle lacks a part, or one is not fp32 or reads whole frames.
            InputError: the frames show nobody, or are one colour all over.
        """
        self.bundle, self.material, self.options = bundle, material, options
        self.parts = _chosen(bundle, parts)
        self.feeds: dict[str, list[Feed]] = record_feeds(
            bundle, material.calibration_frames(), len(material.calibration), progress
        )

    def runs(self) -> int:
        """How often `tables` tells its progress."""
        return passes(self.options) * sum(len(self.feeds[part]) for part in self.parts)

    def tables(
        self, folder: Path | None = None, progress: Callable[[], None] | None = None
    ) -> dict[str, RangeTable]:
        """Ranges of each part: those that a folder holds, or measured and written to it.

        Args:
            folder: of `<part>.ranges.json`; None keeps nothing.
            progress: called after each run of a network.

        Raises:
            InputError: a table is damaged, or of another graph, method or other frames; an
                activation has no range.
            OutputError: a table cannot be written.
        """
        found = {}
        for part in self.parts:
            graph, feeds = self.bundle.read(part), self.feeds[part]
            path = None if folder is None else folder / f"{part}.ranges.json"
            if path is not None and path.is_file():
                table = read_ranges(path)
                table.check(graph, feeds, self.options)
            else:
                table = measure_ranges(graph, feeds, self.options, progress)
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    table.write(path)
            found[part] = table
        return found

    def quantised(
        self, tables: dict[str, RangeTable], device: str = "cpu", limits: Limits | None = None,
        clips: Sequence[TruthClip] = (), joints: str = "all",
    ) -> Quantised:  # fmt: skip
        """Quantise the parts and hold them against the gate.

        Args:
            tables: of `tables`.
            device: that INT8 runs on.
            limits: of the gate.
            clips: annotated ones, for mAP and MOTA before and after; none: not measured.
            joints: that are scored.

        Raises:
            InputError: a graph cannot be quantised, or there is nothing to compare.
        """
        gate = Gate(self.bundle, self.material.held_out_frames(), limits, device)
        graphs, layers, found = {}, {}, {}
        for part in self.parts:
            graph = self.bundle.read(part)
            graphs[part] = quantize(graph, tables[part], self.options)
            layers[part] = len(quantizable(graph, self.options))
            found[part] = gate.part(part, graphs[part])
        if clips:
            found["tracking"] = self._tracking(graphs, gate, clips, joints)
        verdict = Verdict(found, gate.limits, len(gate.frames), device)
        return Quantised(graphs, layers, verdict)

    def sensitivity(
        self, tables: dict[str, RangeTable], progress: Callable[[], None] | None = None
    ) -> dict[str, list[Damage]]:
        """What each layer costs, by part, the worst first."""
        ranked = {}
        for part in self.parts:
            graph, table = self.bundle.read(part), tables[part]

            def convert(
                layers: tuple[str, ...], graph: bytes = graph, table: RangeTable = table
            ) -> bytes:
                return quantize(graph, table, self.options, only=layers)

            feeds = self.feeds[part][:_SENSITIVITY_FEEDS]
            names = quantizable(graph, self.options)
            ranked[part] = rank_layers(graph, convert, names, feeds, progress)
        return ranked

    def write(self, result: Quantised, place: Path, reason: str | None = None) -> Bundle:
        """Write the bundle of INT8.

        Args:
            result: of `quantised`.
            place: folder or .zip file.
            reason: why it is accepted although it failed.

        Raises:
            OutputError: `place` is taken by something that is no bundle, or cannot be written.
        """
        records = {part: result.verdict.record(part, reason) for part in self.parts}
        manifest = self._manifest(result.graphs, records)
        return write_bundle(place, manifest, self._contents(result.graphs))

    def _tracking(
        self, graphs: dict[str, bytes], gate: Gate, clips: Sequence[TruthClip], joints: str
    ) -> PartVerdict:
        with TemporaryDirectory(prefix="flowtrack-int8-") as scratch:
            manifest = self._manifest(graphs, dict.fromkeys(graphs, {}))
            other = write_bundle(Path(scratch) / "int8", manifest, self._contents(graphs))
            before = _figures(self.bundle, "cpu", clips, joints)
            after = _figures(other, gate.device, clips, joints)
        return judge_tracking(before, after, gate.limits)

    def _manifest(self, graphs: dict[str, bytes], records: dict[str, dict[str, Any]]) -> Manifest:
        manifest = self.bundle.manifest
        for part, graph in graphs.items():
            spec = getattr(manifest, part)
            parity = {
                **(spec.file.parity or {}),
                "int8": {
                    "from_sha256": spec.file.sha256,
                    "method": self.options.method,
                    "percentile": self.options.percentile,
                    "keep": list(self.options.keep),
                    "last_layers": self.options.last_layers,
                    "transposed": self.options.transposed,
                    "calibration_frames": len(self.material.calibration),
                    **records[part],
                },
            }
            digest = hashlib.sha256(graph).hexdigest()
            file = replace(spec.file, sha256=digest, precision="int8", parity=parity)
            manifest = replace(manifest, **{part: replace(spec, file=file)})
        return manifest

    def _contents(self, graphs: dict[str, bytes]) -> dict[str, bytes | Path]:
        files = self.bundle.manifest.files()
        return {
            file.path: graphs[part] if part in graphs else self.bundle.read(part)
            for part, file in files.items()
        }


def _chosen(bundle: Bundle, parts: Sequence[str]) -> tuple[str, ...]:
    files = bundle.manifest.files()
    unknown = [part for part in parts if part not in files]
    if unknown:
        raise OptionError(
            f"{bundle.path} has no network for {', '.join(unknown)}, expected some of "
            f"{', '.join(files)}"
        )
    chosen = tuple(part for part in files if not parts or part in parts)
    for part in chosen:
        if files[part].precision != "fp32":
            raise OptionError(
                f"{part} of {bundle.path} is {files[part].precision}, expected fp32; start from "
                "the bundle that it was made from, or name other parts with --part"
            )
        if files[part].input.form == "frame":
            raise OptionError(
                f"{part} of {bundle.path} reads whole frames; calibrate the bundle that it was "
                "made from, then `flowtrack export frame-in`"
            )
    return chosen


def _figures(
    bundle: Bundle, device: str, clips: Sequence[TruthClip], joints: str
) -> dict[str, float]:
    """mAP and MOTA of a bundle's tracking, in percent."""
    pipeline = open_pipeline(bundle, device=device)
    counts = (count_clip(clip.truth, found) for clip, found in run_clips(pipeline, clips))
    scores = PoseTrackScores(joint_rows(joints), tuple(counts))
    return {"mAP": float(scores.mean_ap), "MOTA": float(scores.mota)}
