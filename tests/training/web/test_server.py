"""The command: a process that serves, and ends when it is told to."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from acusim.errors import ConfigError
from tests.support import ROOT
from tests.training.inference.test_loading import Map, hand_file
from tests.training.tiny_model import Tiny
from tests.training.web.fake_recogniser import encoded, noise
from training.cli.main import main
from training.inference.export import export
from training.web.server import GRACE_SECONDS, listening_socket

SERVER = """
import sys, time
from tests.training.web.fake_recogniser import Fake
from training.web.server import listening_socket, serve
class Slow(Fake):
    def recognise(self, pixels, quick=False):
        print("working", file=sys.stderr, flush=True)
        time.sleep(0.8)
        return super().recognise(pixels)
serve({"head": Slow()}, listening_socket("127.0.0.1", 0, False), "127.0.0.1")
print("ended", file=sys.stderr)
"""


@contextmanager
def _process(*line: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server's process and its address."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *line], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr
            reported = process.stderr.readline()
            address = re.match(r"http://\S+/", reported)
            assert address, reported
            yield process, address[0]
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_what_is_being_answered_is_finished_before_the_end(how: signal.Signals):
    with _process("-c", SERVER) as (process, address):
        answers: list[int] = []

        def ask() -> None:
            answer = requests.post(f"{address}api/recognise", files={"file": encoded(noise(0))}, timeout=30)
            answers.append(answer.status_code)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        assert process.stderr and process.stderr.readline() == "working\n"
        process.send_signal(how)
        thread.join(20)
        assert answers == [200]
        assert process.wait(20) == 0
        assert process.stderr.read() == "ended\n"


def _upload(address: str) -> socket.socket:
    """A connection with half an upload."""
    out = socket.create_connection(("127.0.0.1", urlsplit(address).port), 20)
    out.sendall(b"POST /api/recognise HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\n")
    out.sendall(b"content-length: 9000\r\n\r\n--b\r\n")
    return out


def test_uploads_on_their_way_are_not_waited_for():
    with _process("-c", SERVER) as (process, address):
        with _upload(address) as upload, socket.create_connection(upload.getpeername(), 20) as idle:
            idle.sendall(b"GET / HT")
            requests.get(address, timeout=20)
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert b'"stopping"' in upload.recv(65536)
            assert process.wait(20) == 0 and time.monotonic() - started < GRACE_SECONDS
        assert process.stderr and process.stderr.read() == "ended\n"


def test_a_model_that_takes_too_long_and_a_second_signal_end_without_a_traceback():
    for signals, grace in ((1, 0.3), (2, 30)):
        patience = f"import training.web.server; training.web.server.GRACE_SECONDS = {grace}\n"
        with _process("-c", patience + SERVER.replace("0.8", "3")) as (process, address):
            with contextlib.ExitStack() as stack:
                for _ in range(2):
                    ask = threading.Thread(target=_asked, args=(address,), daemon=True)
                    ask.start()
                    stack.callback(ask.join, 20)
                assert process.stderr and process.stderr.readline() == "working\n"
                for _ in range(signals):
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.5)
                assert process.wait(30) == 0
            reported = process.stderr.read()
            assert "Traceback" not in reported and reported.endswith("ended\n")


def _asked(address: str) -> None:
    with contextlib.suppress(requests.ConnectionError):
        requests.post(f"{address}api/recognise", files={"file": encoded(noise(0))}, timeout=30)


def test_the_address_is_all_that_is_printed_and_the_page_answers_then(tmp_path: Path):
    """With both models, so that MediaPipe and onnxruntime have something to say."""
    head, hand = tmp_path / "head.onnx", tmp_path / "hand.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(Tiny(), head, 64, config={}, checkpoint_sha256="")
        hand_file(hand, Map())
    line = ("-m", "training", "serve", "--port", "0", "--head", str(head), "--hand", str(hand))
    with _process(*line) as (process, address):
        port = urlsplit(address).port
        assert requests.get(address, timeout=1).status_code == 200
        for data in (encoded(noise(0, 400, 300)), encoded(noise(1)), b"no picture"):
            requests.post(f"{address}api/recognise", files={"file": data}, timeout=30)
        # What makes libraries warn: a form with bytes behind its end, an upgrade, and no HTTP at all.
        form = "--b\r\ncontent-disposition: form-data; name=kind\r\n\r\nhead\r\n--b--\r\nmore"
        headers = {"content-type": "multipart/form-data; boundary=b"}
        requests.post(f"{address}api/recognise", data=form, headers=headers, timeout=30)
        for data in (
            b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            b"\x16\3\1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), 20) as to:
                to.sendall(data)
                assert b" 40" in to.recv(65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr and process.stderr.read() == ""


def test_the_port_is_free_again_and_taken_ones_are_reported():
    first = listening_socket("127.0.0.1", 0, False)
    port = first.getsockname()[1]
    with pytest.raises(ConfigError, match=f"--port {port} is not available: .*name another --port"):
        listening_socket("127.0.0.1", port, False)
    first.close()
    listening_socket("127.0.0.1", port, False).close()


def test_what_others_can_reach_has_to_be_asked_for():
    for host in ("0.0.0.0", "::", "192.168.1.5"):
        with pytest.raises(ConfigError, match="--allow-remote"):
            listening_socket(host, 0, False)
    listening_socket("0.0.0.0", 0, True).close()
    for host in ("localhost", "127.0.0.1"):
        listening_socket(host, 0, False).close()
    with pytest.raises(ConfigError, match="not within 0..65535"):
        listening_socket("127.0.0.1", 99999, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head", "nowhere"], "nowhere"),
        (["--head", "nowhere", "--host", "0.0.0.0"], "--allow-remote"),
        (
            ["--head", "nowhere", "--name", "https://clinic.example/"],
            "--name 'https://clinic.example/' is not a host name",
        ),
        (["--head", "nowhere", "--threads", "-1"], "threads = -1"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--port", "0", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_without_arguments_and_shipped_models_there_is_nothing_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("training.shipped.FOLDER", tmp_path)
    assert main(["serve", "--port", "0"]) == 1
    assert "no model comes with this installation; name a run with --head RUN" in capsys.readouterr().err
