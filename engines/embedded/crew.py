"""Processes that each hold an engine: calls to them, and what becomes of a process that dies.

Each process has a thread here, its keeper, which starts it, takes what it sends, and starts it again.
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
from engines.embedded.child import CLOSE, STOP, Answer, Answered, Broke, Call, Failed, Ready, Told, serve
from engines.recipe import Recipe

RESTARTS_ALLOWED = 3
"""In a row, of one process, without a picture in between."""
STOP_SECONDS = 10.0
"""Until a call that was to end is given up."""
CLOSE_SECONDS = 10.0
"""Until a process that was to end is killed."""
PATIENCE_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Pending:
    """A call on its way; exactly one of answers, error and died is told in the end."""

    number: int
    size: int
    connection: Any = None
    """To the process that got it, which may be another one by now."""
    answers: Sequence[Answer] | None = None
    error: EngineError | RuntimeError | None = None
    died: str | None = None
    """How the process died that worked on it."""

    @property
    def done(self) -> bool:
        """Nothing more comes."""
        return self.answers is not None or self.error is not None or self.died is not None


@dataclass(slots=True, eq=False)
class Child:
    """A process, and those that take its place when it dies."""

    name: str
    environment: dict[str, str]
    process: Any = None
    connection: Any = None
    keeper: threading.Thread | None = None
    sending: threading.Lock = field(default_factory=threading.Lock)
    ready: Ready | None = None
    calls: dict[int, Pending] = field(default_factory=dict)
    reserved: Pending | None = None
    """The call that has this process for itself."""
    working: float = 0.0
    failure: str | None = None
    """Why the engine could not be opened this time."""
    starts: int = 0
    deaths: int = 0
    """Without a picture in between."""


class Crew:
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
            notes: where to tell what a user should know.
        """
        self._children = [Child(name, environment) for name, environment in places]
        self._arguments = (factory, recipe, setup)
        self._notes, self._told = notes, set[str]()
        # Spawned, not forked: a forked child would share the lock of OUT, and could not use a GPU.
        self._context = multiprocessing.get_context("spawn")
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._failed: AcuSimError | None = None
        self._stopped: float | None = None
        self._closing = False

    def open(self) -> list[Ready]:
        """Starts all processes at once and waits until each has its engine open.

        Raises:
            EngineError, ConfigError: what the first one that could not says; none of them is left.
        """
        # Before the keepers hold signals back: it lets them through again.
        resource_tracker.ensure_running()
        try:
            for child in self._children:
                child.keeper = threading.Thread(target=self._keep, args=(child,), name=child.name, daemon=True)
                child.keeper.start()
            with self._changed:
                self._changed.wait_for(lambda: self._ended() or all(child.ready for child in self._children))
                self._refuse()
                opened = [child.ready for child in self._children if child.ready]
        except BaseException:
            self.close(0.0)
            raise
        for child, ready in zip(self._children, opened, strict=True):
            for note in ready.notes:
                everywhere = all(note in other.notes for other in opened)
                self._note(note if everywhere else f"{child.name}: {note}")
        return opened

    def work_in_progress(self) -> float:
        """Work done on what is in hand, in pictures, as the processes tell it."""
        return sum(child.working for child in self._children)

    # Calls

    def call(self, requests: Sequence[Request], alone: bool, avoid: Child | None) -> tuple[Pending, Child]:
        """Lets the process with the fewest pictures in hand answer some requests.

        Args:
            requests: what to answer.
            alone: whether the process shall have no other calls meanwhile.
            avoid: a process to take only if there is no other.

        Returns:
            The call, done, and the process that had it.

        Raises:
            EngineError: no process is to be had any more, or all calls were to end.
        """
        call = Pending(next(self._numbers), len(requests))
        child = self._taken(call, alone, avoid)
        try:
            with child.sending:
                call.connection.send(Call(call.number, requests))
        except OSError:
            pass  # it just died; its keeper will tell
        except BaseException:
            with self._changed:
                self._released(child, call)
            raise
        with self._changed:
            while not call.done:
                left = None if self._stopped is None else self._stopped + STOP_SECONDS - time.monotonic()
                if left is not None and left <= 0:
                    self._released(child, call)
                    raise EngineError("stopped")
                self._changed.wait(left)
        return call, child

    def _taken(self, call: Pending, alone: bool, avoid: Child | None) -> Child:
        with self._changed:
            while True:
                self._refuse()
                free = [child for child in self._children if child.ready and child.reserved in (None, call)]
                if free:
                    child = min(free, key=lambda child: _preference(child, call, avoid))
                    child.reserved = call if alone else None
                    if not (alone and child.calls):
                        child.calls[call.number] = call
                        call.connection = child.connection
                        return child
                self._changed.wait()

    def _released(self, child: Child, call: Pending) -> None:
        child.calls.pop(call.number, None)
        if child.reserved is call:
            child.reserved = None
        self._changed.notify_all()

    def _refuse(self) -> None:
        """Raises why there is nothing to be had any more, if so."""
        if self._failed is not None:
            raise type(self._failed)(str(self._failed))  # one for each thread: raising adds to an error
        if self._ended():
            raise EngineError("stopped")

    def _ended(self) -> bool:
        return self._closing or self._stopped is not None or self._failed is not None

    # Processes

    def _keep(self, child: Child) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # children inherit it, until they ignore them
        try:
            while self._started(child):
                self._listen(child)
                self._bury(child)
        except Exception as error:
            if child.process is not None:
                child.process.kill()
            self._fail(EngineError(f"{child.name}: no process can be kept: {type(error).__name__}: {error}"))

    def _started(self, child: Child) -> bool:
        with self._changed:
            if self._ended():
                return False
            ours, theirs = self._context.Pipe()
            process = self._context.Process(
                target=serve, args=(theirs, *self._arguments, child.environment), name=child.name
            )
            process.start()
            theirs.close()
            child.process, child.connection = process, ours
            child.starts += 1
        return True

    def _listen(self, child: Child) -> None:
        """Takes what a process sends until it is gone."""
        while True:
            try:
                message = child.connection.recv()
            except Exception:  # EOFError or OSError; or what cannot be read back, after which nothing can be trusted
                return
            with self._changed:
                self._take(child, message)
                self._changed.notify_all()

    def _take(self, child: Child, message: object) -> None:
        if isinstance(message, Ready):
            child.ready = message
            for note in message.notes if child.starts > 1 else ():
                if note not in self._told:
                    self._note(f"{child.name}: {note}")
        elif isinstance(message, Failed):
            child.failure = str(message.error)
            if child.starts == 1:
                kind = ConfigError if isinstance(message.error, ConfigError) else EngineError
                self._failed = self._failed or kind(f"{child.name}: {message.error}")
        elif isinstance(message, Told):
            child.working = message.working
            for note in message.notes:
                self._note(f"{child.name}: {note}")
        elif isinstance(message, Answered | Broke):
            child.working = message.working
            call = child.calls.get(message.number)
            if call is None:
                return  # it was given up
            if isinstance(message, Broke):
                call.error = message.error
            else:
                call.answers = message.answers
                if any(isinstance(answer, Result) for answer in message.answers):
                    child.deaths = 0
            self._released(child, call)

    def _bury(self, child: Child) -> None:
        """Ends the calls of a process that is gone, and tells whether another one makes sense."""
        child.process.join(PATIENCE_SECONDS)
        child.process.kill()
        child.process.join()
        with child.sending:
            child.connection.close()
        how = _how(child.process.exitcode)
        with self._changed:
            calls, ready = list(child.calls.values()), child.ready
            # The death of one that had a single request for itself is that request's, not the process's.
            child.deaths += 0 if child.reserved and [call.size for call in calls] == [1] else 1
            for call in calls:
                call.died = how
            child.calls.clear()
            child.ready, child.reserved, child.working = None, None, 0.0
            self._changed.notify_all()
            if self._ended():
                return
        told = f"{child.name}: {child.failure or f'the process died ({how})'}"
        child.failure = None
        if ready is None and child.starts == 1:
            self._fail(EngineError(f"{told} while it opened the engine; is there memory enough for so many?"))
        elif child.deaths > RESTARTS_ALLOWED:
            fix = "mend that, or leave it out: CUDA_VISIBLE_DEVICES and --gpus say which are used"
            self._fail(EngineError(f"{told}, {child.deaths} times in a row without a picture; {fix}"))
        else:
            self._notes.append(f"{told}; it is started again")

    def _fail(self, error: EngineError) -> None:
        with self._changed:
            self._failed = self._failed or error
            self._changed.notify_all()

    def _note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notes.append(text)

    def stop(self) -> None:
        """Makes calls end soon; those of a process that does not answer are given up."""
        with self._changed:
            self._stopped = self._stopped or time.monotonic()
            self._changed.notify_all()
        for child in self._children:
            _post(child, STOP)

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Ends all processes: by word, and by SIGKILL those that have not ended after so many seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        deadline = time.monotonic() + patience
        for child in self._children if patience else ():
            _post(child, CLOSE)
        keepers = [(child, child.keeper) for child in self._children if child.keeper and child.keeper.ident]
        for child, keeper in keepers:
            keeper.join(max(0.0, deadline - time.monotonic()))
            if keeper.is_alive() and child.process is not None:
                child.process.kill()
        for _, keeper in keepers:
            keeper.join()


def _preference(child: Child, call: Pending, avoid: Child | None) -> tuple[bool, bool, bool, int]:
    """Least is best: the one that waits for this call, another than the one that died, a free lane, little in hand."""
    full = child.ready is not None and len(child.calls) >= child.ready.lanes
    return child.reserved is not call, child is avoid, full, sum(other.size for other in child.calls.values())


def _post(child: Child, word: str) -> None:
    """Says a word to a process, if it listens."""
    if child.connection is not None and child.sending.acquire(timeout=PATIENCE_SECONDS):
        try:
            with suppress(OSError):
                child.connection.send(word)
        finally:
            child.sending.release()


def _how(code: int | None) -> str:
    """How a process ended."""
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
