"""How long the engine waits for what, in seconds. Tests shorten it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """All waits of the engine."""

    connect: float = 5.0
    """For a connection."""
    read: float = 60.0
    """For the next bytes of an answer."""
    socket: float = 3.0
    """For the socket, before a prompt is sent without it."""
    silent: float = 60.0
    """A socket that says nothing for so long, although a prompt is out, is replaced."""
    socket_backoff: tuple[float, float] = (0.2, 10.0)
    """First and longest wait between two tries to open the socket."""
    look: float = 5.0
    """For a prompt to show up whose POST broke off."""
    poll: float = 2.0
    """Between two questions for a prompt; the socket makes it sooner."""
    blink: float = 0.5
    """Before a failed connection is tried once more."""
    stall: float = 60.0
    """For a server that runs nothing to take up a prompt."""
    progress: float = 1800.0
    """For a sign of life of a prompt that runs."""
    settle: float = 0.5
    """For a server to let go of its memory."""
    backoff: tuple[float, float] = (0.5, 10.0)
    """First and longest wait between two tries to reach a server that is down."""
    patience: float = 300.0
    """For any server to come back, before the batch ends."""
