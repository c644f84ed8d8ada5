"""The threads in which models work.

Torch computes on OpenMP teams on a CPU, and every thread that starts one gets a team of its own. A team waits for its
slowest member after each of thousands of short operations, and once there are more members than cores, it sleeps where
it otherwise waits awake. So models run in these threads alone: one on a GPU; on a CPU two, each with half of the cores,
which is also where two batches hide each other's waiting.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    """Runs calls in some threads, which do not keep the process from ending."""

    def __init__(self, count: int, begin: Callable[[], None] = lambda: None):
        """Starts the threads; each calls ``begin`` first."""
        self.count = count
        self._begin = begin
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._work, name=f"models {number}", daemon=True).start()

    def ask(self, call: Callable[[], T]) -> "Future[T]":
        """What the call will return or raise; calls are taken up in order."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def end(self) -> None:
        """Lets the threads end after the calls they were given."""
        for _ in range(self.count):
            self._calls.put(None)

    def _work(self) -> None:
        self._begin()
        while (entry := self._calls.get()) is not None:
            future, call = entry
            try:
                future.set_result(call())
            except BaseException as error:  # raised again where the call was asked for
                future.set_exception(error)
            del entry, future, call  # nothing of it is kept alive while waiting
