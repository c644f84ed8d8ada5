"""``predict``: finds the acupoints in image files."""

import argparse
import contextlib
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError
from training.cli.console import Bars, list_skipped, message
from training.cli.options import DeviceOptions, RunOptions, add_command, add_run, option, positional
from training.io.skipped import FILE, SkippedFiles

DESCRIPTION = f"""Finds the acupoints in pictures: for each a JSON file with all of them, and a picture with the visible
ones. What cannot be used is skipped, and listed with its reason in {FILE}."""


class PredictOptions(DeviceOptions, RunOptions):
    """The command's options."""

    images: tuple[Path, ...] = positional()
    """Files and folders."""
    out: Path = option(metavar="DIR")
    """Folder of the results."""
    threshold: float | None = option(None, "P", gt=0, lt=1, shown="0.5, for hands 0.3")
    """Probability, or height of the heatmap's peak, from which a point is visible; between 0 and 1."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "find the acupoints in pictures"
    parser = add_command(commands, "predict", PredictOptions, summary, description=DESCRIPTION)
    add_run(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="PNG or JPEG, or a folder of them")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.hardware import Hardware
    from training.inference.loading import model_of
    from training.inference.predict import Outcome, predict_files
    from training.runs import open_run

    options = PredictOptions.of(arguments)
    device = Hardware(options.device).device
    model = model_of(open_run(options.run, options.checkpoint, device), device)
    bars, table, outcome = Bars(options.quiet), SkippedFiles(options.out / FILE), Outcome()
    try:
        predict_files(
            model,
            options.images,
            options.out,
            threshold=options.threshold,
            outcome=outcome,
            progress=lambda done, total: bars("pictures", done, total),
        )
    except BaseException:
        bars.close()
        with contextlib.suppress(AcuSimError):  # the first error is the one to report
            if outcome.inspected:
                table.write(outcome.problems, outcome.inspected)
        raise
    bars.close()
    message(f"{len(outcome.written)} pictures in {options.out}")
    return list_skipped(outcome.problems, table, outcome.inspected)
