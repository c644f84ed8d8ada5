"""Tasks spread over workers: the one pool for every command that works on many items.

Every worker is prepared once and gets tasks of its own, so when it dies it is known which tasks it was working on.
These are tried once more, each with nothing beside it; if a worker dies on one again, its result is ``Died``, and all
others have theirs. Workers are processes of this machine, unless a Host says otherwise; these have one thread each,
leave signals to their owner, and end when it is gone, however it ended.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import nullcontext
from functools import partial
from typing import Any

from acusim.errors import EngineError
from acusim.parallel.host import Host
from acusim.parallel.local import LocalPlace, LocalProcesses
from acusim.parallel.messages import Function, Job, Prepare, Result, Task, Work
from acusim.parallel.pool import PREFETCH, Calls, Died, Pool

__all__ = ["PREFETCH", "Died", "Function", "Host", "LocalPlace", "LocalProcesses", "Prepare", "Work", "map_each", "run"]

PATIENCE_SECONDS = 10.0
"""How long running tasks may take to end when results are not wanted any more; then workers are killed."""


def run(
    function: Function[Task, Result],
    tasks: Iterable[Task],
    workers: int | Host,
    *,
    prepare: Prepare | None = None,
    arguments: tuple[Any, ...] = (),
    stopping: Callable[[], bool] = lambda: False,
    started: Callable[[Task], None] = lambda _: None,
    reported: Callable[[int], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
    prefetch: int = PREFETCH,
    watch: Callable[[Any], Any] | None = None,
    watched: Callable[[str, Any], None] = lambda *_: None,
    said: Callable[[str], None] = lambda _: None,
    split: Callable[[Task], Sequence[Task]] = lambda task: (task,),
) -> Iterator[tuple[Task, Result | Died]]:
    """Each task with its result, in order of completion.

    Args:
        function: module-level; takes a task and Work.
        tasks: drawn only as workers need them.
        workers: where they live, or a number of processes of this machine, no more than tasks where these are counted;
            0 works in this process.
        prepare: module-level; a context manager in which each worker works, and whose value is Work.state. Where that
            has an attribute ``concurrency``, the worker does so many tasks at the same time.
        arguments: of ``prepare``.
        stopping: once true, nothing more is handed out, running tasks are asked to end early, and waiting ones are
            dropped.
        started: called for each task handed out.
        reported: called with what functions report.
        tick: called several times a second; what it raises ends all.
        prefetch: tasks that each worker has for each that it works on, so that none is idle; 1 for long tasks, none of
            which should wait while another worker is idle.
        watch: module-level; looks at the state of a worker, several times a second and after each task.
        watched: called with the name of a worker's place and what ``watch`` gave, whenever that is another.
        said: called with what a user should know of workers that are lost or new.
        split: what a task consists of: when a worker died on it, each part is tried by itself, and has its own result.

    Raises:
        EngineError: a worker died before it was prepared, or too often, and none could replace it.
        Exception: what ``prepare`` or a function raised; other running tasks are waited for, PATIENCE_SECONDS at most.
    """
    if workers == 0:
        with prepare(*arguments) if prepare else nullcontext() as state:
            work = Work(state, reported, stopping)
            for task in tasks:
                if stopping():
                    return
                started(task)
                tick()
                yield task, function(task, work)
        return
    count = len(tasks) if isinstance(tasks, Sized) else None
    if count == 0:
        return
    host = LocalProcesses(workers) if isinstance(workers, int) else workers
    pool: Pool[Task, Result] = Pool(host, iter(tasks), prefetch, Calls(started, reported, watched, said, split))
    patience = PATIENCE_SECONDS
    try:
        host.open(Job(function, prepare, arguments, watch), count)
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
