"""Who gets which task, and what becomes of it when a worker dies: the same for processes and clusters."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic

from acusim.errors import AcuSimError, EngineError
from acusim.parallel.host import Handle, Host
from acusim.parallel.messages import (
    STOP,
    Dropped,
    Ended,
    Given,
    Raised,
    Ready,
    Reported,
    Result,
    Returned,
    Task,
    Watched,
)  # fmt: skip

PREFETCH = 2
"""Tasks of each worker for each that it works on: one running, one waiting, so that none is idle."""
DEATHS_ALLOWED = 2
"""A task on which so many workers died is given up."""
PLACE_DEATHS_ALLOWED = 3
"""In a row, of the workers of one place, without a result in between."""
TICK_SECONDS = 0.2
MORE_SECONDS = 2.0
"""How often it is asked for new places."""


@dataclass(frozen=True, slots=True)
class Died:
    """In place of a result: workers died on the task."""

    how: str
    """Of the last one."""

    def __str__(self) -> str:
        """For people."""
        return f"{DEATHS_ALLOWED} worker processes died on it ({self.how}){_guess(self.how)}"


@dataclass(slots=True, eq=False)
class _Item(Generic[Task]):
    """A task, and how many workers died on it."""

    number: int
    task: Task
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Member(Generic[Task]):
    """A worker, and what it was given."""

    handle: Handle
    items: dict[int, _Item[Task]] = field(default_factory=dict[int, _Item[Any]])
    """In the order in which they were given; the first ``concurrency`` of them are running."""
    concurrency: int = 0
    """0 while it is not ready."""
    suspect: bool = False
    """Whether it has a suspect, and nothing else."""


@dataclass(frozen=True, slots=True)
class Calls(Generic[Task]):
    """What the pool calls meanwhile."""

    started: Callable[[Task], None]
    reported: Callable[[int], None]
    watched: Callable[[str, Any], None]
    said: Callable[[str], None]
    split: Callable[[Task], Sequence[Task]]


class Pool(Generic[Task, Result]):
    """Workers and tasks of one run."""

    def __init__(self, host: Host, tasks: Iterator[Task], prefetch: int, calls: Calls[Task]):
        self._host, self._tasks, self._prefetch, self._calls = host, tasks, prefetch, calls
        self._members: dict[Handle, _Member[Task]] = {}
        self._again: deque[_Item[Task]] = deque()
        """Tasks that waited at a worker which died."""
        self._suspects: deque[_Item[Task]] = deque()
        """Tasks on which a worker died."""
        self._numbers = itertools.count()
        self._exhausted = self._stopping = False
        self._failed_starts = 0
        self._asked = -MORE_SECONDS

    def hand_out(self, stopping: bool) -> bool:
        """Gives workers tasks, a suspect only where nothing else is running.

        Args:
            stopping: whether to hand out no more.

        Returns:
            Whether there is something to wait for.
        """
        if stopping and not self._stopping:
            self._stopping = True
            for each in self._members.values():
                with suppress(OSError):
                    each.handle.send(STOP)
        if not self._stopping:
            self._recruit()
            self._hand_out_suspects()
            tried = self._suspects or any(each.suspect for each in self._members.values())
            if not (tried and self._host.shared_memory):
                self._fill()
        waiting = bool(self._suspects or self._again) or not self._exhausted
        return any(each.items for each in self._members.values()) or (waiting and not self._stopping)

    def _recruit(self) -> None:
        if time.monotonic() - self._asked >= MORE_SECONDS:
            for handle in self._host.more():
                self._members[handle] = _Member(handle)
                if self._asked >= 0:
                    self._calls.said(f"{handle.place.name}: a new worker")
            if not self._members and self._asked < 0:
                raise EngineError(self._host.empty)
            self._asked = time.monotonic()

    def _hand_out_suspects(self) -> None:
        free = [each for each in self._members.values() if each.concurrency and not each.items]
        if self._host.shared_memory:
            free = free[:1] if not any(each.items for each in self._members.values()) else []
        for member, _ in zip(free, range(len(self._suspects)), strict=False):
            member.suspect = True
            self._give(member, self._suspects.popleft())

    def _fill(self) -> None:
        members = [each for each in self._members.values() if not each.suspect]
        # Each gets one before any gets two; while one still starts, none gets a second that it could do. A worker that
        # has to become free for a suspect gets none.
        prefetch = self._prefetch if all(each.concurrency for each in self._members.values()) else 1
        if self._suspects:
            members = members[1:]
        for depth in range(max((each.concurrency for each in members), default=0) + prefetch - 1):
            for each in members:
                if each.concurrency and len(each.items) <= depth < each.concurrency + prefetch - 1:
                    item = self._next()
                    if item is None:
                        return
                    self._give(each, item)

    def _next(self) -> _Item[Task] | None:
        if self._again:
            return self._again.popleft()
        for task in self._tasks:
            return _Item(next(self._numbers), task)
        self._exhausted = True
        return None

    def _give(self, member: _Member[Task], item: _Item[Task]) -> None:
        try:
            member.handle.send(Given(item.number, item.task))
        except OSError:  # it just died, which is noticed when it is received from
            (self._suspects if item.deaths else self._again).appendleft(item)
            member.suspect = False
            return
        member.items[item.number] = item
        self._calls.started(item.task)

    def received(self) -> Iterator[tuple[Task, Result | Died]]:
        """Waits for messages, but not for long; what is done."""
        for handle, message in self._host.receive(TICK_SECONDS):
            member = self._members.get(handle)
            if member is None:
                continue
            if isinstance(message, Returned | Dropped):
                item = member.items.pop(message.number)
                member.suspect = False
                if isinstance(message, Returned):
                    handle.place.deaths = 0
                    yield item.task, message.result
            elif isinstance(message, Ready):
                member.concurrency = message.concurrency
            elif isinstance(message, Reported):
                self._calls.reported(message.count)
            elif isinstance(message, Watched):
                self._calls.watched(handle.place.name, message.value)
            elif isinstance(message, Raised):
                self._raised(member, message.error)
            elif isinstance(message, Ended):
                yield from self._ended(member, message.how)

    def _raised(self, member: _Member[Task], error: Exception) -> None:
        """An error of a task ends all; one of a worker that could not be prepared, where the host says so.

        Raises:
            Exception: the error.
        """
        if member.concurrency:
            raise error
        self._refuse(member, _named(member, error))

    def _refuse(self, member: _Member[Task], error: Exception) -> None:
        self._host.refuse(member.handle, error)
        self._members.pop(member.handle, None)
        self._calls.said(str(error))
        self._ensure_any(error)

    def _ensure_any(self, error: Exception) -> None:
        """Raises the error where no worker is left."""
        if not self._members and not self._stopping:
            raise error

    def _ended(self, member: _Member[Task], how: str) -> Iterator[tuple[Task, Died]]:
        """Replaces a worker that is gone; its tasks go back, the running ones as suspects.

        Raises:
            EngineError: it was never ready, and others are not either; or its place had too many in a row.
        """
        del self._members[member.handle]
        place, items = member.handle.place, list(member.items.values())
        if not self._stopping and not member.concurrency:
            self._failed_starts += 1
            if self._failed_starts >= DEATHS_ALLOWED or not any(each.concurrency for each in self._members.values()):
                error = EngineError(f"a worker process died while it started ({how}){_guess(how)}")
                self._refuse(member, _named(member, error))
                return
        # The death of one that had a single task for itself is the task's fault, not the place's.
        place.deaths += 0 if member.suspect else 1
        for item in items[: member.concurrency]:
            item.deaths += 1
            if item.deaths >= DEATHS_ALLOWED:
                yield item.task, Died(how)
            else:
                parts = self._calls.split(item.task)
                self._suspects.extend(_Item(next(self._numbers), part, item.deaths) for part in parts)
        self._again.extend(items[member.concurrency :])
        if self._stopping:
            return
        reason = f"a worker process died ({how})"
        if place.deaths > PLACE_DEATHS_ALLOWED:
            self._refuse(
                member, _named(member, EngineError(f"{reason}, {place.deaths} times in a row without a result"))
            )
            return
        again = self._host.replace(member.handle)
        if again:
            self._members[again] = _Member(again)
        then = "another takes its place" if again else "its place is gone"
        self._calls.said(str(_named(member, EngineError(f"{reason}; {then}"))))
        self._ensure_any(EngineError(f"{reason}, and no other is left"))

    def close(self, patience: float) -> None:
        """Ends all workers, as Host.close; those that are not prepared yet have nothing to lose."""
        for each in self._members.values():
            if not each.concurrency:
                each.handle.kill()
        self._host.close(patience)


def _guess(how: str) -> str:
    """What usually ends a process that says nothing."""
    return "; out of memory?" if how.startswith("exit code") else ""


def _named(member: _Member[Any], error: Exception) -> Exception:
    """One of our errors, with the name of the worker's place in front."""
    name = member.handle.place.name
    return type(error)(f"{name}: {error}") if name and isinstance(error, AcuSimError) else error
