"""How the commands talk to a person: progress bars, sentences and lists of what was set aside, on stderr."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acusim.errors import AcuSimError, OutputError
from acusim.layout import Problem
from acusim.plain_progress import PlainProgress
from training.cli.main import OK, PROBLEMS
from training.io.skipped import FILE, SetAside

if TYPE_CHECKING:
    from training.inference.predict import Outcome

SHOWN = 8
"""Problems that are printed; data.json or set_aside.csv holds all."""


class Bars:
    """Progress on stderr: bars, one after the other, on a terminal; lines now and then where it goes to a file."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.bar: Any = None
        self.what: object = None
        self._lines = PlainProgress(say)

    def __call__(self, what: object, done: int, total: int, note: str = "") -> None:
        """Shows how many of what are done."""
        if self.quiet:
            return
        if not sys.stderr.isatty():
            self._lines(str(what), done, total, note)
            return
        from tqdm import tqdm

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


def aside(problems: Sequence[Problem], table: SetAside, looked_at: Collection[str] | None = None) -> int:
    """Lists what was set aside, all of it in a table; returns the exit code. ``looked_at`` as for SetAside.write.

    Raises:
        OutputError: the table cannot be written.
    """
    table.write(problems, looked_at)
    _list("  set aside: ", problems)
    if problems:
        say(f"all {len(problems)} with their reasons: {table.path}")
    return PROBLEMS if problems else OK


@contextlib.contextmanager
def predicting(options: argparse.Namespace) -> Iterator[tuple["Outcome", Callable[[int, int], None]]]:
    """What ``predict`` does around the work: progress, and the table of what was set aside, also where it is cut off.

    Yields:
        Where to note what becomes of the pictures, and the progress.

    Raises:
        ConfigError: a file of somebody else lies where the table should be.
        OutputError: it cannot be written.
    """
    from training.inference.predict import Outcome

    bars, table, outcome = Bars(options.quiet), SetAside(options.out / FILE), Outcome()
    try:
        yield outcome, lambda done, total: bars("pictures", done, total)
    except BaseException:
        bars.close()
        with contextlib.suppress(AcuSimError):  # what broke the work off is more to the point
            if outcome.looked_at:
                table.write(outcome.problems, outcome.looked_at)
        raise
    bars.close()
    say(f"{len(outcome.written)} pictures in {options.out}")
    aside(outcome.problems, table, outcome.looked_at)


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
