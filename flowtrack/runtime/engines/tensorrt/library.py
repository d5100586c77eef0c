"""Whether TensorRT can be used here, what this machine is to it, and what it has to say.

`trt.Runtime` and `trt.Builder` crash the process where no CUDA driver answers, so the driver is
asked first, by `tensorrt_missing`, and everything else goes through `require_tensorrt`.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import platform
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from flowtrack.errors import DependencyError, EngineError
from flowtrack.runtime.engines.driver import cuda_driver_version
from flowtrack.runtime.plans import REBUILD, Fingerprint, Machine

if TYPE_CHECKING:
    import tensorrt as trt

    from flowtrack.runtime.engines.tensorrt.device import Gpu

MAJORS = (10, 11)
"""Major versions of TensorRT that this code is written for."""

_PACKAGES = {"tensorrt": "tensorrt", "pycuda": "pycuda", "cuda.bindings": "cuda-bindings"}
_INSTALL = (
    "pip install 'flowtrack[tensorrt]' (pycuda is compiled then: nvcc of the CUDA toolkit must be "
    "on the PATH)"
)
_LAST_ERRORS = 3

log = logging.getLogger("flowtrack.tensorrt")


def tensorrt_missing() -> str | None:
    """What is missing to run TensorRT plans, and the command that mends it; None if nothing is."""
    if cuda_driver_version() is None:
        return (
            "no CUDA driver with a device answers; install the NVIDIA driver and check that "
            "`nvidia-smi` lists the GPU"
        )
    absent = [name for module, name in _PACKAGES.items() if not _installed(module)]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        return f"{', '.join(absent)} {verb} not installed; {_INSTALL}"
    for module in ("tensorrt", "pycuda.driver", "cuda.bindings.driver"):
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            return (
                f"{module} is installed and cannot be loaded: {error}; pip install "
                "--force-reinstall 'flowtrack[tensorrt]'"
            )
    version: str = importlib.import_module("tensorrt").__version__
    if int(version.partition(".")[0]) not in MAJORS:
        return (
            f"TensorRT {version} is installed, expected 10 or 11; pip install 'tensorrt>=10.1,<12'"
        )
    return None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent
        return False


def require_tensorrt() -> None:
    """Make sure that TensorRT can be used.

    Raises:
        DependencyError: says what is missing and the command that mends it.
    """
    missing = tensorrt_missing()
    if missing is not None:
        raise DependencyError(f"TensorRT cannot be used here: {missing}")


def this_machine(gpu: Gpu) -> Machine:
    """What fingerprints of plans say about this machine."""
    import tensorrt as trt

    version: str = trt.__version__
    here = f"{platform.system()} {platform.machine()}"
    return Machine(version, gpu.name, gpu.compute_capability, here)


@cache
def trt_logger() -> Any:
    """The logger of every TensorRT object; TensorRT wants one for the whole process.

    It forwards to Python's `logging` and remembers the last errors for `failed`.
    """
    import tensorrt as trt

    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
        trt.ILogger.Severity.INFO: logging.INFO,
        trt.ILogger.Severity.VERBOSE: logging.DEBUG,
    }

    class Forward(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=_LAST_ERRORS)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            level = levels[severity]
            if level == logging.ERROR:
                # The caller raises them as one error, with what was going on.
                self.errors.append(msg)
                level = logging.DEBUG
            log.log(level, "TensorRT: %s", msg)

    return Forward()


def deserialized(plan: bytes, fingerprint: Fingerprint) -> tuple[trt.Runtime, trt.ICudaEngine]:
    """A loaded plan, and the runtime that must outlive it; call with a GPU's context active.

    Raises:
        EngineError: TensorRT cannot load it.
    """
    import tensorrt as trt

    runtime = trt.Runtime(trt_logger())
    # Such a plan brings code for the host with it, which lets later versions run it.
    runtime.engine_host_code_allowed = fingerprint.version_compatible
    engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise failed("TensorRT cannot load the plan", f"If it was built here, {REBUILD}")
    return runtime, engine


def failed(what: str, remedy: str) -> EngineError:
    """An error with what TensorRT said about it.

    Args:
        what: went wrong.
        remedy: what to do.
    """
    logger = trt_logger()
    said = "; ".join(logger.errors) or "nothing"
    logger.errors.clear()
    return EngineError(f"{what}. TensorRT said: {said}. {remedy}")
