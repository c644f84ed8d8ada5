"""One of the processes that share a batch: opens an engine and answers calls until its owner closes it or is gone.

The owner sends a Call, STOP or CLOSE through the pipe; the other messages defined here come back. Nothing in this
module may import torch: it is loaded before the process knows which GPU is its own.
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
REPORT_SECONDS = 0.2
JOIN_SECONDS = 5.0

Answer = Result | AcuSimError


@dataclass(frozen=True, slots=True)
class Call:
    """Requests to answer together."""

    number: int
    requests: Sequence[Request]


@dataclass(frozen=True, slots=True)
class EngineOpened:
    """The engine is open."""

    concurrency: int
    batch_size: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpeningFailed:
    """The engine could not be opened; the process ends."""

    error: AcuSimError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the current work is, and what a user should know."""

    work_in_progress: float
    """In images."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The end of a call."""

    number: int
    outcome: Sequence[Answer] | EngineError | RuntimeError
    """One answer for each request; EngineError if the engine broke down, RuntimeError for a fault in its code."""
    work_in_progress: float


def load_factory(factory: str) -> Callable[[Recipe, Setup], Engine]:
    """The callable that ``module:name`` names."""
    module, _, name = factory.partition(":")
    return getattr(importlib.import_module(module), name)


def serve(connection: Connection, factory: str, recipe: Recipe, setup: Setup, environment: dict[str, str]) -> None:
    """Body of the process."""
    # A Ctrl-C goes to every process of a terminal; the owner decides what becomes of the work.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    let_signals_through()
    os.environ.update(environment)
    _Server(connection).run(factory, recipe, setup)


class _Server:
    """The main thread opens, reports and closes; one thread receives; the others are in ``augment``."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._sending = threading.Lock()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._engine: Engine | None = None

    def run(self, factory: str, recipe: Recipe, setup: Setup) -> None:
        """From opening to closing."""
        threading.Thread(target=self._receive, name="receiver", daemon=True).start()
        try:
            self._engine = engine = load_factory(factory)(recipe, setup)
            engine.open()
        except Exception as error:
            failure = error if isinstance(error, AcuSimError) else EngineError(_describe_fault(error))
            self._send(OpeningFailed(_portable(failure)))
            return
        self._send(EngineOpened(engine.concurrency, engine.batch_size, _take_notes(engine)))
        threads = [threading.Thread(target=self._work, args=(engine,), daemon=True) for _ in range(engine.concurrency)]
        for thread in threads:
            thread.start()
        reported = 0.0
        while not self._closing.wait(REPORT_SECONDS):
            done, notes = engine.work_in_progress(), _take_notes(engine)
            if notes or done != reported:
                reported = done
                self._send(Progress(done, notes))
        for _ in threads:
            self._calls.put(None)
        for thread in threads:
            thread.join(JOIN_SECONDS)
        engine.close()

    def _receive(self) -> None:
        """Takes what the owner sends. When the owner is gone, this process ends at once, whatever it is doing."""
        try:
            while True:
                message = self._connection.recv()
                if message == CLOSE:
                    self._closing.set()
                elif message != STOP:
                    self._calls.put(message)
                elif self._engine is not None:
                    threading.Thread(target=self._engine.stop, daemon=True).start()
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
                outcome = [_portable(answer) if isinstance(answer, AcuSimError) else answer for answer in answers]
            except EngineError as error:
                outcome = EngineError(str(error))
            except Exception as error:
                outcome = RuntimeError(_describe_fault(error))
            self._send(CallEnded(call.number, outcome, engine.work_in_progress()))

    def _send(self, message: Any) -> None:
        with self._sending, suppress(OSError):  # the owner is gone; the receiver ends this process
            self._connection.send(message)


def _take_notes(engine: Engine) -> tuple[str, ...]:
    """Removes and returns the engine's notes, so that each is reported once."""
    notes: list[str] = []
    while engine.notes:
        notes.append(engine.notes.pop(0))
    return tuple(notes)


def _portable(error: AcuSimError) -> AcuSimError:
    """The same error, of a class that can be unpickled: an engine's own ones may take other arguments."""
    kind = type(error)
    return (kind if getattr(errors, kind.__name__, None) is kind else AcuSimError)(str(error))


def _describe_fault(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
