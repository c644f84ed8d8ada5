"""The websocket of one server: the progress of our prompts, and when it is worth polling for them.

Nothing is decided by what comes through here. It wakes whoever waits and moves the progress bar; a socket that is
dropped or falls silent costs a little time and nothing else.
"""

import json
import socket
import ssl
import threading
import time
import uuid
from typing import Any, cast
from urllib.parse import urlsplit

import websocket

from engines.comfyui.access import Access
from engines.comfyui.errors import safe_text
from engines.comfyui.times import Times

MAX_MESSAGE = 32 << 20
"""Bytes; more are not held in memory."""
SWITCHED = 101
"""The status of a handshake that succeeded."""
TEXT_OR_BINARY = (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY)


class _Broken(Exception):
    """The socket must be replaced."""


class _Refused(Exception):
    """The handshake was answered by another status."""


class _Stream:
    """A connection that ends where the handshake or a message is too large; websocket-client itself has no limit."""

    def __init__(self, url: str, timeout: float):
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "wss"
        stream = socket.create_connection((host, parts.port or (443 if secure else 80)), timeout)
        for option in websocket.DEFAULT_SOCKET_OPTION:
            stream.setsockopt(*option)
        self._stream = ssl.create_default_context().wrap_socket(stream, server_hostname=host) if secure else stream
        self.received = 0
        """Bytes of the current message."""

    def recv(self, size: int) -> bytes:
        data = self._stream.recv(size)
        self.received += len(data)
        if self.received > MAX_MESSAGE:
            raise _Broken(f"a message of more than {MAX_MESSAGE} bytes")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PromptProgress:
    """What the socket reported of one prompt."""

    def __init__(self, sampling: frozenset[str]):
        self.sampling = sampling
        """Ids of the nodes whose steps count."""
        self.wake = threading.Event()
        """Set when it is worth polling the server."""
        self.fraction = 0.0
        self.steps: tuple[int, int] | None = None
        """Of the sampler: done, total."""
        self.node = ""
        """Id of the node that runs."""
        self.last_message = time.monotonic()
        """When the server last sent something about this prompt."""

    def handle(self, kind: str, data: dict[str, Any]) -> None:
        """Takes a message about this prompt."""
        self.last_message = time.monotonic()
        if kind == "executing" and data.get("node") is None:
            # The only message that comes after the history entry; it reports an end, not which.
            self.wake.set()
        elif kind == "executing":
            self.node = str(data["node"])
        elif kind == "progress" and str(data.get("node")) in self.sampling:
            self._step(data)
        elif kind == "progress_state" and isinstance(data.get("nodes"), dict):
            for node, state in data["nodes"].items():
                if str(node) in self.sampling and isinstance(state, dict):
                    self._step(state)

    def _step(self, state: dict[str, Any]) -> None:
        value, top = state.get("value"), state.get("max")
        if not (isinstance(value, int | float) and isinstance(top, int | float) and 0 <= value <= top and top >= 1):
            return
        if value / top >= self.fraction:
            self.fraction, self.steps = value / top, (int(value), int(top))


class Listener:
    """One daemon thread that keeps a socket open, under a new client id each time."""

    def __init__(self, url: str, times: Times, access: Access | None = None):
        self._access = access or Access()
        self._address = "ws" + url.removeprefix("http") + "/ws"
        self._times = times
        self._prompts: dict[str, PromptProgress] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._retry_now = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: websocket.WebSocket | None = None
        self.connected = threading.Event()
        self.settled = threading.Event()
        """Set when it is known whether there is a socket: one is open, or the server refuses it."""
        self.client_id = uuid.uuid4().hex
        """Of the socket now open, or of the one tried next."""
        self.last_error = ""
        """Why the last socket ended."""
        self.refusal = ""
        """Why no socket can be opened: the answer of the server, or of a login in front of it; "" if one was opened."""

    def start(self) -> None:
        """Starts to connect; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="comfyui-socket", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the thread and its socket."""
        self._closed.set()
        self._retry_now.set()
        connection = self._socket
        if connection is not None:
            connection.abort()  # ends the thread's recv
        if self._thread is not None:
            self._thread.join(timeout=1)  # it may be connecting to a server that does not answer; it is a daemon

    def retry_now(self) -> None:
        """Connects at once if it waits to try again: the server is back."""
        self._retry_now.set()

    def watch(self, prompt_id: str, sampling: frozenset[str]) -> PromptProgress:
        """The progress of a prompt, from now on."""
        with self._lock:
            return self._prompts.setdefault(prompt_id, PromptProgress(sampling))

    def forget(self, prompt_id: str) -> None:
        """Messages about this prompt are no longer of interest."""
        with self._lock:
            self._prompts.pop(prompt_id, None)

    def wake_all(self) -> None:
        """Wakes everyone who waits for a prompt."""
        with self._lock:
            for prompt in self._prompts.values():
                prompt.wake.set()

    def probe(self) -> str:
        """Why no socket can be opened, "" if one can; it is closed again at once."""
        try:
            connection, _ = self._open()
            connection.close(timeout=0)
        except Exception as error:  # whatever a server sends
            return safe_text(error or type(error).__name__, 200)
        return ""

    def _run(self) -> None:
        first, longest = self._times.socket_backoff
        wait = first
        while not self._closed.is_set():
            # A socket that closes late takes the messages of a newer one under the same id with it.
            self.client_id = uuid.uuid4().hex
            try:
                self._listen()
            except Exception as error:  # whatever a server sends, the thread continues
                self.last_error = safe_text(error or type(error).__name__, 200)
                if isinstance(error, _Refused):
                    self.refusal = self.last_error
                    self.settled.set()
            wait = first if self.connected.is_set() else min(2 * wait, longest)
            self.connected.clear()
            if not self.refusal:
                self.settled.clear()
            # Whatever was sent meanwhile is lost.
            self.wake_all()
            self._retry_now.wait(wait)
            self._retry_now.clear()

    def _open(self) -> tuple[websocket.WebSocket, _Stream]:
        """A socket; no redirect is followed: the headers are for this server alone."""
        connection = websocket.WebSocket(skip_utf8_validation=True)  # text that is not valid is no reason to reconnect
        stream = _Stream(self._address, self._times.connect)
        status = None
        try:
            connection.connect(
                f"{self._address}?clientId={self.client_id}",
                timeout=self._times.connect,
                socket=cast(socket.socket, stream),
                redirect_limit=0,
                header=self._access.lines,
                cookie=self._access.cookie,
            )
        except websocket.WebSocketBadStatusException as error:
            status = error.status_code
        except websocket.WebSocketException:
            if connection.status in (None, SWITCHED):
                raise
        status = status or connection.status
        if status != SWITCHED:
            stream.close()
            raise _Refused(f"the websocket is refused (HTTP {status})")
        return connection, stream

    def _listen(self) -> None:
        connection, stream = self._open()
        self.refusal = ""
        self._socket = connection
        try:
            connection.settimeout(min(1.0, self._times.silent / 4))
            self.connected.set()
            self.settled.set()
            self._receive(connection, stream)
        finally:
            self._socket = None
            connection.close(timeout=0)

    def _receive(self, connection: websocket.WebSocket, stream: _Stream) -> None:
        last = time.monotonic()
        while not self._closed.is_set():
            try:
                opcode, frame = connection.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if not self._prompts:
                    last = time.monotonic()
                elif time.monotonic() - last > self._times.silent:
                    raise _Broken(f"silent for {self._times.silent:g} s") from None
                continue
            stream.received = 0
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise _Broken("closed by the server")
            if opcode in TEXT_OR_BINARY:
                last = time.monotonic()
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self._message(frame.data)

    def _message(self, text: bytes) -> None:
        try:
            message = json.loads(text)
            kind, data = message["type"], message["data"]
            prompt = self._prompts.get(data["prompt_id"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # status messages, other people's extensions, nonsense
        if prompt is not None and isinstance(kind, str):
            prompt.handle(kind, data)
