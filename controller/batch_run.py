"""One run over one OUT, with the lock held: runs what is to do, keeps the ledger, writes the results."""

import logging
import os
import time
from typing import Any

from acusim.errors import EngineError, LayoutError, OutputError
from acusim.files import safe_join
from acusim.folders import os_error_reason
from acusim.layout import MAP_FILE
from controller.hosts import workers_of
from controller.job import Job, JobResult
from controller.ledger import Done, Ledger
from controller.output_files import write_file
from controller.plan import used_folders
from controller.planning import PlannedBatch
from controller.progress import Progress
from controller.results import write_contact_sheet, write_manifest
from controller.settings import FOCUS_FILE
from controller.stock import Stock
from controller.stop import Stop
from controller.summary import Summary
from engines.base import Engine

FLUSH_SECONDS = 0.1
"""How often the ledger is committed; what a crash takes back is at most this and is regenerated."""
MAP_BYTES = 1 << 20
_log = logging.getLogger(__name__)


class BatchRun:
    """Runs the jobs of a stock and notes their results."""

    def __init__(
        self,
        batch: PlannedBatch,
        stock: Stock,
        engine: Engine,
        ledger: Ledger,
        progress: Progress,
        stop: Stop,
        started: float,
    ):
        self.batch, self.stock, self.engine, self.ledger = batch, stock, engine, ledger
        self.progress, self.stop = progress, stop
        planned = len(stock.todo) + stock.already + len(stock.skipped)
        self.summary = Summary(planned=planned, already=stock.already, skipped=list(stock.skipped))
        self.summary.servers = dict.fromkeys(engine.servers, 0)
        if batch.settings.gate:
            self.summary.use_gate()
        self._start, self._flushed = started, time.monotonic()
        self._started: list[str] = []
        self._in_progress = engine.work_in_progress
        self._done: list[Done] = []
        self._skipped: list[tuple[str, str, list[dict[str, Any]]]] = []

    def run(self) -> Summary:
        """Creates what is to do, and writes the results.

        Raises:
            EngineError: the engine is not available, or broke down.
        """
        for note in self.stock.notes:
            self.progress.note(note)
        try:
            self._copy_shared()
            if self.stock.todo:
                self._run_jobs()
            self._flush()
            self._write_results()
        except (OutputError, LayoutError) as error:
            self.summary.fatal = self.summary.fatal or str(error)
        self.summary.seconds = self._elapsed()
        return self.summary

    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def _copy_shared(self) -> None:
        folders = used_folders((item.key for item in self.batch.plan.items), self.batch.settings.variants)
        for name in self.batch.plan.shared:
            content = self._shared(name)
            if content is None:
                continue
            for folder in folders:
                target = safe_join(self.batch.output, folder + name)
                if target.is_symlink() or not target.is_file() or target.read_bytes() != content:
                    write_file(self.batch.output, folder + name, content)

    def _shared(self, name: str) -> bytes | None:
        """A file of the dataset that belongs to all images; None where there is none, which is said."""
        source = safe_join(self.batch.plan.root, name)
        try:
            if not source.is_file():
                exists = os.path.lexists(source)
                fault = f"{name} of the dataset is no regular file" if exists else f"the dataset has no {name}"
                self.progress.note(f"{fault}: none is written")
                return None
            if name == MAP_FILE and (size := source.stat().st_size) > MAP_BYTES:
                raise LayoutError(f"{MAP_FILE} of the dataset has {size} bytes: 174 names have some 3000")
            return source.read_bytes()
        except OSError as error:
            self.progress.note(f"{name} of the dataset cannot be read ({os_error_reason(error)}): none is written")
            return None

    def _run_jobs(self) -> None:
        summary, clean = self.summary, False
        workers = workers_of(self.batch, self.engine, len(self.stock.todo))
        self._in_progress = workers.work_in_progress
        jobs = (self.batch.job(item) for item in self.stock.todo)
        try:
            self.progress.begin(len(self.stock.todo))
            for result in workers.run(jobs, self._job_started, self._stopping, self._tick):
                self._note(result)
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self._flush()
            clean = True
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            workers.close(now=not clean)
            self.progress.end()
            summary.prompt_sets = dict(sorted(summary.prompt_sets.items()))
            summary.facts = dict(sorted(summary.facts.items()))
            self._flush()
            self.ledger.recover()
            self.ledger.commit()
            self.stop.draining = False  # not before: a first signal must not cost what was just created
        if self.stop.count:
            summary.interrupted = True

    def _job_started(self, job: Job) -> None:
        self.stop.draining = True  # from now on there is something to finish
        if self.summary.seconds_to_open is None:
            self.summary.seconds_to_open = self._elapsed()
        self._started.append(job.key)
        _log.debug("%s started", job.key)

    def _note(self, result: JobResult) -> None:
        if result.fatal is not None:
            if result.engine_lost:
                raise EngineError(result.fatal)
            self.summary.fatal = self.summary.fatal or result.fatal
            return
        self.summary.add(result, self._elapsed())
        _log.debug("%s %s after %.2f s", result.key, "skipped" if result.skipped else "written", result.seconds)
        if result.skipped is not None:
            self._skipped.append((result.key, result.skipped, result.attempts))
            self.progress.skipped(result.key, result.skipped)
        else:
            self._done.append(result.done(self.stock.stamps[result.key]))

    def _tick(self) -> None:
        while self.engine.notes:
            self.progress.note(self.engine.notes.pop(0))
        skipped = len(self.summary.skipped) - len(self.stock.skipped)
        self.progress.advance(self.summary.created, skipped, self._in_progress(), self.engine.activity())
        if self.summary.seconds_to_open is not None:
            self.stop.draining = not self.engine.is_waiting()
            if self.stop.count and not self.stop.draining:
                self.progress.note("stopping now: no server can be reached, so nothing that is running can be finished")
                raise KeyboardInterrupt

    def _stopping(self) -> bool:
        return self.stop.count > 0 or self.summary.fatal is not None

    def _flush(self) -> None:
        self.ledger.start(self._started)
        self.ledger.finish(self._done)
        self.ledger.skip(self._skipped)
        self.ledger.commit()
        for buffer in (self._started, self._done, self._skipped):
            buffer.clear()
        self._flushed = time.monotonic()

    def _write_results(self) -> None:
        output = self.batch.output
        documents = {"recipe.toml": self.batch.settings.recipe.to_toml().encode(), **self.engine.documents()}
        if self.batch.focus is not None:
            documents[FOCUS_FILE] = self.batch.focus.spots.to_toml().encode()
        for name, content in documents.items():
            write_file(output, name, content)
        write_manifest(self.ledger, output)
        self.summary.contact_sheet = write_contact_sheet(self.ledger, output, self.batch.plan.root)
