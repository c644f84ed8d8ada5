"""``describe``: layers, parameters and operations of a configuration."""

import argparse
import json
from typing import Any

from acusim.errors import ConfigError
from training.cli.console import OK
from training.cli.options import RUN_HELP, ConfigOptions, add_command, option, positional

DESCRIPTION = """Prints the layers of a configuration, its true parameter counts, and the FLOPs of one picture; as JSON
also all settings. With a RUN, those of the model."""


class DescribeOptions(ConfigOptions):
    """The command's options."""

    run: str | None = positional(None)
    """A trained model instead of a configuration."""
    json_: bool = option(False, flag="--json")
    """Print JSON."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "layers, parameters and FLOPs"
    parser = add_command(commands, "describe", DescribeOptions, summary, description=DESCRIPTION)
    parser.add_argument("run", nargs="?", metavar="RUN", help=f"instead of --config: {RUN_HELP}")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.config import load_config, read_config
    from training.inference.describe import as_text, describe, network_on_meta
    from training.shipped import model_path
    from training.shipped.files import CONFIG_FILE, check_installed

    options = DescribeOptions.of(arguments)
    if options.run and ("config" in options.model_fields_set or options.set):
        raise ConfigError(f"RUN {options.run!r} has its own settings; omit --config and --set")
    if options.run:
        path = model_path(options.run)
        check_installed(path)
        config = read_config(path / CONFIG_FILE)
    else:
        config = load_config(options.config).with_settings(list(options.set))
    network, size = network_on_meta(config)
    found = {"config": config.as_dict(), **describe(network, (1, 3, size, size), depth=2)}
    print(json.dumps(found, ensure_ascii=False) if options.json_ else as_text(found))
    return OK
