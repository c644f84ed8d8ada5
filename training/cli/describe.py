"""``describe``: layers, parameters and operations of a configuration."""

import argparse
import json
from typing import Any

from training.cli.console import OK
from training.cli.options import ConfigOptions, add_command, option

DESCRIPTION = """Prints the layers of a configuration, its true parameter counts, and the FLOPs of one picture; as JSON
also all settings."""


class DescribeOptions(ConfigOptions):
    """The command's options."""

    json_: bool = option(False, flag="--json")
    """Print JSON."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "layers, parameters and FLOPs"
    parser = add_command(commands, "describe", DescribeOptions, summary, description=DESCRIPTION)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.config import load_config
    from training.inference.describe import as_text, describe, network_on_meta

    options = DescribeOptions.of(arguments)
    config = load_config(options.config).with_settings(list(options.set))
    network, size = network_on_meta(config)
    found = {"config": config.as_dict(), **describe(network, (1, 3, size, size), depth=2)}
    print(json.dumps(found, ensure_ascii=False) if options.json_ else as_text(found))
    return OK
