"""An iterable worked through ahead of its consumer, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Done:
    pass


class Prefetch(Generic[T]):
    """Iterates over `items` at most `depth` ahead; order, values and errors stay the same.

    Use it as a context manager: leaving stops the thread, whether or not all was consumed. A second
    iteration goes on where the first one stopped.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        """Start working through `items`."""
        self._queue: queue.Queue[T | _Raised | _Done] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, args=(items,), daemon=True)
        self._thread.start()

    def _work(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
            self._put(_Done())
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
            self._put(_Raised(error))

    def _put(self, item: T | _Raised | _Done) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while not self._ended:
            item = self._queue.get()
            if isinstance(item, _Done):
                self._ended = True
            elif isinstance(item, _Raised):
                self._ended = True
                raise item.error
            else:
                yield item
