"""The process behind a local server: found by its port, killed, and started again as it was."""

import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests


class LocalServer:
    """A server on this machine. Linux only: reads /proc."""

    def __init__(self, url: str):
        self.url = url
        self.pid = _listener(urlsplit(url).port or 80)
        process = Path("/proc", str(self.pid))
        self._line = [os.fsdecode(part) for part in (process / "cmdline").read_bytes().split(b"\0")[:-1]]
        entries = (process / "environ").read_bytes().split(b"\0")[:-1]
        self._environment = dict(os.fsdecode(entry).split("=", 1) for entry in entries)
        self._folder = os.readlink(process / "cwd")
        output = os.readlink(process / "fd" / "1")
        self._log = output if os.path.isfile(output) else os.devnull

    def kill(self) -> None:
        """SIGKILL, and waits until the port is free."""
        os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while _answers(self.url):
            assert time.monotonic() < deadline, "the server does not die"
            time.sleep(0.05)

    def start(self) -> None:
        """Starts it again and waits until it answers."""
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                self._line, cwd=self._folder, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 180
        while not _answers(self.url):
            assert process.poll() is None, f"{self._line} ended with {process.returncode}"
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.2)
        self.pid = process.pid


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/system_stats", timeout=5).ok
    except requests.RequestException:
        return False


def _listener(port: int) -> int:
    """The process that listens on a port."""
    sockets: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:  # 0A: listening
                sockets.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(os.readlink(handle) in sockets for handle in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:  # gone meanwhile, or not ours
            continue
    raise AssertionError(f"no process of this user listens on port {port}")
