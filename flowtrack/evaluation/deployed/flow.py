"""Optical flow measured as it is deployed: through the runtime, at the size it runs at.

What a method gives on its own grid is brought to the truth's size (`at_full_size`) and counted
(`flowtrack.evaluation.flow`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from flowtrack.errors import EngineError, InputError, OptionError, OutputError, SourceError
from flowtrack.evaluation.flow import FlowErrors, FlowScores, TrueFlow, at_full_size
from flowtrack.evaluation.flow_pairs import FlowPair, PairFiles
from flowtrack.flo import read_flo, write_flo
from flowtrack.runtime.bundle import open_bundle
from flowtrack.runtime.engines import choose_device, open_engine
from flowtrack.runtime.flow import DisFlow, FlowEstimator
from flowtrack.runtime.manifest import FlowSpec
from flowtrack.runtime.pipeline import open_flow
from flowtrack.structs import FloatArray, Frame

DisPreset = Literal["ultrafast", "fast", "medium"]


@dataclass(frozen=True)
class FlowMethod:
    """Something that says where pixels go.

    Attributes:
        name: short and fit for a folder's name.
        what: it is, for people to read.
        estimate: the flow of a pair, (2, H, W) px at the truth's size.
        yardstick: there for comparison; its flow is not kept.
    """

    name: str
    what: str
    estimate: Callable[[FlowPair], FloatArray]
    yardstick: bool = False


def no_motion() -> FlowMethod:
    """Everything stays where it is: what any method must beat."""
    return FlowMethod("zero", "no motion", lambda pair: np.zeros_like(pair.uv), yardstick=True)


def dis(preset: DisPreset = "fast", *, yardstick: bool = False) -> FlowMethod:
    """OpenCV's DIS, as a bundle made with `--flow dis` runs it."""
    name = "dis" if preset == "fast" else f"dis-{preset}"
    return by_runtime(
        name, f"OpenCV's DIS, {preset}", DisFlow(FlowSpec("dis", preset=preset)), yardstick
    )


def of_bundle(path: str | Path, device: str = "auto", threads: int = 0) -> FlowMethod:
    """The flow of a bundle; its other networks are not loaded.

    Args:
        path: of the bundle.
        device: one of `flowtrack.runtime.engines.DEVICES`.
        threads: CPU threads of the network's run; 0 lets the backend choose.

    Raises:
        BundleError: the bundle is damaged, or the network is not what its manifest says.
        EngineError: the network cannot be loaded on the device.
        OptionError: the bundle has no flow, or flow without a network and a device to run it on.
    """
    opened = open_bundle(path)
    spec = opened.manifest.flow
    if spec is None:
        raise OptionError(
            f"{opened.path} has no optical flow to measure; name a bundle that has, or measure "
            "OpenCV's with --method dis"
        )
    if spec.file is None:
        if device != "auto" or threads:
            raise OptionError(
                f"the flow of {opened.path} is OpenCV's DIS, which runs on no device and chooses "
                "its threads itself; leave out device and threads"
            )
        what = f"OpenCV's DIS, {spec.preset}, of {opened.path}"
        return by_runtime("bundle", what, DisFlow(spec))
    chosen, why = choose_device(device)
    try:
        engine = open_engine(opened.read("flow"), chosen, threads)
    except EngineError as error:
        raise EngineError(f"{opened.path}: {spec.file.path}: {error}") from error
    flow = open_flow(spec, engine)
    assert flow is not None  # a manifest that names a flow gets one
    what = f"{spec.file.path} of {opened.path}, {spec.file.precision}, on {engine.device} ({why})"
    return by_runtime("bundle", what, flow)


def by_runtime(name: str, what: str, flow: FlowEstimator, yardstick: bool = False) -> FlowMethod:
    """A method of the runtime, fed with the pictures of a pair."""

    def estimate(pair: FlowPair) -> FloatArray:
        if pair.previous is None or pair.current is None:
            raise InputError("the pair has no pictures, expected both to estimate flow between")
        first, second = (
            flow.prepare(Frame(index, 0.0, image))
            for index, image in enumerate((pair.previous, pair.current))
        )
        return at_full_size(flow.between(first, second), *pair.uv.shape[1:])

    return FlowMethod(name, what, estimate, yardstick)


def of_files(place: str | Path, pairs: Sequence[PairFiles]) -> FlowMethod:
    """Flow from result files, named as the truth's: below a folder, or one file for one pair.

    Raises:
        SourceError: the place is missing, lacks the file of a pair, or has one of no pair.
    """
    place = Path(place)
    if place.is_file():
        if len(pairs) != 1:
            raise SourceError(
                f"{place} is one result for {len(pairs)} pairs; name a folder with one for each"
            )
        files = {pairs[0].name: place}
    elif place.is_dir():
        files = {pair.name: place / f"{pair.name}.flo" for pair in pairs}
        missing = [path for path in files.values() if not path.is_file()]
        if missing:
            raise SourceError(
                f"{missing[0]} is not there; {len(missing)} of {len(pairs)} results are missing, "
                "expected one for each file of the truth, with its name"
            )
        extra = sorted({*place.rglob("*.flo")} - {*files.values()})
        if extra:
            raise SourceError(
                f"{extra[0]} has no truth, nor have {len(extra) - 1} others; remove them, or name "
                "the folder with their truth"
            )
    else:
        raise SourceError(f"{place} is not there; name the folder with the results")

    return FlowMethod("results", str(place), lambda pair: read_flo(files[pair.name]))


def measure(
    methods: Sequence[FlowMethod],
    pairs: Sequence[PairFiles],
    *,
    out: Path | None = None,
    progress: Callable[[], None] | None = None,
) -> list[FlowScores]:
    """The scores of methods on a set.

    Args:
        methods: each is run on every pair.
        pairs: read one after the other.
        out: folder that gets the flow of each method that is no yardstick, as NAME/FILE for the
            truth's FILE: what `of_files` reads.
        progress: called after each pair.

    Returns:
        Of each method, in their order.

    Raises:
        SourceError: a file cannot be read.
        InputError: a file is damaged, or sizes differ.
        OutputError: a flow cannot be written.
    """
    found: list[list[FlowErrors]] = [[] for _ in methods]
    for files in pairs:
        pair = files.load()
        truth = _truth(files, pair)
        for method, errors in zip(methods, found, strict=True):
            flow = method.estimate(pair)
            try:
                errors.append(truth.errors(flow))
            except InputError as error:
                raise InputError(f"{method.what}: {files.name}.flo: {error}") from error
            if out is not None and not method.yardstick:
                _keep(out / method.name / f"{files.name}.flo", flow)
        if progress is not None:
            progress()
    return [FlowScores(tuple(errors)) for errors in found]


def _truth(files: PairFiles, pair: FlowPair) -> TrueFlow:
    try:
        return TrueFlow(pair.name, pair.uv, pair.visible)
    except InputError as error:
        raise InputError(f"{files.truth}: {error}") from error


def _keep(path: Path, flow: FloatArray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be made: {error.strerror or error}") from error
    write_flo(path, flow)
