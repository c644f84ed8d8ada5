"""A run of training, whatever its task: goes on where the folder stands, writes what made it, says what came of it."""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError
from acusim.files import write_atomic
from acusim.lock import LOCK_FILE, Lock, lock_owner
from training.cli.console import Bars, say, writing
from training.cli.main import ERROR, INTERRUPTED, OK
from training.hardware import Hardware
from training.history import History
from training.loop import Interrupted, Loop, Task
from training.runs import CONFIG, DATA
from training.settings import BaseConfig

FORMAT = 1
WHO = "trainer"


def ensure_free(run: Path, hardware: Hardware) -> None:
    """Refuses a run that another trainer is at work on, before time is spent on its data; makes nothing.

    Raises:
        ConfigError: names the other one.
    """
    error = None
    if hardware.is_main and lock_owner(run / LOCK_FILE) is not None:
        try:
            with Lock(run / LOCK_FILE, WHO, run):
                pass
        except AcuSimError as refused:
            error = refused
    _agree(hardware, error)


@contextlib.contextmanager
def alone(run: Path, hardware: Hardware) -> Iterator[None]:
    """Holds the lock of a run, whose folder is made; of several processes the first does it for all.

    Raises:
        ConfigError: another trainer is at work on it; names that one.
        OutputError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        error = None
        if hardware.is_main:
            try:
                with writing(run):
                    run.mkdir(parents=True, exist_ok=True)
                held.enter_context(Lock(run / LOCK_FILE, WHO, run))
            except AcuSimError as refused:
                error = refused
        _agree(hardware, error)
        yield


def _agree(hardware: Hardware, error: AcuSimError | None) -> None:
    """Ends all processes where the first has an error; that one raises it."""
    refused = hardware.any(error is not None)
    if error is not None:
        raise error
    if refused:
        raise SystemExit(ERROR)


def train_task(
    config: BaseConfig,
    task: Task,
    options: argparse.Namespace,
    hardware: Hardware,
    bars: Bars,
    *,
    tell: Callable[[], None],
    document: Mapping[str, Any],
    summary: Callable[[History], str],
) -> int:
    """Trains a task in --out, or goes on with it.

    Args:
        config: all settings.
        task: what is trained.
        options: of ``train``.
        hardware: device and processes.
        bars: progress.
        tell: says what a person should know of the data.
        document: of the run's data.json.
        summary: what the run came to.

    Returns:
        The exit code.
    """

    def progress(epoch: int, step: int, steps: int, loss: float) -> None:
        bars(f"epoch {epoch + 1}/{config.train.epochs}", step, steps, f"loss {loss:.4g}")

    loop = Loop(config, task, options.out, hardware, compiled=options.compile, progress=progress)
    with alone(options.out, hardware):
        resumed = loop.resume()
        if hardware.is_main:
            tell()
            if resumed:
                say(f"going on after epoch {loop.epoch}, step {loop.step}")
            with writing(options.out):
                write_atomic(options.out / CONFIG, config.to_toml().encode())
                text = json.dumps({"format": FORMAT, **document}, ensure_ascii=False, indent=1)
                write_atomic(options.out / DATA, text.encode())
        try:
            loop.train()
        except Interrupted:
            if hardware.is_main:
                say(f"stopped in epoch {loop.epoch + 1}; the same command goes on there")
            return INTERRUPTED
        finally:
            bars.close()
    if hardware.is_main:
        say(summary(loop.history))
        if loop.epoch < config.train.epochs:
            say(f"ended early: no better epoch in {config.train.patience} (train.patience)")
    return OK
