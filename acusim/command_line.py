"""Parser, logging and messages shared by all commands."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

USAGE = 1
"""Exit code of wrong usage. argparse's own, 2, means here that some items were skipped."""
OUR_PACKAGES = (
    "acusim",
    "synthetic",
    "engines",
    "reporting",
    "evaluation",
    "training",
    "controller",
    "comfy_nodes",
    "experiments",
    "benchmarks",
)


class Parser(argparse.ArgumentParser):
    """Exits with USAGE where the arguments are wrong; its help shows every default and keeps the epilog's lines.

    Args:
        module: the package that the command runs, such as "training"; the command's own name is derived from it.
        words: what follows that name, such as "hands".
        description: what the command does.
        epilog: exit codes and examples; ``%(prog)s`` stands for the command's name.
    """

    def __init__(self, module: str | None = None, words: str = "", **settings: object):
        if module is not None:
            settings["prog"] = f"{program(module)} {words}".strip()
        settings.setdefault("formatter_class", _Formatter)
        super().__init__(**settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Prints the usage and what is wrong, and exits."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def add_verbosity(parser: "argparse._ActionsContainer") -> None:
    """Adds ``-v`` and ``-q``, which every command has; ``start_logging`` reads them."""
    parser.add_argument("-v", "--verbose", action="store_true", help="log every step to stderr")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress; warnings, errors, what was done")


def start_logging(args: argparse.Namespace) -> None:
    """Sends the project's log to stderr: warnings with ``-q``, notes by default, everything with ``-v``."""
    level = logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for room in OUR_PACKAGES:
        logger = logging.getLogger(room)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Adds each option's default to its help."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        none = action.default is None or action.default is False or action.default in ("", argparse.SUPPRESS, [])
        return text if none or "(default" in text or not action.option_strings else f"{text} (default: %(default)s)"


def program(module: str) -> str:
    """How the user started a package's command: its console script, its file, or ``python -m`` and its name."""
    called = Path(sys.argv[0])
    if called.stem.startswith("acusim-"):
        return called.stem
    return f"python {called}" if called.name == f"{module}.py" else f"python -m {module}"


@contextmanager
def missing_packages_explained() -> Iterator[None]:
    """Turns a missing third-party package into a message on how to install it, and exit code USAGE.

    Both the imports and the run of a command belong inside: heavy packages are imported where they are needed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in OUR_PACKAGES or not package or find_spec(package):
            raise
        print(f"error: {_advice(package)}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    except KeyboardInterrupt:  # during imports; a running command handles it itself
        raise SystemExit(130) from None


def _advice(package: str) -> str:
    missing = f"the package {package!r} is not installed for {sys.executable}"
    if find_spec("numpy") is None:
        return f"{missing}; run `make demo` first, which installs the required packages, then use .venv/bin/python"
    return (
        f"{missing}; training, the embedded engine and the web page need more than the demo: run `make install` in a "
        "clone and use .venv/bin/python, or `pip install 'acusim-augment[all]'` where the project was installed by pip"
    )
