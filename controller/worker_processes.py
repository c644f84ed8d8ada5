"""Worker processes that each hold an engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from acusim.parallel import Died, Work, run
from controller.gate import Gate
from controller.gate_settings import GateSettings
from controller.job import Job, JobResult
from controller.job_runner import run_jobs
from engines.recipe import Recipe


@contextmanager
def _opened(
    recipe: Recipe, root: Path, output: Path, gate: GateSettings | None, seed: int
) -> Iterator[Callable[[Job], list[JobResult]]]:
    """What runs a job in a process, with an engine of its own."""
    from engines.factory import make_engine

    with make_engine(recipe) as engine:
        judge = Gate(gate, recipe, seed) if gate else None
        yield lambda job: run_jobs(engine, [job], root, output, judge)


def _run_job(job: Job, work: Work) -> JobResult:
    [result] = work.state(job)
    return result


class WorkerProcesses:
    """Runs jobs on worker processes and yields their results, as they come."""

    def __init__(
        self, recipe: Recipe, root: Path, output: Path, count: int, gate: GateSettings | None = None, seed: int = 0
    ):
        self._arguments = (recipe, root, output, gate, seed)
        self._count = count
        self._results: Any = None

    def run(
        self,
        jobs: Iterator[Job],
        started: Callable[[Job], None],
        stopping: Callable[[], bool],
        tick: Callable[[], None],
    ) -> Iterator[JobResult]:
        """Works through the jobs.

        Args:
            jobs: what to run, drawn only as workers need them.
            started: called for each job handed out.
            stopping: once true, nothing more is handed out; what is running is finished.
            tick: called several times a second.

        Raises:
            EngineError: the engine cannot be opened.
        """
        self._results = run(_run_job, jobs, self._count, prepare=_opened, arguments=self._arguments,
                            started=started, stopping=stopping, tick=tick)  # fmt: skip
        for job, result in self._results:
            yield JobResult.skip(job.key, result) if isinstance(result, Died) else result

    def close(self, now: bool = False) -> None:
        """Ends the workers: what is running may end, or is killed at once."""
        if self._results is None:
            return
        if now:
            with suppress(KeyboardInterrupt):
                self._results.throw(KeyboardInterrupt)
        self._results.close()
