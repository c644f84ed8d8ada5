"""What processes that share the cores have in common."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What ends a program from outside."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started meanwhile have one thread each: they are the parallelism.

    Libraries read these variables when a process starts.
    """
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def signals_held() -> Iterator[None]:
    """SIGNALS wait until this is over, lest one comes while a process is half started.

    Processes started meanwhile inherit that, so that a Ctrl-C, which goes to every process of a terminal, does not end
    them before they have said what it means there; then they call ``let_signals_through``.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started along with the first process, it would let them through again.
    resource_tracker.ensure_running()
    came: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # The mask is this thread's. Another thread may take a signal all the same, and Python calls the handler here.
        before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def let_signals_through() -> None:
    """In a process that was started while SIGNALS were held."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: half-written files are removed, and what is known is written first."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handling(interrupt, signal.SIGTERM):
        yield


@contextmanager
def handling(handler: Callable[..., None], *numbers: signal.Signals) -> Iterator[None]:
    """Answers signals by a handler of its own meanwhile; outside the main thread, where none can be set, as before."""
    try:
        before = {number: signal.signal(number, handler) for number in numbers}
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
