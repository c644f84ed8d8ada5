"""One thread for all that the models do.

Torch computes on OpenMP teams on a CPU, and every thread that starts one gets a team of its own. With more threads in
teams than cores, OpenMP sleeps where it otherwise waits awake for the next operation: models then run a third slower.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs calls one after the other in a thread of its own, which does not keep the process from ending."""

    def __init__(self, name: str):
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, call: Callable[[], T]) -> T:
        """What the call returns or raises."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future.result()

    def end(self) -> None:
        """Lets the thread end after the calls it was given."""
        self._calls.put(None)

    def _work(self) -> None:
        while (entry := self._calls.get()) is not None:
            future, call = entry
            try:
                future.set_result(call())
            except BaseException as error:  # raised again where the call was asked for
                future.set_exception(error)
            del entry, future, call  # nothing of it is kept alive while waiting
