"""The command: ``python -m training``."""

import argparse
import sys
from collections.abc import Sequence

from acusim.command_line import Parser, start_logging
from acusim.errors import AcuSimError, TrainingError
from acusim.folders import os_error_reason
from acusim.processes import terminating
from training.cli import coco, compare, describe, evaluate, export, predict, serve, ship, train
from training.cli.console import DIVERGED, EPILOG, ERROR, INTERRUPTED, OK, PROBLEMS

__all__ = ["DIVERGED", "ERROR", "INTERRUPTED", "OK", "PROBLEMS", "build_parser", "main"]
EXAMPLES = """examples:
  %(prog)s train --data ACUSIM --data AUGMENTED --out RUN
  %(prog)s evaluate RUN --data ACUSIM --out REPORT
  %(prog)s compare RUN RUN2 --out COMPARISON
  %(prog)s predict photo.jpg --out PREDICTED
  %(prog)s predict RUN photo.jpg --out PREDICTED
  %(prog)s export RUN --onnx model.onnx
  %(prog)s serve
  %(prog)s serve --head RUN --hand RUN
  %(prog)s describe --config A1+B1 --json
  %(prog)s train --config hand_hrnet --data HANDS --out RUN
  accelerate launch --num_processes 8 -m training train --data ACUSIM --out RUN"""
COMMANDS = (train, evaluate, compare, predict, export, serve, describe, ship, coco)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    about = "Trains acupoint detectors, measures them and puts them to use."
    parser = Parser("training", description=about, epilog=f"{EXAMPLES}\n\n{EPILOG}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_arguments(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    start_logging(options)
    try:
        with terminating():
            return options.func(options)
    except AcuSimError as error:
        print(f"error: {error}", file=sys.stderr)
        return DIVERGED if isinstance(error, TrainingError) else ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output went away
        return OK
    except OSError as error:  # a file that can no longer be read or written: no fault of the program
        where = f"{error.filename!r}: " if error.filename else ""
        print(f"error: {where}{os_error_reason(error)}", file=sys.stderr)
        return ERROR
