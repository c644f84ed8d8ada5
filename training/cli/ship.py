"""``ship``: writes a run as a model that comes with the package."""

import argparse
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError
from training.cli.console import OK, message
from training.cli.options import RunOptions, add_command, add_run, option
from training.settings import TaskName

DESCRIPTION = """Writes a run's best checkpoint as a model to ship: config.toml, weights as fp16 (at most 8 MB), for
hands points.toml, and card.md. Every command that takes a RUN takes the folder, too. The same run and card give the
same bytes."""
MAX_CARD_BYTES = 1 << 20


class ShipOptions(RunOptions):
    """The command's options."""

    name: TaskName = option()
    """Name of the model, which is what the run finds."""
    card: Path = option(metavar="F.md")
    """Text of the card: data, recipe, figures, limits."""
    out: Path | None = option(None, "DIR", shown="that of the package")
    """Folder of the model."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "write a run as a model that comes with the package"
    parser = add_command(commands, "ship", ShipOptions, summary, description=DESCRIPTION)
    add_run(parser)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.runs import open_run
    from training.shipped.writing import ship

    options = ShipOptions.of(arguments)
    card = _text(options.card)
    shipped = ship(open_run(options.run_path, options.checkpoint), card, options.out, options.name)
    message(f"{shipped.folder}: {shipped.bytes / 1e6:.1f} MB, SHA-256 {shipped.sha256}")
    return OK


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_CARD_BYTES + 1)
        if len(data) > MAX_CARD_BYTES:
            raise ConfigError(f"--card {str(path)!r} is larger than {MAX_CARD_BYTES >> 20} MiB; give a text")
        return data.decode()
    except OSError as error:
        raise ConfigError(f"--card {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--card {str(path)!r} is not UTF-8 text") from None
