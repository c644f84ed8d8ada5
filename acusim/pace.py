"""Rates and durations as text, and the remaining time of work that advances in fractions of items."""


def rate_text(per_second: float) -> str:
    """A rate in the unit that gives a readable number: per second, minute or hour."""
    if per_second >= 0.1:
        return f"{per_second:.1f}/s" if per_second >= 1 else f"{per_second:.2f}/s"
    if 60 * per_second >= 0.1:
        return f"{60 * per_second:.1f}/min"
    return f"{3600 * per_second:.1f}/h"


def duration_text(seconds: float) -> str:
    """A duration in at most two units, such as ``95 s``, ``12 min``, ``3 h 20 min`` or ``2 d 5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


class Pace:
    """Rate and remaining time of a run whose items advance in fractions, such as images in sampler steps.

    The clock starts at the first progress, so that loading models is not taken for slow work. The fractions of failed
    items do not count, but the estimate never goes back because of them.
    """

    def __init__(self, total: int):
        self._total = total
        self._first: tuple[float, float] | None = None
        self._work = 0.0
        self._now = 0.0
        self._failed = 0

    def update(self, now: float, done: int, failed: int = 0, work_in_progress: float = 0.0) -> None:
        """Records the state at a time in seconds: items done, items failed, and the fractions of those in progress."""
        work = done + work_in_progress
        if self._first is None and work > 0:
            self._first = now, work
        # Between an item's last fraction and the item itself, the sum dips for a moment.
        self._work, self._now, self._failed = max(self._work, work), now, failed

    @property
    def rate(self) -> float | None:
        """Items per second; None as long as it is unknown."""
        if self._first is None:
            return None
        since, before = self._first
        if self._work <= before or self._now <= since:
            return None
        return (self._work - before) / (self._now - since)

    @property
    def completed(self) -> float:
        """Items that are done or failed, with the fractions of those in progress."""
        return min(self._work + self._failed, self._total)

    @property
    def left(self) -> float | None:
        """Seconds until everything is done; None as long as it is unknown."""
        rate = self.rate
        return (self._total - self.completed) / rate if rate else None
