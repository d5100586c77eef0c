"""A stand-in for ONNX Runtime with a GPU: computes with the real one's CPU, takes no nonsense.

Memory on the GPU has an address. A recorded graph reads and writes the addresses that it was
recorded with, whatever is bound later, and belongs to the thread that recorded it, so that a
mistake shows as a wrong result or an error. Every call is held against the signature of the real
class.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as real

CUDA_OPTIONS = frozenset(
    {
        "device_id", "gpu_mem_limit", "arena_extend_strategy", "cudnn_conv_algo_search",
        "do_copy_in_default_stream", "cudnn_conv_use_max_workspace", "enable_cuda_graph",
        "cudnn_conv1d_pad_to_nc1d", "enable_skip_layer_norm_strict_mode", "prefer_nhwc",
        "use_ep_level_unified_stream", "use_tf32", "fuse_conv_bias", "sdpa_kernel",
    }
)  # fmt: skip
"""The documented options of the CUDA provider that have to do with inference."""

TENSORRT_OPTIONS = frozenset(
    {
        "device_id", "trt_max_workspace_size", "trt_engine_cache_enable", "trt_engine_cache_path",
        "trt_timing_cache_enable", "trt_timing_cache_path", "trt_force_timing_cache",
        "trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes",
        "trt_builder_optimization_level", "trt_cuda_graph_enable",
    }
)  # fmt: skip
"""Those of the TensorRT provider that leave types alone."""

ALLOWED = {
    "CPUExecutionProvider": frozenset[str](),
    "CUDAExecutionProvider": CUDA_OPTIONS,
    "TensorrtExecutionProvider": TENSORRT_OPTIONS,
}


@dataclass
class Gpu:
    """What happened, and what shall go wrong.

    Attributes:
        runs: `(graph, what)` of every run: `plain`, `record` or `replay`.
        sessions: providers with their options, session by session.
        refuse_graphs: a session with CUDA graphs cannot be opened.
        spoil_recording: recording fails.
        fail: every run fails.
        starts: providers that really start.
        during_recording: called while a graph is recorded.
    """

    runs: list[tuple[int, str]] = field(default_factory=list)
    sessions: list[dict[str, dict[str, str]]] = field(default_factory=list)
    refuse_graphs: bool = False
    spoil_recording: bool = False
    fail: bool = False
    starts: frozenset[str] = frozenset(ALLOWED)
    during_recording: Callable[[], None] = lambda: None
    recording: bool = False
    addresses: int = 0


def like(method: Any) -> Callable[[Any], Any]:
    """Hold the calls of a function against the signature of the real one."""
    signature = inspect.signature(method)

    def wrap(function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            signature.bind(*given, **named)
            return function(*given, **named)

        return call

    return wrap


def double(gpu: Gpu, version: str = "1.32.0") -> Any:
    """The module `onnxruntime` of a machine with this GPU."""
    copies_on_gpu = tuple(map(int, version.split("."))) >= (1, 26)

    def unspoilt() -> None:
        if gpu.recording:
            gpu.spoil_recording = True
            raise RuntimeError("operation not permitted when stream is capturing")

    class OrtValue:
        """Memory on the GPU."""

        def __init__(self, array: Any, device_id: int) -> None:
            unspoilt()
            gpu.addresses += 1
            self.address, self.device_id = gpu.addresses, device_id
            self.memory = np.array(array)

        @staticmethod
        @like(real.OrtValue.ortvalue_from_numpy)
        def ortvalue_from_numpy(array: Any, device_type: str, device_id: int) -> OrtValue:
            assert device_type == "cuda"
            assert array.flags.c_contiguous
            return OrtValue(array, device_id)

        @staticmethod
        @like(real.OrtValue.ortvalue_from_shape_and_type)
        def ortvalue_from_shape_and_type(
            shape: list[int], element_type: Any, device_type: str, device_id: int
        ) -> OrtValue:
            assert device_type == "cuda"
            junk = np.full(shape, 77).astype(element_type)
            return OrtValue(junk, device_id)

        @like(real.OrtValue.update_inplace)
        def update_inplace(self, data: Any) -> None:
            unspoilt()
            if isinstance(data, OrtValue) and not copies_on_gpu:
                raise TypeError("incompatible function arguments")
            source = data.memory if isinstance(data, OrtValue) else data
            if (source.dtype, source.shape) != (self.memory.dtype, self.memory.shape):
                raise RuntimeError(f"cannot copy {source.shape} to {self.memory.shape}")
            np.copyto(self.memory, source)

        @like(real.OrtValue.numpy)
        def numpy(self) -> Any:
            unspoilt()
            return self.memory.copy()

        @like(real.OrtValue.shape)
        def shape(self) -> list[int]:
            return list(self.memory.shape)

    class Binding:
        def __init__(self, session: Session) -> None:
            self.session = session
            self.inputs: dict[str, OrtValue] = {}
            self.outputs: dict[str, OrtValue | None] = {}
            self.waited = True

        @like(real.IOBinding.bind_ortvalue_input)
        def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
            self._check(ortvalue.device_id)
            self.inputs[name] = ortvalue

        @like(real.IOBinding.bind_ortvalue_output)
        def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
            self._check(ortvalue.device_id)
            self.outputs[name] = ortvalue

        @like(real.IOBinding.bind_output)
        def bind_output(self, name: str, device_type: str, device_id: int) -> None:
            assert device_type == "cuda"
            self._check(device_id)
            self.outputs[name] = None

        def _check(self, device_id: int) -> None:
            assert device_id == self.session.device_id, "memory of another GPU"

        @like(real.IOBinding.synchronize_outputs)
        def synchronize_outputs(self) -> None:
            self.waited = True

        @like(real.IOBinding.get_outputs)
        def get_outputs(self) -> list[OrtValue]:
            assert self.waited, "outputs were read before the GPU was waited for"
            assert None not in self.outputs.values(), "there was no run"
            return [value for value in self.outputs.values() if value is not None]

    class Session:
        @like(real.InferenceSession.__init__)
        def __init__(
            self, model: Any, sess_options: Any, providers: Any, enable_fallback: int
        ) -> None:
            assert enable_fallback == 0
            wanted = {name: dict(options) for name, options in providers}
            for name, options in wanted.items():
                unknown = set(options) - ALLOWED[name]
                if unknown:
                    raise ValueError(f"Unknown provider option: {sorted(unknown)} of {name}")
                assert all(isinstance(value, str) for value in options.values())
            gpu.sessions.append(wanted)
            cuda = wanted.get("CUDAExecutionProvider", {})
            self.graphs = cuda.get("enable_cuda_graph") == "1"
            if self.graphs and gpu.refuse_graphs:
                raise RuntimeError("This session cannot use the graph capture feature")
            self.device_id = int(cuda.get("device_id", 0))
            self.providers = [name for name in wanted if name in gpu.starts]
            self.cpu = real.InferenceSession(
                model, sess_options=sess_options, providers=["CPUExecutionProvider"]
            )
            self.recorded: dict[tuple[int, int], tuple[dict[str, OrtValue], dict[str, Any]]] = {}

        def get_providers(self) -> list[str]:
            return self.providers

        def get_inputs(self) -> Any:
            return self.cpu.get_inputs()

        def get_outputs(self) -> Any:
            return self.cpu.get_outputs()

        def io_binding(self) -> Binding:
            return Binding(self)

        @like(real.InferenceSession.run_with_iobinding)
        def run_with_iobinding(self, iobinding: Binding, run_options: Any) -> None:
            assert iobinding.session is self
            graph = int(run_options.get_run_config_entry("gpu_graph_id"))
            assert graph == -1 or graph >= 1, "0 is ONNX Runtime's own"
            if gpu.fail:
                raise RuntimeError("CUDA failure 2: out of memory")
            if not self.graphs or graph == -1:
                gpu.runs.append((graph, "plain"))
                self._compute(iobinding.inputs, iobinding.outputs)
            elif (threading.get_ident(), graph) in self.recorded:
                gpu.runs.append((graph, "replay"))
                self._compute(*self.recorded[threading.get_ident(), graph])
            else:
                self._record(graph, iobinding)
            iobinding.waited = False

        def _record(self, graph: int, binding: Binding) -> None:
            assert None not in binding.outputs.values(), "a graph needs outputs with an address"
            gpu.runs.append((graph, "record"))
            gpu.recording = True
            try:
                gpu.during_recording()
                if gpu.spoil_recording:
                    raise RuntimeError("CUDA failure 900: operation not permitted")
            finally:
                gpu.recording = False
            self.recorded[threading.get_ident(), graph] = (
                dict(binding.inputs),
                dict(binding.outputs),
            )
            self._compute(binding.inputs, binding.outputs)

        def _compute(
            self, inputs: Mapping[str, OrtValue], outputs: dict[str, OrtValue | None]
        ) -> None:
            fed = {name: value.memory for name, value in inputs.items()}
            results = self.cpu.run(list(outputs), fed)
            for (name, value), found in zip(list(outputs.items()), results, strict=True):
                if value is None:
                    outputs[name] = OrtValue(found, self.device_id)
                elif value.memory.shape != found.shape:
                    raise RuntimeError(f"output is {found.shape}, bound {value.memory.shape}")
                else:
                    np.copyto(value.memory, found)

    def preload_dlls() -> None:
        print("Failed to load libcudnn.so.9")  # noqa: T201 - as the real one does

    return SimpleNamespace(
        __version__=version,
        get_available_providers=lambda: list(reversed(ALLOWED)),
        SessionOptions=real.SessionOptions,
        RunOptions=real.RunOptions,
        InferenceSession=Session,
        OrtValue=OrtValue,
        preload_dlls=preload_dlls,
    )
