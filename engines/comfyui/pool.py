"""Which server gets the next prompt: who is up, who is down, who gets no more work.

A server that is down is looked at again and again, by whoever waits for one. A prompt that moved away from a server
that could not be asked is a stray: it is dropped once the server is back.
"""

import threading
import time
from collections.abc import Sequence

from acusim.errors import EngineError
from engines.comfyui.client import Client
from engines.comfyui.errors import ExecutionFailed, LoginRequired, ServerError, Unreachable
from engines.comfyui.tasks import Server, Task
from engines.comfyui.times import Times
from engines.comfyui.transport import Remote

HELD = 2
"""Prompts of ours on one server."""
LOSSES = 10
"""A server that is lost so often in a row without making a picture gets no more work."""
LAST_SECONDS = 1.0
"""At the end, a server that cannot be reached is waited for no longer than this."""
FAILURES = 3
"""A server on which so many batches in a row failed gets no more work while another one is up."""


class Pool:
    """Servers that passed preflight, for as many threads as there are."""

    def __init__(self, servers: Sequence[Server], times: Times, notes: list[str]):
        """Takes the servers, and where to note what a user should know."""
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
                client = server.client
                client.http.connect_seconds = min(client.http.connect_seconds, LAST_SECONDS)
                client.http.read_seconds = client.http.connect_seconds
                self.drop_quietly(client, *strays)

    def acquire(self, task: Task) -> Server:
        """A slot on the server that holds the task's prompt if that is up, else on the least busy one of the best.

        Raises:
            EngineError: no server is left, none came back in time, or the pool was stopped.
        """
        while True:
            if self.stopping.is_set():
                raise EngineError("stopped")
            with self._changed:
                usable = [server for server in self.servers if not server.bad]
                if not usable:
                    raise EngineError("no server is left: " + "; ".join(server.bad for server in self.servers))
                up = [server for server in usable if server.up]
                if up:
                    self._down_since = None
                candidates = [task.server] if task.server in up else _best(up, task)
                free = [server for server in candidates if server and server.held < HELD]
                chosen = min(free, key=lambda server: server.held, default=None)
                if chosen is not None:
                    chosen.held += 1
                    return chosen
                if not up:
                    self._check_patience(usable)
                if all(server.up for server in usable):
                    self._changed.wait(1.0)
                    continue
            if not any([self._revive(server) for server in usable if not server.up]):
                with self._changed:
                    self._changed.wait(min(0.1, self._times.backoff[0] / 2))

    def _check_patience(self, usable: Sequence[Server]) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since > self._times.patience:
            told = "; ".join(server.trouble for server in usable)
            raise EngineError(f"no ComfyUI server could be reached for {self._times.patience:.0f} s: {told}")

    def release(self, server: Server) -> None:
        """Gives a slot back."""
        with self._changed:
            server.held -= 1
            self._changed.notify_all()

    def has_other(self, tried: Sequence[Server]) -> bool:
        """Whether a server is up that is none of these."""
        with self._changed:
            return any(server.up and not server.bad and server not in tried for server in self.servers)

    def lose(self, server: Server, error: Unreachable) -> None:
        """The server is down until it answers again."""
        with self._changed:
            if server.up:
                server.up, server.trouble, server.wait = False, str(error), self._times.backoff[0]
                server.retry_at = time.monotonic() + server.wait
                server.losses += 1
                self.notes.append(f"server lost: {error}")
                if server.losses > LOSSES:
                    server.bad = f"{error}; lost {server.losses} times in a row"
            self._changed.notify_all()

    def made(self, server: Server) -> None:
        """The server made something of a prompt: what went wrong there before counts no more."""
        with self._changed:
            server.losses = 0
            server.failed.clear()

    def failed(self, server: Server, task: Task, error: ExecutionFailed) -> None:
        """A prompt failed for no reason that lies in its pictures, as far as one can tell."""
        with self._changed:
            server.failed.add(task.origin)
            count = len(server.failed)
        if count >= FAILURES and self.has_other([server]):
            self.condemn(server, error, f"{count} batches in a row failed there")

    def reroute(self, server: Server, task: Task, error: ExecutionFailed) -> bool:
        """Takes another way for a server that cannot save what it made; False if there is none."""
        with self._changed:
            if task.transport is not server.transport:
                return True  # changed since the task was sent
            if server.spare is None:
                return False
            server.transport, server.spare = server.spare, None
            self.notes.append(f"{error}; from now on its pictures are uploaded and downloaded")
            return True

    def condemn(self, server: Server, error: ServerError, advice: str) -> None:
        """The server gets no more work in this run."""
        with self._changed:
            if not server.bad:
                server.bad = f"{error}; {advice}" if advice else str(error)
                self.notes.append(f"server left out from now on: {server.bad}")
            self._changed.notify_all()

    def _revive(self, server: Server) -> bool:
        """Looks, if it is time to, whether a server is back."""
        if time.monotonic() < server.retry_at or not server.probing.acquire(blocking=False):
            return False
        try:
            server.client.system_stats()
            strays = set(server.strays)
            if strays:
                server.client.drop(sorted(strays))
        except ServerError as error:
            if isinstance(error, LoginRequired):
                self.condemn(server, error, error.advice)
            server.trouble = str(error)
            server.wait = min(2 * server.wait, self._times.backoff[1])
            server.retry_at = time.monotonic() + server.wait
            return False
        finally:
            server.probing.release()
        if isinstance(server.transport, Remote):
            server.transport.forget()
        server.client.listener.hurry()
        with self._changed:
            late, server.strays = server.strays - strays, set()
            server.up = True
            self.notes.append(f"{server.client.url}: back again")
            self._changed.notify_all()
        if late:
            self.drop_quietly(server.client, *sorted(late))
        return True

    def leave(self, task: Task) -> None:
        """The task goes to another server than the one that holds, or held, its prompt."""
        server = task.server
        if server is not None:
            server.client.listener.forget(task.prompt_id)
            with self._changed:
                back = server.up
                if not back:
                    server.strays.add(task.prompt_id)
            if back and not self.drop_quietly(server.client, task.prompt_id):
                with self._changed:
                    server.strays.add(task.prompt_id)
        task.server, task.watch, task.asked = None, None, None

    def drop_quietly(self, client: Client, *prompt_ids: str) -> bool:
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
