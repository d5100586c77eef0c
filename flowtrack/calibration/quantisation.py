"""A bundle brought to INT8: ranges measured, graphs quantised, and each held against the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from flowtrack.calibration.converted import (
    convertible,
    judge_on_truth,
    kept_by_part,
    with_networks,
)
from flowtrack.calibration.feeds import Feed, record_feeds
from flowtrack.calibration.gate import Gate
from flowtrack.calibration.held_out import Material
from flowtrack.calibration.int8 import quantizable, quantize
from flowtrack.calibration.int8_options import Int8Options
from flowtrack.calibration.islands import ASKED, ConvertedNetwork, with_islands
from flowtrack.calibration.ranges import RangeTable, measure_ranges, passes, read_ranges
from flowtrack.calibration.sensitivity import Damage, rank_layers
from flowtrack.calibration.verdict import Limits, Verdict
from flowtrack.evaluation.deployed.posetrack_set import TruthClip
from flowtrack.runtime.bundle import Bundle, write_bundle

_SENSITIVITY_FEEDS = 4


@dataclass(frozen=True)
class Quantised:
    """What became of a bundle's networks.

    Attributes:
        networks: by part.
        verdict: of the gate, on all of them.
    """

    networks: dict[str, ConvertedNetwork]
    verdict: Verdict

    @property
    def layers(self) -> dict[str, int]:
        """How many layers of each part are INT8."""
        return {part: made.layers - len(made.islands) for part, made in self.networks.items()}

    @property
    def ranked(self) -> dict[str, Sequence[Damage]]:
        """What each layer costs, of the parts where the gate had to ask."""
        return {part: made.ranked for part, made in self.networks.items() if made.ranked}


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
            OptionError: the bundle lacks a part, or one is not fp32, or reads whole frames.
            InputError: the frames show nobody, or are one colour all over.
        """
        self.bundle, self.material = bundle, material
        self.parts = convertible(bundle, parts)
        keep = kept_by_part({part: bundle.read(part) for part in self.parts}, options.keep)
        self.options = {part: replace(options, keep=keep[part]) for part in self.parts}
        self.feeds: dict[str, list[Feed]] = record_feeds(
            bundle, material.calibration_frames(), len(material.calibration), progress
        )

    def runs(self) -> int:
        """How often `tables` tells its progress."""
        return sum(passes(self.options[part]) * len(self.feeds[part]) for part in self.parts)

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
                table.check(graph, feeds, self.options[part])
            else:
                table = measure_ranges(graph, feeds, self.options[part], progress)
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    table.write(path)
            found[part] = table
        return found

    def quantised(
        self, tables: dict[str, RangeTable], device: str = "cpu", limits: Limits | None = None,
        clips: Sequence[TruthClip] = (), joints: str = "all",
        progress: Callable[[], None] | None = None, tell: Callable[[str], None] | None = None,
    ) -> Quantised:  # fmt: skip
        """Quantise the parts, with as many fp32 islands as they need to pass the gate.

        Args:
            tables: of `tables`.
            device: that INT8 runs on.
            limits: of the gate.
            clips: annotated ones, for mAP and MOTA before and after; none: not measured.
            joints: that are scored.
            progress: called after each frame of each tracking run.
            tell: is told what is being done, in a few words.

        Raises:
            InputError: a graph cannot be quantised, or there is nothing to compare.
        """
        gate = Gate(self.bundle, self.material.held_out_frames(), limits, device)
        made = {part: self._network(part, tables[part], gate, tell) for part in self.parts}
        found = {part: network.verdict for part, network in made.items()}
        if clips:
            graphs = {part: network.graph for part, network in made.items()}
            if tell is not None:
                tell("tracking in fp32 and INT8")
            found["tracking"] = judge_on_truth(
                self.bundle, graphs, "int8", clips, joints, gate.limits, device, progress
            )
        return Quantised(made, Verdict(found, gate.limits, len(gate.frames), device))

    def _network(
        self, part: str, table: RangeTable, gate: Gate, tell: Callable[[str], None] | None
    ) -> ConvertedNetwork:
        graph, options = self.bundle.read(part), self.options[part]
        layers = len(quantizable(graph, options))

        def attempt(islands: Sequence[str]) -> ConvertedNetwork:
            kept = replace(options, keep=(*options.keep, *islands))
            made = quantize(graph, table, kept)
            reasons = dict.fromkeys(islands, ASKED)
            return ConvertedNetwork(made, made, gate.part(part, made), layers, reasons)

        def say(what: str) -> None:
            if tell is not None:
                tell(f"{part}: {what}")

        return with_islands(attempt, lambda: self._ranked(part, table), layers, say)

    def sensitivity(
        self, tables: dict[str, RangeTable], progress: Callable[[], None] | None = None
    ) -> dict[str, list[Damage]]:
        """What each layer costs, the worst first, of the parts that tables are given of."""
        return {part: self._ranked(part, table, progress) for part, table in tables.items()}

    def _ranked(
        self, part: str, table: RangeTable, progress: Callable[[], None] | None = None
    ) -> list[Damage]:
        graph = self.bundle.read(part)
        convert = partial(_only, graph, table, self.options[part])
        feeds = self.feeds[part][:_SENSITIVITY_FEEDS]
        return rank_layers(graph, convert, quantizable(graph, self.options[part]), feeds, progress)

    def write(self, result: Quantised, place: Path, reason: str | None = None) -> Bundle:
        """Write the bundle of INT8.

        Args:
            result: of `quantised`.
            place: folder or .zip file.
            reason: why it is accepted although it failed.

        Raises:
            OutputError: `place` is taken by something that is no bundle, or cannot be written.
        """
        records = {part: self._record(part, result, reason) for part in self.parts}
        graphs = {part: made.graph for part, made in result.networks.items()}
        manifest, contents = with_networks(self.bundle, graphs, "int8", records)
        return write_bundle(place, manifest, contents)

    def _record(self, part: str, result: Quantised, reason: str | None) -> dict[str, Any]:
        return {
            "from_sha256": self.bundle.manifest.files()[part].sha256,
            **asdict(self.options[part]),
            **result.networks[part].record(),
            "calibration_frames": len(self.material.calibration),
            **result.verdict.record(part, reason),
        }


def _only(graph: bytes, table: RangeTable, options: Int8Options, layers: tuple[str, ...]) -> bytes:
    return quantize(graph, table, options, only=layers)
