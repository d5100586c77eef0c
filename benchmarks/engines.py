"""Benchmark `engines`: the same networks on ONNX Runtime and OpenVINO, in fp32, bfloat16, INT8."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

from benchmarks.gpu.subjects import Array, Subject, feeds, of_bundle, reference_networks
from benchmarks.measure import Effort, Work, take_turns
from benchmarks.records import Record, Skipped
from benchmarks.summary import ratios
from benchmarks.workload import hashes, prepared
from flowtrack.errors import EngineError, InputError
from flowtrack.runtime.bundle import Bundle, open_bundle, write_bundle
from flowtrack.runtime.default import default_bundle_path
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.manifest import Manifest
from flowtrack.runtime.pipeline import Pipeline, open_pipeline
from flowtrack.structs import Frame

NAME = "engines"

Made = TypeVar("Made")
Loaded = TypeVar("Loaded")
Feed = dict[str, Array]
Form = Literal["fp32", "int8", "int8 throughout"]

BATCHES = (1, 4, 8)
"""People at once, for pose networks; detector and flow see one frame at a time."""

SIZE = (360, 640)
"""(height, width) of the clip, and of pictures where a network leaves it free."""

INT8_LIMIT = 3.5
"""How often faster than ONNX Runtime in fp32 PoseResNet-50 must be in INT8, one person at once."""

_LIMITED = ("PoseResNet-50 256x192", 1, "OpenVINO INT8, last layers too")
_CALIBRATED = 4  # runs that ranges are measured on: enough for a graph's form, which sets its speed


@dataclass(frozen=True)
class Way:
    """One way to run a network.

    Attributes:
        name: for people.
        device: one of `flowtrack.runtime.engines.DEVICES`.
        form: of the graph: as it is, quantised but for its last layers, or quantised throughout.
    """

    name: str
    device: str
    form: Form = "fp32"


BASE = Way("ONNX Runtime fp32", "cpu")
WAYS = (
    BASE,
    Way("ONNX Runtime INT8", "cpu", "int8"),
    Way("OpenVINO fp32", "openvino"),
    Way("OpenVINO bf16", "openvino-bf16"),
    Way("OpenVINO INT8", "openvino", "int8"),
    Way("OpenVINO INT8, last layers too", "openvino", "int8 throughout"),
)


def measure(effort: Effort) -> Iterator[Record]:
    """Milliseconds of every network in every way, and frames a second of whole pipelines.

    The larger networks have random weights, which cost as much as trained ones.
    """
    for module in ("openvino", "onnx", "onnxscript", "torch"):
        if importlib.util.find_spec(module) is None:
            raise Skipped(f"needs {module}: pip install -e '.[export,openvino]'")
    with TemporaryDirectory(prefix="flowtrack-bench-") as scratch, prepared(8) as workload:
        folder = Path(scratch)
        default = open_bundle(default_bundle_path())
        frames = rendered(effort.frames)
        for subject in (
            *reference_networks(folder),
            *of_bundle(default, "default"),
            *of_bundle(workload.bundle, workload.name),
        ):
            yield from network(subject, effort)
        yield from pipelines(default, "default", frames, folder, effort)
        yield from pipelines(workload.bundle, workload.name, frames, folder, effort)


def rendered(count: int) -> list[Frame]:
    """Frames with five rendered people."""
    from flowtrack.synthetic import ClipOptions, render_clip

    height, width = SIZE
    options = ClipOptions(width=width, height=height, frames=count, people=5, seed=1)
    return [Frame(frame.index, frame.time_s, frame.image) for frame in render_clip(options)]


def network(subject: Subject, effort: Effort) -> Iterator[Record]:
    """One network in every way, in turns, at each of its batch sizes; and the ratios."""
    batches = subject.batches(BATCHES) if subject.part == "pose" else (subject.fixed or 1,)
    reference = open_engine(subject.content, "cpu")
    given = [feeds(reference, subject, batch, SIZE) for batch in batches]
    forms: dict[Form, bytes] = {"fp32": subject.content}
    for form in _quantised_forms(subject.part):
        quantised = quantised_graph(subject.content, given[:1] * _CALIBRATED, form)
        if quantised is not None:
            forms[form] = quantised
    engines = dict(_opened(forms, open_engine))
    for batch, fed in zip(batches, given, strict=True):
        turns: dict[str, Work] = {
            way: partial(engine.infer, fed) for way, engine in engines.items()
        }
        samples = take_turns(turns, effort)
        for way, values in samples.items():
            place = {"network": subject.name, "batch": batch, "engine": way}
            yield Record(NAME, "run", place, "ms", values, None, subject.networks)
            if way != BASE.name:
                faster = ratios(samples[BASE.name], values)
                limit = _limit(subject.name, batch, way)
                name = f"times {BASE.name}"
                yield Record(NAME, name, place, "times", faster, limit, subject.networks)


def _quantised_forms(part: str) -> tuple[Form, ...]:
    """Pose networks bear it that their last layer is quantised, too; others lose too much."""
    return ("int8", "int8 throughout") if part == "pose" else ("int8",)


def _limit(name: str, batch: int, way: str) -> float | None:
    return INT8_LIMIT if (name, batch, way) == _LIMITED else None


def _opened(
    forms: Mapping[Form, Made], load: Callable[[Made, str], Loaded]
) -> Iterator[tuple[str, Loaded]]:
    """Each way with what it loads, but for forms that are not there and bfloat16 on other CPUs."""
    for way in WAYS:
        if way.form not in forms:
            continue
        try:
            yield way.name, load(forms[way.form], way.device)
        except EngineError as error:
            if "this CPU has no bfloat16" not in str(error):
                raise


def pipelines(
    bundle: Bundle, name: str, frames: Sequence[Frame], folder: Path, effort: Effort
) -> Iterator[Record]:
    """Frames a second of tracking a clip in memory, overlapped, in every way, and the ratios."""
    quantised = quantised_bundle(bundle, frames, folder / f"{name}-int8")
    forms: dict[Form, Bundle] = {"fp32": bundle, "int8": quantised}
    loaded = dict(_opened(forms, _pipeline))
    files = quantised.manifest.files()
    brought = ", ".join(part for part, file in files.items() if file.precision == "int8")
    int8 = {way.name: {"INT8": brought} for way in WAYS if way.form != "fp32"}
    for pipeline in loaded.values():
        _rate(pipeline, frames)
    rates: dict[str, list[float]] = {way: [] for way in loaded}
    for _ in range(effort.passes):
        for way, pipeline in loaded.items():
            rates[way].append(_rate(pipeline, frames))
    networks = hashes(bundle.manifest)
    for way, samples in rates.items():
        place = {"bundle": name, "engine": way, "size": f"{SIZE[1]}x{SIZE[0]}"}
        place |= int8.get(way, {})
        yield Record(NAME, "Pipeline.run", place, "frames/s", samples, None, networks)
        if way != BASE.name:
            faster = ratios(samples, rates[BASE.name])
            yield Record(NAME, f"times {BASE.name}", place, "times", faster, None, networks)


def _pipeline(bundle: Bundle, device: str) -> Pipeline:
    return open_pipeline(bundle, device=device)


def _rate(pipeline: Pipeline, frames: Sequence[Frame]) -> float:
    start = time.perf_counter()
    count = sum(1 for _ in pipeline.run(frames))
    return count / (time.perf_counter() - start)


def quantised_graph(content: bytes, given: Sequence[Feed], form: Form = "int8") -> bytes | None:
    """The INT8 form of a graph, with ranges of what it is given; None if it has none."""
    from flowtrack.calibration.int8 import Int8Options, quantize
    from flowtrack.calibration.ranges import measure_ranges

    throughout = form == "int8 throughout"
    options = Int8Options(method="minmax", transposed=True, last_layers=throughout)
    try:
        return quantize(content, measure_ranges(content, given, options), options)
    except InputError:  # of an operator set that is too old
        return None


def quantised_bundle(bundle: Bundle, frames: Sequence[Frame], place: Path) -> Bundle:
    """A bundle with the INT8 forms of those networks that have one, for its speed.

    It is calibrated on a few frames, and not judged.
    """
    from flowtrack.calibration.feeds import record_feeds

    recorded = record_feeds(bundle, frames, _CALIBRATED)
    graphs = {part: quantised_graph(bundle.read(part), fed) for part, fed in recorded.items()}
    made = {part: graph for part, graph in graphs.items() if graph is not None}
    files = bundle.manifest.files()
    contents = {file.path: made.get(part, bundle.read(part)) for part, file in files.items()}
    return write_bundle(place, _with_graphs(bundle.manifest, made), contents)


def _with_graphs(manifest: Manifest, graphs: Mapping[str, bytes]) -> Manifest:
    files = manifest.files()
    for part, graph in graphs.items():
        digest = hashlib.sha256(graph).hexdigest()
        files[part] = replace(files[part], sha256=digest, precision="int8", parity=None)
    flow = manifest.flow
    if flow is not None and "flow" in files:
        flow = replace(flow, file=files["flow"])
    return replace(
        manifest,
        detector=replace(manifest.detector, file=files["detector"]),
        pose=replace(manifest.pose, file=files["pose"]),
        flow=flow,
    )
