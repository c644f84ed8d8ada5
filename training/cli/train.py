"""``train``: trains a model, or continues with one."""

import argparse
import logging
from typing import Any

from acusim.errors import ConfigError
from training.cli.console import EPILOG
from training.cli.options import TrainOptions, add_command

DESCRIPTION = """Trains on one or several AcuSim roots: originals, and augmented versions of them, which belong to the
same part as their source; or, with a configuration of the hand, on a folder of labelme files. Persons, never pictures,
are divided into training, validation and test. The same command again continues an interrupted run, with the same
result as if it had never stopped."""
_log = logging.getLogger(__name__)


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "train a model, or continue with one"
    parser = add_command(commands, "train", TrainOptions, summary, description=DESCRIPTION, epilog=EPILOG)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.cli import hand, head
    from training.cli.training_run import ensure_free
    from training.config import load_config
    from training.hardware import Hardware
    from training.tasks.hand_config import HandConfig
    from training.tasks.head_config import HeadConfig

    options = TrainOptions.of(arguments)
    frozen = [f"train.freeze={options.freeze}"] if options.freeze else []
    config = load_config(options.config).with_settings([*options.set, *frozen])
    hardware = Hardware(options.device)
    _log.debug("task %s, device %s, %d processes", config.TASK, hardware.device, hardware.world)
    try:
        ensure_free(options.out, hardware)
        if isinstance(config, HeadConfig):
            return head.train(config, options, hardware)
        assert isinstance(config, HandConfig)
        if options.teacher:
            raise ConfigError(f"--teacher: {config.name} is a configuration of the hand; only the head has teachers")
        return hand.train(config, options, hardware)
    finally:
        hardware.close()
