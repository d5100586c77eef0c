"""The measurements in their order, the most telling first; some may not fit the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.gpu import GpuEffort
from benchmarks.gpu.bound import bound
from benchmarks.gpu.latency import network
from benchmarks.gpu.plans import build, run
from benchmarks.gpu.subjects import Subject, half_bundle, halved, of_bundle, reference_networks
from benchmarks.gpu.tracking import clip, endurance, rates, together
from benchmarks.gpu.transfers import transfers
from benchmarks.records import Record, Skipped
from flowtrack.errors import FlowtrackError
from flowtrack.runtime.bundle import Bundle, open_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.structs import Frame

Measurement = Callable[[], Iterator[Record]]
Tell = Callable[[str, str], None]

_SMALL = (480, 270)
"""(width, height) of the frames that memory is watched over: there are many of them."""


@dataclass(frozen=True)
class Suite:
    """What is measured, and on what.

    Attributes:
        device: `cuda`, or `cpu` to try the suite itself.
        effort: how much.
        bundles: by name.
        networks: further networks, alone.
        frames: of the clip that is tracked.
        folder: for plans.
        absent: what could not be made to be measured, by name, and why.
        compiled: names of the bundles that TensorRT plans are built of: each takes minutes.
        watched: names of the bundles under which memory is watched: each takes a minute.
    """

    device: str
    effort: GpuEffort
    bundles: dict[str, Bundle]
    networks: list[Subject]
    frames: list[Frame]
    folder: Path
    absent: dict[str, str] = field(default_factory=dict)
    compiled: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()

    def measurements(self) -> Iterator[tuple[str, Measurement]]:
        """What gives records, by name."""
        device, effort, frames = self.device, self.effort, self.frames
        parts = {name: of_bundle(bundle, name) for name, bundle in self.bundles.items()}
        for subject in (*(part for group in parts.values() for part in group), *self.networks):
            name = " ".join(subject.parameters.values())
            yield f"network, {name}", partial(network, subject, device, effort)
        for subject in self.networks:
            if subject.module is not None:
                yield f"PyTorch, {subject.name}", partial(bound, subject, device, effort)
        yield "transfers", partial(transfers, device, effort)
        for name, bundle in self.bundles.items():
            yield f"tracking, {name}", partial(rates, bundle, name, device, frames, effort)
        for name in self.compiled:
            place = name, self.folder
            yield f"TensorRT, build {name}", partial(build, self.bundles[name], *place, frames,
                                                     effort)  # fmt: skip
            yield f"TensorRT, run {name}", partial(run, parts[name], *place, effort)
        small = [_reduced(frame) for frame in frames]
        for name, bundle in self.bundles.items():
            yield f"together, {name}", partial(together, bundle, name, device, small, effort)
        for name in self.watched:
            bundle = self.bundles[name]
            yield f"memory, {name}", partial(endurance, bundle, name, device, small, effort)


def _reduced(frame: Frame) -> Frame:
    small = cv2.resize(frame.image, _SMALL, interpolation=cv2.INTER_AREA)
    return Frame(frame.index, frame.time_s, np.asarray(small, np.uint8))


def measured(suite: Suite, seconds: float, tell: Tell) -> tuple[list[Record], dict[str, str]]:
    """Records of everything that the machine can do and the time allows, and why the rest is not.

    Args:
        suite: what to measure.
        seconds: after these nothing new is begun.
        tell: called with the name and the outcome of each measurement.

    Returns:
        The records, and reasons by name of what was left out or failed.
    """
    end = time.monotonic() + seconds
    records: list[Record] = []
    left_out = dict(suite.absent)
    for name, measure in suite.measurements():
        before = len(records)
        try:
            if time.monotonic() > end:
                raise Skipped(f"the {seconds:.0f} s for everything were over")
            records.extend(measure())
        except (Skipped, FlowtrackError) as reason:
            failed = "" if isinstance(reason, Skipped) else "failed: "
            left_out[name] = f"{failed}{reason}"
        tell(name, left_out.get(name, f"{len(records) - before} records"))
    return records, left_out


def default_suite(device: str, effort: GpuEffort, folder: Path) -> Suite:
    """The default bundle in both forms and precisions, and the networks of the paper.

    Args:
        device: to measure on.
        effort: how much.
        folder: for files in passing.
    """
    from flowtrack.export.frame_bundle import frame_bundle

    frames = clip(effort)
    bundle = open_bundle(default_bundle_path())
    compared = [frame.image for frame in frames[:4]]
    half = half_bundle(bundle, folder / "half")
    bundles = {
        "default": bundle,
        "default frame-in": frame_bundle(bundle, folder / "framed", compared),
        "default fp16": half,
        "default fp16 frame-in": frame_bundle(half, folder / "half framed", compared),
    }
    networks, absent = [], {}
    try:
        networks = list(reference_networks(folder))
        networks += [halved(subject) for subject in networks]
    except ImportError as error:
        absent["PoseResNet-50, FlowNet2S"] = str(error)
    return Suite(
        device, effort, bundles, networks, frames, folder, absent,
        compiled=("default", "default fp16 frame-in"), watched=("default", "default frame-in"),
    )  # fmt: skip
