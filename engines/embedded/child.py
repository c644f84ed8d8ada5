"""One of the processes that share a batch: opens an engine, answers calls until its owner is gone.

What goes through the pipe is told here: the owner sends a Call, STOP or CLOSE; everything else comes back. Nothing in
this module may import torch: it is loaded before the process knows which GPU is its own.
"""

import importlib
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from acusim import errors
from acusim.errors import AcuSimError, EngineError
from acusim.processes import SIGNALS, let_signals_through
from engines.base import Engine, Request, Result, Setup
from engines.recipe import Recipe

STOP, CLOSE = "stop", "close"
TELL_SECONDS = 0.2
JOIN_SECONDS = 5.0

Answer = Result | AcuSimError


@dataclass(frozen=True, slots=True)
class Call:
    """Requests to answer together."""

    number: int
    requests: Sequence[Request]


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is open."""

    lanes: int
    batch_size: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine could not be opened; the process ends."""

    error: AcuSimError


@dataclass(frozen=True, slots=True)
class Told:
    """How far the work in hand is, and what a user should know."""

    working: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer for each request of a call."""

    number: int
    answers: Sequence[Answer]
    working: float


@dataclass(frozen=True, slots=True)
class Broke:
    """A call that ended by an error: EngineError, or RuntimeError for a fault in the code."""

    number: int
    error: EngineError | RuntimeError
    working: float


def load(factory: str) -> Callable[[Recipe, Setup], Engine]:
    """What ``module:name`` stands for."""
    module, _, name = factory.partition(":")
    return getattr(importlib.import_module(module), name)


def serve(connection: Connection, factory: str, recipe: Recipe, setup: Setup, environment: dict[str, str]) -> None:
    """Body of the process."""
    # A Ctrl-C goes to every process of a terminal, and the owner decides what becomes of the work.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    let_signals_through()
    os.environ.update(environment)
    _Server(connection).run(factory, recipe, setup)


class _Server:
    """The main thread opens, tells and closes; one thread listens; the others are in ``augment``."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._sending = threading.Lock()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._engine: Engine | None = None

    def run(self, factory: str, recipe: Recipe, setup: Setup) -> None:
        """From opening to closing."""
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        try:
            self._engine = engine = load(factory)(recipe, setup)
            engine.open()
        except Exception as error:
            failure = error if isinstance(error, AcuSimError) else EngineError(_unexpected(error))
            self._send(Failed(_portable(failure)))
            return
        self._send(Ready(engine.lanes, engine.batch_size, _taken(engine)))
        threads = [threading.Thread(target=self._work, args=(engine,), daemon=True) for _ in range(engine.lanes)]
        for thread in threads:
            thread.start()
        told = 0.0
        while not self._closing.wait(TELL_SECONDS):
            working, notes = engine.work_in_progress(), _taken(engine)
            if notes or working != told:
                told = working
                self._send(Told(working, notes))
        for _ in threads:
            self._calls.put(None)
        for thread in threads:
            thread.join(JOIN_SECONDS)
        engine.close()

    def _listen(self) -> None:
        """Takes what the owner sends. Where it is gone, this process ends at once, whatever it is doing."""
        try:
            while True:
                message = self._connection.recv()
                if message == CLOSE:
                    self._closing.set()
                elif message == STOP:
                    if self._engine is not None:
                        threading.Thread(target=self._engine.stop, daemon=True).start()
                else:
                    self._calls.put(message)
        except (EOFError, OSError):
            pass
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _work(self, engine: Engine) -> None:
        while (call := self._calls.get()) is not None:
            try:
                answers = engine.augment(call.requests)
                if len(answers) != len(call.requests):
                    raise EngineError(
                        f"engine {engine.name} gave {len(answers)} answers to {len(call.requests)} requests"
                    )
                told = [_portable(answer) if isinstance(answer, AcuSimError) else answer for answer in answers]
                self._send(Answered(call.number, told, engine.work_in_progress()))
            except EngineError as error:
                self._send(Broke(call.number, EngineError(str(error)), engine.work_in_progress()))
            except Exception as error:
                self._send(Broke(call.number, RuntimeError(_unexpected(error)), engine.work_in_progress()))

    def _send(self, message: Any) -> None:
        with self._sending, suppress(OSError):  # the owner is gone; the listener ends this process
            self._connection.send(message)


def _taken(engine: Engine) -> tuple[str, ...]:
    """The engine's notes, which are told once."""
    notes: list[str] = []
    while engine.notes:
        notes.append(engine.notes.pop(0))
    return tuple(notes)


def _portable(error: AcuSimError) -> AcuSimError:
    """The same error, of a kind that surely gets through a pipe: an engine's own ones may take other arguments."""
    kind = type(error)
    return (kind if getattr(errors, kind.__name__, None) is kind else AcuSimError)(str(error))


def _unexpected(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
