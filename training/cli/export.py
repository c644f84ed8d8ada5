"""``export``: writes a model as ONNX."""

import argparse
from pathlib import Path
from typing import Any

from training.cli.console import OK, message
from training.cli.options import RunOptions, add_command, add_run, option

DESCRIPTION = """Writes a model as ONNX, and checks it in onnxruntime against PyTorch before it gets its name."""


class ExportOptions(RunOptions):
    """The command's options."""

    onnx: Path = option(metavar="F.onnx")
    """File to write."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    parser = add_command(commands, "export", ExportOptions, "write a model as ONNX", description=DESCRIPTION)
    add_run(parser)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.inference.export import export_run
    from training.runs import open_run

    options = ExportOptions.of(arguments)
    differences = export_run(open_run(options.run_path, options.checkpoint), options.onnx)
    text = ", ".join(f"{name} {value:.2g}" for name, value in differences.items())
    size = options.onnx.stat().st_size / 1e6
    message(f"{options.onnx}: {size:.1f} MB; largest difference in onnxruntime: {text}")
    return OK
