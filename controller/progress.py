"""Progress and notes of a batch, on standard error, so that --json keeps standard output clean."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from acusim.pace import Pace, duration_text, rate_text
from acusim.plain_progress import PLAIN_SECONDS
from controller.planning import PlannedBatch

NAMED = 20
"""So many items or notes of one kind are printed."""


class Progress:
    """Progress bar on a terminal, plain lines elsewhere, nothing at all when quiet."""

    def __init__(self, quiet: bool = False, verbose: bool = False):
        """Starts nothing yet.

        Args:
            quiet: print nothing at all.
            verbose: print lines on a terminal, too, because a log goes there.
        """
        self._lines = verbose
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar: Bar | None = None
        self._task = None
        self._total = 0
        self._pace = Pace(0)
        self._last = 0.0
        self._phases: set[str] = set()
        self._skipped = 0

    def note(self, text: str) -> None:
        """One line a user should read."""
        self._console.print(text, markup=False, soft_wrap=True)

    def plan(self, batch: PlannedBatch) -> None:
        """What is about to be created."""
        for warning in batch.warnings:
            self.note(f"scene {warning}")
        plan = batch.plan
        sets = ", ".join(f"{name} {count}" for name, count in plan.prompt_sets.items())
        self.note(f"plan: {len(plan.items)} images ({sets or 'none'})")
        for entry in plan.evidence:
            self.note(f"hair code {entry}")
        for text in plan.notes[:NAMED]:
            self.note(f"note: {text}")
        if len(plan.notes) > NAMED:
            self.note(f"note: and {len(plan.notes) - NAMED} more, see --dry-run --json")

    def begin(self, total: int) -> None:
        """Starts the clock."""
        self._total, self._pace, self._last = total, Pace(total), time.monotonic()
        if self._console.is_terminal and not self._lines:
            columns = (TextColumn("augmenting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[state]}", markup=False), console=self._console)
            self._task = self._bar.add_task("augmenting", total=total, state="")
            self._bar.start()

    def advance(self, created: int, skipped: int, work_in_progress: float = 0.0, activity: str = "") -> None:
        """Updates the display.

        Args:
            created: images that are written.
            skipped: images that are skipped.
            work_in_progress: work done on the running ones, in images.
            activity: what the engine does now, such as "server samples: step 3 of 12"; "" if it does not report it.
        """
        now = time.monotonic()
        self._pace.update(now, created, skipped, work_in_progress)
        rate, left = self._pace.rate, self._pace.left
        state = [rate_text(rate)] if rate is not None else []
        state += [f"{duration_text(left)} left"] if left is not None else []
        state += [activity] if activity else []
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._pace.completed, state=", ".join(state))
            return
        phase = activity.partition(":")[0]
        if now - self._last > PLAIN_SECONDS or (phase and phase not in self._phases):
            self._last = now
            self._phases.add(phase)
            self.note(", ".join([f"{created} of {self._total}", *state, f"{skipped} skipped"]))

    def skipped(self, key: str, reason: str) -> None:
        """An item was skipped."""
        self._skipped += 1
        if self._skipped <= NAMED:
            self.note(f"skipped: {key}: {reason}")

    def end(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
