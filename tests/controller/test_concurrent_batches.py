"""Engines that work on batches: grouping, several batches at once, draining, and giving up."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from acusim.errors import AcuSimError, EngineError, PictureError
from acusim.layout import Sample, scan
from controller.concurrent_batches import ConcurrentBatches, batches
from controller.job import Job, JobResult
from controller.job_files import Disk
from engines.base import Engine, Request, Result
from engines.recipe import Recipe
from engines.scenes import Scene


class Inverting(Engine):
    """Answers each picture's negative once all of its threads run, or at once if there is nothing to wait for."""

    name = "inverting"
    processes = False

    def __init__(self, concurrency: int = 1, batch_size: int = 4, together: int = 0, wrong: str = ""):
        super().__init__(Recipe(engine="relight"))
        self.concurrency, self.batch_size, self.wrong = concurrency, batch_size, wrong
        self.calls: list[list[Request]] = []
        self.barrier = threading.Barrier(together) if together else None
        self.held = threading.Event()
        self.stopped = threading.Event()
        self.opened = 0

    def open(self) -> None:
        self.opened += 1

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        self.calls.append(list(batch))
        if self.barrier:
            self.barrier.wait(10)
        if self.held.is_set():
            assert self.stopped.wait(10)
            raise EngineError("stopped")
        if self.wrong == "engine":
            raise EngineError("the server is gone")
        if self.wrong == "fault" and len(batch) > 1:
            raise RuntimeError("a fault in our own code")
        return [
            PictureError("not this one") if request.sample.frame == 8 else Result(255 - request.pixels)
            for request in batch
        ]

    def stop(self) -> None:
        self.stopped.set()


def _jobs(root: Path, scenes: int = 1) -> list[Job]:
    return [_job(sample, str(number % scenes)) for number, sample in enumerate(scan(root).samples)]


def _job(sample: Sample, scene: str, positive: str = "a woman") -> Job:
    picture = Scene(scene, Path(scene), scene)
    return Job(sample.image, "", sample, 0, 0, 7, picture, False, "female", positive, "")


def _run(
    workers: ConcurrentBatches, jobs: Sequence[Job], stopping: Callable[[], bool] = lambda: False
) -> tuple[list[str], list[JobResult]]:
    started: list[str] = []
    try:
        made = list(workers.run(jobs, lambda job: started.append(job.key), stopping, lambda: None))
    finally:
        workers.close()
    return started, made


def test_batches_share_scene_texts_and_size_and_lose_nothing(make_dataset: Callable[..., Path]):
    samples = scan(make_dataset(frames=range(1, 11))).samples
    jobs = [_job(s, "ab"[n % 2], ("a woman", "a man")[n % 3 == 0]) for n, s in enumerate(samples)]
    found = list(batches(jobs, 4))
    assert sorted(job.key for batch in found for job in batch) == sorted(job.key for job in jobs)
    assert all(len({(job.scene.name, job.positive) for job in batch}) == 1 for batch in found)
    scenes = [batch[0].scene.name for batch in found]
    assert scenes == sorted(scenes), "a scene's batches must follow one another"
    # 40 samples: 7 + 13 of scene a, 7 + 13 of scene b, each in fours.
    assert sorted(len(batch) for batch in found) == [1, 1, 3, 3] + [4] * 8


def test_every_picture_is_made_once_and_a_bad_one_is_skipped(make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset(frames=(1, 2, 8))
    engine = Inverting(concurrency=3, batch_size=2)
    started, made = _run(ConcurrentBatches(engine, Disk(root, tmp_path / "out")), _jobs(root))
    assert sorted(started) == sorted(answer.key for answer in made) == sorted(s.image for s in scan(root).samples)
    assert {answer.key for answer in made if answer.skipped == "not this one"} == {
        key for key in started if "0008" in key
    }
    assert len(scan(tmp_path / "out").samples) == 8
    assert engine.opened == 1 and max(map(len, engine.calls)) == 2


def test_so_many_batches_run_at_once(make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset(frames=(1, 2, 3))  # 12 pictures; the barrier opens only for three calls at once
    _, made = _run(
        ConcurrentBatches(Inverting(concurrency=3, batch_size=4, together=3), Disk(root, tmp_path / "out")), _jobs(root)
    )
    assert len(made) == 12 and not any(answer.skipped or answer.fatal for answer in made)


def test_running_jobs_are_finished_and_no_more_started(make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset(frames=(1, 2, 3))
    engine = Inverting(batch_size=4)
    started, made = _run(
        ConcurrentBatches(engine, Disk(root, tmp_path / "out")), _jobs(root), lambda: bool(engine.calls)
    )
    assert len(engine.calls) == 1 and len(started) == len(made) == 4


def test_a_lost_engine_is_reported_as_such(make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset()
    _, made = _run(ConcurrentBatches(Inverting(wrong="engine"), Disk(root, tmp_path / "out")), _jobs(root))
    assert all(answer.engine_lost and answer.fatal == "the server is gone" for answer in made)


def test_a_fault_over_a_batch_costs_no_picture(make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset(frames=(1, 2))
    _, made = _run(ConcurrentBatches(Inverting(wrong="fault"), Disk(root, tmp_path / "out")), _jobs(root))
    assert len(made) == 8 and not any(answer.skipped or answer.fatal for answer in made)


def test_a_fault_outside_of_the_engine_ends_the_batch_instead_of_leaving_it_waiting(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: object) -> list[JobResult]:
        raise ValueError("a fault")

    monkeypatch.setattr("controller.concurrent_batches.run_jobs", fails)
    root = make_dataset()
    _, made = _run(ConcurrentBatches(Inverting(), Disk(root, tmp_path / "out")), _jobs(root))
    assert [answer.fatal for answer in made] == ["unexpected ValueError: a fault"]


def test_closing_now_ends_calls_under_way(make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset()
    engine = Inverting(concurrency=2, batch_size=2)
    engine.held.set()
    workers = ConcurrentBatches(engine, Disk(root, tmp_path / "out"))

    def interrupt() -> None:
        if len(engine.calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(workers.run(_jobs(root), lambda job: None, lambda: False, interrupt))
    workers.close(now=True)
    assert not any(thread.is_alive() for thread in workers._threads)
    assert not (tmp_path / "out").exists()
