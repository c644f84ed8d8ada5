"""A Ray cluster of several nodes on this machine, in a network namespace with nothing but loopback."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support import ROOT

PORT = 6399
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def possible() -> str:
    """Why there can be no such cluster here; "" if there can."""
    if find_spec("ray") is None:
        return "ray is not installed (requirements-cluster.txt)"
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return "unshare, nsenter or ip is missing"
    done = subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


class Cluster:
    """Its head, which does no work, and nodes of one core each."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: sockets are below it
        self.address = f"127.0.0.1:{PORT}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            **{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"},
            **{"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "PYTHONPATH": str(ROOT)},
        }
        code = "ip link set lo up && echo up && exec sleep 3600"
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", code], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()

    def __enter__(self) -> "Cluster":
        where = [
            f"--port={PORT}",
            "--include-dashboard=false",
            f"--temp-dir={self.folder}",
            "--num-cpus=0",
            "--no-monitor",
        ]
        self._start("head", "--head", *where)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            self._kill(process)
        self._holder.kill()
        self._holder.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, name: str, **environment: str) -> None:
        """Starts a node."""
        self._start(name, f"--address={self.address}", "--num-cpus=1", **environment)

    def _start(self, name: str, *options: str, **environment: str) -> None:
        common = ["--node-ip-address=127.0.0.1", f"--node-name={name}", "--object-store-memory=100000000"]
        common += ["--include-log-monitor=false"]
        line = [*self.inside, *RAY, "start", *options, *common, "--disable-usage-stats"]
        done = subprocess.run(
            line, env={**self.environment, **environment}, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def inside(self) -> list[str]:
        """What a command starts with to be run in the namespace."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    def processes(self, *words: str) -> list[int]:
        """Those in the namespace whose command line has all the words."""
        mine = os.stat(f"/proc/{self._holder.pid}/ns/net").st_ino
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self._holder.pid:
                try:
                    line = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                    inside = os.stat(entry / "ns/net").st_ino == mine
                except OSError:
                    continue
                if inside and all(word in line for word in words):
                    found.append(int(entry.name))
        return found

    def actors(self) -> list[int]:
        """Processes of workers."""
        return self.processes("ray::Actor")

    def kill(self, name: str) -> None:
        """Ends a node at once, with all that runs there."""
        [process] = self.processes("raylet/raylet", f"--node-name={name} ") or self.processes(
            "raylet/raylet", f"--node-name={name}"
        )
        self._kill(process)

    def _kill(self, process: int) -> None:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return

    def start(self, *line: object, **how: Any) -> "subprocess.Popen[str]":
        """Starts a Python command in the namespace."""
        command = [*self.inside, sys.executable, *map(str, line)]
        how = {"cwd": self.folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **how}
        return subprocess.Popen(command, env=self.environment, **how)

    def run(self, *line: object) -> "subprocess.CompletedProcess[str]":
        """Runs a Python command in the namespace."""
        process = self.start(*line)
        printed, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(line, process.returncode, printed)


def until(condition: Any, seconds: float = 90) -> None:
    """Waits for something."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
