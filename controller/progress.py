"""What a batch says while it works: to standard error, so that --json keeps standard output clean."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from controller.plan import Plan

PLAIN_SECONDS = 10.0
"""Without a terminal, a line is printed this often."""
ASIDE_SHOWN = 20


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

    def advance(self, made: int, aside: int) -> None:
        """So many are made and set aside by now."""
        now = time.monotonic()
        rate = made / max(now - self._begun, 1e-9)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=min(made + aside, self._total), rate=f"{rate:.1f}/s")
        elif now - self._last > PLAIN_SECONDS:
            self._last = now
            left = (self._total - made - aside) / max(rate, 1e-9)
            self.note(f"{made} of {self._total}, {rate:.1f}/s, {left:.0f} s left, {aside} set aside")

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
