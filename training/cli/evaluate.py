"""``evaluate``: measures a trained model on a data set."""

import argparse
import json
import logging
from typing import Any

from acusim.errors import ConfigError
from training.cli.console import Bars, exit_code, message
from training.cli.options import EvaluateOptions, add_command, add_run
from training.io.skipped import FILE, SkippedFiles

DESCRIPTION = """Measures a run's best checkpoint on the persons that it was not trained on, beside baselines that see
no picture, and writes results.json, tables and report.html."""
_log = logging.getLogger(__name__)


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "measure a trained model on a data set"
    parser = add_command(commands, "evaluate", EvaluateOptions, summary, description=DESCRIPTION)
    add_run(parser)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.cli import hand, head
    from training.hardware import Hardware
    from training.runs import open_run

    options = EvaluateOptions.of(arguments)
    device = Hardware(options.device).device
    trained = open_run(options.run_path, options.checkpoint, device)
    _log.debug("%s, checkpoint %s of epoch %d, on %s", trained.kind, trained.checkpoint, trained.epoch, device)
    bars, table = Bars(options.quiet), SkippedFiles(options.out / FILE)
    if trained.kind == "head":
        results, problems = head.evaluate(trained, options, device, bars)
    elif options.coco or options.results or options.weak:
        raise ConfigError("--coco, --results and --weak are for runs of heads; this one is of hands")
    else:
        results, problems = hand.evaluate(trained, options, device, bars)
    table.write(problems)
    if options.json_:
        print(json.dumps(results, ensure_ascii=False))
    else:
        message(f"see {options.out / 'report.html'}")
    return exit_code(problems)
