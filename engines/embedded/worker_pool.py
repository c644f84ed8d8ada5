"""A pool of processes that each hold an engine: calls to them, and restarts of those that die.

Each process has a thread here, its supervisor, which spawns it, receives what it sends, and reaps it.
"""

import itertools
import multiprocessing
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from typing import Any

from acusim.errors import AcuSimError, ConfigError, EngineError
from acusim.processes import SIGNALS
from engines.base import Request, Result, Setup
from engines.embedded.worker_process import (
    CLOSE,
    STOP,
    Answer,
    Call,
    CallEnded,
    EngineOpened,
    OpeningFailed,
    Progress,
    serve,
)
from engines.recipe import Recipe

RESTARTS_ALLOWED = 3
"""In a row, of one process, without an image in between."""
STOP_SECONDS = 10.0
"""How long a call may go on after a stop before it is abandoned."""
CLOSE_SECONDS = 10.0
"""How long a process may go on after a close before it is killed."""
PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Died:
    """The outcome of a call whose process died."""

    how: str
    """Signal or exit code."""


Outcome = Sequence[Answer] | EngineError | RuntimeError | Died


@dataclass(slots=True, eq=False)
class _PendingCall:
    """A call that a process has, or waits for."""

    number: int
    size: int
    connection: Any = None
    """To the process that got it, which may have been replaced since."""
    outcome: Outcome | None = None


@dataclass(slots=True, eq=False)
class Worker:
    """A process, and those that replace it when it dies."""

    name: str
    environment: dict[str, str]
    process: Any = None
    connection: Any = None
    sending: threading.Lock = field(default_factory=threading.Lock)
    opened: EngineOpened | None = None
    """None while its engine is not open."""
    calls: dict[int, _PendingCall] = field(default_factory=dict)
    reserved_for: _PendingCall | None = None
    """The call that has this process for itself."""
    work_in_progress: float = 0.0
    failure: str | None = None
    """Why the engine could not be opened this time."""
    starts: int = 0
    deaths: int = 0
    """Without an image in between."""

    def preference(self, call: _PendingCall, avoid: "Worker | None") -> tuple[bool, bool, bool, int]:
        """Smallest first: reserved for this call, not to be avoided, below its concurrency, few images queued."""
        full = self.opened is not None and len(self.calls) >= self.opened.concurrency
        return self.reserved_for is not call, self is avoid, full, sum(other.size for other in self.calls.values())

    def post(self, command: str) -> None:
        """Sends STOP or CLOSE, if the process receives."""
        if self.connection is not None and self.sending.acquire(timeout=PATIENCE_SECONDS):
            try:
                with suppress(OSError):
                    self.connection.send(command)
            finally:
                self.sending.release()


class WorkerPool:
    """Some processes with the same engine; ``call`` may be used by several threads at once."""

    def __init__(
        self, places: Sequence[tuple[str, dict[str, str]]], factory: str, recipe: Recipe, setup: Setup, notes: list[str]
    ):
        """Starts nothing yet.

        Args:
            places: name and environment of each process.
            factory: what makes the engine, as ``module:name``.
            recipe: for the engine.
            setup: for the engine.
            notes: list to which the pool appends what a user should know.
        """
        self._workers = [Worker(name, environment) for name, environment in places]
        self._arguments = (factory, recipe, setup)
        self._notes, self._noted = notes, set[str]()
        # Spawned, not forked: a forked process would share the lock of OUT, and could not use a GPU.
        self._context = multiprocessing.get_context("spawn")
        self._supervisors = [
            threading.Thread(target=self._supervise, args=(worker,), name=worker.name, daemon=True)
            for worker in self._workers
        ]
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._failed: AcuSimError | None = None
        self._stopped: float | None = None
        self._closing = False

    def open(self) -> list[EngineOpened]:
        """Starts all processes at once and waits until each has its engine open.

        Raises:
            EngineError, ConfigError: from the first process that failed; no process is left.
        """
        # Before the supervisors block signals: it would unblock them.
        resource_tracker.ensure_running()
        try:
            for thread in self._supervisors:
                thread.start()
            with self._changed:
                self._changed.wait_for(lambda: self._has_ended() or all(worker.opened for worker in self._workers))
                self._raise_if_ended()
                opened = [worker.opened for worker in self._workers if worker.opened]
        except BaseException:
            self.close(0.0)
            raise
        for worker, each in zip(self._workers, opened, strict=True):
            for note in each.notes:
                everywhere = all(note in other.notes for other in opened)
                self._add_note(note if everywhere else f"{worker.name}: {note}")
        return opened

    def work_in_progress(self) -> float:
        """Work done on current calls, in images, as the processes report it."""
        return sum(worker.work_in_progress for worker in self._workers)

    # Calls

    def call(self, requests: Sequence[Request], alone: bool, avoid: Worker | None) -> tuple[Outcome, Worker]:
        """Gives requests to the process with the fewest images queued and waits for the outcome.

        Args:
            requests: what to answer.
            alone: whether the process shall have no other calls meanwhile.
            avoid: a process to use only if there is no other.

        Returns:
            The outcome, and the process that had the call.

        Raises:
            EngineError: no process is left, or all calls were stopped.
        """
        call = _PendingCall(next(self._numbers), len(requests))
        worker = self._assign(call, alone, avoid)
        try:
            with worker.sending:
                call.connection.send(Call(call.number, requests))
        except OSError:
            pass  # it just died; its supervisor will set the outcome
        except BaseException:
            with self._changed:
                self._release(worker, call)
            raise
        with self._changed:
            while call.outcome is None:
                left = None if self._stopped is None else self._stopped + STOP_SECONDS - time.monotonic()
                if left is not None and left <= 0:
                    self._release(worker, call)
                    raise EngineError("stopped")
                self._changed.wait(left)
        return call.outcome, worker

    def _assign(self, call: _PendingCall, alone: bool, avoid: Worker | None) -> Worker:
        with self._changed:
            while True:
                self._raise_if_ended()
                free = [worker for worker in self._workers if worker.opened and worker.reserved_for in (None, call)]
                if free:
                    worker = min(free, key=lambda worker: worker.preference(call, avoid))
                    worker.reserved_for = call if alone else None
                    if not (alone and worker.calls):
                        worker.calls[call.number] = call
                        call.connection = worker.connection
                        return worker
                self._changed.wait()

    def _release(self, worker: Worker, call: _PendingCall) -> None:
        worker.calls.pop(call.number, None)
        if worker.reserved_for is call:
            worker.reserved_for = None
        self._changed.notify_all()

    def _raise_if_ended(self) -> None:
        if self._failed is not None:
            raise type(self._failed)(str(self._failed))  # one for each thread: raising adds to an error
        if self._has_ended():
            raise EngineError("stopped")

    def _has_ended(self) -> bool:
        return self._closing or self._stopped is not None or self._failed is not None

    # Processes

    def _supervise(self, worker: Worker) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # processes inherit it, until they ignore them
        try:
            while self._spawn(worker):
                self._receive(worker)
                self._reap(worker)
        except Exception as error:
            if worker.process is not None:
                worker.process.kill()
            self._fail(EngineError(f"{worker.name}: no process can be kept: {type(error).__name__}: {error}"))

    def _spawn(self, worker: Worker) -> bool:
        """Starts a process; False where none is needed any more."""
        with self._changed:
            if self._has_ended():
                return False
            ours, theirs = self._context.Pipe()
            process = self._context.Process(
                target=serve, args=(theirs, *self._arguments, worker.environment), name=worker.name
            )
            process.start()
            theirs.close()
            worker.process, worker.connection = process, ours
            worker.starts += 1
        return True

    def _receive(self, worker: Worker) -> None:
        """Handles what a process sends until it is gone."""
        while True:
            try:
                message = worker.connection.recv()
            except Exception:  # EOFError or OSError; or what cannot be unpickled, after which nothing can be trusted
                return
            with self._changed:
                self._handle(worker, message)
                self._changed.notify_all()

    def _handle(self, worker: Worker, message: object) -> None:
        if isinstance(message, EngineOpened):
            worker.opened = message
            for note in message.notes if worker.starts > 1 else ():  # those of the first start: open()
                if note not in self._noted:
                    self._add_note(f"{worker.name}: {note}")
        elif isinstance(message, OpeningFailed):
            worker.failure = str(message.error)
            if worker.starts == 1:
                kind = ConfigError if isinstance(message.error, ConfigError) else EngineError
                self._fail(kind(f"{worker.name}: {message.error}"))
        elif isinstance(message, Progress):
            worker.work_in_progress = message.work_in_progress
            for note in message.notes:
                self._add_note(f"{worker.name}: {note}")
        elif isinstance(message, CallEnded):
            worker.work_in_progress = message.work_in_progress
            call = worker.calls.get(message.number)
            if call is None:
                return  # it was abandoned
            call.outcome = message.outcome
            answers = () if isinstance(message.outcome, Exception) else message.outcome
            if any(isinstance(answer, Result) for answer in answers):
                worker.deaths = 0
            self._release(worker, call)

    def _reap(self, worker: Worker) -> None:
        """Ends the calls of a process that is gone, and fails the pool where another one makes no sense."""
        worker.process.join(PATIENCE_SECONDS)
        worker.process.kill()
        worker.process.join()
        with worker.sending:
            worker.connection.close()
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        with self._changed:
            calls, opened = list(worker.calls.values()), worker.opened
            # The death of one that had a single request for itself is the request's fault, not the process's.
            worker.deaths += 0 if worker.reserved_for and [call.size for call in calls] == [1] else 1
            for call in calls:
                call.outcome = Died(how)
            worker.calls.clear()
            worker.opened, worker.reserved_for, worker.work_in_progress = None, None, 0.0
            self._changed.notify_all()
            if self._has_ended():
                return
        reason = f"{worker.name}: {worker.failure or f'the process died ({how})'}"
        worker.failure = None
        if opened is None and worker.starts == 1:
            self._fail(EngineError(f"{reason} while it opened the engine; is there memory enough for so many?"))
        elif worker.deaths > RESTARTS_ALLOWED:
            fix = "repair that, or leave it out: CUDA_VISIBLE_DEVICES and --gpus decide which are used"
            self._fail(EngineError(f"{reason}, {worker.deaths} times in a row without an image; {fix}"))
        else:
            self._notes.append(f"{reason}; it is restarted")

    def _fail(self, error: AcuSimError) -> None:
        with self._changed:
            self._failed = self._failed or error
            self._changed.notify_all()

    def _add_note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._notes.append(text)

    def stop(self) -> None:
        """Makes calls end soon; those of a process that does not answer are abandoned."""
        with self._changed:
            self._stopped = self._stopped or time.monotonic()
            self._changed.notify_all()
        for worker in self._workers:
            worker.post(STOP)

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Ends all processes: by CLOSE, and by SIGKILL those that have not ended after ``patience`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        deadline = time.monotonic() + patience
        for worker in self._workers if patience else ():
            worker.post(CLOSE)
        started = [pair for pair in zip(self._workers, self._supervisors, strict=True) if pair[1].ident]
        for worker, thread in started:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive() and worker.process is not None:
                worker.process.kill()
        for _, thread in started:
            thread.join()
