"""The command: a process that serves, and ends when it is told to."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from acusim.errors import ConfigError
from tests.support import ROOT
from tests.training.web.stand_in import encoded, noise
from training.cli import main
from training.web.server import listening_socket

SERVER = """
import sys, time
from tests.training.web.stand_in import Fake
from training.web.server import listening_socket, serve
class Slow(Fake):
    def recognise(self, pixels):
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
            told = process.stderr.readline()
            address = re.match(r"http://\S+/", told)
            assert address, told
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


def test_the_port_is_free_again_and_taken_ones_are_told():
    first = listening_socket("127.0.0.1", 0, False)
    port = first.getsockname()[1]
    with pytest.raises(ConfigError, match=f"--port {port} cannot be had: .*name another --port"):
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
        ([], "no model to serve"),
        (["--head", "nowhere"], "nowhere"),
        (["--head", "nowhere", "--host", "0.0.0.0"], "--allow-remote"),
        (["--head", "nowhere", "--threads", "-1"], "--threads -1"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--port", "0", *arguments]) == 1
    assert message in capsys.readouterr().err
