"""The pool of processes: results, deaths, stops, and owners that are gone."""

import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from acusim import parallel
from acusim.errors import ConfigError, EngineError, OutputError
from acusim.parallel import Died, Work, local, map_each, run
from tests.support import ROOT


def square(number: int, work: Work) -> int:
    """Squares; 13 kills the process."""
    if number == 13:
        os._exit(5)
    return number**2


def fail(number: int, work: Work) -> int:
    """Raises."""
    raise OutputError(f"no room for {number}")


def unsendable(number: int, work: Work) -> Any:
    """Gives what no pipe takes."""
    return lambda: number


def environment(name: str, work: Work) -> str | None:
    """A variable of the process."""
    return os.environ.get(name)


def process_of(number: int) -> int:
    """Where a task is done."""
    return os.getpid()


@contextmanager
def prepared(folder: Path, word: str) -> Iterator[str]:
    """Writes a file when a process ends in order."""
    try:
        yield word.upper()
    finally:
        (folder / str(os.getpid())).write_text(word)


def word_and_process(number: int, work: Work) -> tuple[str, int]:
    """What was prepared, and where."""
    return work.state, os.getpid()


@contextmanager
def refused(*_: object) -> Iterator[None]:
    """Cannot be prepared."""
    raise ConfigError("no such thing")
    yield


@contextmanager
def fatal(*_: object) -> Iterator[None]:
    """Dies of being prepared."""
    os._exit(7)
    yield


@contextmanager
def a_thread(*_: object) -> Iterator[int]:
    """What belongs to the thread that prepares."""
    yield threading.get_ident()


def same_thread(number: int, work: Work) -> bool:
    """Whether a task is done where it was prepared."""
    return work.state == threading.get_ident()


def returned(mib: int, work: Work) -> int:
    """How much of so much freed memory, in MiB, went back to the system."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    block = bytearray(b"1") * (mib << 20)
    full = resident()
    del block
    return (full - resident()) * os.sysconf("SC_PAGE_SIZE") >> 20


def parts(count: int, work: Work) -> int:
    """Does a part after another until it has to stop."""
    for number in range(count):
        if work.stopping():
            return number
        work.report(1)
        time.sleep(0.01)
    return count


def dies_once(folder: Path, work: Work) -> str:
    """Kills its process the first time."""
    mark = folder / "seen"
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return "done"


def meets(task: tuple[Path, int], work: Work) -> bool:
    """Whether so many tasks run at once before a minute is over."""
    folder, count = task
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if len(list(folder.iterdir())) >= count:
            return True
        time.sleep(0.02)
    return False


def noting(task: tuple[Path, str], work: Work) -> None:
    """Notes how many tasks run at the same time as this one; "deadly" ones kill their process after that."""
    folder, name = task
    mark = folder / f"{name}.{os.getpid()}"
    mark.touch()
    time.sleep(0.05)
    running = len(list(folder.glob("*.*")))
    with (folder / f"log_{name}").open("a") as log:
        log.write(f"{running}\n")
    mark.unlink()
    if name == "deadly":
        os._exit(1)


@pytest.mark.parametrize("processes", [0, 1, 3])
def test_each_task_has_its_result(processes: int):
    assert dict(run(square, range(10), processes)) == {number: number**2 for number in range(10)}
    assert list(run(square, [], processes)) == [] == list(run(square, iter(()), processes))
    assert not multiprocessing.active_children()


def test_tasks_are_drawn_as_they_are_needed():
    drawn: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            drawn.append(number)
            yield number

    results = run(square, tasks(), 2)
    next(results)
    assert len(drawn) <= 1 + 2 * parallel.PREFETCH
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_a_task_that_kills_processes_costs_nothing_else():
    results = dict(run(square, [*range(5), 13, *range(20, 25)], 2))
    assert str(results.pop(13)).startswith("2 worker processes died on it (exit code 5)")
    assert results == {number: number**2 for number in (*range(5), *range(20, 25))}


def test_every_task_may_kill():
    assert all(isinstance(result, Died) for _, result in run(square, [13, 13, 13], 2))


@pytest.mark.parametrize("prefetch", [1, 2])
def test_as_many_tasks_run_at_once_as_there_are_processes(tmp_path: Path, prefetch: int):
    # The first process is ready before the second: it must not take both tasks.
    tasks = [(tmp_path, 2)] * 2
    assert [result for _, result in run(meets, tasks, 2, prefetch=prefetch)] == [True, True]


def test_one_death_costs_one_more_try(tmp_path: Path):
    assert list(run(dies_once, [tmp_path], 2)) == [(tmp_path, "done")]


def test_a_suspect_is_tried_with_nothing_beside_it(tmp_path: Path):
    tasks = [(tmp_path, f"task{number}") for number in range(4)]
    tasks[1:1] = [(tmp_path, "deadly")]
    results = {task[1]: result for task, result in run(noting, tasks, 2)}
    assert isinstance(results.pop("deadly"), Died) and set(results.values()) == {None} and len(results) == 4
    first, second = (tmp_path / "log_deadly").read_text().split()
    assert int(first) <= 2 and second == "1"


def test_processes_are_prepared_once_and_end_in_order(tmp_path: Path):
    results = [
        result for _, result in run(word_and_process, range(8), 2, prepare=prepared, arguments=(tmp_path, "word"))
    ]
    assert {word for word, _ in results} == {"WORD"}
    ended = {int(path.name) for path in tmp_path.iterdir()}
    assert {process for _, process in results} <= ended and os.getpid() not in ended
    assert next(iter(run(word_and_process, [1], 0, prepare=prepared, arguments=(tmp_path, "here"))))[1] == (
        "HERE",
        os.getpid(),
    )


@pytest.mark.parametrize("processes", [0, 1])
def test_tasks_are_done_in_the_thread_that_prepares(processes: int):
    # Connections of SQLite may be used there alone.
    assert [result for _, result in run(same_thread, range(3), processes, prepare=a_thread)] == [True] * 3


@pytest.mark.parametrize("processes", [0, 2])
def test_what_prepare_refuses_comes_through(processes: int):
    with pytest.raises(ConfigError, match="no such thing"):
        list(run(square, range(3), processes, prepare=refused))


def test_a_process_that_dies_of_being_prepared_ends_all():
    with pytest.raises(EngineError, match=r"died while it started \(exit code 7\)"):
        list(run(square, range(3), 2, prepare=fatal))


@pytest.mark.parametrize("processes", [0, 1])
def test_errors_of_the_function_come_through(processes: int):
    with pytest.raises(OutputError, match="no room for 0") as caught:
        list(run(fail, range(3), processes))
    assert processes == 0 or "in fail" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


def test_a_result_that_cannot_be_sent_is_an_error():
    with pytest.raises(RuntimeError, match="cannot be sent"):
        list(run(unsendable, [1], 1))


@pytest.mark.parametrize("processes", [0, 2])
def test_what_runs_ends_early_and_what_waits_is_dropped(processes: int):
    done: list[int] = []
    results = list(run(parts, [1000] * 9, processes, reported=done.append, stopping=lambda: len(done) > 20))
    assert 1 <= len(results) <= max(processes, 1)
    assert all(0 < result < 1000 for _, result in results if isinstance(result, int))
    assert sum(done) == sum(result for _, result in results if isinstance(result, int))


@pytest.mark.parametrize("processes", [0, 2])
def test_what_is_handed_out_is_said(processes: int):
    started: list[int] = []
    results = [task for task, _ in run(square, range(5), processes, started=started.append)]
    assert sorted(results) == sorted(started) == list(range(5))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others decide themselves")
def test_processes_keep_what_they_free():
    assert [result for _, result in run(returned, [64], 1)][0] < 16


def test_processes_have_one_thread_each():
    before = os.environ.get("OMP_NUM_THREADS")
    assert [result for _, result in run(environment, ["OMP_NUM_THREADS"], 1)] == ["1"]
    assert os.environ.get("OMP_NUM_THREADS") == before


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_processes_start_alike_everywhere(method: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "START_METHOD", method)
    for value in ("one", "other"):  # a fork server keeps the variables of its start
        monkeypatch.setenv("ACUSIM_TEST", value)
        assert [result for _, result in run(environment, ["ACUSIM_TEST"], 1)] == [value]


def test_an_interrupt_does_not_wait():
    started_at = time.monotonic()

    def tick() -> None:
        if time.monotonic() - started_at > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run(parts, [10_000], 1, tick=tick))
    assert not multiprocessing.active_children() and time.monotonic() - started_at < 60


def test_a_signal_waits_until_the_process_that_is_being_started_is_whole(monkeypatch: pytest.MonkeyPatch):
    context = multiprocessing.get_context(local.START_METHOD)
    start, whole = context.Process.start, []

    def interrupted(process: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        start(process)
        whole.append(process)

    monkeypatch.setattr(context.Process, "start", interrupted)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(run(square, range(3), 1))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(whole) == 1 and not multiprocessing.active_children()


def test_map_each_is_for_functions_of_a_task_alone():
    assert sorted(map_each(abs, [-1, -2, 3], 2)) == [1, 2, 3] == sorted(map_each(abs, [-1, -2, 3], 1))
    assert list(map_each(process_of, [1], 2)) == [os.getpid()] and os.getpid() not in map_each(process_of, [1, 2], 2)
    with pytest.raises(EngineError, match=r"2 worker processes died on it \(exit code 1\)"):
        list(map_each(os._exit, [1, 1], 2))


def test_processes_do_not_outlive_an_owner_that_is_killed(tmp_path: Path):
    code = (
        "import os, time\n"
        "from acusim.parallel import run\n"
        "def work(n, _):\n    os.write(1, b'%d\\n' % os.getpid())\n    time.sleep(60)\n"
        "if __name__ == '__main__':\n    list(run(work, [1, 2], 2))\n"
    )
    script = tmp_path / "owner.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    workers = [int(owner.stdout.readline()) for _ in range(2)]
    owner.kill()
    owner.wait(10)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(map(is_running, workers)):
        time.sleep(0.05)
    assert not any(map(is_running, workers))


def is_running(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_works_beside_the_main_thread():
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(run(square, range(4), 2)))
    thread.start()
    thread.join(120)
    assert sorted(found) == [(number, number**2) for number in range(4)]
