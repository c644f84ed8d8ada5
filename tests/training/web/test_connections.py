"""Connections: what is left unfinished ends, nobody holds them all, and what is no HTTP is answered like all else."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests

from tests.training.web.fake_recogniser import Fake, encoded, noise, running
from training.web.app import create_app
from training.web.connections import ConnectionLimits
from training.web.uploads import Limits

QUICK = ConnectionLimits(head_seconds=0.6, sending_seconds=1, check_seconds=0.05)
UPLOAD = b"POST /api/recognise HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that is impatient."""
    limits = Limits(picture_bytes=1 << 20, seconds=5, pause_seconds=0.5)
    with running(create_app({"head": Fake()}, limits), QUICK) as port:
        yield port


def _open(port: int, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    out = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
    out.sendall(data)
    return out


def _rest(of: socket.socket) -> bytes:
    """What comes until the other end hangs up."""
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := of.recv(65536):
            out += piece
    return out


def _exchange(port: int, data: bytes) -> bytes:
    with _open(port, data) as to:
        return _rest(to)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", b""),
        (b"GET / HT", b"408 "),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx-a: ", b"408 "),
        (UPLOAD + b"content-length: 9000\r\n\r\n" + PART, b"too_slow"),
        (UPLOAD + b"content-length: 9000\r\nexpect: 100-continue\r\n\r\n", b"too_slow"),
        (UPLOAD + b"transfer-encoding: chunked\r\n\r\n5\r\n--", b"too_slow"),
        (b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n\r\nabc", b"not_found"),
    ],
)
def test_what_is_left_unfinished_ends(port: int, data: bytes, answer: bytes):
    started = time.monotonic()
    assert answer in _exchange(port, data)
    assert time.monotonic() - started < 10


def test_a_head_that_drips_ends(port: int):
    with _open(port, b"GET / HTTP/1.1\r\nhost: localhost\r\n") as to:
        answer, deadline = b"", time.monotonic() + 15
        to.settimeout(0.05)
        while not answer:
            assert time.monotonic() < deadline
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                to.sendall(b"x: y\r\n")
            with contextlib.suppress(TimeoutError):
                answer = to.recv(65536)
        assert b" 408 " in answer and b"unfinished" in answer and b"nosniff" in answer


def test_an_answer_that_nobody_takes_ends():
    class Large(Fake):
        made_by = {"run": "x" * (16 << 20)}

    with running(create_app({"head": Large()}), QUICK) as port:
        with _open(port, b"GET /api/models HTTP/1.1\r\nhost: localhost\r\n\r\n") as to:
            time.sleep(3)  # longer than sending_seconds
            assert len(_rest(to)) < 16 << 20
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=20).status_code == 200


def test_a_connection_may_idle_between_requests(port: int):
    visitor, sockets = http.client.HTTPConnection("localhost", port, timeout=20), set()
    for _ in range(3):
        visitor.request("GET", "/static/icon.svg")
        assert b"<svg" in visitor.getresponse().read()
        sockets.add(visitor.sock)
        time.sleep(0.3)
    assert len(sockets) == 1
    visitor.close()


@pytest.mark.parametrize(
    "data", [b"", b"GET / HTTP/1.1\r\nhost: ", b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n"]
)
def test_one_who_holds_connections_keeps_nobody_out(data: bytes):
    limits = ConnectionLimits(most=20, most_of_one=15)
    with running(create_app({"head": Fake()}), limits) as port, contextlib.ExitStack() as stack:
        for source, count in (("127.0.0.1", 40), ("127.0.0.2", 15)):
            for _ in range(count):
                stack.enter_context(_open(port, data, source))
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            with _open(port, b"GET / HTTP/1.0\r\nhost: localhost\r\n\r\n", source) as visitor:
                assert b"200 OK" in _rest(visitor)


def test_one_who_uploads_slowly_keeps_nobody_out():
    limits = Limits(waiting=6, waiting_of_one=4)
    with running(create_app({"head": Fake()}, limits), QUICK) as port, contextlib.ExitStack() as stack:
        slow = UPLOAD + b"content-length: 9000\r\n\r\n" + PART
        held = [stack.enter_context(_open(port, slow)) for _ in range(9)]
        refused = [answer for one in held[4:] if b"busy" in (answer := _rest(one))]
        assert len(refused) == 5
        ask = requests.Session()
        ask.mount("http://", _From("127.0.0.2"))
        url = f"http://127.0.0.1:{port}/api/recognise"
        assert ask.post(url, files={"file": encoded(noise(0))}, timeout=20).status_code == 200
        assert requests.post(url, files={"file": encoded(noise(0))}, timeout=20).json()["error"]["code"] == "busy"
        # Behind a proxy on this machine its word counts, the last one.
        headers = {"x-forwarded-for": "127.0.0.1, 203.0.113.7"}
        assert requests.post(url, files={"file": encoded(noise(0))}, headers=headers, timeout=20).status_code == 200


def test_where_all_connections_are_at_work_others_are_sent_away_and_come_in_later():
    slow = UPLOAD + b"content-length: 9000\r\nexpect: 100-continue\r\n\r\n"
    limits = ConnectionLimits(most=2, most_of_one=2)
    with running(create_app({"head": Fake()}, Limits(pause_seconds=60)), limits) as port:
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                assert b" 100 " in stack.enter_context(_open(port, slow)).recv(1000)  # it is under way
            answer = _exchange(port, b"GET / HTTP/1.0\r\nhost: localhost\r\n\r\n")
            assert b" 503 " in answer and b'"busy"' in answer and b"nosniff" in answer and b"retry-after" in answer
        assert b" 200 " in _exchange(port, b"GET / HTTP/1.0\r\nhost: localhost\r\n\r\n")


class _From(requests.adapters.HTTPAdapter):
    """Sends from another address of this machine."""

    def __init__(self, source: str):
        self._source = source
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._source, 0), **kwargs)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 403, "foreign_host"),
        (b"GET / HTTP/1.0\r\n\r\n", 403, "foreign_host"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n", 403, "foreign_host"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", 403, "foreign_host"),
        (b"GET / HTTP/1.1\r\nhost: local\0host\r\n\r\n", 403, "foreign_host"),
        (b"GET / HTTP/1.1\r\nhost:\r\n\r\n", 403, "foreign_host"),
        (b"GET / HTTP/1.1\r\nhost: " + b"a" * 200_000 + b"\r\n\r\n", 403, "foreign_host"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\norigin: http://a\x01b\r\n\r\n", 403, "foreign_origin"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\norigin: " + b"a" * 200_000, 403, "foreign_origin"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\ncookie: " + b"a" * 200_000, 431, "long_head"),
        (b"GET /" + b"a" * 200_000, 431, "long_head"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nbad header: x\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403, "foreign_host"),
        (UPLOAD + b"transfer-encoding: gzip\r\n\r\n", 400, "bad_request"),
        (UPLOAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n", 400, "bad_request"),
        (UPLOAD + b"content-length: -5\r\n\r\n", 400, "bad_request"),
        (UPLOAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request"),
    ],
)  # fmt: skip
def test_what_is_no_http_is_answered_like_all_else(
    port: int, data: bytes, status: int, code: str, capfd: pytest.CaptureFixture[str]
):
    answer = _exchange(port, data)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()) and f'"code":"{code}"'.encode() in answer
    assert b"content-security-policy: default-src 'none'" in answer and b"nosniff" in answer
    assert "message_zh" in answer.decode()
    assert capfd.readouterr() == ("", "")


def test_requests_in_one_piece_are_answered_in_turn(port: int):
    one = b"GET /static/icon.svg HTTP/1.1\r\nhost: localhost\r\n\r\n"
    answer = _exchange(port, one + b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n" + one + b"GET / x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"HTTP/1.1 4") == 2 and answer.index(b"bad_request") > answer.rindex(b" 200 ")


def test_old_and_odd_ways_to_ask(port: int):
    icon = b" /static/icon.svg HTTP/1.0\r\nhost: localhost\r\n\r\n"
    assert b"<svg" in _exchange(port, b"GET" + icon)
    head = _exchange(port, b"HEAD" + icon)
    assert b"200 OK" in head and b"<svg" not in head
    upgrade = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    assert b"<!doctype html>" in _exchange(port, upgrade)


def test_a_visitor_who_leaves_is_forgotten(capfd: pytest.CaptureFixture[str]):
    model = Fake(gate=threading.Event())
    with running(create_app({"head": model}, Limits(waiting=2)), QUICK) as port:
        body = PART + encoded(noise(0)) + b"\r\n--b--\r\n"
        for _ in range(2):
            to = _open(port, UPLOAD + f"content-length: {len(body)}\r\n\r\n".encode() + body)
            assert model.entered.wait(20)
            to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves with a reset
            to.close()
        assert model.gate
        model.gate.set()
        deadline = time.monotonic() + 20
        while True:
            answer = requests.post(
                f"http://127.0.0.1:{port}/api/recognise", files={"file": encoded(noise(1))}, timeout=30
            )
            if answer.status_code == 200:
                break
            assert time.monotonic() < deadline
    assert len(np.unique([point["x"] for point in answer.json()["points"]])) > 100
    assert capfd.readouterr() == ("", "")
