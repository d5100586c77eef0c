"""What a TensorRT plan was built from, kept beside it, and whether this machine may load it.

A plan is TensorRT's own file, without a header of ours, so that trtexec, Triton and C++ programs
load it as it is. What flowtrack needs to know lies in a JSON file of the same name beside it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from flowtrack.errors import BundleError, EngineError
from flowtrack.schema import check_limits, limits, read_dataclass

ENGINES = "engines"
"""Folder of the plans inside a bundle."""

SCHEMA_VERSION = 1

Shape = tuple[int, ...]
Shapes = dict[str, tuple[Shape, ...]]
"""By input: the least, the tuned and the largest shape of an optimisation profile."""

_AMPERE = 8  # major compute capability that AMPERE_PLUS plans need at least
_SUCCESSORS = ((10, 11),)
"""Major versions (built, running) across which version-compatible plans run as well (NVIDIA,
TensorRT 11.4 support matrix, "Engine Portability")."""


@dataclass(frozen=True)
class Machine:
    """Where a plan is built or run.

    Attributes:
        tensorrt: version.
        gpu: name that the driver gives.
        compute_capability: `major.minor`.
        platform: operating system and processor, such as `Linux x86_64`.
    """

    tensorrt: str = field(
        metadata=limits(pattern=r"\d+(\.\w+)+", description="a version such as 10.16.1.11")
    )
    gpu: str
    compute_capability: str = field(
        metadata=limits(pattern=r"\d+\.\d+", description="a number such as 8.6")
    )
    platform: str


@dataclass(frozen=True)
class Fingerprint:
    """Everything that a plan depends on; two plans of the same fingerprint do the same.

    Attributes:
        onnx_sha256: of the graph.
        machine: that built it.
        precision: of the graph, as the manifest says; plans are strongly typed.
        profiles: optimisation profiles, in the plan's order; one per bucket.
        batched: inputs whose first axis is a batch, which is filled up to the bucket.
        level: builder optimisation level, 0 (fast build) to 5 (fast plan).
        workspace_gb: most scratch memory that a layer may take; None: all of the GPU.
        hardware_compatible: runs on GPUs from Ampere on.
        version_compatible: runs on later versions of TensorRT.
        weight_streaming: weights may stay in host memory.
        refit: weights can be replaced.
    """

    onnx_sha256: str = field(
        metadata=limits(pattern="[0-9a-f]{64}", description="64 hexadecimal digits")
    )
    machine: Machine
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    profiles: tuple[Shapes, ...] = field(metadata=limits(minItems=1))
    batched: tuple[str, ...] = ()
    level: int = field(default=3, metadata=limits(minimum=0, maximum=5))
    workspace_gb: float | None = field(default=None, metadata=limits(exclusiveMinimum=0))
    hardware_compatible: bool = False
    version_compatible: bool = False
    weight_streaming: bool = False
    refit: bool = False

    def __post_init__(self) -> None:
        check_limits(self, "fingerprint")
        for index, profile in enumerate(self.profiles):
            for name, shapes in profile.items():
                _check_shapes(f"fingerprint.profiles[{index}].{name}", shapes)
            for name in self.batched:
                least, _, largest = profile.get(name, ((), (), (0,)))
                if least[:1] != largest[:1]:
                    raise BundleError(
                        f"fingerprint.profiles[{index}] takes batches of {name!r} from {least} to "
                        f"{largest}, expected one size per profile; compile the bundle again"
                    )

    @property
    def buckets(self) -> tuple[int, ...]:
        """The batch size of each profile; empty where no input is a batch."""
        if not self.batched:
            return ()
        return tuple(profile[self.batched[0]][0][0] for profile in self.profiles)


def _check_shapes(where: str, shapes: tuple[Shape, ...]) -> None:
    sound = len(shapes) == 3 and len({len(shape) for shape in shapes}) == 1
    if not sound or not all(0 < a <= b <= c for a, b, c in zip(*shapes, strict=True)):
        raise BundleError(
            f"{where} is {shapes}, expected the least, the tuned and the largest shape, each axis "
            "ascending; compile the bundle again"
        )


@dataclass(frozen=True)
class PlanRecord:
    """The file beside a plan.

    Attributes:
        fingerprint: what the plan was built from.
        sha256: of the plan's bytes.
        comparison: how it was compared with ONNX Runtime, and what came out.
        tensors: of the plan, by name: mode, type and shape.
        device_memory: bytes of scratch memory that it needs.
        made_by, date, schema_version: of this file.
    """

    fingerprint: Fingerprint
    sha256: str = field(
        metadata=limits(pattern="[0-9a-f]{64}", description="64 hexadecimal digits")
    )
    comparison: dict[str, Any] | None = None
    tensors: dict[str, str] = field(default_factory=dict)
    device_memory: int = field(default=0, metadata=limits(minimum=0))
    made_by: str = ""
    date: str = ""
    schema_version: int = field(default=SCHEMA_VERSION, metadata=limits(enum=[SCHEMA_VERSION]))

    def __post_init__(self) -> None:
        check_limits(self, "plan record")

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str | bytes, where: str) -> PlanRecord:
        """A record from JSON text.

        Raises:
            BundleError: the text is no JSON, or breaks a rule of the format.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{where} is not valid JSON: {error}; {REBUILD}") from error
        try:
            return read_dataclass(PlanRecord, value, "plan record")
        except BundleError as error:
            raise BundleError(f"{where}: {error}; {REBUILD}") from error


REBUILD = "build it again with `flowtrack compile BUNDLE --rebuild`"
"""The remedy for every plan that cannot be used."""


@dataclass(frozen=True)
class Plan:
    """A plan and what lies beside it; `Bundle.read_plan` reads one and holds it against its hash.

    Attributes:
        data: TensorRT's bytes.
        record: the file beside it.
    """

    data: bytes
    record: PlanRecord


def plan_member(part: str) -> str:
    """Path inside a bundle of a part's plan."""
    return f"{ENGINES}/{part}.plan"


def record_member(part: str) -> str:
    """Path inside a bundle of the record beside a part's plan."""
    return f"{plan_member(part)}.json"


def check_plan(where: str, data: bytes, record: PlanRecord, onnx_sha256: str) -> None:
    """Refuse a plan that is damaged, or was built from another graph.

    Args:
        where: path of the plan, for messages.
        data: the plan.
        record: what lies beside it.
        onnx_sha256: of the graph that the manifest vouches for.

    Raises:
        BundleError: it is another file than was written, or of another graph.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != record.sha256:
        raise BundleError(
            f"{where} has sha256 {found[:12]}..., the file beside it vouches for "
            f"{record.sha256[:12]}...; the plan was changed or damaged, {REBUILD}"
        )
    if record.fingerprint.onnx_sha256 != onnx_sha256:
        raise BundleError(
            f"{where} was built from a graph with sha256 {record.fingerprint.onnx_sha256[:12]}..., "
            f"the bundle's graph has {onnx_sha256[:12]}...; {REBUILD}"
        )


def read_plan_file(path: Path) -> Plan:
    """A plan that lies outside a bundle, with the file beside it.

    Raises:
        BundleError: one of the two is missing, or the plan is another one than was written.
    """
    beside = path.with_name(path.name + ".json")
    for place in (path, beside):
        if not place.is_file():
            raise BundleError(f"no file {place}; a plan and the .json beside it belong together")
    try:
        data, text = path.read_bytes(), beside.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    record = PlanRecord.from_json(text, str(beside))
    check_plan(str(path), data, record, record.fingerprint.onnx_sha256)
    return Plan(data, record)


@dataclass(frozen=True)
class Difference:
    """One thing that keeps a plan from being loaded.

    Attributes:
        what: is different.
        plan: what the plan was built with.
        here: what this machine has.
    """

    what: str
    plan: str
    here: str

    def __str__(self) -> str:
        return f"{self.what}: the plan has {self.plan}, this machine has {self.here}"


def differences(fingerprint: Fingerprint, machine: Machine) -> list[Difference]:
    """Everything about a machine that keeps a plan from running on it; empty if it may run.

    A hardware-compatible plan runs on every GPU from Ampere on, a version-compatible one on later
    versions of the same major version, and on TensorRT 11 if it was built by 10.
    """
    built = fingerprint.machine
    found = []
    if not _version_fits(fingerprint, machine.tensorrt):
        found.append(Difference("TensorRT", built.tensorrt, machine.tensorrt))
    if fingerprint.hardware_compatible:
        if int(machine.compute_capability.partition(".")[0]) < _AMPERE:
            wanted = f"compute capability {_AMPERE}.0 or more"
            found.append(Difference("GPU", wanted, machine.compute_capability))
    else:
        for what, own, here in (
            ("GPU", built.gpu, machine.gpu),
            ("compute capability", built.compute_capability, machine.compute_capability),
        ):
            if own != here:
                found.append(Difference(what, own, here))
    if built.platform != machine.platform:
        found.append(Difference("platform", built.platform, machine.platform))
    return found


def _version_fits(fingerprint: Fingerprint, version: str) -> bool:
    built = fingerprint.machine.tensorrt
    if built == version or not fingerprint.version_compatible:
        return built == version
    own, here = _numbers(built), _numbers(version)
    return (own[0] == here[0] and here >= own) or (own[0], here[0]) in _SUCCESSORS


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with; what follows them does not count."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def refuse_difference(fingerprint: Fingerprint, machine: Machine) -> None:
    """Refuse a plan that this machine may not load.

    Raises:
        EngineError: lists every difference and says how to build the plan here.
    """
    found = differences(fingerprint, machine)
    if found:
        listed = "; ".join(str(difference) for difference in found)
        raise EngineError(f"the TensorRT plan is not for this machine. {listed}. To run here, "
                          f"{REBUILD}, or take device `cuda`")  # fmt: skip
