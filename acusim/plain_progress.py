"""Progress as lines of text, for where no bar can be drawn: standard error that goes to a file or a pipe."""

import time
from collections.abc import Callable

from acusim.pace import duration_text, rate_text

PLAIN_SECONDS = 10.0
"""A line is written this often."""


class PlainProgress:
    """Writes a line when something begins and then every ten seconds, however many things there are.

    Args:
        write: called with each line.
    """

    def __init__(self, write: Callable[[str], None]):
        self._write = write
        self._what: str | None = None
        self._begun = self._last = 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """So many of so many are done.

        Args:
            what: is worked on.
            done: how many are done.
            total: of how many.
            note: is added in brackets.
        """
        now = time.monotonic()
        first = self._what is None
        if what != self._what:
            self._what, self._begun = what, now
        if not first and now - self._last <= PLAIN_SECONDS:
            return
        self._last = now
        rate = done / max(now - self._begun, 1e-9)
        speed = (
            f", {rate_text(rate)}, {duration_text((total - done) / rate)} left" if done and now > self._begun else ""
        )
        self._write(f"{what}: {done} of {total}{speed}{f' ({note})' if note else ''}")
