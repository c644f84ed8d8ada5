"""Distributes tasks to worker processes, reports progress, and stops cleanly: after the current item.

Callers write whole files whose bytes depend on the item alone, so that any number of workers, in any order, interrupted
or not, gives the same files.
"""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from acusim.errors import OutputError
from acusim.files import write_atomic
from acusim.processes import let_signals_through, one_thread_each, signals_held

T = TypeVar("T")
Report = Callable[[int], None]


class StopFlag(Protocol):
    """Checked by workers between two items."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Summary:
    """Result of a run."""

    created: int
    """Views created in this run."""
    skipped: int
    """Views that existed already."""
    seconds: float
    interrupted: bool
    peak_rss_mb: int
    """Largest memory of any process that rendered."""

    @property
    def views_per_second(self) -> float:
        return self.created / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class TaskResult:
    """Result of a task."""

    created: int
    peak_rss_mb: int


def peak_rss_mb() -> int:
    """Largest resident memory of this process so far; 0 where the system does not report it."""
    try:
        # getrusage would count the parent's memory too, which a new process briefly shares.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024
    except (OSError, StopIteration):
        return 0


def write_files(root: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Writes files below a root in the given order, each whole or not at all.

    Raises:
        OutputError: one cannot be written.
    """
    try:
        for relative, data in files:
            write_atomic(root / relative, data)
    except OSError as error:
        message = f"cannot write below {str(root)!r}: {error.strerror or error}"
        raise OutputError(f"{message}; free some space or give another --out, then run again to continue") from None


def run_tasks(
    job: Callable[[T, StopFlag, Report], TaskResult],
    tasks: Sequence[T],
    *,
    workers: int,
    total: int,
    finished: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Runs a job over tasks, in this process if there is one worker.

    Args:
        job: works on one task, checks the flag before each item and reports how many are done; can be pickled.
        tasks: what it is called with.
        workers: processes.
        total: items in all tasks.
        finished: items that existed already, for the summary.
        on_progress: called with (items created so far in this run, items to create).

    Raises:
        OutputError: a file cannot be written, or a worker died.
    """
    started = time.monotonic()
    report = on_progress or (lambda done, total: None)
    if workers == 1 or not tasks:
        results, interrupted = _run_here(job, tasks, total, report)
    else:
        results, interrupted = _run_in_processes(job, tasks, min(workers, len(tasks)), total, report)
    created = sum(result.created for result in results)
    peak = max((result.peak_rss_mb for result in results), default=peak_rss_mb())
    return Summary(created, finished, time.monotonic() - started, interrupted, peak)


# -- workers --

_shared: dict[str, Any] = {}


def _start_worker(job: Any, stop: Any, done: Any) -> None:
    # The parent decides what an interrupt means; a worker finishes its item first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_signals_through()
    _shared.update(job=job, stop=stop, done=done)


def _work(task: Any) -> TaskResult:
    def report(count: int) -> None:
        with _shared["done"].get_lock():
            _shared["done"].value += count

    return _shared["job"](task, _shared["stop"], report)


class _Interrupt:
    """Turns SIGINT and SIGTERM into a flag while it is open, where this is the main thread."""

    def __init__(self, flag: Any) -> None:
        self.flag = flag
        self.old: dict[int, Any] = {}

    def __enter__(self) -> "_Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.old[number] = signal.signal(number, lambda *_: self.flag.set())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)


def _run_here(
    job: Callable[[T, StopFlag, Report], TaskResult],
    tasks: Sequence[T],
    total: int,
    on_progress: Callable[[int, int], None],
) -> tuple[list[TaskResult], bool]:
    stop, done = threading.Event(), 0
    results: list[TaskResult] = []

    def report(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done, total)

    on_progress(0, total)
    with _Interrupt(stop):
        for task in tasks:
            results.append(job(task, stop, report))
            if stop.is_set():
                break
    return results, stop.is_set()


def _run_in_processes(
    job: Callable[[T, StopFlag, Report], TaskResult],
    tasks: Sequence[T],
    workers: int,
    total: int,
    on_progress: Callable[[int, int], None],
) -> tuple[list[TaskResult], bool]:
    context = multiprocessing.get_context("spawn")
    stop, done = context.Event(), context.Value("q", 0)
    results: list[TaskResult] = []
    with (
        one_thread_each(),
        _Interrupt(stop),
        ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(job, stop, done)) as pool,
    ):
        waiting = iter(tasks)
        running: set[Future[TaskResult]] = set()
        on_progress(0, total)
        try:
            while True:
                with signals_held():
                    while len(running) < workers + 1 and not stop.is_set() and (task := next(waiting, None)):
                        running.add(pool.submit(_work, task))
                if not running:
                    break
                ready, running = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
                results += [future.result() for future in ready]
                on_progress(done.value, total)
        except BrokenProcessPool:
            raise OutputError(
                "a worker process died (out of memory?); finished files are kept: run again with fewer --workers"
            ) from None
        except BaseException:
            stop.set()
            raise
    return results, stop.is_set()
