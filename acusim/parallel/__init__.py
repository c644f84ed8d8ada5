"""Tasks spread over processes of this machine: the one pool for every command that works on many items.

Every process is prepared once and gets tasks through a pipe of its own, so when it dies it is known which task it was
working on. That task is tried once more, with no other task beside it; if a process dies on it again, its result is
``Died``, and all others have theirs. Processes have one thread each, leave signals to their owner, and end when it is
gone, however it ended.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import nullcontext
from functools import partial
from typing import Any

from acusim.errors import EngineError
from acusim.parallel.pool import PATIENCE_SECONDS, PREFETCH, Died, Pool
from acusim.parallel.process import Function, Prepare, Result, Task, Work

__all__ = ["PREFETCH", "Died", "Function", "Prepare", "Work", "map_each", "run"]


def run(
    function: Function[Task, Result],
    tasks: Iterable[Task],
    processes: int,
    *,
    prepare: Prepare | None = None,
    arguments: tuple[Any, ...] = (),
    stopping: Callable[[], bool] = lambda: False,
    started: Callable[[Task], None] = lambda _: None,
    reported: Callable[[int], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
    prefetch: int = PREFETCH,
) -> Iterator[tuple[Task, Result | Died]]:
    """Each task with its result, in order of completion.

    Args:
        function: module-level; takes a task and Work.
        tasks: drawn only as processes need them.
        processes: how many, no more than tasks where these are counted; 0 works in this process.
        prepare: module-level; a context manager in which each process works, and whose value is Work.state.
        arguments: of ``prepare``.
        stopping: once true, nothing more is handed out, running tasks are asked to end early, and waiting ones are
            dropped.
        started: called for each task handed out.
        reported: called with what functions report.
        tick: called several times a second; what it raises ends all.
        prefetch: tasks that each process has at a time, so that none is idle; 1 for long tasks, none of which should
            wait while another process is idle.

    Raises:
        EngineError: a process died before it was prepared, and none could replace it.
        Exception: what ``prepare`` or a function raised; other running tasks are waited for, PATIENCE_SECONDS at most.
    """
    if processes < 1:
        with prepare(*arguments) if prepare else nullcontext() as state:
            work = Work(state, reported, stopping)
            for task in tasks:
                if stopping():
                    return
                started(task)
                tick()
                yield task, function(task, work)
        return
    if isinstance(tasks, Sized) and not (processes := min(processes, len(tasks))):
        return
    pool: Pool[Task, Result] = Pool(function, prepare, arguments, iter(tasks), started, reported, prefetch)
    patience = PATIENCE_SECONDS
    try:
        for _ in range(processes):
            pool.spawn()
        while pool.hand_out(stopping()):
            tick()
            yield from pool.received()
    except KeyboardInterrupt:
        patience = 0.0
        raise
    finally:
        pool.close(patience)


def map_each(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """The result of each task, in order of completion, for functions that need nothing beside their task.

    Args:
        function: module-level.
        tasks: its arguments.
        workers: processes; one worker, or a single task, works in this process.

    Raises:
        EngineError: processes died on a task.
    """
    for _, result in run(partial(_alone, function), tasks, workers if workers > 1 and len(tasks) > 1 else 0):
        if isinstance(result, Died):
            raise EngineError(
                f"a task cannot be done: {result}; what is finished is kept: run again with fewer workers"
            )
        yield result


def _alone(function: Callable[[Task], Result], task: Task, work: Work) -> Result:
    return function(task)
