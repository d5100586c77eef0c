"""OpenVINO on x86 CPUs: fp32, bfloat16, and INT8 where the graph holds Q/DQ nodes.

A graph computes in what it is: OpenVINO takes the Q/DQ nodes of a quantised graph for INT8 by
itself. Everything else is fp32, unless bfloat16 is asked for; left alone, OpenVINO would take
bfloat16 on every CPU that has it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowtrack.cache import compiled_cache
from flowtrack.errors import DependencyError, EngineError
from flowtrack.runtime.engines.base import Array, Engine, TensorSpec
from flowtrack.runtime.engines.openvino_unsigned import unsign

Precision = Literal["f32", "bf16"]

_SINK = "/sink_port_0"  # ends the name of the node behind an output of an ONNX graph


def openvino_installed() -> bool:
    """Whether the package is there; nothing is loaded."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """The module `openvino`.

    Raises:
        DependencyError: it is missing, or cannot be loaded.
    """
    if not openvino_installed():
        raise DependencyError("openvino is not installed; pip install 'flowtrack[openvino]'")
    try:
        import openvino
    except (ImportError, OSError, RuntimeError) as error:
        raise DependencyError(
            f"openvino is installed and cannot be loaded: {error}; "
            "pip install --force-reinstall openvino"
        ) from error
    return openvino


@cache
def _core() -> Any:
    """OpenVINO's runtime, one for the process: when the last one goes, its plugins are unloaded
    while their threads are still there, and the next signal ends in a crash (2026.4).
    """
    return import_openvino().Core()


class OpenVinoEngine(Engine):
    """A graph compiled by OpenVINO.

    A request runs one inference at a time: threads that call at once get one each, which is kept.
    """

    def __init__(self, compiled: Any, device: str) -> None:
        """Wrap a compiled model; `open_openvino` makes one."""
        self._compiled = compiled
        self._idle: list[Any] = []
        self.device = device
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)

    def _run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        # list.pop and list.append are atomic.
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # Inputs are read where they lie, so they must lie in one piece; outputs are copied, since
        # the next run overwrites the request's own.
        values = [np.ascontiguousarray(feeds[spec.name]) for spec in self.inputs]
        try:
            found = request.infer(values, share_inputs=True, share_outputs=False)
        except Exception as error:
            raise EngineError(f"OpenVINO failed: {error}") from error
        outputs = {spec.name: found[place] for place, spec in enumerate(self.outputs)}
        self._idle.append(request)
        return outputs


def _spec(port: Any) -> TensorSpec:
    sides = tuple(None if side.is_dynamic else side.get_length() for side in port.partial_shape)
    return TensorSpec(_name(port), np.dtype(port.get_element_type().to_dtype()), sides)


def _name(port: Any) -> str:
    """The name that the ONNX graph has for it; a tensor may have gathered others."""
    names: set[str] = port.get_names()
    own: str = port.get_node().get_friendly_name().removesuffix(_SINK)
    return own if own in names or not names else min(names)


def open_openvino(
    model: Path | bytes, precision: Precision = "f32", threads: int = 0, *, cached: bool = True
) -> Engine:
    """Compile an ONNX graph for the CPU.

    Args:
        model: path or bytes of the graph.
        precision: of what is neither quantised nor half in the graph.
        threads: CPU threads of one run; 0 lets OpenVINO choose.
        cached: keep the compiled form below the user's cache folder, by the graph's hash and
            OpenVINO's version, for the next start.

    Raises:
        DependencyError: OpenVINO is missing or damaged.
        EngineError: the graph cannot be loaded, or the CPU has no bfloat16.
    """
    ov = import_openvino()
    version = ov.get_version().split("-")[0]
    name = "graph" if isinstance(model, bytes) else str(model)
    try:
        data = model if isinstance(model, bytes) else model.read_bytes()
        core = _core()
        capable = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except OSError as error:
        raise EngineError(f"{name} cannot be read: {error}") from error
    except RuntimeError as error:
        raise EngineError(f"OpenVINO {version} finds no CPU that it supports: {error}") from error
    if precision == "bf16" and "BF16" not in capable:
        raise EngineError(
            "this CPU has no bfloat16 (AVX512_BF16 or AMX), which openvino-bf16 needs; "
            "take device openvino"
        )
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        # Threads that are tied to cores get in each other's way: three networks share the cores.
        "ENABLE_CPU_PINNING": False,
    }
    folder = compiled_cache("openvino", _key(data, version)) if cached else None
    if folder is not None:
        settings["CACHE_DIR"] = str(folder)
    try:
        read = core.read_model(data)
        unsign(read)
        compiled = core.compile_model(read, "CPU", settings)
    except Exception as error:
        raise EngineError(f"OpenVINO cannot load {name}: {error}") from error
    kind = "bfloat16" if precision == "bf16" else "fp32"
    return OpenVinoEngine(compiled, f"OpenVINO {version}, CPU, {kind}")


def _key(data: bytes, version: str) -> str:
    return f"{version}-{hashlib.sha256(data).hexdigest()[:32]}"
