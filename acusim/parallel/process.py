"""One of the processes: it is prepared, and answers tasks until its owner closes it or is gone.

The owner sends STOP, CLOSE, or a tuple with a task; the messages defined here come back.
"""

import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from acusim.errors import AcuSimError
from acusim.processes import SIGNALS, let_signals_through

Task = TypeVar("Task")
Result = TypeVar("Result")

STOP, CLOSE = "stop", "close"


@dataclass(frozen=True, slots=True)
class Work:
    """What a function is given beside its task."""

    state: Any
    """What ``prepare`` gave in this process; None without it."""
    report: Callable[[int], None]
    """Says that so many parts of the task are done."""
    stopping: Callable[[], bool]
    """Whether the task should end early, with what it has."""


Function = Callable[[Task, Work], Result]
Prepare = Callable[..., AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Ready:
    """It is prepared."""


@dataclass(frozen=True, slots=True)
class Reported:
    """So many parts of the running task are done."""

    count: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The oldest task is done."""

    result: Any


@dataclass(frozen=True, slots=True)
class Dropped:
    """The oldest task was not started, because the run is stopping."""


@dataclass(frozen=True, slots=True)
class Raised:
    """``prepare``, or the function with the oldest task, raised an error."""

    error: Exception


def serve(
    connection: Connection, function: Function[Any, Any], prepare: Prepare | None, arguments: tuple[Any, ...]
) -> None:
    """Body of a process: prepares, then answers tasks until it is closed."""
    for number in SIGNALS:  # a Ctrl-C goes to every process of a terminal; the owner decides what becomes of the work
        signal.signal(number, signal.SIG_IGN)
    let_signals_through()
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_receive, args=(connection, tasks, stop), daemon=True).start()
    with suppress(OSError):  # of the pipe: the owner wants no more results
        try:
            with prepare(*arguments) if prepare else nullcontext() as state:
                connection.send(Ready())
                work = Work(state, lambda count: connection.send(Reported(count)), stop.is_set)
                while (given := tasks.get()) is not None:
                    _answer(connection, function, given[0], work)
        except AcuSimError as error:
            connection.send(Raised(error))


def _receive(connection: Connection, tasks: "queue.SimpleQueue[Any]", stop: threading.Event) -> None:
    """Takes what the owner sends; the process ends at once where the owner is gone."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        except Exception:  # a task that cannot be unpickled here
            traceback.print_exc()
            os._exit(1)
        if message == STOP:
            stop.set()
        elif message == CLOSE:
            tasks.put(None)
            return
        else:
            tasks.put(message)


def _answer(connection: Connection, function: Function[Any, Any], task: Any, work: Work) -> None:
    """Works on a task, and sends what came of it."""
    if work.stopping():
        connection.send(Dropped())
        return
    try:
        message: Returned | Raised = Returned(function(task, work))
    except Exception as error:
        message = Raised(_portable(error))
    try:
        connection.send(message)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        connection.send(Raised(RuntimeError(f"the result of a task cannot be sent: {error}")))


def _portable(error: Exception) -> Exception:
    """An error that can be sent, with where it was raised."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}\n{error.__notes__[-1]}")
    return error
