"""A worker: it is prepared, and answers tasks until it is closed, whatever carries its messages."""

import pickle
import queue
import threading
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from acusim import errors
from acusim.parallel.messages import CLOSE, STOP, Dropped, Given, Job, Raised, Ready, Reported, Returned, Watched, Work
from acusim.processes import keep_memory

WATCH_SECONDS = 0.2


class Worker:
    """Takes messages from its owner, and sends its own."""

    def __init__(self, send: Callable[[Any], None]):
        """Starts nothing yet.

        Args:
            send: takes a message for the owner; called by several threads, and may raise what pickle does.
        """
        self._post, self._sending = send, threading.Lock()
        self._tasks: queue.SimpleQueue[Given | None] = queue.SimpleQueue()
        self._stop, self._ended = threading.Event(), threading.Event()
        self._seen: Any = None
        """What ``watch`` gave last."""

    def take(self, message: Any) -> None:
        """A message of the owner."""
        if message == STOP:
            self._stop.set()
        elif message == CLOSE:
            self._tasks.put(None)
        else:
            self._tasks.put(message)

    def run(self, job: Job, place: str) -> None:
        """Prepares, and works until it is closed; in this thread, which what is prepared may belong to.

        A state with the attribute ``concurrency`` is worked with by so many threads. The process keeps its memory.
        """
        keep_memory()
        try:
            with job.prepare(*job.arguments) if job.prepare else nullcontext() as state:
                count = int(getattr(state, "concurrency", 1))
                work = Work(state, lambda parts: self._send(Reported(parts)), self._stop.is_set, place)
                helpers = [_started(self._answer_all, job, work) for _ in range(count - 1)]
                self._send(Ready(count))
                watcher = _started(self._watch_all, job, state) if job.watch else None
                self._answer_all(job, work)
                self._ended.set()
                for thread in filter(None, (*helpers, watcher)):
                    thread.join()
        except Exception as error:
            self._send(Raised(portable(error)))

    def _watch_all(self, job: Job, state: Any) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            self._watch(job, state)

    def _watch(self, job: Job, state: Any) -> None:
        if job.watch and (value := job.watch(state)) != self._seen:
            self._seen = value
            self._send(Watched(value))

    def _answer_all(self, job: Job, work: Work) -> None:
        while (given := self._tasks.get()) is not None:
            self._answer(job, given, work)
        self._tasks.put(None)  # for the next thread

    def _answer(self, job: Job, given: Given, work: Work) -> None:
        """Works on a task, and sends what came of it."""
        if work.stopping():
            self._send(Dropped(given.number))
            return
        try:
            message: Returned | Raised = Returned(given.number, job.function(given.task, work))
            self._watch(job, work.state)
        except Exception as error:
            message = Raised(portable(error))
        try:
            self._send(message)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            self._send(Raised(RuntimeError(f"the result of a task cannot be sent: {error}")))

    def _send(self, message: Any) -> None:
        with self._sending:
            self._post(message)


def _started(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def portable(error: Exception) -> Exception:
    """An error that can be sent, with where it was raised; one of ours keeps its kind and text."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        known = next((kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind), None)
        if known is not None:
            return known(str(error))
        return RuntimeError(f"{type(error).__name__}: {error}\n{error.__notes__[-1]}")
    return error
