"""A run of training, whatever its task: goes on where the folder stands, writes what made it, says what came of it."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

from acusim.files import write_atomic
from training.cli import INTERRUPTED, OK
from training.configuration import BaseConfig
from training.console import Bars, say, writing
from training.hardware import Hardware
from training.history import History
from training.loop import Interrupted, Loop, Task
from training.runs import CONFIG, DATA

FORMAT = 1


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
    resumed = loop.resume()
    if hardware.is_main:
        tell()
        if resumed:
            say(f"going on after epoch {loop.epoch}, step {loop.step}")
        with writing(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
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
