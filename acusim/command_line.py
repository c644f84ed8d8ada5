"""What the commands have in common."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

USAGE = 1
"""Exit code of wrong usage. argparse's own, 2, means here that some items could not be worked on."""
OUR_PACKAGES = (
    "acusim",
    "synthetic",
    "engines",
    "reporting",
    "evaluation",
    "training",
    "controller",
    "comfy_nodes",
    "benchmarks",
)


class Parser(argparse.ArgumentParser):
    """Ends with USAGE where the arguments are wrong; its help shows every default and keeps the epilog's lines.

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
        """Prints how it is used and what is wrong."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def add_verbosity(parser: "argparse._ActionsContainer") -> None:
    """Adds ``-v`` and ``-q``, which every command has; ``start_logging`` reads them."""
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done in detail, to stderr")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no notes; warnings and errors only")


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
    """Adds each option's default to its help, so that it is written once, where the option is defined."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        none = action.default is None or action.default is False or action.default in ("", argparse.SUPPRESS, [])
        return text if none or "(default" in text or not action.option_strings else f"{text} (default: %(default)s)"


def program(module: str) -> str:
    """What the user typed to run a package's command: its console script, its file, or ``python -m`` and its name."""
    called = Path(sys.argv[0])
    if called.stem.startswith("acusim-"):
        return called.stem
    return f"python {called}" if called.name == f"{module}.py" else f"python -m {module}"


@contextmanager
def missing_packages_explained() -> Iterator[None]:
    """Turns the lack of a third-party package into a message that says how to install it, and exit code USAGE.

    The imports of a command belong inside, as well as its run: heavy packages are imported where they are needed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in OUR_PACKAGES or not package or find_spec(package):
            raise
        print(f"error: {_advice(package)}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    except KeyboardInterrupt:  # while packages are imported; a running command answers it itself
        raise SystemExit(130) from None


def _advice(package: str) -> str:
    lack = f"the package {package!r} is not installed for {sys.executable}"
    if find_spec("numpy") is None:
        return f"{lack}; run `make demo` first, which installs what the project needs, and then use .venv/bin/python"
    return (
        f"{lack}; training, diffusion in this process and the web page need more than the demo: run `make install` in "
        "a clone and use .venv/bin/python, or `pip install 'acusim-augment[all]'` where the project is installed by pip"
    )
