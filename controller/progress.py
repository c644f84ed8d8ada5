"""What a batch says while it works: to standard error, so that --json keeps standard output clean."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from controller.plan import Plan
from engines.engine import Check

PLAIN_SECONDS = 10.0
"""Without a terminal, a line is printed this often."""
ASIDE_SHOWN = 20
PLAIN_WIDTH = 160
"""Of a table that does not go to a terminal."""


class Progress:
    """Progress bar on a terminal, plain lines elsewhere, nothing at all when quiet."""

    def __init__(self, quiet: bool = False):
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar: Bar | None = None
        self._task = None
        self._total = 0
        self._begun = self._last = 0.0
        self._aside = 0

    def note(self, text: str) -> None:
        """One line a user should read."""
        self._console.print(text, markup=False, soft_wrap=True)

    def plan(self, plan: Plan) -> None:
        """What is about to be made."""
        sets = ", ".join(f"{name} {count}" for name, count in plan.prompt_sets.items())
        self.note(f"plan: {len(plan.items)} pictures ({sets or 'none'})")
        for entry in plan.evidence:
            self.note(f"hair code {entry}")
        for text in plan.notes[:ASIDE_SHOWN]:
            self.note(f"note: {text}")
        if len(plan.notes) > ASIDE_SHOWN:
            self.note(f"note: and {len(plan.notes) - ASIDE_SHOWN} more, see --dry-run --json")

    def begin(self, total: int) -> None:
        """Starts the clock."""
        self._total, self._begun, self._last = total, time.monotonic(), time.monotonic()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TimeRemainingColumn(), TextColumn("{task.fields[rate]}"), console=self._console)
            self._task = self._bar.add_task("augmenting", total=total, rate="")
            self._bar.start()

    def advance(self, made: int, aside: int, in_work: float = 0.0) -> None:
        """So many are made and set aside by now, and so much is done of those in hand (in pictures)."""
        now = time.monotonic()
        rate = (made + in_work) / max(now - self._begun, 1e-9)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=min(made + aside + in_work, self._total), rate=_rate(rate))
        elif now - self._last > PLAIN_SECONDS:
            self._last = now
            left = f"{(self._total - made - aside - in_work) / rate:.0f} s left, " if rate > 0 else ""
            self.note(f"{made} of {self._total}, {_rate(rate)}, {left}{aside} set aside")

    def aside(self, key: str, reason: str) -> None:
        """An item was set aside."""
        self._aside += 1
        if self._aside <= ASIDE_SHOWN:
            self.note(f"set aside: {key}: {reason}")

    def end(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _rate(rate: float) -> str:
    return f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"


def print_checks(checks: Sequence[Check]) -> None:
    """A preflight as a table on standard output, with what to do about each line that is not as it should be."""
    table = Table(box=None, pad_edge=False)
    for title in ("", "what", "found", "what to do"):
        table.add_column(title, overflow="fold")
    for check in checks:
        mark = {True: "[green]ok[/]", False: "[red]missing[/]", None: "[yellow]note[/]"}[check.ok]
        table.add_row(mark, *(escape(text) for text in (check.name, check.found, check.fix)))
    Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)
