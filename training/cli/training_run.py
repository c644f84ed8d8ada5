"""A run of training, whatever its task: continues what the folder holds, and records what was used for it."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from acusim.errors import AcuSimError, OutputError
from acusim.lock import LOCK_FILE, Lock, lock_owner
from acusim.results import write_result
from acusim.text_files import json_of
from training.cli.console import ERROR, INTERRUPTED, OK, Bars, message
from training.cli.options import TrainOptions
from training.hardware import Hardware
from training.history import History
from training.loop import Interrupted, Loop, Task
from training.runs import CONFIG, DATA
from training.settings import BaseConfig
from training.shipped import model_path
from training.warm_start import INIT, WarmStart, prepare

FORMAT = 1
OWNER = "trainer"


def ensure_free(run: Path, hardware: Hardware) -> None:
    """Refuses a run that another trainer uses, before time is spent on its data; creates nothing.

    Raises:
        ConfigError: names the other one.
    """
    error = None
    if hardware.is_main and lock_owner(run / LOCK_FILE) is not None:
        try:
            with Lock(run / LOCK_FILE, OWNER, run):
                pass
        except AcuSimError as refused:
            error = refused
    _agree(hardware, error)


@contextlib.contextmanager
def alone(run: Path, hardware: Hardware) -> Iterator[None]:
    """Holds the lock of a run, whose folder is created; of several processes the first does it for all.

    Raises:
        ConfigError: another trainer uses it; names that one.
        OutputError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        error = None
        if hardware.is_main:
            try:
                with _writing(run):
                    run.mkdir(parents=True, exist_ok=True)
                held.enter_context(Lock(run / LOCK_FILE, OWNER, run))
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


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Reports why a file or folder cannot be written.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{str(target)!r} cannot be written: {error.strerror or error}") from None


class _Savable(Protocol):
    def save(self, path: Path) -> None: ...


def save_predictions(predictions: _Savable, path: Path | None) -> None:
    """Writes the file of --predictions, where one is wanted.

    Raises:
        OutputError: it cannot be written.
    """
    if path:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            predictions.save(path)


def baseline_of(row: Mapping[str, Any], name: str) -> float:
    """A baseline's figure in a row of the history; older runs call it floor."""
    return row[f"baseline_{name}"] if f"baseline_{name}" in row else row[f"floor_{name}"]


def _write_record(
    run: Path, config: BaseConfig, document: Mapping[str, Any], start: WarmStart | None, continues: bool
) -> None:
    """Writes config.toml and data.json; a run that continues keeps data.json's entry on its initial weights."""
    write_result(run / CONFIG, config.to_toml().encode())
    entries: dict[str, Any] = {"format": FORMAT, **document}
    if start:
        entries[INIT] = start.as_json()
    elif continues:
        with contextlib.suppress(OSError, ValueError, KeyError):
            entries[INIT] = json_of((run / DATA).read_bytes())[INIT]
    write_result(run / DATA, json.dumps(entries, ensure_ascii=False, indent=1).encode())


def train_task(
    config: BaseConfig,
    task: Task,
    options: TrainOptions,
    hardware: Hardware,
    bars: Bars,
    *,
    report_data: Callable[[], None],
    document: Mapping[str, Any],
    summary: Callable[[History], str],
    files: Mapping[str, bytes] | None = None,
) -> int:
    """Trains a task in --out, or continues there.

    Args:
        config: all settings.
        task: what is trained.
        options: of ``train``.
        hardware: device and processes.
        bars: progress.
        report_data: prints what a person should know of the data.
        document: of the run's data.json.
        summary: the run's result, for people.
        files: further files of the run, by name.

    Returns:
        The exit code.
    """

    def progress(epoch: int, step: int, steps: int, loss: float) -> None:
        bars(f"epoch {epoch + 1}/{config.train.epochs}", step, steps, f"loss {loss:.4g}")

    loop = Loop(config, task, options.out, hardware, compiled=options.compile, progress=progress)
    with alone(options.out, hardware):
        init = None if options.init is None else model_path(options.init)
        start = prepare(task, init, options.out)
        resumed = loop.resume()
        if hardware.is_main:
            report_data()
            if start:
                message(str(start))
            if resumed:
                message(f"continuing after epoch {loop.epoch}, step {loop.step}")
            _write_record(options.out, config, document, start, continues=resumed)
            for name, content in (files or {}).items():
                write_result(options.out / name, content)
        try:
            loop.train()
        except Interrupted:
            if hardware.is_main:
                message(f"interrupted in epoch {loop.epoch + 1}; the same command continues there")
            return INTERRUPTED
        finally:
            bars.close()
    if hardware.is_main:
        message(summary(loop.history))
        if loop.epoch < config.train.epochs:
            message(f"ended early: no better epoch in {config.train.patience} (train.patience)")
        run = options.out
        message(f"see {run / 'curves'}; evaluate it: python -m training evaluate {run} --data ROOT --out REPORT")
    return OK
