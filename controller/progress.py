"""What a batch says while it works: to standard error, so that --json keeps standard output clean."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from acusim.pace import Pace, duration_text, rate_text
from acusim.plain_progress import PLAIN_SECONDS
from controller.plan import Plan

ASIDE_SHOWN = 20


class Progress:
    """Progress bar on a terminal, plain lines elsewhere, nothing at all when quiet."""

    def __init__(self, quiet: bool = False):
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar: Bar | None = None
        self._task = None
        self._total = 0
        self._pace = Pace(0)
        self._last = 0.0
        self._phases: set[str] = set()
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
        self._total, self._pace, self._last = total, Pace(total), time.monotonic()
        if self._console.is_terminal:
            columns = (TextColumn("augmenting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[state]}", markup=False), console=self._console)
            self._task = self._bar.add_task("augmenting", total=total, state="")
            self._bar.start()

    def advance(self, made: int, aside: int, work_in_progress: float = 0.0, doing: str = "") -> None:
        """Takes in where the batch is.

        Args:
            made: pictures that are made.
            aside: pictures that are set aside.
            work_in_progress: work done on those in hand, in pictures.
            doing: what the engine is at, such as "server samples: step 3 of 12"; "" if it does not say.
        """
        now = time.monotonic()
        self._pace.update(now, made, aside, work_in_progress)
        rate, left = self._pace.rate, self._pace.left
        state = [rate_text(rate)] if rate is not None else []
        state += [f"{duration_text(left)} left"] if left is not None else []
        state += [doing] if doing else []
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._pace.completed, state=", ".join(state))
            return
        phase = doing.partition(":")[0]
        if now - self._last > PLAIN_SECONDS or (phase and phase not in self._phases):
            self._last = now
            self._phases.add(phase)
            self.note(", ".join([f"{made} of {self._total}", *state, f"{aside} set aside"]))

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
