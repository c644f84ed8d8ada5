"""The owner of the processes of one run."""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Generic

from acusim.errors import EngineError
from acusim.parallel.process import (
    CLOSE,
    STOP,
    Function,
    Prepare,
    Raised,
    Ready,
    Reported,
    Result,
    Returned,
    Task,
    serve,
)  # fmt: skip
from acusim.processes import one_thread_each, signals_held

PREFETCH = 2
"""Tasks that each process has: one running, one waiting, so that none is idle."""
DEATHS_ALLOWED = 2
"""A task on which so many processes died is given up."""
TICK_SECONDS = 0.2
PATIENCE_SECONDS = 10.0
"""How long running tasks may take to end when results are not wanted any more; then processes are killed."""


@dataclass(frozen=True, slots=True)
class Died:
    """In place of a result: processes died on the task."""

    exit_code: int | None

    def __str__(self) -> str:
        """For people."""
        return f"{DEATHS_ALLOWED} worker processes died on it (exit code {self.exit_code}); out of memory?"


@dataclass(slots=True, eq=False)
class _Item(Generic[Task]):
    """A task, and how many processes died on it."""

    task: Task
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Process(Generic[Task]):
    """A process, and what it was given."""

    process: Any
    connection: Any
    """Its end of the pipe that the pool holds."""
    items: deque[_Item[Task]] = field(default_factory=deque)
    """The first is running."""
    ready: bool = False


class Pool(Generic[Task, Result]):
    """Processes and tasks of one run."""

    def __init__(
        self,
        function: Function[Task, Result],
        prepare: Prepare | None,
        arguments: tuple[Any, ...],
        tasks: Iterator[Task],
        started: Callable[[Task], None],
        reported: Callable[[int], None],
        prefetch: int,
    ):
        self._arguments = (function, prepare, arguments)
        self._tasks, self._started, self._reported, self._prefetch = tasks, started, reported, prefetch
        # Spawned, not forked: a forked process would share locks and outlive their owner with them, has no threads of
        # libraries, and cannot use a GPU.
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[_Process[Task]] = []
        self._again: deque[_Item[Task]] = deque()
        """Tasks that waited at a process which died."""
        self._suspects: deque[_Item[Task]] = deque()
        """Tasks on which a process died."""
        self._exhausted = self._stopping = False
        self._failed_starts = 0

    def spawn(self) -> None:
        """Starts a process."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, *self._arguments), daemon=True)
        with signals_held(), one_thread_each():
            process.start()
            self._processes.append(_Process(process, ours))  # before a signal may end this
        theirs.close()

    def hand_out(self, stopping: bool) -> bool:
        """Gives processes tasks, a suspect only when nothing else is running.

        Args:
            stopping: whether to hand out no more.

        Returns:
            Whether there is something to wait for.
        """
        if stopping and not self._stopping:
            self._stopping = True
            for each in self._processes:
                with suppress(OSError):
                    each.connection.send(STOP)
        if not self._stopping:
            if self._suspects:
                self._hand_out_suspect()
            else:
                self._fill()
        waiting = bool(self._suspects or self._again) or not self._exhausted
        return any(each.items for each in self._processes) or (waiting and not self._stopping)

    def _hand_out_suspect(self) -> None:
        free = [each for each in self._processes if each.ready]
        if free and not any(each.items for each in self._processes):
            self._give(free[0], self._suspects.popleft())

    def _fill(self) -> None:
        # Each gets one before any gets two; while one still starts, none gets a second that it could do.
        for depth in range(self._prefetch if all(each.ready for each in self._processes) else 1):
            for each in self._processes:
                if each.ready and len(each.items) <= depth:
                    item = self._next()
                    if item is None:
                        return
                    self._give(each, item)

    def _next(self) -> _Item[Task] | None:
        if self._again:
            return self._again.popleft()
        for task in self._tasks:
            return _Item(task)
        self._exhausted = True
        return None

    def _give(self, process: _Process[Task], item: _Item[Task]) -> None:
        try:
            process.connection.send((item.task,))
        except OSError:  # it just died, which is noticed when it is read from
            self._again.appendleft(item)
            return
        process.items.append(item)
        self._started(item.task)

    def received(self) -> Iterator[tuple[Task, Result | Died]]:
        """Waits for messages, but not for long; what is done."""
        by_connection = {each.connection: each for each in self._processes}
        for connection in wait(list(by_connection), timeout=TICK_SECONDS):
            assert isinstance(connection, Connection)
            process = by_connection[connection]
            try:
                message = connection.recv()
            except (EOFError, OSError):
                yield from self._bury(process)
                continue
            if isinstance(message, Raised):
                raise message.error
            if isinstance(message, Reported):
                self._reported(message.count)
            elif isinstance(message, Ready):
                process.ready = True
            else:
                item = process.items.popleft()
                if isinstance(message, Returned):
                    yield item.task, message.result

    def _bury(self, process: _Process[Task]) -> Iterator[tuple[Task, Died]]:
        """Replaces a process that died; its tasks go back, the running one as a suspect.

        Raises:
            EngineError: it was never ready, and others are not either.
        """
        process.process.join(PATIENCE_SECONDS)
        process.connection.close()
        self._processes.remove(process)
        code = process.process.exitcode
        if not process.ready and not self._stopping:
            self._failed_starts += 1
            if self._failed_starts >= DEATHS_ALLOWED or not any(each.ready for each in self._processes):
                raise EngineError(f"a worker process died while it started (exit code {code}); out of memory?")
        if process.items:
            suspect = process.items.popleft()
            suspect.deaths += 1
            if suspect.deaths < DEATHS_ALLOWED:
                self._suspects.append(suspect)
            else:
                yield suspect.task, Died(code)
        self._again.extend(process.items)
        if not self._stopping:
            self.spawn()

    def close(self, patience: float) -> None:
        """Ends all processes: running tasks are asked to end early, and killed after some time.

        Args:
            patience: seconds for all together.
        """
        for each in self._processes:
            with suppress(OSError):
                each.connection.send(STOP)
                each.connection.send(CLOSE)
            each.connection.close()
            if not patience:
                each.process.kill()
        deadline = time.monotonic() + patience
        for each in self._processes:
            each.process.join(max(0.0, deadline - time.monotonic()))
            if each.process.is_alive():
                each.process.kill()
                each.process.join()
        self._processes.clear()
