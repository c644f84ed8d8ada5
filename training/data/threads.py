"""Work that keeps the Python interpreter busy, such as decoding, spread over processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from acusim.errors import OutputError
from acusim.processes import one_thread_each

Task = TypeVar("Task")
Result = TypeVar("Result")

Progress = Callable[[str, int, int], None]
"""Called with a word for the work, how many items are done, and of how many."""
Say = Callable[[str], None]
"""Called with a message that a user should read now."""


def _start() -> None:
    # The parent decides what an interrupt means; but a worker must not outlive a parent that was killed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def spread(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """The result of each task, as they come.

    Args:
        function: module-level; takes a task.
        tasks: its arguments.
        workers: processes; 1, or a single task, runs in this process.

    Raises:
        OutputError: a process died; results that were yielded before are complete.
    """
    if workers <= 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    # Spawned, not forked: a forked child would keep the cache's lock after its owner's death.
    context = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(min(workers, len(tasks)), context, initializer=_start) as pool:
        waiting = iter(tasks)
        running: set[Future[Result]] = set()
        try:
            while True:
                while len(running) < 2 * workers and (task := next(waiting, None)) is not None:
                    running.add(pool.submit(function, task))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise OutputError(
                "a process that decodes pictures died (out of memory?); what is finished is kept: "
                "start again, with fewer workers"
            ) from None
        except BaseException:  # also where the caller leaves early
            for future in running:
                future.cancel()
            raise
