"""A worker as an actor of a Ray cluster."""

import importlib.util
import os
import pickle
import queue
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import acusim
from acusim.errors import ConfigError
from acusim.files import sha256
from acusim.parallel.messages import Raised
from acusim.parallel.worker import Worker, portable

PACKAGES = ("acusim", "controller", "engines", "evaluation", "synthetic", "training")
"""Whose code decides what a worker does."""
FINISHED = b""
"""The last message."""


def program() -> dict[str, str]:
    """Version of this program, and the hash of its code."""
    digests: list[str] = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            files = sorted(Path(folder).rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix())
            digests += [
                f"{package}/{path.relative_to(folder).as_posix()} {sha256(path.read_bytes())}" for path in files
            ]
    return {"version": acusim.__version__, "code": sha256("\n".join(digests).encode())[:12]}


class Actor:
    """Holds a worker; its methods are called by the owner of the run."""

    def __init__(self, expected: dict[str, str], environment: Mapping[str, str]):
        """Starts nothing yet.

        Args:
            expected: the owner's ``program()``.
            environment: variables to set before libraries are imported.
        """
        os.environ.update(environment)
        self._expected = expected
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._worker = Worker(self._send)

    def _send(self, message: Any) -> None:
        self._outbox.put(pickle.dumps(message))

    def start(self, job: bytes, place: str) -> None:
        """Starts working, if the program is the owner's.

        Args:
            job: a pickled Job.
            place: name of the worker's place.
        """
        threading.Thread(target=self._run, args=(job, place), daemon=True).start()

    def _run(self, job: bytes, place: str) -> None:
        try:
            found = program()
            if found != self._expected:
                has, needs = (f"version {of['version']} (code {of['code']})" for of in (found, self._expected))
                raise ConfigError(f"has {has} of this program, not {needs}; install the same on every node")
            loaded = pickle.loads(job)
        except Exception as error:
            self._send(Raised(portable(error)))
        else:
            self._worker.run(loaded, place)
        self._outbox.put(FINISHED)

    def take(self, message: bytes) -> None:
        """A pickled message of the owner."""
        try:
            self._worker.take(pickle.loads(message))
        except Exception:  # a task that cannot be unpickled here
            traceback.print_exc()
            os._exit(1)

    def messages(self, seconds: float) -> list[bytes]:
        """Pickled messages for the owner; waits for the first one for so long."""
        found: list[bytes] = []
        deadline = time.monotonic() + seconds
        while True:
            try:
                found.append(self._outbox.get(timeout=0 if found else max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                return found
