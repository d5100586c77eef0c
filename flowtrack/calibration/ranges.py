"""Ranges of activations, measured by running a graph on what its engine is fed.

Three passes over the feeds, so that memory stays bounded: the largest magnitudes first, then
histograms of magnitudes up to those, then what rounding does to the means of channels. Of a run's
activations only what a few rows of it make is ever there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.calibration.clipping import (
    BINS,
    Histogram,
    count_magnitudes,
    entropy_magnitude,
    percentile_magnitude,
    squared_error_magnitude,
)
from flowtrack.calibration.int8_options import Int8Options, Method
from flowtrack.errors import BundleError, InputError, OutputError
from flowtrack.runtime.engines import Engine, open_engine
from flowtrack.schema import read_dataclass

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]

SCHEMA_VERSION = 2

_ROWS = 4  # of a batch that go through the graph at once


@dataclass(frozen=True)
class RangeTable:
    """The magnitude that becomes 127, by tensor, what rounding costs, and on what it was measured.

    Attributes:
        magnitudes: by name of the tensor; 0 where it was zero throughout.
        method, percentile: see `Int8Options`.
        graph_sha256: of the fp32 graph.
        feeds_sha256: of what was fed, see `fingerprint`.
        shifts: (channels,) what rounding takes from the mean of each output channel, by name of
            the convolution, see `flowtrack.calibration.correction`.
        schema_version: of this format.
    """

    magnitudes: dict[str, float]
    method: Method
    percentile: float | None
    graph_sha256: str
    feeds_sha256: str
    shifts: dict[str, tuple[float, ...]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def check_graph(self, graph_sha256: str, options: Int8Options) -> None:
        """Refuse a table of another graph or method.

        Raises:
            InputError: the message gives both values.
        """
        wanted = {
            "graph_sha256": graph_sha256,
            "method": options.method,
            "percentile": options.percentile,
        }
        for name, value in wanted.items():
            found = getattr(self, name)
            if found != value:
                raise InputError(
                    f"the calibration table has {name} {found}, expected {value}; measure again, "
                    "or leave the table out"
                )

    def check(self, model: bytes, feeds: Sequence[Feed], options: Int8Options) -> None:
        """Refuse a table that `measure_ranges` would not give for the same arguments.

        Raises:
            InputError: graph, method or feeds differ; the message gives both values.
        """
        self.check_graph(hashlib.sha256(model).hexdigest(), options)
        found = fingerprint(feeds)
        if found != self.feeds_sha256:
            raise InputError(
                f"the calibration table has feeds_sha256 {self.feeds_sha256}, the frames give "
                f"{found}; measure again, or calibrate on the frames of the table"
            )

    def magnitude(self, tensor: str) -> float:
        """The magnitude of a tensor that becomes 127.

        Raises:
            InputError: it has none, or was zero throughout.
        """
        value = self.magnitudes.get(tensor, math.nan)
        if math.isnan(value):
            raise InputError(
                f"the calibration table has no range for {tensor!r}, expected every input of a "
                "layer; measure again"
            )
        if not value > 0:
            raise InputError(
                f"{tensor!r} was zero in every run, so it has no range; calibrate on frames that "
                "show people, or keep the layer that reads it in higher precision"
            )
        return value

    def write(self, place: Path | str) -> None:
        """Write the table as JSON, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        target = Path(place)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            partial.write_text(json.dumps(asdict(self), allow_nan=False) + "\n")
            partial.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)


def read_ranges(place: Path | str) -> RangeTable:
    """A table that was written.

    Raises:
        InputError: there is none, or the file is damaged.
    """
    source = Path(place)
    try:
        table = read_dataclass(RangeTable, json.loads(source.read_bytes()), source.name)
    except (OSError, ValueError, BundleError) as error:
        raise InputError(f"{source} is no calibration table: {error}; measure again") from error
    if table.schema_version != SCHEMA_VERSION:
        raise InputError(
            f"{source} has schema_version {table.schema_version}, this flowtrack reads "
            f"{SCHEMA_VERSION}; measure again"
        )
    return table


def fingerprint(feeds: Sequence[Feed]) -> str:
    """sha256 of names, types, shapes and values of feeds, in their order."""
    digest = hashlib.sha256()
    for feed in feeds:
        for name, array in sorted(feed.items()):
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def passes(options: Int8Options) -> int:
    """How often `measure_ranges` goes through the feeds."""
    return 2 if options.method == "minmax" else 3


def measure_ranges(
    model: bytes,
    feeds: Sequence[Feed],
    options: Int8Options,
    progress: Callable[[], None] | None = None,
) -> RangeTable:
    """Measure every tensor that INT8 may round, whatever is kept: the table serves any `keep`.

    Args:
        model: fp32 ONNX graph.
        feeds: what its engine is fed, see `record_feeds`.
        options: the method.
        progress: called after each run, `passes` times for each feed.

    Raises:
        InputError: there are no feeds, an activation is not finite, or an input of a layer that
            the options quantise was zero throughout.
        OptionError: `keep` names something that the graph does not have.
        EngineError: the graph cannot be run.
    """
    from flowtrack.calibration.layers import Network

    if not feeds:
        raise InputError(
            "there is nothing to measure ranges on, expected at least one run of the network; "
            "calibrate on frames that show people"
        )
    network = Network(model)
    chosen = network.chosen(options)
    probe = _Probe(network)
    largest = dict.fromkeys(probe.tensors, 0.0)
    for feed in feeds:
        for name, values in probe.activations(feed):
            largest[name] = max(largest[name], _largest(name, values))
        if progress is not None:
            progress()
    magnitudes = largest
    if options.method != "minmax":
        counts = _histograms(probe, feeds, largest, progress)
        magnitudes = {
            name: _clipped(counts[name], top, options) if top > 0 else 0.0
            for name, top in largest.items()
        }
    table = RangeTable(
        magnitudes,
        options.method,
        options.percentile,
        hashlib.sha256(model).hexdigest(),
        fingerprint(feeds),
        _shifts(network, magnitudes, feeds, progress),
    )
    for name in network.rounded(chosen, options.keep):
        table.magnitude(name)
    return table


class _Probe:
    """A network that gives, besides its outputs, what its layers read."""

    def __init__(self, network: Any) -> None:
        import onnx

        self.tensors = network.measured()
        model = onnx.ModelProto()
        model.CopyFrom(network.model)
        given = {value.name for value in (*model.graph.input, *model.graph.output)}
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in self.tensors
            if name not in given
        )
        self._engine = open_engine(model.SerializeToString(), "cpu")

    def activations(self, feed: Feed) -> Iterator[tuple[str, Array]]:
        """Name and values of every tensor, a few rows of the feed at a time."""
        for part in _parts(self._engine, feed):
            values = self._engine.infer(part)
            for name in self.tensors:
                yield name, values[name] if name in values else part[name]


def _parts(engine: Engine, feed: Feed) -> Iterator[Feed]:
    """A feed in pieces of a few rows, where every input is a batch of free size."""
    batched = all(
        len(spec.shape) == 4 and not isinstance(spec.shape[0], int) for spec in engine.inputs
    )
    rows = {len(array) for array in feed.values()}
    if not batched or len(rows) != 1:
        yield feed
        return
    for start in range(0, rows.pop(), _ROWS):
        yield {name: array[start : start + _ROWS] for name, array in feed.items()}


def _largest(name: str, values: Array) -> float:
    top = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
    if not math.isfinite(top):
        raise InputError(
            f"{name!r} reaches {top} on these frames, expected finite values; the network is "
            "damaged, export it again"
        )
    return top


def _histograms(
    probe: _Probe,
    feeds: Sequence[Feed],
    largest: Mapping[str, float],
    progress: Callable[[], None] | None,
) -> dict[str, Histogram]:
    counts = {name: np.zeros(BINS, np.int64) for name in largest}
    for feed in feeds:
        for name, values in probe.activations(feed):
            if largest[name] > 0:
                count_magnitudes(values, largest[name], counts[name])
        if progress is not None:
            progress()
    return counts


def _shifts(
    network: Any,
    magnitudes: Mapping[str, float],
    feeds: Sequence[Feed],
    progress: Callable[[], None] | None,
) -> dict[str, tuple[float, ...]]:
    """Mean over rows and places of what rounding takes from each channel, by layer."""
    from flowtrack.calibration.correction import twin_graph

    model, outputs = twin_graph(network, magnitudes)
    if not outputs:
        return {}
    engine = open_engine(model, "cpu")
    sums: dict[str, Array] = {}
    rows = 0
    for feed in feeds:
        for part in _parts(engine, feed):
            found = engine.infer(part)
            for layer, name in outputs.items():
                lost = found[name].astype(np.float64)
                sums[layer] = sums.get(layer, 0) + lost.reshape(*lost.shape[:2]).sum(axis=0)
            rows += len(next(iter(found.values()), ()))
        if progress is not None:
            progress()
    return {layer: tuple((total / rows).tolist()) for layer, total in sums.items()}


def _clipped(counts: Histogram, largest: float, options: Int8Options) -> float:
    if options.method == "entropy":
        return entropy_magnitude(counts, largest)
    if options.method == "mse":
        return squared_error_magnitude(counts, largest)
    assert options.percentile is not None  # the options fill it in
    return percentile_magnitude(counts, largest, options.percentile)
