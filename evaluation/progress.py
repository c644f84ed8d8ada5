"""What a run says while it works: to standard error, so that --json keeps standard output clean."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from acusim.pace import duration_text, rate_text

PLAIN_SECONDS = 10.0
"""Without a terminal, a line is printed this often."""


class Progress:
    """Progress bar with the time left on a terminal, plain lines elsewhere, nothing at all when quiet."""

    def __init__(self, quiet: bool = False):
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar: Bar | None = None
        self._begun = self._last = 0.0

    def note(self, text: str) -> None:
        """One line a user should read."""
        self._console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._begun = self._last = time.monotonic()
        if self._console.is_terminal and not self._console.quiet:
            columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TextColumn("left"), TimeRemainingColumn(), console=self._console)
            self._bar.add_task("measuring", total=None)
            self._bar.start()
        return self

    def advance(self, done: int, total: int) -> None:
        """So many of so many items are done."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        elif done and now - self._last > PLAIN_SECONDS:
            self._last = now
            rate = done / max(now - self._begun, 1e-9)
            self.note(f"{done} of {total}, {rate_text(rate)}, {duration_text((total - done) / rate)} left")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
