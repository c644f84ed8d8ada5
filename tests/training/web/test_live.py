"""The websocket of the live camera: what it answers, whom, and when it ends."""

import contextlib
import json
import logging
import socket as sockets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.training.web.fake_recogniser import Fake, coordinates_of, encoded, hand, noise, running
from tests.training.web.test_app import Both
from training.data.photographs import Square
from training.inference.face_crop import Framing, Reason
from training.web import live, live_connection
from training.web.app import create_app
from training.web.connections import ConnectionLimits
from training.web.live_connection import FRAGMENTS, FRAME_BYTES, TOO_LARGE
from training.web.uploads import Limits

WIDE, TALL, SQUARE = noise(1, 90, 70), noise(2, 70, 90), noise(3, 80, 80)
"""A head, a hand and neither, according to Both."""


@contextmanager
def served(
    head: Fake | None = None, limits: Limits | None = None, connections: ConnectionLimits | None = None
) -> Iterator[int]:
    models = {"head": head or Fake(), "hand": hand()}
    app = create_app(models, limits or Limits(), detector=Both())  # type: ignore[arg-type]
    with running(app, connections or ConnectionLimits()) as port:
        yield port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as port:
        yield port


def _opened(port: int, kind: str = "auto", **how: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/api/live?kind={kind}", compression=None, **how)


def _ask(socket: ClientConnection, frame: bytes | str) -> dict[str, Any]:
    socket.send(frame)
    return json.loads(socket.recv(20))


def test_the_points_are_those_of_the_picture(port: int):
    frame = encoded(WIDE)
    with _opened(port) as socket:
        answer = _ask(socket, frame)
    assert (answer["kind"], answer["width"], answer["height"]) == ("head", 90, 70)
    found = coordinates_of(WIDE, 174).round(2).tolist()
    assert answer["points"] == [[x, y, 0.9 if number % 2 else 0.1] for number, (x, y) in enumerate(found)]
    sent = requests.post(f"http://127.0.0.1:{port}/api/recognise", files={"file": frame}, data={"kind": "head"}).json()
    others = [value for p in sent["points"] for value in (p["x"], p["y"], p["confidence"])]
    assert [value for point in answer["points"] for value in point] == pytest.approx(others, abs=0.011)
    assert answer["threshold"] == sent["threshold"]


@pytest.mark.parametrize(("reason", "face"), [("face", True), ("fills", True), ("no_face", False), ("off", None)])
def test_whether_a_face_was_found(reason: Reason, face: bool | None):
    with served(Fake(framing=Framing(reason, Square(0, 0, 80)))) as port, _opened(port, "head") as socket:
        assert _ask(socket, encoded(SQUARE))["face"] is face
    with served() as port, _opened(port, "hand") as socket:
        assert _ask(socket, encoded(SQUARE))["face"] is None


def test_it_takes_one_look():
    head = Fake()
    with served(head) as port, _opened(port, "head") as socket:
        _ask(socket, encoded(SQUARE))
    assert head.quick == [True]


def test_head_or_hand_is_detected_now_and_then(port: int):
    with _opened(port) as socket:
        kinds = [_ask(socket, encoded(WIDE))["kind"]]
        kinds += [_ask(socket, encoded(TALL))["kind"] for _ in range(live.DETECT)]
        assert kinds == ["head"] * live.DETECT + ["hand"]
        for _ in range(live.DETECT + 2):  # neither: what it was a moment ago
            assert _ask(socket, encoded(SQUARE))["kind"] == "hand"


def test_a_frame_that_cannot_be_used_is_answered_with_its_reason(port: int):
    with _opened(port) as socket:
        assert _ask(socket, encoded(SQUARE))["error"]["code"] == "undecided"
        for frame, code in ((b"", "empty"), ("frame", "not_a_picture"), (b"GIF89a", "other_type")):
            answer = _ask(socket, frame)
            assert answer["error"]["code"] == code and answer["error"]["message_zh"]
        assert _ask(socket, encoded(WIDE)[:200])["error"]["code"] == "damaged"
        assert _ask(socket, encoded(WIDE, "JPEG"))["kind"] == "head"
    with _opened(port, "face") as socket:
        assert _ask(socket, encoded(WIDE))["error"]["code"] == "bad_value"


def test_only_the_newest_frame_is_looked_at():
    head = Fake(gate=threading.Event())
    frames = [noise(seed, 90, 70) for seed in range(5)]
    with served(head) as port, _opened(port, "head") as socket:
        socket.send(encoded(frames[0]))
        assert head.entered.wait(20)
        for frame in frames[1:]:
            socket.send(encoded(frame))
        assert socket.ping().wait(20)  # they have arrived
        assert head.gate
        head.gate.set()
        answers = [json.loads(socket.recv(20)) for _ in range(2)]
        with pytest.raises(TimeoutError):
            socket.recv(0.3)
    first, last = (coordinates_of(frames[number], 174).round(2).tolist() for number in (0, 4))
    assert [[point[:2] for point in answer["points"]] for answer in answers] == [first, last]


def test_only_the_servers_own_page_may_connect(port: int):
    for how in ({"origin": "http://evil.example"}, {"additional_headers": {"Sec-Fetch-Site": "cross-site"}}):
        with pytest.raises(InvalidStatus) as refused:
            _opened(port, **how)
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["error"]["code"] == "foreign_origin"
        assert refused.value.response.headers["X-Frame-Options"] == "DENY"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://evil.localhost:{port}/api/live", sock=sockets.create_connection(("127.0.0.1", port)))
    assert json.loads(refused.value.response.body)["error"]["code"] == "foreign_host"
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{port}/api/recognise")
    with _opened(port, origin=f"http://127.0.0.1:{port}") as socket:
        assert _ask(socket, encoded(WIDE))["kind"] == "head"


def test_connections_have_their_places():
    with served(limits=Limits(live=2, live_of_one=1)) as port:
        with _opened(port) as first:
            with _opened(port) as second:
                assert json.loads(second.recv(20))["error"]["code"] == "busy"
                with pytest.raises(ConnectionClosed) as closed:
                    second.recv(20)
                assert closed.value.rcvd and closed.value.rcvd.code == live.TRY_LATER
            assert _ask(first, encoded(WIDE))["kind"] == "head"
        deadline = time.monotonic() + 20
        while not _is_answered(port):  # the place is free once the server has noticed
            assert time.monotonic() < deadline


def _is_answered(port: int) -> bool:
    with _opened(port) as socket:
        try:
            return "error" not in _ask(socket, encoded(WIDE))
        except ConnectionClosed:
            return False


def test_a_frame_that_is_too_large_ends_the_connection(port: int):
    for frame in (bytes(FRAME_BYTES + 1), [b""] * 2 * FRAGMENTS):
        with _opened(port, close_timeout=5) as socket, pytest.raises(ConnectionClosed) as closed:
            socket.send(frame)
            socket.recv(20)
        assert closed.value.rcvd and closed.value.rcvd.code == TOO_LARGE
    with _opened(port) as socket:
        assert _ask(socket, encoded(WIDE))["kind"] == "head"


HANDSHAKE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def _answered(port: int, line: str, *headers: str, body: str = "") -> str:
    """Head and body of the answer to a request, up to 4 KiB."""
    with sockets.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join((line, f"Host: 127.0.0.1:{port}", *headers, "", body)).encode())
        received = b""
        while b'"error"' not in received and (more := connection.recv(4096)):
            received += more
    return received.decode()


@pytest.mark.parametrize(
    ("line", "headers", "status", "code"),
    [
        ("POST /api/live HTTP/1.1", [KEY], 405, "wrong_method"),
        ("GET /api/live HTTP/1.1", [KEY, "Content-Length: 5"], 426, "not_a_websocket"),
        (f"GET /api/live?kind={'A' * 9000} HTTP/1.1", [KEY], 426, "not_a_websocket"),
        (f"GET /api/live?kind={'A' * 9000} HTTP/1.1", [KEY, "Origin: http://evil.example"], 426, "not_a_websocket"),
        ("GET /api/live HTTP/1.1", [KEY, *(f"X-{number}: 1" for number in range(200))], 426, "not_a_websocket"),
        ("GET /api/live HTTP/1.1", [KEY, f"Cookie: a={'b' * 9000}"], 426, "not_a_websocket"),
        ("GET /api/live HTTP/1.1", [], 426, "not_a_websocket"),
        ("GET /api/live HTTP/1.1", ["Sec-WebSocket-Key: x"], 426, "not_a_websocket"),
        ("GET /api/live HTTP/1.1", [KEY, KEY], 426, "not_a_websocket"),
    ],
)
def test_what_is_no_handshake_is_answered(port: int, line: str, headers: list[str], status: int, code: str):
    answer = _answered(port, line, *HANDSHAKE, *headers, body="hello")
    assert answer.startswith(f"HTTP/1.1 {status} ") and f'"code":"{code}"' in answer
    assert "x-frame-options: deny" in answer.lower()


@contextmanager
def _errors() -> Iterator[list[str]]:
    """What the server writes to the terminal meanwhile."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("uvicorn.error")
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)


def test_what_visitors_send_is_not_worth_a_line_on_the_terminal(port: int):
    with _errors() as errors:
        with _opened(port) as socket:
            socket.send(b"\xff\xfe", text=True)
            assert json.loads(socket.recv(20))["error"]["code"] == "not_a_picture"
        with pytest.raises(InvalidStatus):
            _opened(port, origin="http://evil.example")
        assert "426" in _answered(port, "GET /api/live HTTP/1.1", *HANDSHAKE)
        time.sleep(0.2)
    assert errors == []


def _never_reads(port: int) -> sockets.socket:
    """A connection that was upgraded, and sends pings until it may not."""
    connection = sockets.create_connection(("127.0.0.1", port), timeout=20)
    head = ("GET /api/live HTTP/1.1", f"Host: 127.0.0.1:{port}", *HANDSHAKE, KEY, "", "")
    connection.sendall("\r\n".join(head).encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 101")
    return connection


@pytest.mark.parametrize("most", [1 << 20, 1 << 30])
def test_an_end_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch, most: int):
    monkeypatch.setattr(live_connection, "UNSENT_BYTES", most)
    limits = ConnectionLimits(sending_seconds=60 if most < 1 << 30 else 0.3, check_seconds=0.05)
    with served(limits=Limits(live=1, live_of_one=1), connections=limits) as port:
        with _never_reads(port) as connection, pytest.raises(OSError, match=r"reset|pipe"):
            ping, deadline = (b"\x89\xfd" + bytes(4) + bytes(125)) * 100, time.monotonic() + 20
            while time.monotonic() < deadline:
                connection.sendall(ping)
        deadline = time.monotonic() + 20
        while not _is_answered(port):
            assert time.monotonic() < deadline


def test_the_server_ends_with_an_end_that_does_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_connection, "UNSENT_BYTES", 1 << 30)
    with _errors() as errors:
        with served() as port:
            connection = _never_reads(port)
            connection.settimeout(1)
            with contextlib.suppress(TimeoutError):  # the server reads no further: it waits for this end to read
                for _ in range(500):
                    connection.sendall((b"\x89\xfd" + bytes(4) + bytes(125)) * 100)
            start = time.monotonic()
        assert time.monotonic() - start < 8
        connection.close()
    assert errors == []


def test_a_connection_without_frames_ends(monkeypatch: pytest.MonkeyPatch, port: int):
    monkeypatch.setattr(live, "IDLE_SECONDS", 0.2)
    with _opened(port) as socket, pytest.raises(ConnectionClosed):
        socket.recv(20)


def test_it_outlives_the_time_of_a_request():
    with served(connections=ConnectionLimits(head_seconds=0.2, check_seconds=0.05)) as port, _opened(port) as socket:
        time.sleep(0.6)
        assert _ask(socket, encoded(WIDE))["kind"] == "head"


def test_the_server_ends_with_connections_open():
    with served() as port:
        socket = _opened(port)
        assert _ask(socket, encoded(WIDE))["kind"] == "head"
    with pytest.raises(ConnectionClosed):
        socket.recv(20)
