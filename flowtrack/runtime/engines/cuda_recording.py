"""One thread records a CUDA graph, or any number run networks: never both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


class Recording:
    """Keeps the GPUs to one thread while it records a CUDA graph, and free for all otherwise.

    ONNX Runtime records in CUDA's global mode (core/providers/cuda/cuda_graph.cc), in which an
    allocation or a blocking copy in any other thread spoils the recording.
    """

    def __init__(self) -> None:
        """Nobody is at work."""
        self._changed = threading.Condition()
        self._running = 0
        self._recording = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Use a GPU beside others; waits for a recording to end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._recording)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Use a GPU alone; waits for others to end, and lets no new ones begin."""
        with self._changed:
            self._changed.wait_for(lambda: not self._recording)
            self._recording = True
            self._changed.wait_for(lambda: self._running == 0)
        try:
            yield
        finally:
            with self._changed:
                self._recording = False
                self._changed.notify_all()


@cache
def recording() -> Recording:
    """The one of this process: all its engines share the GPUs."""
    return Recording()
