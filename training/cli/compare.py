"""``compare``: several training runs by epoch, in one plot for each figure."""

import argparse
from pathlib import Path
from typing import Any

from training.cli.console import OK, message
from training.cli.options import CommandOptions, add_command, option, positional

DESCRIPTION = """Draws the figures of several runs over each other, by epoch: accuracy, errors, losses, uncertainty.
Writes compare.html, with a table of what each run reached, and every plot as PNG and PDF."""


class CompareOptions(CommandOptions):
    """The command's options."""

    runs: tuple[Path, ...] = positional()
    """Folders of train, or their metrics.csv."""
    out: Path = option(metavar="DIR")
    """Folder of compare.html and plots/."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "several training runs in one plot for each figure"
    parser = add_command(commands, "compare", CompareOptions, summary, description=DESCRIPTION)
    help_text = "folder of train, or its metrics.csv; several are drawn over each other"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=help_text)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.eval.run_curves import read_curves, write_comparison

    options = CompareOptions.of(arguments)
    page = write_comparison(read_curves(options.runs), options.out)
    message(f"see {page}")
    return OK
