"""SIGINT and SIGTERM: the first lets running work be finished, the second stops at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from acusim.processes import SIGNALS


class Stop:
    """Counts signals while it is open. Where nothing is running, the first one already raises KeyboardInterrupt."""

    def __init__(self, note: Callable[[str], None]):
        self._note = note
        self._before: dict[int, Any] = {}
        self.count = 0
        self.draining = False
        """True while there is running work that a first signal should let finish."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._caught) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if not self.draining or self.count > 1:
            raise KeyboardInterrupt
        self._note("stopping: finishing what is running (once more to stop now)")
