"""What the fleet keeps account of: servers, and batches on their way."""

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

from engines.comfyui.binding import Binding
from engines.comfyui.client import Client
from engines.comfyui.listener import Watch
from engines.comfyui.transport import Asked, Transport

TRIES = 2
"""How often the same thing may go wrong with a task before its pictures are set aside."""


@dataclass(slots=True, eq=False)
class Server:
    """One server and what is known of it."""

    client: Client
    binding: Binding
    transport: Transport
    facts: dict[str, Any]
    """For each result made here."""
    limit: int
    """The most pictures in a prompt; halved when memory runs out."""
    spare: Transport | None = None
    """Another way, for when the server turns out not to be able to save on this one."""
    held: int = 0
    """Tasks that have a slot here."""
    up: bool = True
    trouble: str = ""
    """Why it is down."""
    bad: str = ""
    """Why it gets no more work in this run; "" if it may."""
    retry_at: float = 0.0
    wait: float = 0.0
    losses: int = 0
    """Times it became unreachable since it last made a picture."""
    failed: set[int] = field(default_factory=set)
    """Origins of the batches that failed since it last made a picture, for no reason of their own."""
    strays: set[str] = field(default_factory=set)
    """Prompts that moved on while the server was unreachable; it may still hold them."""
    socket_noted: bool = False
    """A note says that no socket can be opened there."""
    probing: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True, eq=False)
class Task:
    """Some requests on their way to becoming pictures, by one prompt at a time."""

    positions: tuple[int, ...]
    """Of the requests in the caller's list."""
    faults: dict[str, int] = field(default_factory=dict)
    """What went wrong how often."""
    tried: tuple[Server, ...] = ()
    """Servers that it failed on, the latest last; others are preferred for the next try."""
    origin: int = field(default_factory=itertools.count().__next__)
    """The same for a task and its parts."""
    alone: set[Server] = field(default_factory=set)
    """Servers that it failed on as a single picture."""
    server: Server | None = None
    """Where its prompt is, or was before the server became unreachable."""
    prompt_id: str = ""
    transport: Transport | None = None
    """On which it was sent."""
    asked: Asked | None = None
    watch: Watch | None = None
    ran: bool = False
    """The prompt was seen running."""

    def again(self, fault: str) -> bool:
        """Notes a fault; whether the task may be tried once more."""
        self.faults[fault] = self.faults.get(fault, 0) + 1
        return self.faults[fault] < TRIES

    def after(self, server: Server) -> tuple[Server, ...]:
        """``tried`` once it failed on a server, too."""
        return (*(other for other in self.tried if other is not server), server)

    def parts(self, size: int) -> "list[Task]":
        """The task in pieces that begin anew, on other servers if there are."""
        starts = range(0, len(self.positions), size)
        return [Task(self.positions[s : s + size], tried=self.tried, origin=self.origin) for s in starts]
