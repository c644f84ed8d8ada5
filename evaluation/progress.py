"""Progress of a run on standard error, so that --json keeps standard output clean."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from acusim.plain_progress import PlainProgress


class Progress:
    """Progress bar with the remaining time on a terminal, plain lines elsewhere, nothing at all when quiet."""

    def __init__(self, quiet: bool = False):
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._bar: Bar | None = None
        self._lines = PlainProgress(lambda text: print(text, file=sys.stderr, flush=True))

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TextColumn("left"), TimeRemainingColumn(), console=self._console)
            self._bar.add_task("measuring", total=None)
            self._bar.start()
        return self

    def advance(self, done: int, total: int) -> None:
        """Shows how many of how many items are done."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        elif not self._quiet:
            self._lines("measuring", done, total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
