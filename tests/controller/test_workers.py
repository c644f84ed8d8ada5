"""Workers with an engine each: who gets what, what they say, and what happens when one dies or cannot open."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import EngineError, OutputError, PictureError
from acusim.files import sha256
from acusim.layout import scan
from acusim.parallel import LocalProcesses
from acusim.pictures import read_rgb
from controller.hosts import gpu_places, visible_gpus
from controller.job import Job, JobResult
from controller.job_files import found, received
from controller.workers import Workers, WorkerSettings, in_order
from engines.base import Setup
from engines.options import EmbeddedOptions
from engines.recipe import Recipe
from engines.scenes import Scene, open_scene, shipped_scenes
from tests.controller.small_engine import PLAN, Small, gone, marks, until

IDENTITY = {"weights": "abc", "precision": "bf16"}
SCENE = Scene("s", Path("s"), "s")


@dataclasses.dataclass
class Run:
    """Workers, and what came of running them."""

    workers: Workers
    results: Iterator[JobResult]
    notes: list[str]
    started: list[str]
    jobs: list[Job]

    def facts(self) -> list[dict[str, Any]]:
        """Of all images, in the order of their jobs."""
        by_key = {result.key: result for result in self.results}
        assert not [result.skipped or result.fatal for result in by_key.values() if result.skipped or result.fatal]
        return [by_key[job.key].record["facts"] for job in self.jobs]


Start = Callable[..., Run]


@pytest.fixture
def root(make_dataset: Callable[..., Path]) -> Path:
    """A data set of eight samples."""
    return make_dataset(frames=(1, 2))


@pytest.fixture
def start(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts two workers on jobs with some texts, and sees to it that none is left."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-57e")
    made: list[Workers] = []

    def begin(
        words: Sequence[str], plan: dict[str, Any] | None = None, scenes: Any = None, size: int = 1, **options: Any
    ) -> Run:
        if plan:
            (root / PLAN).write_text(json.dumps(plan))
        how = EmbeddedOptions(**{"device": "cuda", "precision": "bf16", **options})
        setup = Setup(root, tmp_path / "out", how)
        settings = WorkerSettings(Recipe(engine="embedded"), setup, IDENTITY, scenes=scenes, factory=Small)
        notes: list[str] = []
        workers = Workers(
            LocalProcesses(gpu_places(how.changed(gpus=2))), settings, partial(in_order, size=size), notes, bool(scenes)
        )
        made.append(workers)
        samples = scan(root).samples
        scene = scenes[0][0] if scenes else SCENE
        jobs = [
            Job(samples[number].image, "", samples[number], 0, 0, number, scene, False, "set", word, "")
            for number, word in enumerate(words)
        ]
        started: list[str] = []
        results = workers.run(iter(jobs), lambda job: started.append(job.key), lambda: False, lambda: None)
        return Run(workers, results, notes, started, jobs)

    yield begin
    for workers in made:
        workers.close()
    assert all(gone(process) for process in marks(root, "started") + marks(root, "opening"))


def test_each_worker_has_its_own_gpu_and_all_its_threads_work(start: Start, root: Path):
    run = start(["hold"] * 4)

    def go() -> None:
        if len(marks(root, "started")) == 4 and run.workers.work_in_progress() == 2.0:
            (root / "go").touch()

    run.results = run.workers.run(iter(run.jobs), lambda _: None, lambda: False, go)
    facts = run.facts()
    assert sorted(fact["gpu"] for fact in facts) == ["4", "4", "GPU-57e", "GPU-57e"]
    assert {(fact["device"], fact["precision"], fact["gpus"]) for fact in facts} == {("cuda", "bf16", 1)}
    assert sorted(set(marks(root, "closed"))) == sorted({fact["pid"] for fact in facts}), "each closed its engine"


def test_workers_on_a_cpu_share_its_cores(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    [fact] = start([""], device="cpu").facts()
    assert (fact["threads"], fact["device"]) == ("3", "cpu")


def test_a_job_that_kills_costs_itself_and_nothing_beside_it(start: Start, root: Path, tmp_path: Path):
    run = start(["", "", "", "kill", "", "refuse", "", ""], size=4)
    results = {result.key: result for result in run.results}
    skipped = {key: result.skipped for key, result in results.items() if result.skipped}
    keys = [job.key for job in run.jobs]
    assert skipped.keys() == {keys[3], keys[5]} and results.keys() == set(keys) == set(run.started)
    assert "2 worker processes died on it (exit code -9)" in str(skipped[keys[3]])
    assert str(skipped[keys[5]]).endswith(": not this one")
    for key in set(keys) - skipped.keys():
        assert (read_rgb(root / key).pixels == 255 - read_rgb(tmp_path / "out" / key).pixels).all()
    assert len(run.notes) == 2 and all("exit code -9); another takes its place" in note for note in run.notes)


def test_a_batch_that_kills_is_tried_job_by_job(start: Start, root: Path):
    run = start(["kill"] * 3, size=4)
    assert all("died on it" in str(result.skipped) for result in run.results)
    sizes = sorted(int(path.name.split("-")[2]) for path in root.glob("started-*"))
    assert sizes == [1, 1, 1, 3], "together, then each by itself"


@pytest.mark.parametrize(
    ("word", "message"),
    [("break", ": the GPU has fallen off"), ("short", ": engine small gave 0 answers to 1 requests")],
)
def test_an_engine_that_breaks_down_is_named(start: Start, word: str, message: str):
    [result] = start([word]).results
    assert result.engine_lost and result.fatal in (f"GPU 4{message}", f"GPU-57e{message}")


def test_a_fault_costs_its_job(start: Start):
    made = [result.skipped for result in start(["fault", ""]).results]
    assert sorted(map(str, made))[0] == "None" and "unexpected ValueError: a fault in the code (small_engine.py" in str(
        made
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"fail": "no such GPU"}, "GPU-57e: no such GPU"),
        ({"own": "out of reach"}, "GPU-57e: GPU-57e: out of reach"),
        ({"kill": 1}, r"GPU-57e: a worker process died while it started \(exit code -9\)"),
        ({"weights": "xyz"}, "GPU-57e: weights is xyz for this worker and abc for the controller: other pixels"),
    ],
)
def test_one_that_cannot_open_ends_all(start: Start, how: dict[str, Any], message: str):
    # The other one opens only after that, which is never.
    run = start([""] * 8, {"GPU-57e": how, "4": {"wait": "never"}})
    with pytest.raises((EngineError, PictureError), match=message):
        next(run.results)


def test_notes_are_reported_once_with_their_gpu(start: Start):
    run = start(["note"] * 8, {"4": {"notes": ["slow disk"]}})
    run.facts()
    assert len(run.notes) == len(set(run.notes))
    assert set(run.notes) <= {
        "GPU 4: slow disk",
        *(f"{gpu}: half the memory is in use" for gpu in ("GPU 4", "GPU-57e")),
    }
    assert any("half the memory" in note for note in run.notes)


def test_a_gpu_whose_workers_die_in_a_row_ends_the_batch(start: Start, root: Path):
    # Each dies when it is opened again, which no picture between makes good.
    run = start(["hold"] * 4)

    def kill() -> None:
        if len(marks(root, "started")) == 4 and not (root / PLAN).exists():
            (root / PLAN).write_text(json.dumps({"4": {"kill": 1}, "GPU-57e": {"kill": 1}}))
            for process in set(marks(root, "started")):
                os.kill(process, signal.SIGKILL)

    with pytest.raises(EngineError, match="died while it started"):
        list(run.workers.run(iter(run.jobs), lambda _: None, lambda: False, kill))
    until(lambda: all(gone(process) for process in marks(root, "started")))


# Workers that do not see the data set


def test_what_travels_gives_the_same_files(start: Start, root: Path, tmp_path: Path):
    scene = open_scene(next(iter(shipped_scenes().values())))
    label = root / scan(root).samples[2].label
    label.write_bytes(b"{")
    run = start([""] * 4, scenes=((scene, scene.path.read_bytes()),), size=4)
    results = {result.key: result for result in run.results}
    keys = [job.key for job in run.jobs]
    assert results.keys() == set(keys)
    assert [key for key in keys if results[key].skipped] == [keys[2]] and label.name in str(results[keys[2]].skipped)
    for job in run.jobs[:2]:
        out = tmp_path / "out"
        assert (out / job.sample.label).read_bytes() == (root / job.sample.label).read_bytes()
        assert sha256((out / job.key).read_bytes()) == results[job.key].sha256 and not results[job.key].files


@pytest.mark.parametrize(
    ("files", "digest"),
    [
        ((("../../etc/passwd", b"x"), ("KEY", b"a")), sha256(b"a")),
        ((("train/image/other.png", b"x"), ("KEY", b"a")), sha256(b"a")),
        ((("KEY", b"a"),), sha256(b"b")),
        ((), sha256(b"")),
    ],
)
def test_what_a_worker_must_not_answer_is_not_written(
    root: Path, tmp_path: Path, files: tuple[tuple[str, bytes], ...], digest: str
):
    sample = scan(root).samples[0]
    job = Job(sample.image, "", sample, 0, 0, 0, SCENE, False, "set", "", "")
    named = tuple((name.replace("KEY", job.key), data) for name, data in files)
    result = received(job, JobResult(job.key, 0, digest, 1, files=named), tmp_path / "out")
    assert "a worker answered with" in str(result.skipped)
    assert not list((tmp_path / "out").rglob("*")) and not (tmp_path / "etc").exists()


def test_a_full_disk_of_the_controller_ends_the_batch(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(output: Path, relative: str, content: bytes) -> None:
        raise OutputError(f"cannot write {relative!r}: No space left on device")

    monkeypatch.setattr("controller.job_files.write_file", full)
    sample = scan(root).samples[0]
    job = Job(sample.image, "", sample, 0, 0, 0, SCENE, False, "set", "", "")
    result = received(job, JobResult(job.key, 0, sha256(b"a"), 1, files=((job.key, b"a"),)), tmp_path / "out")
    assert "No space left" in str(result.fatal) and not result.engine_lost and result.skipped is None


@pytest.mark.parametrize("wrong", ["missing", "another"])
def test_what_a_worker_says_it_wrote_is_looked_at(root: Path, tmp_path: Path, wrong: str):
    sample, out = scan(root).samples[0], tmp_path / "out"
    job = Job(sample.image, "", sample, 0, 0, 0, SCENE, False, "set", "", "")
    said = JobResult(job.key, 0, sha256(b"image"), 5)
    if wrong == "another":
        (out / job.key).parent.mkdir(parents=True)
        (out / job.key).write_bytes(b"other")
    assert "do all nodes see the same OUT?" in str(found(job, said, out).skipped)
    (out / job.key).parent.mkdir(parents=True, exist_ok=True)
    (out / job.key).write_bytes(b"image")
    assert found(job, said, out) == said


@pytest.mark.parametrize(
    ("variable", "count", "expected"),
    [
        (None, 3, ["0", "1", "2"]),
        ("2,5,7", 2, ["2", "5"]),
        (" GPU-1a , MIG-2b ", 2, ["GPU-1a", "MIG-2b"]),
        ("0,0", 2, ["0", "0"]),
        ("3,-1,4", 2, None),
        ("3", 2, None),
        ("", 1, None),
    ],
)
def test_which_gpus_are_whose(variable: str | None, count: int, expected: list[str] | None):
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    if expected is None:
        with pytest.raises(EngineError, match=f"--gpus {count}, but CUDA_VISIBLE_DEVICES='{variable}' names"):
            visible_gpus(environment, count)
    else:
        assert visible_gpus(environment, count) == expected
