"""Worker processes that each hold an engine, and what to do when one of them dies."""

import logging
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
from controller.gate import Gate
from controller.gate_settings import GateSettings
from controller.job import Job, JobResult
from controller.job_runner import run_jobs
from engines.recipe import Recipe

PREFETCH = 2
"""Jobs that each worker has: one running, one waiting, so that no worker is idle."""
DEATHS_ALLOWED = 2
"""A job during which so many workers died is skipped."""
TICK_SECONDS = 0.2
_log = logging.getLogger(__name__)


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
    with engine, suppress(OSError):  # an OSError of the pipe: the controller is gone; every written file is complete
        connection.send(None)
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            [result] = run_jobs(engine, [job], root, output, gate)
            connection.send(result)


@dataclass(slots=True, eq=False)
class _Worker:
    process: Any
    connection: Any
    jobs: deque[Job]
    ready: bool = False


class WorkerProcesses:
    """Runs jobs on worker processes and yields their results, as they come."""

    def __init__(
        self, recipe: Recipe, root: Path, output: Path, count: int, gate: GateSettings | None = None, seed: int = 0
    ):
        self._arguments = (recipe, root, output, gate, seed)
        self._count = count
        # Spawned, not forked: a forked child would share the lock of OUT and outlive its owner with it.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._again: deque[Job] = deque()
        """Jobs of workers that died."""
        self._deaths: dict[str, int] = {}
        self._failed_starts = 0

    def _spawn(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
        with signals_held(), one_thread_each():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours, deque()))
        _log.debug("worker process %s started", process.pid)

    def run(
        self,
        jobs: Iterator[Job],
        started: Callable[[Job], None],
        stopping: Callable[[], bool],
        tick: Callable[[], None],
    ) -> Iterator[JobResult]:
        """Works through the jobs.

        Args:
            jobs: what to run, drawn only as workers need them.
            started: called for each job handed out.
            stopping: once true, nothing more is handed out; what is running is finished.
            tick: called several times a second.

        Raises:
            EngineError: the engine cannot be opened.
        """
        for _ in range(self._count):
            self._spawn()
        while True:
            exhausted = self._hand_out(jobs, started, stopping)
            if not any(worker.jobs for worker in self._workers) and (stopping() or exhausted):
                return
            tick()
            for connection in wait([worker.connection for worker in self._workers], timeout=TICK_SECONDS):
                worker = next(w for w in self._workers if w.connection is connection)
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    yield from self._reap(worker, stopping())
                    continue
                if worker.ready:
                    worker.jobs.popleft()
                    self._deaths.pop(message.key, None)
                    yield message
                elif message is not None:
                    raise EngineError(message)
                worker.ready = True

    def _hand_out(self, jobs: Iterator[Job], started: Callable[[Job], None], stopping: Callable[[], bool]) -> bool:
        """Gives each worker jobs up to PREFETCH; returns whether there are no more."""
        for worker in self._workers:
            while worker.ready and len(worker.jobs) < PREFETCH and not stopping():
                job = self._again.popleft() if self._again else next(jobs, None)
                if job is None:
                    return True
                try:
                    worker.connection.send(job)
                except OSError:  # it just died; wait() will report it
                    self._again.append(job)
                    break
                worker.jobs.append(job)
                started(job)
        return False

    def _reap(self, worker: _Worker, stopping: bool) -> Iterator[JobResult]:
        """Replaces a worker that died; its jobs go back, the running one (the first) with a mark against it."""
        worker.process.join(timeout=5)
        worker.connection.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        _log.debug("worker process %s died (exit code %s)", worker.process.pid, code)
        if not worker.ready and not stopping:
            # Where others could open the engine, this one may have been killed, such as for memory.
            self._failed_starts += 1
            if self._failed_starts >= DEATHS_ALLOWED or not any(other.ready for other in self._workers):
                raise EngineError(f"a worker process died while it opened the engine (exit code {code})")
        if worker.jobs:
            guilty = worker.jobs.popleft()
            self._deaths[guilty.key] = self._deaths.get(guilty.key, 0) + 1
            if self._deaths[guilty.key] >= DEATHS_ALLOWED:
                yield JobResult.skip(guilty.key, f"{DEATHS_ALLOWED} worker processes died on it (exit code {code})")
            else:
                self._again.append(guilty)
        self._again.extend(worker.jobs)
        if not stopping:
            self._spawn()

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
