"""uvicorn's protocol with limits on what a sender leaves unfinished, and on how many connections one sender holds.

uvicorn waits forever for the rest of a request's head, for a body that nobody reads, and for a reader that stops
reading. Bodies that the application reads have their limits in uploads.py.
"""

import base64
import binascii
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from training.web.clients import client_of
from training.web.guard import HEADERS, refusal_of_head
from training.web.refusals import Refusal, failure

LIVE_PATH = "/api/live"
"""Of the live camera's websocket."""
HEAD_BYTES = 64 << 10
"""Of a request's head; h11 refuses longer ones."""
ROOM_SECONDS, RETRY_SECONDS = 2.0, 0.02
"""How long a new connection waits for room where all others have a request in progress, and how often it checks."""
LINGER_SECONDS = 1.0
"""How long further bytes are read and dropped after a refusal: closing at once would discard the refusal."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may use. See also uploads.Limits."""

    head_seconds: float = 10.0
    """For a request's head, from its first byte; also for a new connection to send one, and for bytes after an answer
    that did not wait for the request's end."""
    sending_seconds: float = 60.0
    """For the other end to receive what was sent."""
    most: int = 256
    """Connections at a time."""
    most_of_one: int = 192
    """Of them from one address. Behind a proxy on this machine all have one address."""
    check_seconds: float = 0.5
    """Between two checks of the times."""


def protocol(limits: ConnectionLimits = ConnectionLimits()) -> Any:  # noqa: B008  frozen
    """For uvicorn's setting ``http``."""
    return partial(Connection, limits)


def is_handshake(scope: Mapping[str, Any]) -> bool:
    """Whether a request opens the live camera's websocket, by RFC 6455, and in a head that ``websockets`` reads."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    by_name = dict(headers)
    names = [name for name, _ in headers]
    try:
        key = base64.b64decode(by_name.get(b"sec-websocket-key", b""), validate=True)
    except binascii.Error:
        return False
    target = len(scope["raw_path"]) + len(scope["query_string"])
    lines = [target + len(b"GET ? HTTP/1.1"), *(len(name) + len(b": ") + len(value) for name, value in headers)]
    return (
        (scope["path"], scope["method"], scope["http_version"]) == (LIVE_PATH, "GET", "1.1")
        and len(key) == 16
        and by_name.get(b"sec-websocket-version") == b"13"
        and names.count(b"sec-websocket-key") == names.count(b"sec-websocket-version") == 1
        and not {b"content-length", b"transfer-encoding"} & set(names)
        and len(headers) <= MAX_NUM_HEADERS
        and max(lines) + len(b"\r\n") <= MAX_LINE_LENGTH
    )


class Connection(H11Protocol):
    """One connection.

    Where there is no room for a new one, the one that has waited longest without a request in progress is closed, first
    among those of the same address if that has too many. So idle connections keep nobody out.
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
        """Whether a request is in progress."""
        return self.cycle is not None and not self.cycle.response_complete and not self._leaving

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not received."""
        return self.transport.get_write_buffer_size()

    # --- called by asyncio and uvicorn ---

    def connection_made(self, transport: Any) -> None:
        """A connection is accepted."""
        super().connection_made(transport)
        self.address = client_of(self.client[0] if self.client else "")
        self._since = self._flushed = self.loop.time()
        self._timer = self.loop.call_later(self._limits.check_seconds, self._check_times)
        self._enter()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived; a head is kept until it is complete, to report what is wrong with it."""
        if self._leaving:
            return
        if not self.answering:
            if not self._head:
                self._since = self.loop.time()
            self._head += data[: HEAD_BYTES - len(self._head)]
        super().data_received(data)
        if self.answering:
            self._head.clear()

    def _should_upgrade_to_ws(self) -> bool:
        """Only the live camera's address; other requests are answered as if they did not ask for it."""
        return is_handshake(self.scope) and super()._should_upgrade_to_ws()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: what visitors send is not worth a line on the terminal."""

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The connection becomes a websocket, whose limits are those of live_connection.py."""
        self._timer.cancel()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """The next request's time starts."""
        self._since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """The answer to bytes that are not HTTP."""
        self._refuse(refusal_of_head(bytes(self._head), cut=len(self._head) >= HEAD_BYTES))

    def shutdown(self) -> None:
        """The server ends: requests that are being answered are finished, uploads in progress are not."""
        if self._leaving:
            self.transport.close()
        elif self.transport.is_closing():
            return
        elif self.answering and self.cycle.more_body:
            self._refuse(Refusal("stopping", True))
        else:
            super().shutdown()

    # --- limits ---

    def _check_times(self) -> None:
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
        self._timer = self.loop.call_later(limits.check_seconds, self._check_times)

    def _enter(self) -> None:
        """Starts to read once there is room."""
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
        """Where too many wait for room, refuses the oldest of the address that has most of them."""
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
        """Answers, where no answer has started, and closes soon."""
        if self.cycle is not None:  # its handler then finds nobody to send to
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
