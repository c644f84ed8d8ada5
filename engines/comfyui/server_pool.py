"""Which server gets the next prompt: which are up, which are down, which get no more work.

A server that is down is checked again and again, by whoever waits for one. A prompt that moved away from an
unreachable server is a stray: it is dropped once the server is back.
"""

import threading
import time
from collections.abc import Sequence

from acusim.errors import EngineError
from engines.comfyui.client import Client
from engines.comfyui.errors import ExecutionFailed, LoginRequired, ServerError, Unreachable
from engines.comfyui.tasks import Server, Task
from engines.comfyui.times import Times

SLOTS = 2
"""Prompts of ours on one server."""
LOSSES = 10
"""A server that is lost so often in a row without an image gets no more work."""
LAST_SECONDS = 1.0
"""At the end, an unreachable server is waited for no longer than this."""
FAILURES = 3
"""A server on which so many batches in a row failed gets no more work while another one is up."""


class ServerPool:
    """Servers that passed preflight, for any number of threads."""

    def __init__(self, servers: Sequence[Server], times: Times, notes: list[str]):
        """Takes the servers, and the list of notes for the user."""
        self.servers = list(servers)
        self.notes = notes
        self.stopping = threading.Event()
        self._times = times
        self._changed = threading.Condition()
        self._down_since: float | None = None

    def stop(self) -> None:
        """Ends all waits."""
        self.stopping.set()
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Drops the prompts that moved away from servers which did not come back in time, if they answer now."""
        for server in self.servers:
            with self._changed:
                strays, server.strays = sorted(server.strays), set()
            if strays:
                http = server.client.http
                http.connect_seconds = http.read_seconds = min(http.connect_seconds, LAST_SECONDS)
                self.try_drop(server.client, *strays)

    def acquire(self, task: Task) -> Server:
        """A slot on the server that holds the task's prompt if that is up, else on the least busy one of the best.

        Raises:
            EngineError: no server is left, none came back in time, or the pool was stopped.
        """
        while True:
            if self.stopping.is_set():
                raise EngineError("stopped")
            with self._changed:
                usable = [server for server in self.servers if not server.excluded]
                if not usable:
                    raise EngineError("no server is left: " + "; ".join(server.excluded for server in self.servers))
                up = [server for server in usable if server.up]
                if up:
                    self._down_since = None
                candidates = [task.server] if task.server in up else _best(up, task)
                free = [server for server in candidates if server and server.slots_used < SLOTS]
                chosen = min(free, key=lambda server: server.slots_used, default=None)
                if chosen is not None:
                    chosen.slots_used += 1
                    return chosen
                if not up:
                    self._check_patience(usable)
                if len(up) == len(usable):
                    self._changed.wait(1.0)
                    continue
            if not any([self._try_reconnect(server) for server in usable if not server.up]):
                with self._changed:
                    self._changed.wait(min(0.1, self._times.backoff[0] / 2))

    def _check_patience(self, usable: Sequence[Server]) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since > self._times.patience:
            reasons = "; ".join(server.down_reason for server in usable)
            raise EngineError(f"no ComfyUI server could be reached for {self._times.patience:.0f} s: {reasons}")

    def release(self, server: Server) -> None:
        """Gives a slot back."""
        with self._changed:
            server.slots_used -= 1
            self._changed.notify_all()

    def has_other(self, tried: Sequence[Server]) -> bool:
        """Whether a server is up that is none of these."""
        with self._changed:
            return any(server.up and not server.excluded and server not in tried for server in self.servers)

    def mark_down(self, server: Server, error: Unreachable) -> None:
        """The server is down until it answers again."""
        with self._changed:
            if server.up:
                server.up, server.down_reason, server.retry_wait = False, str(error), self._times.backoff[0]
                server.retry_at = time.monotonic() + server.retry_wait
                server.losses += 1
                self.notes.append(f"server lost: {error}")
                if server.losses > LOSSES:
                    server.excluded = f"{error}; lost {server.losses} times in a row"
            self._changed.notify_all()

    def count_success(self, server: Server) -> None:
        """The server finished an image: earlier failures there no longer count."""
        with self._changed:
            server.losses = 0
            server.failed_batches.clear()

    def count_failure(self, server: Server, task: Task, error: ExecutionFailed) -> None:
        """A prompt failed, and its images are not known to be the reason."""
        with self._changed:
            server.failed_batches.add(task.origin)
            count = len(server.failed_batches)
        if count >= FAILURES and self.has_other([server]):
            self.exclude(server, error, f"{count} batches in a row failed there")

    def lower_limit(self, server: Server, size: int) -> None:
        """Memory ran out: batches there have at most ``size`` images from now on."""
        with self._changed:
            server.limit = min(server.limit, size)
            self.notes.append(f"{server.client.url}: memory ran out; batches of {server.limit} from now on")

    def use_spare_transport(self, server: Server, task: Task, error: ExecutionFailed) -> bool:
        """Changes the transport of a server that cannot save its images; False if there is no other."""
        with self._changed:
            if task.transport is not server.transport:
                return True  # changed since the task was sent
            if server.spare is None:
                return False
            server.transport, server.spare = server.spare, None
            self.notes.append(f"{error}; from now on its images are uploaded and downloaded")
            return True

    def exclude(self, server: Server, error: ServerError, advice: str) -> None:
        """The server gets no more work in this run."""
        with self._changed:
            if not server.excluded:
                server.excluded = f"{error}; {advice}" if advice else str(error)
                self.notes.append(f"server left out from now on: {server.excluded}")
            self._changed.notify_all()

    def _try_reconnect(self, server: Server) -> bool:
        """Whether a server is back; it is asked only when it is time to."""
        if time.monotonic() < server.retry_at or not server.probing.acquire(blocking=False):
            return False
        try:
            server.client.system_stats()
            strays = set(server.strays)
            if strays:
                server.client.drop(sorted(strays))
        except ServerError as error:
            if isinstance(error, LoginRequired):
                self.exclude(server, error, error.advice)
            server.down_reason = str(error)
            server.retry_wait = min(2 * server.retry_wait, self._times.backoff[1])
            server.retry_at = time.monotonic() + server.retry_wait
            return False
        finally:
            server.probing.release()
        server.transport.forget_uploads()
        server.client.listener.retry_now()
        with self._changed:
            late, server.strays = server.strays - strays, set()
            server.up = True
            self.notes.append(f"{server.client.url}: back again")
            self._changed.notify_all()
        if late:
            self.try_drop(server.client, *sorted(late))
        return True

    def abandon_prompt(self, task: Task) -> None:
        """The task goes to another server than the one that holds, or held, its prompt."""
        server = task.server
        if server is not None:
            server.client.listener.forget(task.prompt_id)
            with self._changed:
                back = server.up
                if not back:
                    server.strays.add(task.prompt_id)
            if back and not self.try_drop(server.client, task.prompt_id):
                with self._changed:
                    server.strays.add(task.prompt_id)
        task.clear_prompt()

    def try_drop(self, client: Client, *prompt_ids: str) -> bool:
        """Takes prompts off a server that may not answer; whether it did."""
        try:
            client.drop(prompt_ids)
        except ServerError as error:
            self.notes.append(str(error))
            return False
        return True


def _best(up: Sequence[Server], task: Task) -> list[Server]:
    """Servers that the task did not fail on, else the one where that is longest ago."""
    fresh = [server for server in up if server not in task.tried]
    return fresh or sorted(up, key=lambda server: task.tried.index(server))[:1]
