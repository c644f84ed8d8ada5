"""The websocket of one server: how far our prompts are, and when it is worth to ask for them.

Nothing is decided by what comes through here. It wakes who waits and moves the progress bar; a socket that is dropped
or falls silent costs a little time and nothing else.
"""

import json
import threading
import time
import uuid
from typing import Any

import websocket

from engines.comfyui.access import Access
from engines.comfyui.errors import words
from engines.comfyui.times import Times

MAX_FRAME = 32 << 20
SWITCHED = 101
"""The status of a handshake that succeeded."""
TEXT_OR_BINARY = (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY)


class _Broken(Exception):
    """The socket is to be replaced."""


class _Refused(Exception):
    """The handshake is answered by a status."""


class _Frames(websocket.frame_buffer):
    """Frames of a size that can be held."""

    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > MAX_FRAME:
            raise _Broken(f"a message of {self.length} bytes")


class Watch:
    """What the socket told about one prompt."""

    def __init__(self, sampling: frozenset[str]):
        self.sampling = sampling
        """Ids of the nodes whose steps count."""
        self.wake = threading.Event()
        """Set when something happened that makes it worth to ask the server."""
        self.fraction = 0.0
        self.steps: tuple[int, int] | None = None
        """Of the sampler: done, and in all."""
        self.node = ""
        """Id of the node that runs."""
        self.heard = time.monotonic()
        """When the server last said something of this prompt."""

    def told(self, kind: str, data: dict[str, Any]) -> None:
        """Takes in a message of this prompt."""
        self.heard = time.monotonic()
        if kind == "executing" and data.get("node") is None:
            # The only message that comes after the history entry; it tells of an end, not of which.
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
        value, most = state.get("value"), state.get("max")
        if not (isinstance(value, int | float) and isinstance(most, int | float) and 0 <= value <= most and most >= 1):
            return
        if value / most >= self.fraction:
            self.fraction, self.steps = value / most, (int(value), int(most))


class Listener:
    """One daemon thread that keeps a socket open, under a new client id each time."""

    def __init__(self, url: str, times: Times, access: Access | None = None):
        self._access = access or Access()
        self._address = "ws" + url.removeprefix("http") + "/ws"
        self._times = times
        self._watches: dict[str, Watch] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._now = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: websocket.WebSocket | None = None
        self.connected = threading.Event()
        self.settled = threading.Event()
        """It is known whether there is a socket: one is open, or the server refuses it."""
        self.client_id = uuid.uuid4().hex
        """Of the socket now open, or of the one tried next."""
        self.connections = 0
        self.trouble = ""
        """Why the last socket ended."""
        self.refused = ""
        """Why no socket can be opened: how the server, or a login in front of it, answers; "" where one was opened."""

    def start(self) -> None:
        """Begins to connect; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="comfyui-socket", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the thread and its socket."""
        self._closed.set()
        self._now.set()
        socket = self._socket
        if socket is not None:
            socket.abort()  # ends the thread's recv
        if self._thread is not None:
            self._thread.join(timeout=1)  # it may be connecting to a server that does not answer; it is a daemon

    def hurry(self) -> None:
        """Connects at once, if it waits to try again: the server is back."""
        self._now.set()

    def watch(self, prompt_id: str, sampling: frozenset[str]) -> Watch:
        """From now on, messages about this prompt are heard."""
        with self._lock:
            return self._watches.setdefault(prompt_id, Watch(sampling))

    def forget(self, prompt_id: str) -> None:
        """The prompt is of no more interest."""
        with self._lock:
            self._watches.pop(prompt_id, None)

    def wake_all(self) -> None:
        """Wakes everyone who waits for a prompt."""
        with self._lock:
            for watch in self._watches.values():
                watch.wake.set()

    def _run(self) -> None:
        wait = self._times.socket_backoff[0]
        while not self._closed.is_set():
            # A socket that closes late takes the messages of a newer one under the same id with it.
            self.client_id = uuid.uuid4().hex
            try:
                self._listen()
            except Exception as error:  # whatever a server sends, the thread goes on
                self.trouble = words(error or type(error).__name__, 200)
                if isinstance(error, _Refused):
                    self.refused = self.trouble
                    self.settled.set()
            wait = (
                self._times.socket_backoff[0]
                if self.connected.is_set()
                else min(2 * wait, self._times.socket_backoff[1])
            )
            self.connected.clear()
            if not self.refused:
                self.settled.clear()
            # Whatever was sent meanwhile is lost.
            self.wake_all()
            self._now.wait(wait)
            self._now.clear()

    def probe(self) -> str:
        """Why no socket can be opened, "" if one can; it is closed again at once."""
        try:
            self._open().close(timeout=0)
        except Exception as error:  # as above
            return words(error or type(error).__name__, 200)
        return ""

    def _open(self) -> websocket.WebSocket:
        """A socket; no redirect is followed: the headers are for this server alone."""
        socket = websocket.WebSocket(enable_multithread=True)
        socket.settimeout(self._times.connect)
        how: dict[str, Any] = {"http_no_proxy": ["*"], "redirect_limit": 0}
        how |= {"header": self._access.lines, "cookie": self._access.cookie}
        status: Any = None
        try:
            socket.connect(f"{self._address}?clientId={self.client_id}", **how)
        except websocket.WebSocketBadStatusException as error:
            status = error.status_code
        except websocket.WebSocketException:
            status = socket.handshake_response and socket.handshake_response.status
            if status in (None, SWITCHED):
                raise
        status = status or (socket.handshake_response and socket.handshake_response.status)
        if status != SWITCHED:
            socket.shutdown()
            raise _Refused(f"the websocket is refused (HTTP {status})")
        return socket

    def _listen(self) -> None:
        socket = self._open()
        self.refused = ""
        self._socket = socket
        try:
            socket.frame_buffer = _Frames(socket._recv, True)
            socket.settimeout(min(1.0, self._times.silent / 4))
            self.connections += 1
            self.connected.set()
            self.settled.set()
            self._receive(socket)
        finally:
            self._socket = None
            socket.close(timeout=0)

    def _receive(self, socket: websocket.WebSocket) -> None:
        last = time.monotonic()
        while not self._closed.is_set():
            try:
                frame = socket.recv_frame()
            except websocket.WebSocketTimeoutException:
                if not self._watches:
                    last = time.monotonic()
                elif time.monotonic() - last > self._times.silent:
                    raise _Broken(f"silent for {self._times.silent:g} s") from None
                continue
            if frame.opcode in TEXT_OR_BINARY:
                last = time.monotonic()
            if frame.opcode == websocket.ABNF.OPCODE_CLOSE:
                raise _Broken("closed by the server")
            if frame.opcode == websocket.ABNF.OPCODE_PING:
                socket.pong(frame.data)
            elif frame.opcode == websocket.ABNF.OPCODE_TEXT and frame.fin:
                self._message(frame.data)

    def _message(self, text: bytes | str) -> None:
        try:
            message = json.loads(text)
            kind, data = message["type"], message["data"]
            watch = self._watches.get(data["prompt_id"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # status messages, other people's extensions, nonsense
        if watch is not None and isinstance(kind, str):
            watch.told(kind, data)
