"""Workers that each hold an engine: processes of this machine, or of a cluster."""

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from acusim.errors import AcuSimError, EngineError
from acusim.parallel import Died, Host, Work, run
from controller.gate import Gate
from controller.gate_settings import GateSettings
from controller.job import Job, JobResult
from controller.job_files import Disk, Files, Sent, found, received
from controller.job_runner import run_jobs
from controller.samples import SampleFiles, read_sample
from engines.base import Engine, Setup
from engines.recipe import Recipe
from engines.scenes import Scene

Grouped = Callable[[Iterable[Job]], Iterator[list[Job]]]


def in_order(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Groups of jobs as they come, for engines that take them one by one."""
    remaining = iter(jobs)
    while group := list(islice(remaining, size)):
        yield group


@dataclasses.dataclass(frozen=True)
class WorkerSettings:
    """What every worker needs to know."""

    recipe: Recipe
    setup: Setup
    identity: dict[str, str]
    """Of the controller's engine: a worker with another one would create other pixels."""
    gate: GateSettings | None = None
    seed: int = 0
    scenes: tuple[tuple[Scene, bytes], ...] | None = None
    """With their files, where workers do not see those of the controller."""
    factory: Callable[[Recipe, Setup], Engine] | None = None
    """Creates engines instead of engines.factory.make_engine."""


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that a worker does together."""

    jobs: tuple[Job, ...]
    samples: dict[str, SampleFiles] | None = None
    """By key, where the worker does not see the data set."""


class _Opened:
    """A worker's engine."""

    def __init__(self, engine: Engine, settings: WorkerSettings, scenes: dict[str, Path]):
        self.engine, self.concurrency = engine, engine.concurrency
        self._gate = Gate(settings.gate, settings.recipe, settings.seed) if settings.gate else None
        self._disk = Disk(settings.setup.dataset, settings.setup.output or Path())
        self._scenes, self._hardware = scenes, engine.hardware()
        self._notes: list[str] = []
        self._lock = threading.Lock()

    def run(self, batch: Batch) -> list[JobResult]:
        """The results of a batch."""
        files: Files = self._disk if batch.samples is None else Sent(batch.samples)
        return run_jobs(self.engine, [self._seen_here(job) for job in batch.jobs], files, self._gate)

    def _seen_here(self, job: Job) -> Job:
        path = self._scenes.get(job.scene.sha256, job.scene.path)
        return dataclasses.replace(job, scene=dataclasses.replace(job.scene, path=path))

    def news(self) -> "_News":
        """What there is to say now."""
        with self._lock:
            while self.engine.notes:
                self._notes.append(self.engine.notes.pop(0))
            return _News(self.engine.work_in_progress(), tuple(self._notes), self._hardware)


@dataclasses.dataclass(frozen=True, slots=True)
class _News:
    """What a worker says of its engine."""

    in_progress: float
    """Work done on running batches, in images."""
    notes: tuple[str, ...]
    """All so far."""
    hardware: str


@contextmanager
def _opened(settings: WorkerSettings) -> Iterator[_Opened]:
    from engines.factory import make_engine

    with TemporaryDirectory(prefix="acusim-") as folder:
        scenes: dict[str, Path] = {}
        for scene, data in settings.scenes or ():
            scenes[scene.sha256] = Path(folder) / f"{scene.sha256}{scene.path.suffix}"
            scenes[scene.sha256].write_bytes(data)
        engine = (settings.factory or make_engine)(settings.recipe, settings.setup)
        found = engine.identity()
        for name in sorted(found.keys() | settings.identity.keys()):
            here, there = found.get(name, "none"), settings.identity.get(name, "none")
            if here != there:
                raise EngineError(f"{name} is {here} for this worker and {there} for the controller: other pixels")
        with engine:
            yield _Opened(engine, settings, scenes)


def _run_batch(batch: Batch, work: Work) -> list[JobResult]:
    results = work.state.run(batch)
    return [_placed(result, work.place) if result.engine_lost and work.place else result for result in results]


def _placed(result: JobResult, place: str) -> JobResult:
    return dataclasses.replace(result, fatal=f"{place}: {result.fatal}")


def _news(opened: _Opened) -> _News:
    return opened.news()


def _parts(batch: Batch) -> Sequence[Batch]:
    samples = batch.samples
    return [Batch((job,), None if samples is None else {job.key: samples[job.key]}) for job in batch.jobs]


class Workers:
    """Runs jobs on workers and yields their results, as they come."""

    def __init__(self, host: Host, settings: WorkerSettings, grouped: Grouped, notes: list[str], far: bool = False):
        """Starts nothing yet.

        Args:
            host: of the workers.
            settings: for each.
            grouped: puts jobs together that one worker gets.
            notes: list to which is appended what a user should know.
            far: whether the workers are on other machines: what they wrote is compared with what they say.
        """
        self._host, self._settings, self._grouped, self._notes, self._far = host, settings, grouped, notes, far
        self._in_progress: dict[str, float] = {}
        self._noted: set[str] = set()
        self._hardware: str | None = None
        self._unread: list[JobResult] = []
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
            jobs: what to run, drawn as their groups are needed.
            started: called for each job handed out.
            stopping: once true, nothing more is handed out; what is running is finished.
            tick: called several times a second.

        Raises:
            EngineError: the engine cannot be opened.
        """

        def each_started(batch: Batch) -> None:
            for job in batch.jobs:
                started(job)

        self._results = run(
            _run_batch,
            self._tasks(self._grouped(jobs)),
            self._host,
            prepare=_opened,
            arguments=(self._settings,),
            split=_parts,
            started=each_started,
            stopping=stopping,
            tick=tick,
            watch=_news,
            watched=self._watched,
            said=self._notes.append,
        )
        for batch, result in self._results:
            yield from self._done(batch, result)
        yield from self._unread

    def _tasks(self, groups: Iterator[list[Job]]) -> Iterator[Batch]:
        for group in groups:
            if self._settings.scenes is None:
                yield Batch(tuple(group))
                continue
            samples: dict[str, SampleFiles] = {}
            for job in group:
                try:
                    samples[job.key] = read_sample(job, self._settings.setup.dataset)
                except AcuSimError as error:
                    self._unread.append(JobResult.skip(job.key, error))
            if samples:
                yield Batch(tuple(job for job in group if job.key in samples), samples)

    def _done(self, batch: Batch, results: list[JobResult] | Died) -> Iterator[JobResult]:
        while self._unread:
            yield self._unread.pop()
        if isinstance(results, Died):
            yield from (JobResult.skip(job.key, results) for job in batch.jobs)
        elif not self._far:
            yield from results
        else:
            output, finish = self._settings.setup.output or Path(), received if batch.samples else found
            yield from (finish(job, result, output) for job, result in zip(batch.jobs, results, strict=True))

    def _watched(self, name: str, news: _News) -> None:
        self._in_progress[name] = news.in_progress
        for note in news.notes:
            self._note(f"{name}: {note}" if name else note)
        if self._hardware is None:
            self._hardware = news.hardware
        if news.hardware != self._hardware:
            self._note(
                f"{name} has {news.hardware or 'no GPU'}, others {self._hardware or 'none'}: rounding may differ"
            )

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._notes.append(text)

    def work_in_progress(self) -> float:
        """Work done on running batches, in images."""
        return sum(self._in_progress.values())

    def close(self, now: bool = False) -> None:
        """Ends the workers: what is running may end, or is killed at once."""
        if self._results is None:
            return
        if now:
            with suppress(KeyboardInterrupt):
                self._results.throw(KeyboardInterrupt)
        self._results.close()
