"""How the benchmarks take time."""

import time
from collections.abc import Callable


def best_of(count: int, call: Callable[[], object], wait: Callable[[], None] = lambda: None) -> float:
    """Seconds of the fastest of some calls.

    Args:
        count: how many.
        call: what is timed.
        wait: returns when the device has done what it was given; before the clock starts and before it stops.
    """
    seconds: list[float] = []
    for _ in range(count):
        wait()
        started = time.perf_counter()
        call()
        wait()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
