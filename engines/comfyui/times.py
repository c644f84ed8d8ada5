"""All waits of the engine, in seconds. Tests shorten them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long to wait for what."""

    connect: float = 5.0
    """For a connection."""
    read: float = 60.0
    """For the next bytes of an answer."""
    socket: float = 3.0
    """For the socket, before a prompt is sent without it."""
    silent: float = 60.0
    """A socket without any message for so long, although a prompt is queued, is replaced."""
    socket_backoff: tuple[float, float] = (0.2, 10.0)
    """First and longest wait between two tries to open the socket."""
    confirm: float = 5.0
    """For a prompt to appear whose POST broke off."""
    poll: float = 2.0
    """Between two polls for a prompt; the socket may shorten it."""
    retry: float = 0.5
    """Before a failed connection is tried once more."""
    stall: float = 60.0
    """For an idle server to start a prompt."""
    progress: float = 1800.0
    """For a sign of progress of a running prompt."""
    settle: float = 0.5
    """For a server to free its memory."""
    backoff: tuple[float, float] = (0.5, 10.0)
    """First and longest wait between two tries to reach a server that is down."""
    patience: float = 300.0
    """For any server to come back, before the batch ends with an error."""
