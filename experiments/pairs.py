"""Commands that measure something on every pair of an original and its augmented image."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from acusim.command_line import USAGE, missing_packages_explained
from acusim.errors import AcuSimError, ConfigError
from acusim.options import given_options
from acusim.parallel import Died, Work, run
from evaluation.run import plan
from evaluation.settings import PairSettings
from evaluation.subjects import Task, prepare, tasks_of
from evaluation.thresholds import Thresholds

T = TypeVar("T")


def measured(
    name: str, settings: PairSettings, measure: Callable[[Task, Work], list[T] | str], nothing: str
) -> tuple[dict[Task, list[T]], int]:
    """Measures all pairs, each in a prepared process; those that cannot be are reported and left out.

    Args:
        name: of the command, for messages.
        settings: which pairs.
        measure: the rows of a pair, or why there are none.
        nothing: what to say if no pair has any.

    Returns:
        The rows of each pair that has some, in the order of the pairs, and the exit code: 2 where pairs are left out.

    Raises:
        ConfigError: no pair has any.
    """
    tasks = tasks_of(plan(settings).pairs)
    found: dict[Task, list[T]] = {}
    code = 0
    answers = run(measure, tasks, settings.workers, prepare=prepare, arguments=(settings,))
    for task, answer in tqdm(answers, total=len(tasks), unit="pair"):
        if isinstance(answer, Died | str):
            print(f"{name}: {task.pair.augmented} is left out: {answer}", file=sys.stderr)
            code = 2
        elif answer:
            found[task] = answer
    if not found:
        raise ConfigError(nothing)
    return {task: found[task] for task in tasks if task in found}, code  # whichever was done first


def run_on_pairs(
    name: str, options: argparse.Namespace, command: Callable[[PairSettings], int], thresholds: Path | None = None
) -> int:
    """Runs a command with the settings of a command line; returns the exit code."""
    with missing_packages_explained():
        try:
            given = {"workers": len(os.sched_getaffinity(0)), **given_options(options, PairSettings)}
            return command(PairSettings(**given, thresholds=Thresholds.from_toml(thresholds)))
        except AcuSimError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return USAGE
