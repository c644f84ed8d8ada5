"""Workers that die, and the store."""

import multiprocessing
import os
import signal
import sqlite3
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import OutputError
from evaluation.store import FILE, Reader, Store
from evaluation.workers import Died, Workers


def prepare() -> None:
    """Nothing to prepare."""


def square(number: int) -> int:
    """Squares; dies on 13."""
    if number == 13:
        os._exit(1)
    return number**2


def fail(number: int) -> int:
    """Raises."""
    raise OutputError(f"no room for {number}")


def test_each_task_has_its_result():
    assert dict(Workers(square, prepare, (), 2).run(range(10))) == {k: k * k for k in range(10)}


def test_a_task_that_kills_its_process_costs_nothing_else():
    results = dict(Workers(square, prepare, (), 2).run([*range(5), 13, *range(20, 25)]))
    assert isinstance(results.pop(13), Died)
    assert results == {k: k * k for k in (*range(5), *range(20, 25))}


def test_errors_of_the_function_come_through():
    with pytest.raises(OutputError, match="no room for"):
        list(Workers(fail, prepare, (), 1).run(range(3)))


def test_a_signal_waits_until_the_process_that_is_being_started_is_whole(monkeypatch: pytest.MonkeyPatch):
    submit, whole = ProcessPoolExecutor.submit, []

    def interrupted(pool: ProcessPoolExecutor, *task: Any) -> Future[Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        whole.append(submit(pool, *task))
        return whole[-1]

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(Workers(square, prepare, (), 1).run(range(3)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(whole) == 1 and not multiprocessing.active_children()


def test_the_store_remembers(tmp_path: Path):
    with Store(tmp_path / "out") as store:
        store.add([("a", {"x": 1}), ("b", [1, 2])])
    reader = Reader(tmp_path / "out" / FILE)
    assert reader.get("a") == {"x": 1} and reader.get("b") == [1, 2] and reader.get("c") is None


def test_a_damaged_record_is_measured_again(tmp_path: Path):
    with Store(tmp_path) as store:
        store.add([("a", 1)])
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE measured SET record = '{'")
    assert Reader(tmp_path / FILE).get("a") is None
