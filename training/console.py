"""How the commands talk to a person: progress bars, sentences and lists of what was set aside, on stderr."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from acusim.errors import OutputError
from acusim.layout import Problem
from training.cli import OK, PROBLEMS

SHOWN = 8
"""Problems that are printed; data.json holds all."""


class Bars:
    """Progress bars on stderr, one after the other."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.bar: Any = None
        self.what: object = None

    def __call__(self, what: object, done: int, total: int, note: str = "") -> None:
        """Shows how many of what are done."""
        from tqdm import tqdm

        if self.quiet:
            return
        if what != self.what:
            self.close()
            self.what = what
            self.bar = tqdm(total=total, desc=str(what), leave=False, dynamic_ncols=True, mininterval=0.3)
        if note:
            self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Takes the bar away."""
        if self.bar is not None:
            self.bar.close()
        self.bar = self.what = None


def say(sentence: str) -> None:
    """A line on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def tell(notes: Sequence[str], problems: Sequence[Problem]) -> None:
    """What a reader of the figures should know, and what could not be used."""
    for note in notes:
        say(f"note: {note}")
    if problems:
        say(f"{len(problems)} files take no part:")
        _list("  ", problems)


def aside(problems: Sequence[Problem]) -> int:
    """Lists what was set aside; returns the exit code."""
    _list("  set aside: ", problems)
    return PROBLEMS if problems else OK


def _list(prefix: str, problems: Sequence[Problem]) -> None:
    for problem in problems[:SHOWN]:
        say(f"{prefix}{problem.path}: {problem.reason}")
    if len(problems) > SHOWN:
        say(f"  and {len(problems) - SHOWN} more")


def exit_code(problems: Sequence[Problem]) -> int:
    """What a command that went through returns: whether a picture was set aside."""
    return PROBLEMS if any(problem.is_image for problem in problems) else OK


def as_json(problems: Sequence[Problem]) -> list[dict[str, str]]:
    """Problems as a run's data.json holds them."""
    return [{"path": problem.path, "reason": problem.reason} for problem in problems]


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Tells what the file system says of a file or folder that is being written.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{str(target)!r} cannot be written: {error.strerror or error}") from None


def cache_folder(options: argparse.Namespace) -> Path:
    """Where decoded pictures are kept."""
    if options.cache:
        return options.cache
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acusim-augment"


def workers_of(options: argparse.Namespace) -> int:
    """Processes that decode."""
    return options.workers or os.cpu_count() or 1
