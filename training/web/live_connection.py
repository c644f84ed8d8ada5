"""uvicorn's websocket with limits on what the other end leaves unfinished or unread. What is said on it: live.py."""

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from training.web.connections import LINGER_SECONDS, ConnectionLimits

FRAME_BYTES = 4 << 20
"""Of a message; a larger one ends the connection."""
FRAGMENTS = 1024
"""Of a message; one in more pieces ends the connection. Browsers send one."""
UNSENT_BYTES = 1 << 20
"""Answers to pings that the other end does not read; more end the connection."""
TOO_LARGE = 1009
"""Code of a closed websocket."""


def live_protocol(limits: ConnectionLimits) -> Any:
    """For uvicorn's setting ``ws``."""
    return partial(LiveConnection, limits)


class LiveConnection(WebSocketsSansIOProtocol):
    """One websocket. uvicorn waits forever for a handshake that it cannot read, and for a reader that stops reading."""

    def __init__(self, limits: ConnectionLimits, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._since = self._flushed = self.loop.time()
        self._leaving = False

    # --- called by asyncio and uvicorn ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection asks to become a websocket."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._limits.check_seconds, self._check_times)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived; after a close they are dropped."""
        if self._leaving:
            return
        super().data_received(data)
        if self.transport.get_write_buffer_size() > UNSENT_BYTES:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        """A further piece of a message."""
        if self._leaving:
            return
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
        else:
            self.conn.fail(TOO_LARGE, "too many fragments")
            self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """A message is complete; texts are passed on as bytes, which need not be UTF-8."""
        self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Says why it closes, and closes a little later: closing at once would discard the reason."""
        closing = self.conn.close_sent
        assert closing is not None
        self.queue.put_nowait({"type": "websocket.disconnect", "code": closing.code, "reason": closing.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self._leaving = True
        self.frames = []
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    async def send(self, message: Any) -> None:
        """A message of the application; a refusal of the handshake completes it, too."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def shutdown(self) -> None:
        """The server ends."""
        if self.handshake_initiated:
            super().shutdown()
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)  # where the other end does not read
        else:
            self.transport.abort()

    # --- limits ---

    def _check_times(self) -> None:
        now, limits = self.loop.time(), self._limits
        if not self.transport.get_write_buffer_size():
            self._flushed = now
        unfinished = not self.handshake_complete and now - self._since > limits.head_seconds
        if unfinished or now - self._flushed > limits.sending_seconds:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(limits.check_seconds, self._check_times)
