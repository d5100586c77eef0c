"""TensorRT where it is present: building a bundle's plans, and running them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gpu import NAME, GpuEffort
from benchmarks.gpu.latency import timed
from benchmarks.gpu.subjects import Subject, feeds
from benchmarks.records import Record, Skipped
from benchmarks.workload import hashes
from flowtrack.runtime.bundle import Bundle, open_bundle
from flowtrack.runtime.engines.tensorrt import open_tensorrt, tensorrt_missing
from flowtrack.structs import Frame


def build(
    bundle: Bundle, name: str, folder: Path, frames: Sequence[Frame], effort: GpuEffort
) -> Iterator[Record]:
    """Seconds to build the plans of a bundle and how far they are from their graphs.

    The plans are written into a copy of the bundle in `folder`, under the bundle's name.

    Raises:
        Skipped: TensorRT is not there.
    """
    require_tensorrt()
    from flowtrack.export.compiling import CompileOptions, compile_bundle
    from flowtrack.runtime.engines.tensorrt.device import open_gpu

    options = CompileOptions(buckets=effort.buckets)
    start = time.perf_counter()
    compile_bundle(
        bundle, open_gpu(0), options, frames[:4], folder / name, lambda _: folder / "timing.cache"
    )
    place = {"bundle": name}
    seconds = time.perf_counter() - start
    yield Record(NAME, "TensorRT, build and compare", place, "ms", [seconds * 1e3], None,
                 hashes(bundle.manifest))  # fmt: skip


def run(
    subjects: Sequence[Subject], name: str, folder: Path, effort: GpuEffort
) -> Iterator[Record]:
    """Milliseconds of the plans that `build` wrote, with and without CUDA graphs.

    Raises:
        Skipped: TensorRT is not there.
    """
    require_tensorrt()
    bundle = open_bundle(folder / name)
    for subject in subjects:
        plan = bundle.read_plan(subject.part)
        for graphs in (True, False):
            engine = open_tensorrt(plan.data, plan.record.fingerprint, graphs=graphs)
            for batch in subject.batches(effort.buckets):
                given = dict(feeds(engine, subject, batch, effort.size))
                samples = timed(lambda: engine.infer(given), effort)  # noqa: B023
                place = {**subject.parameters, "batch": batch, "graphs": graphs}
                yield Record(NAME, "TensorRT, run", place, "ms", samples, None, subject.networks)


def require_tensorrt() -> None:
    """Leave out what needs TensorRT where it is missing.

    Raises:
        Skipped: with what is missing and the command that mends it.
    """
    reason = tensorrt_missing()
    if reason is not None:
        raise Skipped(reason)
