"""Worker processes of this machine."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from acusim.parallel.host import Handle, Host, Place
from acusim.parallel.messages import CLOSE, STOP, Ended, Job
from acusim.parallel.worker import Worker
from acusim.processes import SIGNALS, let_signals_through, one_thread_each, signals_held

BURIAL_SECONDS = 10.0
START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
"""Of processes. Not forked from this one: such a process would share locks and outlive their owner with them, has no
threads of libraries, and cannot use a GPU. The fork server has none of these, and what it has imported costs its
processes nothing; elsewhere libraries of the system forbid it.
"""


@dataclass(slots=True, eq=False)
class LocalPlace(Place):
    """A process, and those that replace it."""

    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that its processes have beside this one's."""


class _Process(Handle):
    """A process and the end of its pipe that the owner holds."""

    def __init__(self, place: LocalPlace, process: Any, connection: Any):
        super().__init__(place)
        self.process, self.connection = process, connection

    def send(self, message: Any) -> None:
        self.connection.send(message)

    def kill(self) -> None:
        self.process.kill()


class LocalProcesses(Host):
    """Processes with one thread each, unless their places say otherwise."""

    def __init__(self, places: int | Sequence[LocalPlace]):
        """Starts nothing yet.

        Args:
            places: of the processes, or their number.
        """
        self._named = not isinstance(places, int)
        self._waiting = [LocalPlace() for _ in range(places)] if isinstance(places, int) else list(places)
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._processes: list[_Process] = []
        self._job: Job | None = None

    @property
    def shared_memory(self) -> bool:  # type: ignore[override]
        """GPUs have a memory each."""
        return not self._named

    def open(self, job: Job, tasks: int | None) -> None:
        self._job = job
        if tasks is not None:
            del self._waiting[tasks:]
        # Before the server's start, by whichever pool is first; a process imports what its server did not.
        modules = {each.__module__ for each in (job.prepare, job.function) if each}
        self._context.set_forkserver_preload(["__main__", *sorted(modules)])

    def more(self) -> list[Handle]:
        started: list[Handle] = []
        while self._waiting:
            started.append(self._start(self._waiting[0]))
            self._waiting.pop(0)
        return started

    def replace(self, lost: Handle) -> Handle:
        assert isinstance(lost.place, LocalPlace)
        return self._start(lost.place)

    def refuse(self, handle: Handle, error: Exception) -> None:
        raise error

    def _start(self, place: LocalPlace) -> _Process:
        ours, theirs = self._context.Pipe()
        with signals_held(), one_thread_each():
            environment = {**os.environ, **place.environment}
            process = self._context.Process(
                target=serve, args=(theirs, self._job, place.name, environment, _umask()), daemon=True
            )
            process.start()
            handle = _Process(place, process, ours)
            self._processes.append(handle)  # before a signal may end this
        theirs.close()
        return handle

    def receive(self, seconds: float) -> Iterator[tuple[Handle, Any]]:
        by_connection = {each.connection: each for each in self._processes}
        for connection in wait(list(by_connection), timeout=seconds):
            assert isinstance(connection, Connection)
            handle = by_connection[connection]
            try:
                message = connection.recv()
            except (EOFError, OSError):
                message = self._bury(handle)
            yield handle, message

    def _bury(self, handle: _Process) -> Ended:
        handle.process.join(BURIAL_SECONDS)
        handle.process.kill()
        handle.process.join()
        handle.connection.close()
        self._processes.remove(handle)
        return Ended(f"exit code {handle.process.exitcode}")

    def close(self, patience: float) -> None:
        for each in self._processes:
            with suppress(OSError):
                each.connection.send(STOP)
                each.connection.send(CLOSE)
            each.connection.close()
            if not patience:
                each.kill()
        deadline = time.monotonic() + patience
        for each in self._processes:
            each.process.join(max(0.0, deadline - time.monotonic()))
            if each.process.is_alive():
                each.kill()
                each.process.join()
        self._processes.clear()


def _umask() -> int | None:
    """Of this process; None where the system does not say. Asking by ``os.umask`` would change it for other threads."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


def serve(
    connection: Connection, job: Job, place: str, environment: Mapping[str, str], umask: int | None = None
) -> None:
    """Body of a process: a worker, until its owner closes it or is gone.

    Args:
        environment: all variables of the process; a fork server's are those of its own start.
        umask: of the owner, for the same reason.
    """
    for number in SIGNALS:  # a Ctrl-C goes to every process of a terminal; the owner decides what becomes of the work
        signal.signal(number, signal.SIG_IGN)
    let_signals_through()
    os.environ.clear()
    os.environ.update(environment)
    if umask is not None:
        os.umask(umask)

    def send(message: Any) -> None:
        with suppress(OSError):  # the owner wants no more results
            connection.send(message)

    worker = Worker(send)
    threading.Thread(target=_receive, args=(connection, worker), daemon=True).start()
    worker.run(job, place)


def _receive(connection: Connection, worker: Worker) -> None:
    """Takes what the owner sends; the process ends at once where the owner is gone."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        except Exception:  # a task that cannot be unpickled here
            traceback.print_exc()
            os._exit(1)
        worker.take(message)
        if message == CLOSE:
            return
