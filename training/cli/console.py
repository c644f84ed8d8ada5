"""What the commands print on stderr: progress, messages, notes, and what was skipped; and their exit codes."""

import logging
import sys
from collections.abc import Collection, Sequence
from typing import Any

from acusim.command_line import USAGE
from acusim.layout import Problem
from acusim.plain_progress import PlainProgress
from training.io.skipped import SkippedFiles

OK, ERROR, PROBLEMS, DIVERGED, INTERRUPTED = 0, USAGE, 2, 3, 130
EPILOG = """exit codes: 0 done; 1 nothing was done, the message states why; 2 done, but some items were skipped, each
with its reason; 3 training cannot continue, its checkpoints are intact; 130 interrupted, the same command continues"""
SHOWN = 8
"""Problems that are printed; data.json or skipped.csv holds all."""
_log = logging.getLogger("training")


class Bars:
    """Progress on stderr: bars, one after the other, on a terminal; a line now and then where it goes to a file."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.bar: Any = None
        self.what: object = None
        self._lines = PlainProgress(message)

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

    def counter(self, what: str, total: int) -> Any:
        """A function that is called with how many more are done."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self(what, done, total)

        return advance

    def close(self) -> None:
        """Removes the bar."""
        if self.bar is not None:
            self.bar.close()
        self.bar = self.what = None


def message(text: str) -> None:
    """The outcome of a command, a line on stderr."""
    print(text, file=sys.stderr, flush=True)


def log_notes(notes: Sequence[str], problems: Sequence[Problem]) -> None:
    """Logs what a reader of the figures should know, and which files are not used."""
    for note in notes:
        _log.warning("note: %s", note)
    if problems:
        _log.warning("%d files are not used:\n%s", len(problems), "\n".join(_lines("  ", problems)))


def list_skipped(problems: Sequence[Problem], table: SkippedFiles, inspected: Collection[str] | None = None) -> int:
    """Lists what was skipped, all of it in a table; returns the exit code. ``inspected`` as for SkippedFiles.write.

    Raises:
        OutputError: the table cannot be written.
    """
    table.write(problems, inspected)
    for line in _lines("  skipped: ", problems):
        message(line)
    if problems:
        message(f"all {len(problems)} with their reasons: {table.path}")
    return PROBLEMS if problems else OK


def _lines(prefix: str, problems: Sequence[Problem]) -> list[str]:
    more = [f"  and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return [f"{prefix}{problem.path}: {problem.reason}" for problem in problems[:SHOWN]] + more


def exit_code(problems: Sequence[Problem]) -> int:
    """The exit code of a command that is done: whether a picture was skipped."""
    return PROBLEMS if any(problem.is_image for problem in problems) else OK


def as_json(problems: Sequence[Problem]) -> list[dict[str, str]]:
    """Problems as a run's data.json holds them."""
    return [{"path": problem.path, "reason": problem.reason} for problem in problems]
