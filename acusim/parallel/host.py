"""Where workers live: what the pool needs to know of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from acusim.parallel.messages import Job


@dataclass(slots=True, eq=False)
class Place:
    """Where a worker lives, and those that replace it when it dies."""

    name: str = ""
    """For messages, such as "GPU 4"; "" where places do not differ."""
    deaths: int = 0
    """In a row, without a result in between."""


class Handle(ABC):
    """The owner's side of a worker."""

    def __init__(self, place: Place):
        self.place = place

    @abstractmethod
    def send(self, message: Any) -> None:
        """Sends a message.

        Raises:
            OSError: the worker is gone, which ``Host.receive`` says too.
        """

    @abstractmethod
    def kill(self) -> None:
        """Ends the worker at once."""


class Host(ABC):
    """Starts workers, and carries messages."""

    shared_memory = True
    """Whether all workers share one memory: what may have been too large for it is then tried with nothing beside it,
    else with nothing beside it on its worker."""

    empty = "there are no workers"
    """What to say where there is no place for any."""

    @abstractmethod
    def open(self, job: Job, tasks: int | None) -> None:
        """Called once, before all else.

        Args:
            job: what workers are started with.
            tasks: how many there are, where that is known; more workers are of no use.
        """

    @abstractmethod
    def more(self) -> list[Handle]:
        """Workers that are started now: all of them at first, later those on places that are new."""

    @abstractmethod
    def replace(self, lost: Handle) -> Handle | None:
        """Starts a worker at the place of one that is gone; None where the place is gone too."""

    @abstractmethod
    def refuse(self, handle: Handle, error: Exception) -> None:
        """A worker could not be prepared, or dies again and again.

        Raises:
            Exception: the error, where the run cannot do without this worker.
        """

    @abstractmethod
    def receive(self, seconds: float) -> Iterator[tuple[Handle, Any]]:
        """Messages of workers, those that are gone included; waits for so long at most."""

    @abstractmethod
    def close(self, patience: float) -> None:
        """Ends all workers: running tasks are asked to end early, and killed after some time.

        Args:
            patience: seconds for all together; 0 kills at once.
        """
