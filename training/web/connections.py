"""Connections that end: uvicorn's protocol with limits on what a sender leaves unfinished, and on how much one holds.

uvicorn waits for ever for the rest of a request's head, for a body that nobody reads, and for a reader that stops
reading. Bodies that the application reads have their limits in uploads.py.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from training.web.clients import client_of
from training.web.guard import HEADERS, refusal_of_head
from training.web.refusals import Refusal, failure

HEAD_BYTES = 64 << 10
"""Of a request's head; h11 refuses longer ones."""
ROOM_SECONDS, RETRY_SECONDS = 2.0, 0.02
"""For which a new connection waits for room where all others have a request under way; how often it looks."""
LINGER_SECONDS = 1.0
"""For which what still comes is read and dropped after a refusal: hanging up on it would take the refusal back."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may take. See also uploads.Limits."""

    head_seconds: float = 10.0
    """For a request's head, from its first byte on; also for a new connection to send one, and for what comes after an
    answer that did not wait for the request's end."""
    sending_seconds: float = 60.0
    """For the other end to take what was sent."""
    most: int = 256
    """Connections at a time."""
    most_of_one: int = 192
    """Of them from one address. Behind a proxy on this machine all have one address."""
    look_seconds: float = 0.5
    """Between two looks at the clock."""


def protocol(limits: ConnectionLimits = ConnectionLimits()) -> Any:  # noqa: B008  frozen
    """For uvicorn's setting ``http``."""
    return partial(Connection, limits)


class Connection(H11Protocol):
    """One connection.

    Where there is no room for a new one, that which has waited longest without a request under way makes room, first
    among those of the same address if that has too many. So whoever opens connections and leaves them keeps nobody out.
    """

    def __init__(self, limits: ConnectionLimits, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._head = bytearray()
        self._since = self._flushed = 0.0
        self._inside = self._leaving = False
        self.address = ""

    @property
    def answering(self) -> bool:
        """Whether a request is under way."""
        return self.cycle is not None and not self.cycle.response_complete and not self._leaving

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not taken."""
        return self.transport.get_write_buffer_size()

    # --- what asyncio and uvicorn call ---

    def connection_made(self, transport: Any) -> None:
        """Takes a connection on."""
        super().connection_made(transport)
        self.address = client_of(self.client[0] if self.client else "")
        self._since = self._flushed = self.loop.time()
        self._timer = self.loop.call_later(self._limits.look_seconds, self._look)
        self._enter()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what has come; keeps a head until it is whole, to say what is wrong with it."""
        if self._leaving:
            return
        if not self.answering:
            if not self._head:
                self._since = self.loop.time()
            self._head += data[: HEAD_BYTES - len(self._head)]
        super().data_received(data)
        if self.answering:
            self._head.clear()

    def on_response_complete(self) -> None:
        """The next request's time begins."""
        self._since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """The answer to what is no HTTP."""
        self._refuse(refusal_of_head(bytes(self._head), cut=len(self._head) >= HEAD_BYTES))

    def shutdown(self) -> None:
        """The server ends: what is being answered is finished, uploads on their way are not waited for."""
        if self._leaving:
            self.transport.close()
        elif self.transport.is_closing():
            return
        elif self.answering and self.cycle.more_body:
            self._refuse(Refusal("stopping", True))
        else:
            super().shutdown()

    # --- limits ---

    def _look(self) -> None:
        now, limits = self.loop.time(), self._limits
        if not self.unsent:
            self._flushed = now
        if now - self._flushed > limits.sending_seconds:
            self.transport.abort()
            return
        late = now - self._since > (LINGER_SECONDS if self._leaving else limits.head_seconds)
        if late and not (self.answering or self.unsent or self.transport.is_closing()):
            if self._head and self.conn.our_state is h11.IDLE:
                self._refuse(Refusal("unfinished", True, seconds=round(limits.head_seconds)))
            else:
                self.transport.close()
        self._timer = self.loop.call_later(limits.look_seconds, self._look)

    def _enter(self) -> None:
        """Begins to read once there is room."""
        if self.transport.is_closing() or self._leaving:
            return
        if self._finds_room():
            self._inside = True
            self.flow.resume_reading()
        elif self.loop.time() - self._since > ROOM_SECONDS or len(self.connections) > 4 * self._limits.most:
            self._refuse(Refusal("busy", True))
        else:
            self._thin_out()
            if not self._leaving:
                self.flow.pause_reading()
                self.loop.call_later(RETRY_SECONDS, self._enter)

    def _thin_out(self) -> None:
        """Where too many wait for room, refuses the first of the address that has most of them."""
        others = (one for one in self.connections if isinstance(one, Connection))
        waiting = [one for one in others if not (one._inside or one._leaving)]
        if len(waiting) > self._limits.most:
            most_common = Counter(one.address for one in waiting).most_common(1)[0][0]
            first = min((one for one in waiting if one.address == most_common), key=lambda one: one._since)
            first._refuse(Refusal("busy", True))

    def _finds_room(self) -> bool:
        others: list[Connection] = [one for one in self.connections if isinstance(one, Connection) and one._inside]
        others = [one for one in others if one.unsent or not one.transport.is_closing()]
        own = [one for one in others if one.address == self.address]
        if len(own) < self._limits.most_of_one:
            if len(others) < self._limits.most:
                return True
            own = others
        waiting = [one for one in own if not one.answering]
        if not waiting:
            return False
        min(waiting, key=lambda one: (one.unsent > 0, one._since)).transport.abort()
        return True

    def _refuse(self, refusal: Refusal) -> None:
        """Answers, where no answer has begun, and hangs up soon."""
        if self.cycle is not None:  # what works on the request finds nobody to send to
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = failure(refusal)
            headers = response.raw_headers + [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]
            reason = STATUS_PHRASES[response.status_code]
            answer = h11.Response(status_code=response.status_code, headers=headers, reason=reason)
            with contextlib.suppress(h11.LocalProtocolError):  # an answer to HEAD has no body
                events = (answer, h11.Data(data=bytes(response.body)), h11.EndOfMessage())
                self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self._leaving, self._since = True, self.loop.time()
        self._head.clear()
        self.transport.write_eof()
        self.flow.resume_reading()
