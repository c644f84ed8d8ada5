"""The state of servers, and of the batches on their way to becoming images."""

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

from engines.comfyui.binding import Binding
from engines.comfyui.client import Client
from engines.comfyui.listener import PromptProgress
from engines.comfyui.transport import Submission, Transport

TRIES = 2
"""How often the same thing may go wrong with a task before its images are skipped."""


@dataclass(slots=True, eq=False)
class Server:
    """One server and what is known of it."""

    client: Client
    binding: Binding
    transport: Transport
    facts: dict[str, Any]
    """For each result created here."""
    limit: int
    """The most images in a prompt; halved when memory runs out."""
    spare: Transport | None = None
    """Another transport, in case the server turns out to be unable to save on this one."""
    slots_used: int = 0
    up: bool = True
    down_reason: str = ""
    excluded: str = ""
    """Why it gets no more work in this run; "" if it may."""
    retry_at: float = 0.0
    retry_wait: float = 0.0
    losses: int = 0
    """Times it became unreachable since its last image."""
    failed_batches: set[int] = field(default_factory=set)
    """Origins of the batches that failed since its last image, for no reason of their own."""
    strays: set[str] = field(default_factory=set)
    """Prompts that moved on while the server was unreachable; it may still hold them."""
    socket_noted: bool = False
    """A note says that no socket can be opened there."""
    probing: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True, eq=False)
class Task:
    """Some requests on their way to becoming images, by one prompt at a time."""

    positions: tuple[int, ...]
    """Of the requests in the caller's list."""
    faults: dict[str, int] = field(default_factory=dict)
    """Kind of fault -> how often it happened."""
    tried: tuple[Server, ...] = ()
    """Servers that it failed on, the latest last; others are preferred for the next try."""
    origin: int = field(default_factory=itertools.count().__next__)
    """The same for a task and those split from it."""
    failed_single: set[Server] = field(default_factory=set)
    """Servers that it failed on as a single image."""
    server: Server | None = None
    """Where its prompt is, or was before the server became unreachable."""
    prompt_id: str = ""
    transport: Transport | None = None
    """On which it was sent."""
    submission: Submission | None = None
    progress: PromptProgress | None = None
    ran: bool = False
    """The prompt was seen running."""

    def may_retry(self, fault: str) -> bool:
        """Counts a fault; whether the task may be tried once more."""
        self.faults[fault] = self.faults.get(fault, 0) + 1
        return self.faults[fault] < TRIES

    def tried_with(self, server: Server) -> tuple[Server, ...]:
        """``tried`` once it failed on a server, too."""
        return (*(other for other in self.tried if other is not server), server)

    def split(self, size: int) -> "list[Task]":
        """Tasks of at most ``size`` images that start afresh, on other servers if possible."""
        starts = range(0, len(self.positions), size)
        return [Task(self.positions[s : s + size], tried=self.tried, origin=self.origin) for s in starts]

    def clear_prompt(self) -> None:
        """It has no prompt on any server any more."""
        self.server, self.progress, self.submission = None, None, None
