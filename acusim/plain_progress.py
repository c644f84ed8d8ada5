"""Progress as lines of text, for a standard error that goes to a file or a pipe and cannot show a bar."""

import time
from collections.abc import Callable

from acusim.pace import duration_text, rate_text

PLAIN_SECONDS = 10.0
"""Time between two lines."""


class PlainProgress:
    """Writes a line at the start and then every ten seconds, however many tasks there are.

    Args:
        write: called with each line.
    """

    def __init__(self, write: Callable[[str], None]):
        self._write = write
        self._what: str | None = None
        self._started = self._last = 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Reports progress.

        Args:
            what: name of the task.
            done: items that are done.
            total: all items.
            note: added in brackets.
        """
        now = time.monotonic()
        first = self._what is None
        if what != self._what:
            self._what, self._started = what, now
        if not first and now - self._last <= PLAIN_SECONDS:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-9)
        speed = (
            f", {rate_text(rate)}, {duration_text((total - done) / rate)} left" if done and now > self._started else ""
        )
        self._write(f"{what}: {done} of {total}{speed}{f' ({note})' if note else ''}")
