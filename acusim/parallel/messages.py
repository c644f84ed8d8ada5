"""What the owner of worker processes and its workers send each other.

The owner sends a Given for each task, STOP and CLOSE; all else comes from the worker.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

STOP, CLOSE = "stop", "close"


@dataclass(frozen=True, slots=True)
class Work:
    """What a function is given beside its task."""

    state: Any
    """What ``prepare`` gave in this worker; None without it."""
    report: Callable[[int], None]
    """Says that so many parts of the task are done."""
    stopping: Callable[[], bool]
    """Whether the task should end early, with what it has."""
    place: str = ""
    """Name of the worker's place, for messages; "" where places do not differ."""


Function = Callable[[Task, Work], Result]
Prepare = Callable[..., AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """What all workers of a run are started with."""

    function: Function[Any, Any]
    prepare: Prepare | None = None
    arguments: tuple[Any, ...] = ()
    """Of ``prepare``."""
    watch: Callable[[Any], Any] | None = None
    """Looks at the state, several times a second and after each task; what it gives is sent whenever it is another."""


@dataclass(frozen=True, slots=True)
class Given:
    """A task."""

    number: int
    task: Any


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is prepared."""

    concurrency: int
    """Tasks that it works on at the same time."""


@dataclass(frozen=True, slots=True)
class Reported:
    """So many parts of a task are done."""

    count: int


@dataclass(frozen=True, slots=True)
class Watched:
    """What ``watch`` gave."""

    value: Any


@dataclass(frozen=True, slots=True)
class Returned:
    """A task is done."""

    number: int
    result: Any


@dataclass(frozen=True, slots=True)
class Dropped:
    """A task was not started, because the run is stopping."""

    number: int


@dataclass(frozen=True, slots=True)
class Raised:
    """``prepare`` or the function raised an error."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker is gone. Made by what received from it."""

    how: str
    """Such as "exit code 1"."""
