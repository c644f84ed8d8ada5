"""What a batch reports while it runs, and its times."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acusim.errors import AcuSimError
from controller import batch, batch_run, progress
from controller.batch import run_batch
from controller.batch_run import BatchRun
from controller.progress import Progress
from controller.settings import BatchSettings
from engines.base import Engine, Request, Result, Setup
from engines.recipe import Recipe


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that progress and batch see."""
    now = [100.0]
    for module in (progress, batch, batch_run):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_log_shows_that_the_server_samples_and_the_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]):
    message = Progress()
    message.begin(8)

    def step(seconds: float, *state: Any) -> list[str]:
        clock[0] += seconds
        message.advance(*state)
        return capsys.readouterr().err.splitlines()

    assert step(0.2, 0, 0, 0.0) == []
    assert step(0.2, 0, 0, 0.0, "server prepares: node 'Checkpoint'") == [
        "0 of 8, server prepares: node 'Checkpoint', 0 skipped"
    ]
    assert step(0.2, 0, 0, 0.0, "server prepares: node 'IC-Light'") == [], "one line is enough"
    assert step(30, 0, 0, 4 / 12, "server samples: step 1 of 12") == ["0 of 8, server samples: step 1 of 12, 0 skipped"]
    assert step(5, 0, 0, 8 / 12, "server samples: step 2 of 12") == []
    # A third of a picture in 5 s, twice: 7 pictures are left, 15 s each.
    assert step(5, 0, 0, 1.0, "server samples: step 3 of 12") == []
    assert step(0.1, 0, 0, 1.0, "server samples: step 3 of 12") == [
        "0 of 8, 4.0/min, 106 s left, server samples: step 3 of 12, 0 skipped"
    ]
    # 4 2/3 pictures in 610 s; one more was given up, two are left.
    assert step(600, 4, 1, 1.0, "server samples: step 3 of 12") == [
        "4 of 8, 0.5/min, 4 min left, server samples: step 3 of 12, 1 skipped"
    ]


def test_a_slow_rate_is_shown_per_minute_and_slower_ones_per_hour(
    clock: list[float], capsys: pytest.CaptureFixture[str]
):
    message = Progress()
    message.begin(100)
    message.advance(1, 0)
    clock[0] += 100
    message.advance(6, 0)
    assert capsys.readouterr().err == "6 of 100, 3.0/min, 31 min left, 0 skipped\n"
    clock[0] += 36_000
    message.advance(7, 0)
    assert "0.6/h" in capsys.readouterr().err


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]):
    message = Progress(quiet=True)
    message.begin(8)
    message.advance(0, 0, 0.5, "server samples: step 1 of 12")
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_it_beside_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    message = Progress()
    message.begin(8)
    message.advance(0, 0, 0.5, "server samples: step 3 of 12")
    message.end()
    shown = capsys.readouterr().err
    assert "augmenting" in shown and "0/8" in shown and "server samples: step 3 of 12" in shown


class Slow(Engine):
    """Needs 5 s to open and 7 s for each batch, on the test's clock."""

    name, processes, servers = "slow", False, ("http://a:1", "http://b:1")

    def __init__(self, clock: list[float], good: bool):
        super().__init__(Recipe(engine="relight"))
        self.clock, self.good = clock, good
        self.taken_up = threading.Event()
        """The batch has noted that its first picture is in hand; only then the clock goes on."""

    def open(self) -> None:
        self.clock[0] += 5

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        assert self.taken_up.wait(60)
        self.clock[0] += 7
        made = Result(255 - batch[0].pixels, server="http://a:1")
        return [made if self.good else AcuSimError("not this one") for _ in batch]


@pytest.mark.parametrize("good", [True, False])
def test_seconds_count_from_the_start_of_the_command(
    make_dataset: Any, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, good: bool
):
    def make(recipe: Recipe, setup: Setup) -> Engine:
        clock[0] += 1  # reading and planning
        engines.append(Slow(clock, good))
        return engines[-1]

    def job_started(self: Any, job: Any) -> None:
        noted(self, job)
        engines[-1].taken_up.set()

    engines, noted = list[Slow](), BatchRun._job_started
    monkeypatch.setattr(BatchRun, "_job_started", job_started)
    monkeypatch.setattr(batch, "make_engine", make)
    settings = BatchSettings(dataset=make_dataset(), output=tmp_path / "out", recipe=Recipe(engine="relight"), limit=1)
    summary = run_batch(settings, Progress(quiet=True), started=98.0)
    assert summary.seconds_to_open == 2 + 1 + 5
    assert summary.seconds_to_first == (2 + 1 + 5 + 7 if good else None)
    assert summary.seconds == clock[0] - 98
    assert summary.servers == {"http://a:1": summary.created, "http://b:1": 0}
    again = run_batch(settings, Progress(quiet=True))
    if good:
        assert (again.seconds_to_open, again.seconds_to_first) == (None, None), "there was nothing to make"
