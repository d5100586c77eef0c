"""ONNX Runtime's sessions: whether it is there, what it offers, and graphs loaded into it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowtrack.errors import DependencyError, EngineError
from flowtrack.runtime.engines.base import TensorSpec

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "ort-tensorrt": "TensorrtExecutionProvider",
}
"""ONNX Runtime's execution provider for each device name."""

_ERRORS_ONLY = 3  # ONNX Runtime's log severity; its warnings about foreign graphs flood a terminal


def installed_distributions() -> list[str]:
    """Which of the distributions that install the module `onnxruntime` are present."""
    names = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
    found = []
    for name in names:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def import_onnxruntime() -> Any:
    """The module `onnxruntime`, after making sure that exactly one distribution provides it.

    Raises:
        DependencyError: it is missing, or two distributions overwrite each other.
    """
    found = installed_distributions()
    if len(found) > 1:
        raise DependencyError(
            f"{' and '.join(found)} are both installed and overwrite each other's files; keep one: "
            f"pip uninstall -y {' '.join(found)} && pip install 'flowtrack[gpu]' "
            "(or 'flowtrack[cpu]' on a machine without an NVIDIA GPU)"
        )
    if importlib.util.find_spec("onnxruntime") is None:
        raise DependencyError(
            "onnxruntime is not installed; pip install 'flowtrack[cpu]', or 'flowtrack[gpu]' on a "
            "machine with an NVIDIA GPU"
        )
    import onnxruntime

    return onnxruntime


def tensor_specs(session: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a session.

    Raises:
        EngineError: one is of a type that numpy lacks.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    return tuple(_spec(node) for node in inputs), tuple(_spec(node) for node in outputs)


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise EngineError(f"tensor {node.name!r} is {node.type}, expected one of {list(_DTYPES)}")
    return TensorSpec(node.name, np.dtype(_DTYPES[node.type]), tuple(node.shape))


def require_provider(device: str) -> None:
    """Make sure that this ONNX Runtime was built for a device.

    Raises:
        DependencyError: ONNX Runtime is missing or doubled.
        EngineError: it was not.
    """
    offered = import_onnxruntime().get_available_providers()
    if PROVIDERS[device] not in offered:
        raise EngineError(
            f"device {device!r} is not available: this ONNX Runtime offers "
            f"{', '.join(offered)}; pip install 'flowtrack[gpu]' for CUDA"
        )


def described(device: str) -> str:
    """Version and provider, for people."""
    return f"ONNX Runtime {import_onnxruntime().__version__}, {PROVIDERS[device]}"


def open_session(
    model: Path | bytes, providers: Sequence[tuple[str, Mapping[str, str]]], threads: int
) -> Any:
    """Load a graph into a session of certain providers, the first of which must really start.

    Args:
        model: path or bytes of the graph.
        providers: names and options, the first preferred.
        threads: CPU threads of one run; 0 lets ONNX Runtime choose.

    Raises:
        DependencyError: ONNX Runtime is missing or doubled.
        EngineError: the graph cannot be loaded, or ONNX Runtime fell back to another provider.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait for work must not keep busy: detector, flow and pose share the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    name = "graph" if isinstance(model, bytes) else str(model)
    wanted = [(provider, dict(settings)) for provider, settings in providers]
    try:
        # With its own fallback, ONNX Runtime would print the error and go on with the CPU.
        session = ort.InferenceSession(
            source, sess_options=options, providers=wanted, enable_fallback=0
        )
    except Exception as error:
        raise EngineError(f"ONNX Runtime cannot load {name}: {error}") from error
    if session.get_providers()[0] != wanted[0][0]:
        raise EngineError(
            f"ONNX Runtime could not start {wanted[0][0]} for {name} and fell back to "
            f"{session.get_providers()[0]}; run `flowtrack doctor` to see what is missing"
        )
    return session
