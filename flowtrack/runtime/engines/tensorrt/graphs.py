"""CUDA graphs through cuda-bindings: work of a stream recorded once and launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowtrack.errors import EngineError


class CudaGraph:
    """Recorded work, ready to be launched on the stream that it was recorded on."""

    def __init__(self, stream: int, work: Callable[[], None]) -> None:
        """Record what `work` puts on a stream; nothing of it runs.

        Only this thread's calls are held back meanwhile; other threads may allocate memory.

        Args:
            stream: handle; pycuda and cuda-bindings share it.
            work: must have run on the stream once before, so that what happens only the first
                time is not recorded.

        Raises:
            EngineError: CUDA cannot record it.
            Exception: whatever `work` raises.
        """
        from cuda.bindings import driver

        self._stream = driver.CUstream(stream)
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(driver.cuStreamBeginCapture, self._stream, mode)
        try:
            work()
        except BaseException:
            # What was recorded goes; the stream must be usable again.
            _, graph = driver.cuStreamEndCapture(self._stream)
            if graph is not None and int(graph):
                driver.cuGraphDestroy(graph)
            raise
        graph = _call(driver.cuStreamEndCapture, self._stream)
        try:
            self._executable = _call(driver.cuGraphInstantiate, graph, 0)
        finally:
            _call(driver.cuGraphDestroy, graph)

    def launch(self) -> None:
        """Put the recorded work on the stream.

        Raises:
            EngineError: CUDA refuses.
        """
        from cuda.bindings import driver

        _call(driver.cuGraphLaunch, self._executable, self._stream)

    def free(self) -> None:
        """Forget what was recorded; nothing of it may still run.

        Raises:
            EngineError: CUDA refuses.
        """
        from cuda.bindings import driver

        _call(driver.cuGraphExecDestroy, self._executable)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call of the CUDA driver gives besides its code, which must be that of success."""
    from cuda.bindings import driver

    code, *values = function(*arguments)
    if code != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(code)
        said = text.decode() if text else str(code)
        raise EngineError(
            f"{function.__name__} failed: {said}; start the program again, and run `flowtrack "
            "doctor` if it happens once more"
        )
    return values[0] if values else None
