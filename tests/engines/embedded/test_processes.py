"""One engine in several processes: who gets what, and what happens when a process dies, fails or hangs."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import AcuSimError, ConfigError, EngineError, PictureError
from acusim.layout import scan
from acusim.pictures import read_rgb
from controller.concurrent_batches import ConcurrentBatches
from controller.job import Job
from engines.base import Result, Setup
from engines.embedded import worker_pool
from engines.embedded.processes import MultiProcessEngine
from engines.options import EmbeddedOptions
from engines.scenes import Scene
from tests.engines.embedded.small import PLAN, RECIPE, SMALL, Small, gone, marks, request, until

NewEngine = Callable[..., MultiProcessEngine]


def pids(engine: MultiProcessEngine) -> list[int]:
    assert engine._pool is not None
    return [worker.process.pid for worker in engine._pool._workers]


def first(engine: MultiProcessEngine) -> worker_pool.Worker:
    assert engine._pool is not None
    return engine._pool._workers[0]


def facts(answer: object) -> dict[str, Any]:
    assert isinstance(answer, Result), answer
    return answer.facts


@pytest.fixture(autouse=True)
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-57e")


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[..., MultiProcessEngine]]:
    """Makes engines of two processes, and sees to it that none is left."""
    made: list[MultiProcessEngine] = []
    seen: list[int] = []

    def make(plan: dict[str, Any] | None = None, opened: bool = True, **setup: Any) -> MultiProcessEngine:
        if plan:
            (tmp_path / PLAN).write_text(json.dumps(plan))
        made.append(MultiProcessEngine(RECIPE, Setup(tmp_path, options=EmbeddedOptions(**{"gpus": 2, **setup})), SMALL))
        if opened:
            made[-1].open()
            seen.extend(pids(made[-1]))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
    assert all(gone(process) for process in seen)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("GPU", "process"))]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def hold(threads: ThreadPoolExecutor, tmp_path: Path) -> Callable[..., "Future[list[Any]]"]:
    """Makes a call in another thread and waits until a process is at work on it."""

    def call(engine: MultiProcessEngine, *words: str) -> "Future[list[Any]]":
        before = len(marks(tmp_path, "started"))
        batch = [request(word, number) for number, word in enumerate(words or ("hold",))]
        future = threads.submit(engine.augment, batch)
        until(lambda: len(marks(tmp_path, "started")) > before or future.done())
        return future

    return call


# Calls


def test_answers_keep_their_order_and_errors_their_kind(new: NewEngine):
    engine = new()
    answers = engine.augment([request("", 7), request("refuse"), request("", 9)])
    assert [facts(answers[0])["seed"], facts(answers[2])["seed"]] == [7, 9]
    assert isinstance(answers[0], Result) and (answers[0].pixels == 248).all()
    assert type(answers[1]) is AcuSimError and str(answers[1]) == "Ann: not this one", "not its own class"
    assert engine.augment([]) == []


def test_each_process_has_its_own_gpu_and_the_numbers_that_are_known(new: NewEngine, hold: Any):
    engine = new(opened=False)
    engine.identity()
    engine.open()
    calls = [hold(engine), hold(engine)]
    (engine._inner.setup.dataset / "go").touch()  # type: ignore[union-attr]
    answers = [facts(call.result()[0]) for call in calls]
    assert {fact["gpu"] for fact in answers} == {"4", "GPU-57e"} and len({fact["pid"] for fact in answers}) == 2
    # What auto means is settled once, not by each GPU.
    assert {(fact["device"], fact["precision"], fact["gpus"]) for fact in answers} == {("cuda", "bf16", 1)}


def test_processes_on_a_cpu_share_its_cores(new: NewEngine):
    engine = new(device="cpu", precision="fp32")
    found = facts(engine.augment([request()])[0])
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert (found["threads"], found["device"], found["precision"]) == (share, "cpu", "fp32")


def test_a_call_goes_where_the_fewest_images_are_queued(new: NewEngine, hold: Any, tmp_path: Path):
    engine = new()
    many = hold(engine, "hold", "hold", "hold")
    few = hold(engine, "hold")
    next_one, last_one = hold(engine, "hold"), hold(engine, "hold")  # 3 against 1, then 3 against 2 with no lane free
    (tmp_path / "go").touch()
    where = [facts(call.result()[0])["pid"] for call in (many, few, next_one, last_one)]
    assert where[1] == where[2] != where[0] == where[3]


def test_all_lanes_of_all_processes_work_at_once(new: NewEngine, hold: Any, tmp_path: Path):
    engine = new()
    assert (engine.concurrency, engine.batch_size) == (4, 4)
    calls = [hold(engine) for _ in range(4)]
    assert len(marks(tmp_path, "started")) == 4 and not any(call.done() for call in calls)
    until(lambda: engine.work_in_progress() == 2.0)
    (tmp_path / "go").touch()
    assert sorted(marks(tmp_path, "started")) == sorted(facts(call.result()[0])["pid"] for call in calls)


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("break", EngineError, "GPU 4: the GPU has fallen off"),
        ("fault", RuntimeError, r"ValueError: a fault in the code \(small.py:"),
        ("short", EngineError, "GPU 4: engine small gave 1 answers to 2 requests"),
    ],
)
def test_what_breaks_a_call_is_reported(new: NewEngine, word: str, kind: type[Exception], message: str):
    engine = new()
    with pytest.raises(kind, match=message):
        engine.augment([request(word), request()])
    assert isinstance(engine.augment([request()])[0], Result), "the process goes on"


# Deaths


def test_the_calls_of_a_killed_process_are_repeated(new: NewEngine, hold: Any, tmp_path: Path):
    engine = new()
    first, second = hold(engine, "hold", ""), hold(engine)
    victim = marks(tmp_path, "started")
    os.kill(pids(engine)[0], signal.SIGKILL)
    until(lambda: bool(engine.notes))
    (tmp_path / "go").touch()
    answers = [*first.result(), *second.result()]
    assert [facts(answer)["seed"] for answer in answers] == [0, 1, 0]
    assert engine.notes == ["GPU 4: the process died (signal 9); it is restarted"]
    assert len(victim) == 2 and pids(engine)[0] not in victim


def test_a_request_that_kills_costs_itself_and_nothing_beside_it(
    new: NewEngine, hold: Any, threads: ThreadPoolExecutor, tmp_path: Path
):
    engine = new()
    innocent = [hold(engine), hold(engine)]  # one on each process, so that each death hits one
    guilty = threads.submit(engine.augment, [request("", 1), request("kill", 2), request("", 3)])
    until(lambda: bool(engine.notes))
    (tmp_path / "go").touch()
    answers = guilty.result()
    assert [facts(answer)["seed"] for answer in (answers[0], answers[2])] == [1, 3]
    assert type(answers[1]) is AcuSimError
    assert str(answers[1]) == "the process that worked on it died 2 times (signal 9)"
    assert all(isinstance(call.result()[0], Result) for call in innocent)
    assert all(isinstance(answer, Result) for answer in engine.augment([request(), request()]))


def test_a_single_request_is_tried_on_two_processes_at_most(new: NewEngine, tmp_path: Path):
    engine = new()
    before = pids(engine)
    [answer] = engine.augment([request("kill")])
    assert "died 2 times" in str(answer)
    assert sorted(marks(tmp_path, "started")) == sorted(before), "the second one is another, and there is no third"


def test_a_process_that_dies_in_a_row_without_an_image_ends_the_engine(new: NewEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_pool, "RESTARTS_ALLOWED", 0)
    engine = new()
    with pytest.raises(EngineError, match=r"GPU 4: the process died \(signal 9\), 1 times in a row without an image"):
        engine.augment([request("kill"), request("kill")])
    with pytest.raises(EngineError, match="without an image"):
        engine.augment([request()])


def test_an_image_in_between_resets_the_count(new: NewEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_pool, "RESTARTS_ALLOWED", 1)
    engine = new()
    for _ in range(2):
        os.kill(pids(engine)[0], signal.SIGKILL)
        until(lambda: len(engine.notes) > 0)
        engine.notes.clear()
        until(lambda: first(engine).opened is not None)
        assert first(engine).deaths == 1
        facts(engine.augment([request()])[0])
        assert first(engine).deaths == 0


@pytest.mark.parametrize(
    ("how", "message"), [({"fail": "out of memory"}, "out of memory"), ({"kill": 1}, r"the process died \(signal 9\)")]
)
def test_a_process_that_cannot_be_opened_again_is_tried_and_then_ends_the_engine(
    new: NewEngine,
    hold: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, Any],
    message: str,
):
    monkeypatch.setattr(worker_pool, "RESTARTS_ALLOWED", 1)
    engine = new()
    held = [hold(engine), hold(engine)]
    (tmp_path / PLAN).write_text(json.dumps({"4": how}))
    os.kill(pids(engine)[0], signal.SIGKILL)
    with pytest.raises(EngineError, match=f"GPU 4: {message}, 2 times in a row without an image; repair that"):
        held[0].result()
    assert engine.notes == ["GPU 4: the process died (signal 9); it is restarted"]
    (tmp_path / "go").touch()
    assert isinstance(held[1].result()[0], Result), "the calls of another process are not lost"


# Opening and notes


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"fail": "no such GPU"}, "GPU-57e: no such GPU"),
        ({"kill": 1}, r"GPU-57e: the process died \(signal 9\) while it opened the engine"),
        ({"fault": "cu"}, r"GPU-57e: KeyError: 'cu' \(small.py:"),
    ],
)
def test_one_that_cannot_open_ends_all(new: NewEngine, how: dict[str, Any], message: str, tmp_path: Path):
    # The other one opens only after that, which is never.
    engine = new({"GPU-57e": how, "4": {"wait": "never"}}, opened=False)
    with pytest.raises(EngineError, match=message):
        engine.open()
    assert all(gone(process) for process in pids(engine))
    with pytest.raises(EngineError):
        engine.augment([request()])
    engine.close()
    with pytest.raises(EngineError, match="is not open"):
        engine.augment([request()])


def test_a_signal_while_opening_leaves_no_process(new: NewEngine, tmp_path: Path):
    engine = new({"4": {"wait": "never"}, "GPU-57e": {"wait": "never"}}, opened=False)

    def interrupt() -> None:
        until(lambda: len(marks(tmp_path, "opening")) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.open()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(gone(process) for process in marks(tmp_path, "opening"))


def test_notes_are_reported_once_and_named_where_they_differ(new: NewEngine, tmp_path: Path):
    engine = new({"4": {"notes": ["slow disk", "old driver"]}, "GPU-57e": {"notes": ["slow disk"]}})
    assert engine.notes == ["slow disk", "GPU 4: old driver"]
    engine.notes.clear()
    os.kill(pids(engine)[0], signal.SIGKILL)
    until(lambda: first(engine).starts == 2 and first(engine).opened is not None)
    assert engine.notes == ["GPU 4: the process died (signal 9); it is restarted"]
    engine.notes.clear()
    gpus = [facts(engine.augment([request("note")])[0])["gpu"] for _ in range(3)]
    until(lambda: len(engine.notes) > 0)
    assert gpus == ["4"] * 3 and engine.notes == ["GPU 4: half the memory is in use"]


def test_what_the_engine_is_can_be_asked_without_a_process(new: NewEngine):
    engine = new(opened=False)
    assert engine.identity() == engine.identity() == {"weights": "abc", "precision": "bf16"}
    assert isinstance(engine._inner, Small) and engine._inner.asked == 1
    assert engine.documents() == {"small.txt": b"small"}
    assert [check.ok for check in engine.check()] == [True]
    more = new(opened=False, gpus=3)
    assert [check.ok for check in more.check()] == [True, False]
    with pytest.raises(EngineError, match="--gpus 3, but CUDA_VISIBLE_DEVICES='4, GPU-57e' names 2"):
        more.open()


@pytest.mark.parametrize("count", [0, 65])
def test_a_senseless_number_of_processes_is_refused(new: NewEngine, count: int):
    with pytest.raises(ConfigError, match=f"gpus = {count} is outside 1..64"):
        new(opened=False, gpus=count)


# Ends


def test_stop_ends_calls_and_the_engines_hear_of_it(new: NewEngine, hold: Any, tmp_path: Path):
    engine = new()
    calls = [hold(engine) for _ in range(3)]
    engine.stop()
    for call in calls:
        with pytest.raises(EngineError, match="stopped"):
            call.result()
    assert sorted(marks(tmp_path, "stopped")) == sorted(pids(engine))
    with pytest.raises(EngineError, match="stopped"):
        engine.augment([request()])
    engine.close()
    assert sorted(marks(tmp_path, "closed")) == sorted(marks(tmp_path, "stopped")), "each closed its engine"


def test_a_process_that_hangs_is_abandoned_and_killed(new: NewEngine, hold: Any, monkeypatch: pytest.MonkeyPatch):
    for name in ("STOP_SECONDS", "CLOSE_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(worker_pool, name, 0.1)
    engine = new()
    call = hold(engine)
    for process in pids(engine):
        os.kill(process, signal.SIGSTOP)
    engine.stop()
    with pytest.raises(EngineError, match="stopped"):
        call.result()
    left = pids(engine)
    assert engine._pool is not None
    engine._pool.close(0.1)
    assert all(gone(process) for process in left)


def test_it_can_be_opened_again(new: NewEngine):
    engine = new()
    engine.close()
    engine.close()
    engine.open()
    assert isinstance(engine.augment([request()])[0], Result)


def test_a_batch_goes_through_lanes_whatever_dies(new: NewEngine, make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset(frames=(1, 2, 3))
    samples = scan(root).samples
    scene = Scene("s", Path("s"), "s")

    def job(number: int) -> Job:
        word = {3: "kill", 7: "refuse"}.get(number, "")
        return Job(samples[number].image, "", samples[number], 0, 0, number, scene, False, "set", word, "")

    workers = ConcurrentBatches(new(opened=False), root, tmp_path / "out")
    started: list[str] = []
    jobs: Sequence[Job] = [job(number) for number in range(len(samples))]
    made = list(workers.run(jobs, lambda job: started.append(job.key), lambda: False, lambda: None))
    workers.close()
    reasons = {answer.key: answer.skipped for answer in made if answer.skipped}
    assert len(made) == len(samples) == len(started) and not any(answer.fatal for answer in made)
    assert reasons.keys() == {samples[3].image, samples[7].image} and "died 2 times" in reasons[samples[3].image]
    for number in set(range(len(samples))) - {3, 7}:
        one, other = (read_rgb(place / samples[number].image).pixels for place in (root, tmp_path / "out"))
        assert (one == 255 - other).all()


def test_errors_of_ours_keep_their_kind_in_a_pipe():
    from engines.embedded.worker_process import _portable

    assert type(_portable(PictureError("dark"))) is PictureError
