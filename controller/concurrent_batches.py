"""Runs jobs on one engine that works on batches: grouped by what they share, several batches at once."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from controller.gate import Gate
from controller.job import Job, JobResult
from controller.job_files import Files
from controller.job_runner import run_jobs
from engines.base import Engine

TICK_SECONDS = 0.2
JOIN_SECONDS = 15.0
STUCK_SECONDS = 0.3


class ConcurrentBatches:
    """Runs jobs in threads that share an open engine, and yields their results, as they come."""

    def __init__(self, engine: Engine, files: Files, gate: Gate | None = None):
        self._engine, self._files, self._gate = engine, files, gate
        self._threads: list[threading.Thread] = []
        self._answers: queue.SimpleQueue[Job | JobResult | None] = queue.SimpleQueue()
        self._halted = threading.Event()

    def run(
        self,
        jobs: Iterable[Job],
        started: Callable[[Job], None],
        stopping: Callable[[], bool],
        tick: Callable[[], None],
    ) -> Iterator[JobResult]:
        """As Workers.run; all jobs are drawn at once, to be grouped."""
        self._engine.open()
        waiting: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        for batch in batches(jobs, self._engine.batch_size):
            waiting.put(batch)
        for number in range(self._engine.concurrency):
            thread = threading.Thread(target=self._work, args=(waiting, stopping), name=f"batch {number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        working = len(self._threads)
        while working:
            tick()
            try:
                answer = self._answers.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            if answer is None:
                working -= 1
            elif isinstance(answer, Job):
                started(answer)
            else:
                yield answer

    def _work(self, waiting: "queue.SimpleQueue[list[Job]]", stopping: Callable[[], bool]) -> None:
        try:
            while not (stopping() or self._halted.is_set()):
                try:
                    batch = waiting.get_nowait()
                except queue.Empty:
                    return
                for job in batch:
                    self._answers.put(job)
                for result in run_jobs(self._engine, batch, self._files, self._gate):
                    self._answers.put(result)
        except Exception as error:  # a fault in our own code must not leave the batch waiting for this thread
            self._answers.put(JobResult("", fatal=f"unexpected {type(error).__name__}: {error}"))
        finally:
            self._answers.put(None)

    def work_in_progress(self) -> float:
        """Work done on running batches, in images."""
        return self._engine.work_in_progress()

    def close(self, now: bool = False) -> None:
        """Closes the engine; with ``now``, running batches are given up first."""
        self._halted.set()
        # While no server answers, no prompt can be taken back, and a thread may hang.
        seconds = STUCK_SECONDS if now and self._engine.is_waiting() else JOIN_SECONDS
        if now:
            self._engine.stop()
        for thread in self._threads:
            thread.join(seconds)
        self._engine.close()


def batches(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Jobs in batches of equal scene, texts and nominal size; batches that share a scene follow one another.

    Args:
        jobs: in any order; within a batch they keep it.
        size: the most jobs in a batch.
    """
    for _, group in groupby(sorted(jobs, key=_shared), key=_shared):
        members = list(group)
        for first in range(0, len(members), size):
            yield members[first : first + size]


def _shared(job: Job) -> tuple[object, ...]:
    # What costs a server most to change comes first: the scene, then the texts.
    return job.scene.sha256, job.positive, job.negative, job.sample.size
