"""Tasks of the generators on worker processes, with progress and a clean stop: after the current item.

Callers write whole files whose bytes depend on the item alone, so that any number of workers, in any order, interrupted
or not, gives the same files.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from acusim.errors import OutputError
from acusim.files import safe_join, write_atomic
from acusim.parallel import Died, Function, Work, run
from acusim.processes import SIGNALS, handling

T = TypeVar("T")


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
    problems: tuple[tuple[str, str], ...] = ()
    """What was set aside: its name and the reason."""
    notes: tuple[str, ...] = ()

    @property
    def views_per_second(self) -> float:
        return self.created / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class TaskResult:
    """Result of a task."""

    created: int
    peak_rss_mb: int
    skipped: int = 0
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def peak_rss_mb() -> int:
    """Largest resident memory of this process so far; 0 where the system does not report it."""
    try:
        # getrusage would count the parent's memory too, which a new process briefly shares.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024
    except (OSError, StopIteration):
        return 0


_kept: list[tuple[str, bytes]] | None = None
"""In a worker of a cluster: what is to be written by the command that started it."""


@contextmanager
def _keeping() -> Iterator[None]:
    """Within this context files are not written but kept for the result of the task."""
    global _kept
    _kept = []
    try:
        yield
    finally:
        _kept = None


def _with_files(job: Function[T, TaskResult], task: T, work: Work) -> tuple[TaskResult, list[tuple[str, bytes]]]:
    """A task and the files that it would have written."""
    assert _kept is not None
    _kept.clear()
    return job(task, work), list(_kept)


def write_files(root: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Writes files below a root in the given order, each whole or not at all.

    Raises:
        OutputError: one cannot be written.
    """
    if _kept is not None:
        _kept.extend(files)
        return
    try:
        for relative, data in files:
            write_atomic(safe_join(root, relative), data)
    except OSError as error:
        message = f"cannot write below {str(root)!r}: {error.strerror or error}"
        raise OutputError(f"{message}; free some space or give another --out, then run again to continue") from None


def run_tasks(
    job: Function[T, TaskResult],
    tasks: Sequence[T],
    *,
    workers: int,
    total: int,
    finished: int,
    out: Path,
    cluster: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Runs a job over tasks, in this process if there is one worker. SIGINT and SIGTERM end it after the current items.

    Args:
        job: works on one task; asks before each item whether to stop, and reports how many are done.
        tasks: what it is called with.
        workers: processes; on a cluster at most so many on each node.
        total: items in all tasks.
        finished: items that existed already, for the summary.
        out: the folder that tasks write below; on a cluster their files travel, and are written here.
        cluster: address of a Ray cluster, as acusim.parallel.cluster takes it.
        on_progress: called with (items created so far in this run, items to create).

    Raises:
        OutputError: a file cannot be written, or workers died on a task; the others are finished then.
    """
    began = time.monotonic()
    stop, done = threading.Event(), 0
    results: list[TaskResult] = []
    lost: list[Died] = []

    def progress() -> None:
        if on_progress:
            on_progress(min(done, total), total)

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress()

    def interrupt(*_: object) -> None:
        stop.set()

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    how: dict[str, Any] = {"stopping": stop.is_set, "reported": report, "tick": progress, "prefetch": 1}
    with handling(interrupt, *SIGNALS):
        progress()
        if cluster is None:
            done_tasks = run(job, tasks, workers if workers > 1 else 0, **how)
        else:
            from acusim.parallel.cluster import RayCluster, Share

            host = RayCluster(cluster, Share(per_node=workers))
            done_tasks = run(partial(_with_files, job), tasks, host, prepare=_keeping, said=say, **how)
        for _, result in done_tasks:
            if isinstance(result, Died):
                lost.append(result)
                continue
            if isinstance(result, tuple):
                result, files = result
                write_files(out, files)
            results.append(result)
    if lost:
        raise OutputError(
            f"{len(lost)} of {len(tasks)} tasks: {lost[0]}; finished files are kept: run again with fewer --workers"
        )
    created = sum(result.created for result in results)
    peak = max((result.peak_rss_mb for result in results), default=peak_rss_mb())
    problems = sorted(problem for result in results for problem in result.problems)
    notes = sorted(note for result in results for note in result.notes)
    return Summary(
        created,
        finished + sum(result.skipped for result in results),
        time.monotonic() - began,
        stop.is_set(),
        peak,
        tuple(problems),
        tuple(notes),
    )
