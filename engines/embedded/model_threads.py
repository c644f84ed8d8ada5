"""The threads in which models run.

Torch computes on OpenMP teams on a CPU, and every thread that starts one gets a team of its own. A team waits for its
slowest member after each of thousands of short operations, and once there are more members than cores, it sleeps where
it otherwise waits awake. So models run in these threads alone: one on a GPU; on a CPU two, each with half of the cores,
so that two batches hide each other's waiting.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class ModelThreads:
    """Runs calls in some threads. Unlike those of a ThreadPoolExecutor they do not keep the process from ending."""

    def __init__(self, count: int, initialize: Callable[[], None] = lambda: None):
        """Starts the threads; each calls ``initialize`` first."""
        self.count = count
        self._initialize = initialize
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, name=f"models {number}", daemon=True).start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """The future result of a call; calls are started in order."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def close(self) -> None:
        """Lets the threads end after the calls that were submitted."""
        for _ in range(self.count):
            self._calls.put(None)

    def _run(self) -> None:
        self._initialize()
        while (entry := self._calls.get()) is not None:
            future, call = entry
            try:
                future.set_result(call())
            except BaseException as error:  # raised again by future.result()
                future.set_exception(error)
            del entry, future, call  # keeps nothing alive while waiting
