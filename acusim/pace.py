"""How fast and how long, in words; and how long still, from work that is done in parts."""


def rate_text(per_second: float) -> str:
    """A rate in the unit in which it is a number that one can read: a second, a minute, an hour."""
    if per_second >= 0.1:
        return f"{per_second:.1f}/s" if per_second >= 1 else f"{per_second:.2f}/s"
    if 60 * per_second >= 0.1:
        return f"{60 * per_second:.1f}/min"
    return f"{3600 * per_second:.1f}/h"


def duration_text(seconds: float) -> str:
    """A duration to two places at most, such as ``95 s``, ``12 min``, ``3 h 20 min`` or ``2 d 5 h``."""
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
    """Rate and time left of a run whose items become ready in parts, such as pictures in sampler steps.

    The clock starts at the first part that is seen, so that what comes before it (loading models) is not taken for
    slow work. What items that failed had done does not count, but the estimate never goes back for it.
    """

    def __init__(self, total: int):
        self._total = total
        self._first: tuple[float, float] | None = None
        self._work = 0.0
        self._now = 0.0
        self._over = 0

    def update(self, now: float, done: int, failed: int = 0, work_in_progress: float = 0.0) -> None:
        """Takes in the state at a time in seconds: items done, items given up, and parts of those in work."""
        work = done + work_in_progress
        if self._first is None and work > 0:
            self._first = now, work
        # Between the end of an item's last part and the item itself, the sum dips for a moment.
        self._work, self._now, self._over = max(self._work, work), now, failed

    @property
    def rate(self) -> float | None:
        """Items a second; None as long as it cannot be told."""
        if self._first is None:
            return None
        since, before = self._first
        if self._work <= before or self._now <= since:
            return None
        return (self._work - before) / (self._now - since)

    @property
    def completed(self) -> float:
        """Items that are done or given up, with the parts of those in work."""
        return min(self._work + self._over, self._total)

    @property
    def left(self) -> float | None:
        """Seconds until all is done; None as long as it cannot be told."""
        rate = self.rate
        return (self._total - self.completed) / rate if rate else None
