"""Worker processes that measure images, and what happens when one of them dies."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from acusim.processes import let_signals_through, one_thread_each, signals_held

Task = TypeVar("Task")
Result = TypeVar("Result")

PREFETCH = 3
"""Tasks submitted for each worker, so that none is idle."""


class Died:
    """Result of a task on which the worker process died."""


DIED = Died()


def _start(prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # The parent decides what an interrupt means; a worker finishes its task.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_signals_through()
    prepare(*arguments)


class Workers(Generic[Task, Result]):
    """Runs a function on tasks in processes that were prepared once.

    Args:
        function: module-level; takes a task.
        prepare: module-level; called once in each process.
        arguments: what ``prepare`` is called with.
        count: processes.
    """

    def __init__(
        self, function: Callable[[Task], Result], prepare: Callable[..., None], arguments: tuple[Any, ...], count: int
    ):
        self._function, self._prepare, self._arguments, self._count = function, prepare, arguments, count

    def _pool(self, count: int) -> ProcessPoolExecutor:
        # Spawned, not forked: the detector's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(count, context, initializer=_start, initargs=(self._prepare, self._arguments))

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Died]]:
        """Each task with its result, in order of completion; tasks are drawn only as workers need them.

        When a process dies, the submitted tasks are retried one by one, each in a process of its own; the one that
        kills it again has the result DIED.
        """
        waiting = iter(tasks)
        with one_thread_each():
            while True:
                lost: list[Task] = []
                yield from self._run_until_broken(waiting, lost)
                if not lost:
                    return
                for task in lost:
                    with self._pool(1) as pool:
                        try:
                            with signals_held():
                                future = pool.submit(self._function, task)
                            result: Result | Died = future.result()
                        except BrokenProcessPool:
                            result = DIED
                    yield task, result

    def _run_until_broken(self, waiting: Iterator[Task], lost: list[Task]) -> Iterator[tuple[Task, Result | Died]]:
        pool = self._pool(self._count)
        running: dict[Future[Result], Task] = {}
        try:
            while True:
                try:
                    while len(running) < PREFETCH * self._count and (task := next(waiting, None)) is not None:
                        lost.append(task)
                        with signals_held():  # a process may be started for it
                            running[pool.submit(self._function, task)] = task
                        lost.pop()
                    if not running:
                        return
                    ready, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ready:
                        result = future.result()
                        yield running.pop(future), result
                except BrokenProcessPool:
                    lost.extend(running.values())
                    return
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
