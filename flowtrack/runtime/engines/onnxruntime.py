"""ONNX Runtime as an engine: on CPUs here, on GPUs in `onnxruntime_cuda`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowtrack.errors import EngineError, OptionError
from flowtrack.runtime.engines.base import Array, Engine
from flowtrack.runtime.engines.onnxruntime_session import (
    PROVIDERS,
    described,
    open_session,
    require_provider,
    tensor_specs,
)


class OnnxRuntimeEngine(Engine):
    """A graph loaded into an ONNX Runtime session on the CPU."""

    def __init__(self, session: Any, device: str) -> None:
        """Wrap a session; `open_onnxruntime` makes one."""
        self._session = session
        self.device = device
        self.inputs, self.outputs = tensor_specs(session)
        self._output_names = [spec.name for spec in self.outputs]

    def _run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        try:
            values = self._session.run(self._output_names, dict(feeds))
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on {self.device}: {error}") from error
        return dict(zip(self._output_names, values, strict=True))


def open_onnxruntime(
    model: Path | bytes,
    device: str = "cpu",
    threads: int = 0,
    *,
    gpu: int = 0,
    graphs: bool | None = None,
) -> Engine:
    """Load an ONNX graph into ONNX Runtime.

    Args:
        model: path or bytes of the graph.
        device: a key of `PROVIDERS`.
        threads: CPU threads of one run; 0 lets ONNX Runtime choose.
        gpu: index, as CUDA counts.
        graphs: record CUDA graphs of the shapes that come again; None: where the device can
            (`cuda`).

    Raises:
        OptionError: a GPU or CUDA graphs are asked of a device that has none.
        DependencyError: ONNX Runtime is missing or doubled.
        EngineError: the graph cannot be loaded, or the device is not available.
    """
    if device == "cpu" and gpu:
        raise OptionError(f"GPU {gpu} was asked for on device 'cpu'; take device cuda:{gpu}")
    if device != "cuda" and graphs:
        raise OptionError(f"CUDA graphs were asked for on device {device!r}; only 'cuda' has them")
    require_provider(device)
    if device == "cpu":
        session = open_session(model, [(PROVIDERS["cpu"], {})], threads)
        return OnnxRuntimeEngine(session, described(device))
    from flowtrack.runtime.engines.onnxruntime_cuda import open_on_gpu

    return open_on_gpu(model, device, threads, gpu, graphs is not False)
