"""Worker processes that each hold an engine, and what to do when one of them dies."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, EngineError
from acusim.processes import SIGNALS, let_signals_through, one_thread_each, signals_held
from controller.gate import Gate, GateSettings
from controller.job import Job
from controller.making import Made, make
from engines.recipe import Recipe

IN_HAND = 2
"""Jobs that lie with each worker: one at work, one waiting, so that none stands idle."""
DEATHS_ALLOWED = 2
"""A job during which so many workers died is set aside."""


def _work(
    connection: Any, recipe: Recipe, root: Path, output: Path, gate_settings: GateSettings | None, seed: int
) -> None:
    """Body of a worker process: opens the engine, answers jobs until the pipe closes."""
    # The controller decides when to stop: closing the pipe ends a worker, and SIGKILL one that is not to finish.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    let_signals_through()
    from engines.factory import make_engine

    try:
        engine = make_engine(recipe)
        engine.open()
        gate = Gate(gate_settings, recipe, seed) if gate_settings else None
    except AcuSimError as error:
        with suppress(OSError):
            connection.send(str(error))
        return
    with engine, suppress(OSError):  # an OSError of the pipe: the controller is gone; what was written is whole
        connection.send(None)
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            [made] = make(engine, [job], root, output, gate)
            connection.send(made)


@dataclass(slots=True, eq=False)
class _Worker:
    process: Any
    connection: Any
    jobs: deque[Job]
    ready: bool = False


class Pool:
    """Runs jobs on worker processes and yields what became of them, as they come."""

    def __init__(
        self, recipe: Recipe, root: Path, output: Path, count: int, gate: GateSettings | None = None, seed: int = 0
    ):
        self._arguments = (recipe, root, output, gate, seed)
        self._count = count
        # Spawned, not forked: a forked child would share the lock of OUT and outlive its owner with it.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._deaths: dict[str, int] = {}

    def _hire(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
        with signals_held(), one_thread_each():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours, deque()))

    def run(
        self,
        jobs: Iterator[Job],
        started: Callable[[Job], None],
        stopping: Callable[[], bool],
        tick: Callable[[], None],
    ) -> Iterator[Made]:
        """Works through the jobs.

        Args:
            jobs: what to make, drawn only as workers need them.
            started: called for each job handed out.
            stopping: once true, nothing more is handed out; what is in hand is finished.
            tick: called several times a second.

        Raises:
            EngineError: the engine cannot be opened.
        """
        again: deque[Job] = deque()
        for _ in range(self._count):
            self._hire()
        exhausted = False
        while True:
            for worker in self._workers:
                while worker.ready and len(worker.jobs) < IN_HAND and not stopping():
                    job = again.popleft() if again else next(jobs, None)
                    if job is None:
                        exhausted = True
                        break
                    if not self._hand_over(worker, job):
                        again.append(job)
                        break
                    started(job)
            if not any(worker.jobs for worker in self._workers) and (stopping() or (exhausted and not again)):
                return
            tick()
            for connection in wait([worker.connection for worker in self._workers], timeout=0.2):
                worker = next(w for w in self._workers if w.connection is connection)
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    yield from self._bury(worker, again, stopping())
                    continue
                if not worker.ready:
                    if message is not None:
                        raise EngineError(message)
                    worker.ready = True
                    continue
                worker.jobs.popleft()
                self._deaths.pop(message.key, None)
                yield message

    @staticmethod
    def _hand_over(worker: _Worker, job: Job) -> bool:
        try:
            worker.connection.send(job)
        except OSError:
            return False  # it just died; wait() will tell
        worker.jobs.append(job)
        return True

    def _bury(self, worker: _Worker, again: deque[Job], stopping: bool) -> Iterator[Made]:
        """Replaces a worker that died; its jobs go back, the one it was at (the first) with a mark against it."""
        worker.process.join(timeout=5)
        worker.connection.close()
        self._workers.remove(worker)
        if not worker.ready and not stopping:
            raise EngineError(f"a worker process died while it opened the engine (exit code {worker.process.exitcode})")
        if worker.jobs:
            guilty = worker.jobs.popleft()
            self._deaths[guilty.key] = self._deaths.get(guilty.key, 0) + 1
            if self._deaths[guilty.key] >= DEATHS_ALLOWED:
                code = worker.process.exitcode
                yield Made(guilty.key, reason=f"{DEATHS_ALLOWED} worker processes died on it (exit code {code})")
            else:
                again.append(guilty)
        again.extend(worker.jobs)
        if not stopping:
            self._hire()

    def close(self, now: bool = False) -> None:
        """Ends the workers: by closing their pipes, or at once."""
        for worker in self._workers:
            worker.connection.close()
            if now:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
        self._workers.clear()
