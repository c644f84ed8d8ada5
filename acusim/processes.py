"""Threads, memory and signals of processes that share the cores."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a program from outside."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of glibc's malloc.h."""


def keep_memory() -> None:
    """Lets this process keep the memory that arrays and tensors free, where its C library is glibc.

    By default glibc hands large blocks back, and the system then clears the pages of the next ones anew: up to a
    quarter of the time of work on one image after another, a third of a small network's step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # not glibc
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within this context new processes have one thread each, because the processes are the parallelism.

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
    """Delays SIGNALS until the context ends, so that none arrives while a process is half started.

    Processes started meanwhile inherit the block, so that a Ctrl-C, which reaches every process of a terminal, does not
    end them before they have set their own handlers; then they call ``let_signals_through``.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started with the first process instead, it would unblock them again.
    resource_tracker.ensure_running()
    pending: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # The mask belongs to this thread. Another thread may still receive a signal, and Python calls the handler here.
        before = {number: signal.signal(number, lambda number, _: pending.append(number)) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in pending:
            signal.raise_signal(number)


def let_signals_through() -> None:
    """Unblocks SIGNALS in a process that was started while they were held."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def terminating() -> Iterator[None]:
    """Makes SIGTERM end a command as Ctrl-C does: results so far are written, half-written files are removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handling(interrupt, signal.SIGTERM):
        yield


@contextmanager
def handling(handler: Callable[..., None], *numbers: signal.Signals) -> Iterator[None]:
    """Handles signals with ``handler`` within this context; has no effect outside the main thread."""
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
